//! What Stripe made certain is written down, and said.

use common::contract::{DeclineClass, Outgoing};
use common::failure::Failure;
use sqlx::PgConnection;

use super::Recharger;
use crate::charge::{Certain, wait_for_processing};
use crate::decline::{Consequence, consequence};
use crate::record::{Decline, Record};
use crate::repo;
use crate::saga::{Fact, Say, State, advance};

impl Recharger {
    /// Moves the recharge on by what is certain. Whoever comes second with the same certainty says the same.
    pub(super) async fn record_outcome(&self, claimed: &Record, certain: Certain) -> Result<Vec<Outgoing>, Failure> {
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, &claimed.organization).await?;
        let stored = repo::record(&mut tx, claimed.recharge_id).await?;
        let mut record =
            stored.ok_or_else(|| Failure::retry(anyhow::anyhow!("recharge {} is not there", claimed.recharge_id)))?;
        let (state, say) = advance(record.state, fact_of(&certain));
        let moved = state != record.state;
        if moved {
            record.state = state;
            self.apply(&mut tx, &mut record, &certain).await?;
            repo::save(&mut tx, &record, self.clock.now()).await?;
        }
        tx.commit().await?;
        if moved {
            self.log_outcome(&record);
        }
        match (certain, say) {
            (Certain::Processing { payment_intent_id }, _) if record.state == State::Processing => {
                Err(wait_for_processing(&payment_intent_id))
            }
            (_, Some(say)) => Ok(vec![record.say(say)?]),
            (_, None) => Ok(Vec::new()),
        }
    }

    async fn apply(&self, tx: &mut PgConnection, record: &mut Record, certain: &Certain) -> Result<(), Failure> {
        let now = self.clock.now();
        match certain {
            Certain::Captured(captured) => {
                record.payment_intent_id = Some(captured.payment_intent_id.clone());
                record.charge_id = captured.charge_id.clone();
                record.processor_fee = captured.processor_fee;
                record.charged_at = Some(now);
                repo::set_failures(tx, &record.organization, 0, None).await?;
            }
            Certain::Processing { payment_intent_id } => record.payment_intent_id = Some(payment_intent_id.clone()),
            Certain::No { decline, payment_intent_id } => {
                record.payment_intent_id = payment_intent_id.clone().or(record.payment_intent_id.take());
                record.ended_at = Some(now);
                record.paused = self.draw_consequence(tx, record, decline).await?;
                record.decline = Some(decline.clone());
            }
            // Nothing was charged and the card is not to blame: no pause, no cooldown.
            Certain::Never { message } => {
                record.ended_at = Some(now);
                record.decline = Some(Decline {
                    code: "not_charged".to_owned(),
                    decline_code: None,
                    advice_code: None,
                    class: Some(DeclineClass::Refused),
                    message: message.clone(),
                });
            }
        }
        Ok(())
    }

    /// Rests or pauses automatic recharge. Returns whether it is paused.
    async fn draw_consequence(
        &self,
        tx: &mut PgConnection,
        record: &Record,
        decline: &Decline,
    ) -> Result<bool, Failure> {
        let now = self.clock.now();
        let before = repo::consecutive_failures(tx, &record.organization).await?;
        let cooldown = repo::cooldown(tx, &record.organization).await?;
        match consequence(decline, before, cooldown, now) {
            Consequence::Cooldown { until, failures } => {
                repo::set_failures(tx, &record.organization, failures, Some(until)).await?;
                Ok(false)
            }
            Consequence::Pause { reason } => {
                repo::pause(tx, &record.organization, &reason, &record.payment_method_id, now).await?;
                tracing::warn!(c_organization_id = %record.organization, reason, "automatic recharge of {} is paused: {reason}", record.organization);
                Ok(true)
            }
        }
    }

    fn log_outcome(&self, record: &Record) {
        let (id, organization, correlation) = (record.recharge_id, &record.organization, &record.correlation_id);
        let reason = record.decline.as_ref().map_or("", |decline| decline.code.as_str());
        self.outcomes.with_label_values(&[record.state.as_str(), reason]).inc();
        if record.state == State::Charged {
            let minor = u64::try_from(record.total.minor).unwrap_or_default();
            self.amounts.with_label_values(&[record.total.currency.code()]).inc_by(minor);
        }
        let intent = record.payment_intent_id.as_deref().unwrap_or_default();
        tracing::info!(recharge_id = %id, c_organization_id = %organization, correlation_id = %correlation, payment_intent_id = intent, reason,
            "recharge {id} of {} for {organization} is {}", record.total, record.state.as_str());
    }
}

fn fact_of(certain: &Certain) -> Fact {
    match certain {
        Certain::Captured(_) => Fact::ChargeSucceeded,
        Certain::Processing { .. } => Fact::ChargeProcessing,
        Certain::No { decline, .. } if decline.class.is_none() => Fact::AuthenticationRequired,
        Certain::No { .. } => Fact::ChargeDeclined,
        Certain::Never { .. } => Fact::ChargeNeverHappened,
    }
}

/// Settles a recharge whose credit is in force. Returns what to say.
pub(super) fn settle(
    record: &mut Record,
    quota: rust_decimal::Decimal,
    event: &str,
    now: common::clock::Timestamp,
) -> Option<Say> {
    let (state, say) = advance(record.state, Fact::InForce);
    if state != record.state {
        record.state = state;
        record.new_quota = Some(quota);
        record.settled_by_event = Some(event.to_owned());
        record.settled_at = Some(now);
        record.ended_at = Some(now);
    }
    say
}
