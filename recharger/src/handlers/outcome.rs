//! What Stripe made certain is written down, and said.

use common::clock::Timestamp;
use common::contract::{DeclineClass, Outgoing, RefundCause};
use common::failure::Failure;
use sqlx::PgConnection;

use super::Recharger;
use crate::charge::Certain;
use crate::deadlines::next_look;
use crate::decline::{Consequence, consequence};
use crate::metrics::Step;
use crate::record::{self, Decline, Record};
use crate::repo::{self, PausedFor};
use crate::saga::{Command, Fact, State, advance};

impl Recharger {
    /// Moves the recharge on by what is certain. Whoever comes second with the same certainty says the same.
    ///
    /// What moved keeps a lease: the patrol comes after it, and says what may not have been said by then. The patrol and a
    /// hint bring their own `lease`. A message comes again after a crash, but not surely: of two who have it at once, one
    /// may move the recharge and die, and the other, who knew less, acknowledge it.
    pub(crate) async fn record_outcome(
        &self,
        claimed: &Record,
        certain: Certain,
        lease: Option<Timestamp>,
    ) -> Result<Vec<Outgoing>, Failure> {
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, &claimed.organization).await?;
        let stored = record::repo::record(&mut tx, claimed.recharge_id).await?;
        let mut record =
            stored.ok_or_else(|| Failure::retry(anyhow::anyhow!("recharge {} is not there", claimed.recharge_id)))?;
        let now = self.clock.now();
        let before = record.state;
        let (state, command) = advance(before, fact_of(&certain));
        let moved = state != before;
        if moved {
            record.state = state;
            self.apply(&mut tx, &mut record, before, &certain, now).await?;
            let own = [Some(self.until_said()), next_look(state, &record.times, now)];
            record.next_at = lease.or(own.into_iter().flatten().min());
            if command == Some(Command::GiveBack) {
                let reason = "the charge turned up after it was certain that there was none".to_owned();
                self.open_undo(&mut tx, &mut record, RefundCause::CreditOverdue, reason, now).await?;
            }
            record::repo::save(&mut tx, &record, now).await?;
        }
        tx.commit().await?;
        if moved {
            self.log_outcome(&record);
        }
        match command {
            // The patrol looks often at what waits for the customer: what it finds unchanged it says once more, and then no more.
            Some(Command::Say) if !moved && lease.is_some() && record.times.looks > 1 => Ok(Vec::new()),
            Some(Command::Say) => Ok(record.says(&self.rules.links)?.into_iter().collect()),
            Some(Command::GiveBack) | None => Ok(Vec::new()),
        }
    }

    async fn apply(
        &self,
        tx: &mut PgConnection,
        record: &mut Record,
        before: State,
        certain: &Certain,
        now: Timestamp,
    ) -> Result<(), Failure> {
        match certain {
            Certain::Captured(captured) => {
                // When Stripe captured it: the deadline counts from there, not from when we learnt of it. A payment that
                // took its time was captured when it ended, and its charge is older; and no clock but ours is believed.
                let at_once = captured.captured_at.filter(|_| before == State::Pending).unwrap_or(now);
                let captured_at = at_once.clamp(record.created_at, now.max(record.created_at));
                record.payment_intent_id = Some(captured.payment_intent_id.clone());
                record.charge_id = captured.charge_id.clone();
                record.processor_fee = captured.processor_fee;
                record.charged_at = Some(captured_at);
                record.times.credit_by = Some(self.rules.deadlines.credit_by(captured_at));
                record.ended_at = None;
                record.decline = None;
                repo::set_failures(tx, &record.organization, 0, None).await?;
            }
            Certain::NeedsCustomer { payment_intent_id, message } => {
                record.payment_intent_id = Some(payment_intent_id.clone());
                record.times.confirm_by = Some(self.rules.deadlines.confirm_by(now));
                record.times.looks = 0;
                record.decline = Some(Decline::plain("authentication_required", DeclineClass::Soft, message));
            }
            Certain::Processing { payment_intent_id } => record.payment_intent_id = Some(payment_intent_id.clone()),
            Certain::No { decline, payment_intent_id } => {
                record.payment_intent_id = payment_intent_id.clone().or(record.payment_intent_id.take());
                record.ended_at = Some(now);
                record.paused = self.draw_consequence(tx, record, decline, now).await?;
                record.decline = Some(decline.clone());
            }
            // Nothing was charged and the card is not to blame: no pause, no cooldown.
            Certain::Never { message } => {
                record.ended_at = Some(now);
                record.decline = Some(Decline::plain("not_charged", DeclineClass::Refused, message));
            }
        }
        Ok(())
    }

    /// Rests or pauses automatic recharge. Returns whether it is paused.
    pub(super) async fn draw_consequence(
        &self,
        tx: &mut PgConnection,
        record: &Record,
        decline: &Decline,
        now: Timestamp,
    ) -> Result<bool, Failure> {
        let before = repo::consecutive_failures(tx, &record.organization).await?;
        let cooldown = repo::cooldown(tx, &record.organization).await?;
        match consequence(decline, before, cooldown, now) {
            Consequence::Cooldown { until, failures } => {
                repo::set_failures(tx, &record.organization, failures, Some(until)).await?;
                Ok(false)
            }
            Consequence::Pause { reason } => {
                let card = PausedFor::Card(&record.payment_method_id);
                repo::pause(tx, &record.organization, &reason, card, now).await?;
                tracing::warn!(c_organization_id = %record.organization, recharge_id = %record.recharge_id, reason,
                    "automatic recharge of {} is paused: {reason}", record.organization);
                Ok(true)
            }
        }
    }

    fn log_outcome(&self, record: &Record) {
        let (id, organization, correlation) = (record.recharge_id, &record.organization, &record.correlation_id);
        let reason = record.decline.as_ref().map_or("", |decline| decline.code.as_str());
        self.metrics.outcomes.with_label_values(&[record.state.as_str(), reason]).inc();
        if record.state == State::Charged {
            self.metrics.captured(record.total);
            if let Some(charged_at) = record.charged_at {
                self.metrics.step(Step::Charge, record.created_at, charged_at);
            }
        }
        let intent = record.payment_intent_id.as_deref().unwrap_or_default();
        tracing::info!(recharge_id = %id, c_organization_id = %organization, correlation_id = %correlation, payment_intent_id = intent, reason,
            "recharge {id} of {} for {organization} is {}", record.total, record.state.as_str());
    }
}

fn fact_of(certain: &Certain) -> Fact {
    match certain {
        Certain::Captured(_) => Fact::ChargeSucceeded,
        Certain::NeedsCustomer { .. } => Fact::AuthenticationRequired,
        Certain::Processing { .. } => Fact::ChargeProcessing,
        Certain::No { .. } => Fact::ChargeDeclined,
        Certain::Never { .. } => Fact::ChargeNeverHappened,
    }
}
