//! Stripe's events: each is a hint to read the object again, never its state. Late, twice and out of order by design.

use common::contract::{Event, Outgoing, StripeEventV1};
use common::failure::Failure;
use common::ids::OrganizationId;
use sqlx::PgConnection;

use super::Recharger;
use crate::record::{self, Record};
use crate::repo::{self, LoggedDecision, PausedFor, TriggerLog};
use crate::saga::State;

/// A claim that is younger than this is being charged at this moment; the patrol looks at older ones.
const JUST_NOW: chrono::Duration = chrono::Duration::seconds(20);

impl Recharger {
    /// Reads again what the event is about.
    pub(super) async fn stripe_event(&self, event: Event<StripeEventV1>) -> Result<Vec<Outgoing>, Failure> {
        let data = &event.data;
        let mut connection = self.pool.acquire().await?;
        let record = find(&mut connection, data).await?;
        let organization = match (&record, &event.subject, &data.customer_id) {
            (Some(record), _, _) => Some(record.organization.clone()),
            (None, Some(known), _) => Some(known.clone()),
            (None, None, Some(customer)) => repo::organization_of_customer(&mut connection, customer).await?,
            (None, None, None) => None,
        };
        drop(connection);
        let kind = data.stripe_type.as_str();
        let said = match (&record, kind) {
            (_, "payment_method.automatically_updated") => {
                self.card_updated(organization.as_ref(), &data.object_id).await?
            }
            (Some(record), _) if kind.starts_with("charge.dispute.") => self.match_disputes(record).await?,
            (Some(record), _) if kind.contains("refund") => self.match_refunds(record).await?,
            // We charged it ourselves and know.
            (Some(record), "payment_intent.succeeded") if record.charged_at.is_some() => {
                let unsaid = record.state == State::Charged;
                unsaid.then(|| record.says(&self.rules.links)).transpose()?.flatten().into_iter().collect()
            }
            // Stripe is faster than its own answer to us: whoever charges at this moment will know.
            (Some(record), _) if record.state == State::Pending && self.clock.now() - record.created_at < JUST_NOW => {
                Vec::new()
            }
            (Some(record), _) => self.recheck_charge(record).await?,
            (None, _) => Vec::new(),
        };
        // Logged when it is done: a repeat reads again, which changes nothing, and says the same.
        let (decision, detail) = match &record {
            Some(record) => ("recorded", format!("{kind} of recharge {}, read again at Stripe", record.recharge_id)),
            None => ("recorded", format!("{kind} is about no recharge of ours")),
        };
        let log = TriggerLog {
            event_id: &event.id,
            source: "stripe",
            event_type: kind,
            organization: organization.as_ref(),
            team: None,
            correlation: &event.correlationid,
            payload: &serde_json::to_value(data).map_err(Failure::malformed)?,
            occurred_at: None,
            received_at: event.time,
        };
        let decision = LoggedDecision {
            decision: decision.to_owned(),
            reason: None,
            detail: Some(detail),
            recharge_id: record.map(|record| record.recharge_id),
            organization: organization.clone(),
            decided_at: self.clock.now(),
        };
        let mut connection = self.pool.acquire().await?;
        repo::log_decision(&mut connection, &log, &decision).await?;
        Ok(said)
    }

    /// The network sent new card data: a pause that the old data caused ends.
    async fn card_updated(
        &self,
        organization: Option<&OrganizationId>,
        payment_method_id: &str,
    ) -> Result<Vec<Outgoing>, Failure> {
        let Some(organization) = organization else { return Ok(Vec::new()) };
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, organization).await?;
        let card = PausedFor::Card(payment_method_id);
        if repo::lift_pause(&mut tx, organization, card, self.clock.now()).await? {
            tracing::info!(c_organization_id = %organization, "the card of {organization} was updated: its pause is lifted");
        }
        tx.commit().await?;
        Ok(Vec::new())
    }
}

/// The recharge that the event is about: by its payment intent, or by what its metadata names, where we have not learnt
/// the payment intent yet.
async fn find(db: &mut PgConnection, data: &StripeEventV1) -> Result<Option<Record>, Failure> {
    if let Some(intent) = &data.payment_intent_id
        && let Some(record) = record::repo::of_payment_intent(db, intent).await?
    {
        return Ok(Some(record));
    }
    let Some(id) = data.recharge_id else { return Ok(None) };
    let record = record::repo::record(db, id).await?;
    // Metadata can be copied: a payment that is not the recharge's own says nothing about it.
    Ok(record.filter(|record| record.payment_intent_id.is_none() || record.payment_intent_id == data.payment_intent_id))
}
