//! What every route works with.

use std::sync::Arc;
use std::time::Duration;

use common::clients::quota::QuotaBackend;
use common::clients::stripe::Stripe;
use common::clock::SharedClock;
use common::contract::{Event, Payload};
use common::dead_letters::DeadLetters;
use common::ids::{EventId, IdSource, OrganizationId};
use common::pay_link::PayLinks;
use common::shutdown::Shutdown;
use common::telemetry::spans;
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::Semaphore;
use tracing::Span;
use warp::http::{HeaderName, StatusCode};

use crate::api::auth::Auth;
use crate::config::Config;
use crate::console::live::Hints;
use crate::dead_letters::Leader;
use crate::directory::Directory;
use crate::http::{Answer, Request};
use crate::limits::SourceLimit;
use crate::metrics::Metrics;
use crate::outcome::{Accepted, Interest, Outcome, Outcomes};
use crate::publish::{Publisher, Unpublished};
use crate::tokens::Tokens;
use crate::webhooks::alerts::AlertTokens;
use crate::webhooks::signature::Keys;
use crate::webhooks::stripe_signature::StripeKeys;
use crate::{console, events};

/// How long the database may take to tell an outcome to a caller that has waited already.
const LAST_LOOK: Duration = Duration::from_millis(500);

/// The service's parts.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) clock: SharedClock,
    pub(crate) ids: Arc<dyn IdSource>,
    pub(crate) pool: PgPool,
    pub(crate) publisher: Publisher,
    pub(crate) directory: Directory,
    pub(crate) outcomes: Outcomes,
    /// For pages of the console that are open.
    pub(crate) hints: Hints,
    /// So many calls of pages are at work at once.
    pub(crate) console_turns: Semaphore,
    /// What guards forms where nobody signs in.
    pub(crate) console_key: console::Key,
    pub(crate) stripe: Stripe,
    /// For the development routes.
    pub(crate) kms: Option<Arc<dyn QuotaBackend>>,
    pub(crate) keys: Keys,
    pub(crate) stripe_keys: StripeKeys,
    pub(crate) links: PayLinks,
    pub(crate) dead_letters: DeadLetters,
    pub(crate) dead_letters_leader: Leader,
    pub(crate) alert_tokens: AlertTokens,
    pub(crate) auth: Auth,
    pub(crate) tokens: Tokens,
    /// For webhooks.
    pub(crate) limit: SourceLimit,
    /// For the customers' pages: neither uses up the other's.
    pub(crate) pay_limit: SourceLimit,
    pub(crate) metrics: Metrics,
    pub(crate) shutdown: Shutdown,
}

/// An event that the broker has, and how the chain ended if that is known.
pub(crate) struct Reached {
    pub(crate) id: EventId,
    pub(crate) outcome: Option<Outcome>,
}

/// How to wait.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wait {
    pub(crate) interest: Interest,
    pub(crate) longest: Duration,
}

impl Wait {
    /// Not at all.
    pub(crate) const NEVER: Self = Self { interest: Interest::Recharge, longest: Duration::ZERO };
}

impl App {
    /// Publishes an event that starts a chain, and waits for the end of the chain.
    pub(crate) async fn start_chain<T: Payload>(
        &self,
        id: EventId,
        organization: Option<OrganizationId>,
        data: T,
        wait: Wait,
    ) -> Result<Reached, Unpublished> {
        let now = self.clock.now();
        spans::begin(&Span::current(), &id);
        let event = Event::first(id.clone(), organization.clone(), now, data);
        // Before publishing: the end may come sooner than the confirmation.
        let waiting = (!wait.longest.is_zero()).then(|| self.outcomes.expect(&id, wait.interest)).flatten();
        let confirmed = self.publisher.publish(event).await?;
        tracing::info!(
            event_id = %id, c_organization_id = organization.as_ref().map(OrganizationId::as_str), kind = T::KIND,
            duplicate = confirmed.duplicate, "accepted {id} ({})", T::KIND,
        );
        let accepted = Accepted { kind: T::KIND, organization, at: now, interest: wait.interest, outcome: None };
        self.outcomes.accepted(&id, accepted);
        let Some(mut waiting) = waiting else { return Ok(Reached { id, outcome: None }) };
        // A repeat may be of something that ended long ago: nobody will say so again.
        if confirmed.duplicate
            && let Some(outcome) = self.look_up(&id, wait.interest).await
        {
            return Ok(Reached { id, outcome: Some(outcome) });
        }
        let outcome = match waiting.until(wait.longest, &self.shutdown).await {
            Some(outcome) => Some(outcome),
            None => self.look_up(&id, wait.interest).await,
        };
        Ok(Reached { id, outcome })
    }

    /// One look into the database. Whatever goes wrong, the caller gets the 202.
    async fn look_up(&self, id: &EventId, interest: Interest) -> Option<Outcome> {
        let look = async {
            Ok::<_, sqlx::Error>(match interest {
                Interest::Recharge | Interest::Confirmation => {
                    events::repo::find(&self.pool, id).await?.and_then(|found| found.outcome(&self.links))
                }
                // A refund that there was nothing left for is recorded as any other trigger without effect.
                Interest::Refund => match events::repo::requested_refund(&self.pool, id).await? {
                    Some(refund) => refund.outcome(),
                    None => events::repo::find(&self.pool, id).await?.and_then(|found| found.outcome(&self.links)),
                },
                Interest::Sync => events::repo::sync(&self.pool, id).await?.map(|found| found.outcome()),
            })
        };
        tokio::time::timeout(LAST_LOOK, look).await.ok()?.ok()?
    }

    /// Where to ask what became of an event.
    pub(crate) fn status_url(&self, id: &EventId) -> String {
        format!("{}/api/events/{id}", self.config.public_url)
    }

    /// What a call that moves money is told when nobody knows whether the broker has its event: where to ask, and the
    /// key under which the call can be repeated as the same call. Not a word that it was accepted, nor that it was not,
    /// and no 503, which programs take for "send it again".
    pub(crate) fn unconfirmed(&self, id: &EventId, key: &str) -> Answer {
        let message = "It is not known whether this was accepted: the message broker did not confirm it in time. Ask the \
                       status URL, or send the same call again with this Idempotency-Key; without it, it would be another call";
        Answer::new(
            StatusCode::ACCEPTED,
            json!({
                "accepted": null,
                "state": "unconfirmed",
                "event_id": id,
                "status_url": self.status_url(id),
                "idempotency_key": key,
                "message": message,
            }),
        )
    }

    /// 202: accepted, and not at its end yet.
    pub(crate) fn accepted(&self, id: &EventId, request: &Request) -> Answer {
        let body = json!({ "accepted": true, "event_id": id, "status_url": self.status_url(id) });
        let answer = Answer::new(StatusCode::ACCEPTED, body);
        if request.prefers_async() {
            answer.with(HeaderName::from_static("preference-applied"), "respond-async")
        } else {
            answer
        }
    }
}
