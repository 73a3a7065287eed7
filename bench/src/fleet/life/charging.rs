//! A recharge from its claim to its end. Pure.

use chrono::Duration;
use common::clock::Timestamp;
use common::contract::{DisputeStage, Event, RefundCause};
use common::money::Money;
use ledger::posting::Posting;
use serde_json::json;

use super::super::books::Posted;
use super::super::rows::exact;
use super::super::{FEES, drawn_name};
use super::{FAR, Fate, Happening, Life, Pause, Planned, Recharge, decided, drawn};
use crate::fleet::recharge::Decline;

const SOFT: Decline = Decline {
    code: "card_declined",
    decline_code: Some("insufficient_funds"),
    class: "soft",
    message: "Your card has insufficient funds.",
};
const HARD: Decline = Decline {
    code: "card_declined",
    decline_code: Some("lost_card"),
    class: "hard",
    message: "Your card was declined.",
};
const NEVER: Decline = Decline {
    code: "not_charged",
    decline_code: None,
    class: "refused",
    message: "Stripe has no payment for this recharge.",
};
const CONFIRM: Decline = Decline {
    code: "authentication_required",
    decline_code: None,
    class: "soft",
    message: "Your card was declined. This transaction requires authentication.",
};
/// After so many declines in a row, automatic recharge would pause.
const MOST_FAILURES: i64 = 2;

