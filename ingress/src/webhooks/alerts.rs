//! `POST /webhooks/litellm/alerts/<token>`: LiteLLM's own alerting. It can't sign and can't send a header, so the secret
//! is in the path; and whatever is not a quick 200 it sends again on every refused request.

use std::sync::Arc;

use common::config::{Secret, items};
use common::contract::Payload;
use common::ids::{EventId, OrganizationId};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use tracing::Instrument as _;

use super::alert::{self, Alert};
use super::body::AlertReceived;
use super::counted;
use crate::app::{App, Wait};
use crate::directory::Found;
use crate::evaluate;
use crate::http::{Answer, Problem, Request};

/// The label of this source in the metrics.
const SOURCE: &str = "litellm_alert";

/// The tokens, as digests: they have one length, so comparing them takes one time.
#[derive(Clone)]
pub(crate) struct AlertTokens(Vec<[u8; 32]>);

impl AlertTokens {
    pub(crate) fn parse(list: &Secret) -> Self {
        Self(items(list).map(|token| Sha256::digest(token).into()).collect())
    }

    fn has(&self, token: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(token).into();
        // Every one is compared, so that the time does not tell which of them was nearly right.
        self.0.iter().fold(Choice::from(0), |found, known| found | known.ct_eq(&given)).into()
    }
}

/// Answers the alert and counts it.
pub(crate) async fn post(app: &Arc<App>, mut request: Request, token: &str) -> Answer {
    if !app.alert_tokens.has(token) {
        app.metrics.webhooks.with_label_values(&[SOURCE, "wrong_token"]).inc();
        return Problem::no_route().into();
    }
    counted(app, SOURCE, handle(app, &mut request)).await
}

async fn handle(app: &Arc<App>, request: &mut Request) -> Result<(Answer, &'static str), Problem> {
    let body = request.bytes().await?;
    app.limit.check(request.peer).map_err(Problem::too_many)?;
    // The content-type is not asked for: what LiteLLM sends is taken as it is.
    let value: Value = serde_json::from_slice(&body).map_err(|error| Problem::not_json(&error))?;
    let understood = alert::understand(&body, value);
    let id = understood.id;
    match understood.alert {
        Alert::Ignored(event) => {
            let reason = event.reason.clone();
            publish(app, id.clone(), None, event).await?;
            Ok((received(&id, "ignored", Some(&reason)), "ignored"))
        }
        Alert::LimitExceeded(event) => match app.directory.team(&event.team_id).await {
            Found::Nobody => unknown(app, id, &event.raw).await,
            found => {
                publish(app, id.clone(), organization(&found), event).await?;
                Ok((received(&id, "recharge_considered", None), "accepted"))
            }
        },
        Alert::Hint(event) => match app.directory.team(&event.team_id).await {
            Found::Nobody => unknown(app, id, &event.raw).await,
            found => {
                let organization = organization(&found);
                publish(app, id.clone(), organization.clone(), event).await?;
                if let Some(organization) = organization {
                    let asked = EventId::following("evaluate", &id);
                    // The sender waits for the 200, not for this; the sweep is the net under it.
                    let app = app.clone();
                    let ask = async move {
                        evaluate::request(&app, asked, &organization, evaluate::HINT, SOURCE).await;
                    };
                    tokio::spawn(ask.in_current_span());
                }
                Ok((received(&id, "hint", None), "hint"))
            }
        },
    }
}

fn organization(found: &Found) -> Option<OrganizationId> {
    match found {
        Found::Known(known) => Some(known.organization.clone()),
        Found::Nobody | Found::Undecided => None,
    }
}

/// A team that no organization has: recorded, so that somebody who wonders can see it. The id is its own: when the team
/// becomes known, the same alert must count.
async fn unknown(app: &App, id: EventId, raw: &Value) -> Result<(Answer, &'static str), Problem> {
    let id = EventId::from_body("alert_unknown", id.as_str().as_bytes());
    let event = alert::ignored(raw, "unknown_team".to_owned());
    publish(app, id.clone(), None, event).await?;
    Ok((received(&id, "ignored", Some("unknown_team")), "unknown_team"))
}

async fn publish<T: Payload>(
    app: &App,
    id: EventId,
    organization: Option<OrganizationId>,
    event: T,
) -> Result<(), Problem> {
    app.start_chain(id, organization, event, Wait::NEVER).await?;
    Ok(())
}

fn received(id: &EventId, action: &'static str, reason: Option<&str>) -> Answer {
    Answer::ok(json!(AlertReceived::of(id.clone(), action, reason.map(str::to_owned))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens() {
        let tokens = AlertTokens::parse(&Secret::new("old_token, new_token"));
        assert!(tokens.has("old_token") && tokens.has("new_token"));
        for wrong in ["", "old", "old_token,", "old_token, new_token", " old_token"] {
            assert!(!tokens.has(wrong), "{wrong}");
        }
        assert!(!AlertTokens::parse(&Secret::default()).has(""));
    }
}