impl Life<'_> {
    /// Claims a recharge, and lets it come to its end.
    pub(super) fn recharge(&mut self, planned: Planned) -> anyhow::Result<()> {
        let Planned { at, trigger, left, fate } = planned;
        let usage = self.used.1.max(self.books.quota - left);
        self.used = (at, usage);
        self.ahead.pop();
        let trigger_kind = trigger;
        let trigger = self.trigger(trigger_kind, usage, self.who.target, at)?;
        let total = FEES.total_for(trigger.amount).unwrap_or(trigger.amount);
        let claimed_at = at + Duration::milliseconds(9);
        let mut recharge = Recharge::claimed(trigger.event, trigger_kind, trigger.amount, total, claimed_at);
        recharge.trigger_limit = trigger.limit;
        let detail = format!("{} (total {total})", trigger.amount);
        self.rows.events.push((at, decided(trigger.line, "charge", None, &detail, Some(recharge.id))));
        let fate = if fate == Fate::Declined && self.failures == MOST_FAILURES { Fate::Settles } else { fate };
        self.meet_fate(&mut recharge, fate)?;
        self.recharges.push(recharge);
        if let (Some(limit), Fate::Settles, true) = (trigger.limit, fate, self.random.percent(30)) {
            let again = self.after(at, 20, 300);
            self.told_again(usage, limit, again);
        }
        Ok(())
    }

    fn meet_fate(&mut self, recharge: &mut Recharge, fate: Fate) -> anyhow::Result<()> {
        let at = recharge.created_at;
        let heard = at + Duration::milliseconds(drawn(&mut self.random, 300, 2_500));
        match fate {
            Fate::Settles | Fate::GoesBack(_) | Fate::Disputed(_) => {
                self.charge(recharge, heard);
                self.settle(recharge, heard)?;
                self.plan_afterwards(recharge, fate);
            }
            Fate::NotInForce => {
                self.charge(recharge, heard);
                let posted = self.credit(recharge, heard, false)?;
                let (failed, reason) = (heard + Duration::minutes(15), "the KMS answers 503 Service Unavailable");
                self.rows.failures.push(json!({
                    "cause": posted.event, "c_organization_id": self.who.id, "backend": "kms",
                    "ledger_version": posted.version, "quota": exact(posted.quota), "reason": reason,
                    "recharge_id": recharge.id, "correlation_id": recharge.trigger, "failed_at": failed,
                }));
                let reason = format!("the quota could not be raised in time: {reason}");
                self.undo(recharge, RefundCause::SyncFailed, reason, failed);
            }
            Fate::NotCredited | Fate::GoingBack => {
                self.charge(recharge, heard);
                let reason = "the ledger has not credited it in time".to_owned();
                let overdue = heard + Duration::minutes(10);
                if fate == Fate::GoingBack {
                    self.leave_undone(recharge, reason, overdue);
                } else {
                    self.undo(recharge, RefundCause::CreditOverdue, reason, overdue);
                }
            }
            Fate::Declined => {
                self.failures += 1;
                self.cooldown_until = Some(heard + Duration::hours(1));
                self.refuse(recharge, "declined", SOFT, heard);
            }
            Fate::CardIsLost => {
                (self.failures, recharge.paused) = (0, true);
                let reason = HARD.decline_code.unwrap_or(HARD.code).to_owned();
                let card = Some(self.who.card.id.clone());
                self.pause = Some(Pause { at: heard, reason, card, dispute: None });
                self.refuse(recharge, "declined", HARD, heard);
            }
            Fate::Failed => self.refuse(recharge, "failed", NEVER, heard + Duration::minutes(2)),
            Fate::Pending => recharge.next_at = Some(self.now + FAR),
            Fate::Processing | Fate::Confirming => self.leave_waiting(recharge, fate, heard),
        }
        Ok(())
    }

    fn charge(&mut self, recharge: &mut Recharge, at: Timestamp) {
        recharge.status = "charged";
        recharge.payment_intent_id = Some(drawn_name("pi", &mut self.random));
        recharge.charge_id = Some(drawn_name("ch", &mut self.random));
        let kept = recharge.total.minor * 29 / 1_000 + 30;
        recharge.processor_fee = Some(Money::new(kept, recharge.total.currency));
        recharge.charged_at = Some(at);
        recharge.updated_at = at;
        (self.failures, self.cooldown_until) = (0, None);
    }

    fn credit(&mut self, recharge: &mut Recharge, charged_at: Timestamp, push: bool) -> anyhow::Result<Posted> {
        let at = charged_at + Duration::milliseconds(drawn(&mut self.random, 15, 90));
        let data = recharge.charged().ok_or_else(|| anyhow::anyhow!("{} was not charged", recharge.id))?;
        let event = Event::following(&recharge.id, &self.who.id, charged_at, &recharge.trigger, data);
        let posting = Posting::charge(&event)?;
        recharge.note(&posting);
        let posted = self.book(&posting, at, push);
        recharge.ledger_version = Some(posted.version);
        recharge.credited_at = Some(at + Duration::milliseconds(6));
        recharge.status = "credited";
        Ok(posted)
    }

    fn settle(&mut self, recharge: &mut Recharge, charged_at: Timestamp) -> anyhow::Result<()> {
        let posted = self.credit(recharge, charged_at, true)?;
        let at = charged_at + Duration::seconds(1);
        recharge.status = "settled";
        recharge.new_quota = Some(posted.quota);
        recharge.settled_by_event = Some(format!("quotas.synced:{}", posted.event));
        (recharge.settled_at, recharge.ended_at, recharge.updated_at) = (Some(at), Some(at), at);
        Ok(())
    }

    /// What comes later of one that took effect: some time between then and now.
    fn plan_afterwards(&mut self, recharge: &Recharge, fate: Fate) {
        let (place, since) = (self.recharges.len(), recharge.updated_at);
        let later = Duration::milliseconds((self.now - since).num_milliseconds() / 10).min(Duration::days(20));
        match fate {
            Fate::GoesBack(share) => self.ask_for_refund(recharge, share, since + later),
            Fate::Disputed(end) => {
                let dispute_id = drawn_name("dp", &mut self.random);
                let opened =
                    Happening::Dispute { recharge: place, dispute_id: dispute_id.clone(), stage: DisputeStage::Opened };
                self.at(since + later, opened);
                if end != DisputeStage::Opened {
                    let ended = Happening::Dispute { recharge: place, dispute_id, stage: end };
                    self.at(since + later * 2, ended);
                }
            }
            _ => {}
        }
    }

    fn refuse(&mut self, recharge: &mut Recharge, status: &'static str, decline: Decline, at: Timestamp) {
        (recharge.status, recharge.decline) = (status, Some(decline));
        if status == "declined" {
            recharge.payment_intent_id = Some(drawn_name("pi", &mut self.random));
        }
        (recharge.ended_at, recharge.updated_at) = (Some(at), at);
    }

    /// Stripe, or the customer, has not decided.
    fn leave_waiting(&mut self, recharge: &mut Recharge, fate: Fate, at: Timestamp) {
        recharge.payment_intent_id = Some(drawn_name("pi", &mut self.random));
        recharge.updated_at = at;
        recharge.next_at = Some(self.now + FAR);
        if fate == Fate::Confirming {
            (recharge.status, recharge.decline) = ("action_required", Some(CONFIRM));
            recharge.confirm_by = Some(at + Duration::hours(24));
        } else {
            recharge.status = "processing";
        }
    }
}
