//! Money that goes back, and disputes. Pure.

use anyhow::bail;
use chrono::Duration;
use common::clock::Timestamp;
use common::contract::{
    DisputeStage, Event, Payload, RechargeDisputedV1, RechargeRefundedV1, RefundCause, RefundRequestedV1,
};
use common::ids::EventId;
use common::money::Money;
use ledger::posting::{self, Decision, PostingError, RechargeBooks};
use serde_json::json;

use super::super::rows::exact;
use super::super::{drawn_name, office};
use super::{FAR, Happening, Life, Pause, Recharge, Returned, decided, logged};

impl Life<'_> {
    /// All that is left goes back, by itself: the refund is made a little later.
    pub(super) fn undo(&mut self, recharge: &mut Recharge, cause: RefundCause, reason: String, at: Timestamp) {
        recharge.status = "refunding";
        recharge.undo = Some((cause, reason.clone()));
        let returned = Returned {
            recharge: self.recharges.len(),
            key: format!("undo:{}", recharge.id),
            correlation: recharge.trigger.clone(),
            cause,
            reason,
            requested_by: None,
            requested_at: at,
            amount: recharge.amount,
            total: recharge.total,
        };
        let made = self.after(at, 1, 40);
        self.at(made, Happening::Refund(returned));
    }

    /// The same, and Stripe refuses to make the refund.
    pub(super) fn leave_undone(&mut self, recharge: &mut Recharge, reason: String, at: Timestamp) {
        recharge.status = "refunding";
        recharge.updated_at = at;
        recharge.undo = Some((RefundCause::CreditOverdue, reason.clone()));
        self.rows.refunds.push(json!({
            "refund_key": format!("undo:{}", recharge.id), "recharge_id": recharge.id, "c_organization_id": self.who.id,
            "correlation_id": recharge.trigger, "cause": RefundCause::CreditOverdue.as_str(), "reason": reason,
            "currency": self.who.currency, "amount": exact(recharge.amount), "total": exact(recharge.total),
            "status": "requested", "refusals": 2, "tries": 2,
            "last_error": "Your account has insufficient funds to cover this refund.", "was_refunded": false,
            "was_credited": false, "completes": false, "next_at": self.now + FAR, "created_at": at, "updated_at": at,
        }));
    }

    /// Somebody asks for so much of a hundred of it.
    pub(super) fn ask_for_refund(&mut self, recharge: &Recharge, share: i64, at: Timestamp) {
        let of = |all: Money| Money::new(all.minor * share / 100, all.currency);
        let (amount, total) = (of(recharge.amount), of(recharge.total));
        let reason = *self.random.pick(&["bought by mistake", "agreed with the customer", "goodwill after an outage"]);
        let requested_by = office::person(&mut self.random);
        let event = EventId::from_body("req", format!("{}\n{}", recharge.id, self.random.number()).as_bytes());
        let data = RefundRequestedV1 {
            recharge_id: recharge.id,
            amount: (share < 100).then_some(amount),
            reason: reason.to_owned(),
            requested_by: requested_by.clone(),
        };
        let line = logged(self.who, &event, "api", "refund_requested", &json!(data), at);
        let detail = format!("{amount} of the quota, {total} of the charge");
        self.rows.events.push((at, decided(line, "refund", None, &detail, Some(recharge.id))));
        office::requested(self.rows, self.who, &event, &format!("POST /recharges/{}/refund", recharge.id), at);
        let after =
            json!({ "event_id": event, "recharge_id": recharge.id, "amount": amount.to_number(), "reason": reason });
        office::audited(self.rows, Some(&self.who.id), at, &requested_by, "refund.requested", after);
        let returned = Returned {
            recharge: self.recharges.len(),
            key: format!("request:{event}"),
            correlation: event,
            cause: RefundCause::Requested,
            reason: reason.to_owned(),
            requested_by: Some(requested_by),
            requested_at: at,
            amount,
            total,
        };
        let made = self.after(at, 1, 5);
        self.at(made, Happening::Refund(returned));
    }

    /// Stripe has made a refund: it is booked.
    pub(super) fn refund(&mut self, at: Timestamp, refund: Returned) -> anyhow::Result<()> {
        let Some(recharge) = self.recharges.get_mut(refund.recharge) else { bail!("{} is of no recharge", refund.key) };
        let refund_id = drawn_name("re", &mut self.random);
        let completes = refund.total == recharge.total;
        let was_credited = recharge.ledger_version.is_some();
        recharge.refunded_amount = refund.amount;
        recharge.refunded_total = refund.total;
        recharge.updated_at = at;
        if completes {
            (recharge.status, recharge.ended_at) = ("refunded", Some(at));
            recharge.undo.get_or_insert_with(|| (refund.cause, refund.reason.clone()));
        }
        let data = RechargeRefundedV1 {
            recharge_id: recharge.id,
            refund_id: refund_id.clone(),
            amount: refund.amount,
            total_refunded: refund.total,
            was_credited,
            reason: refund.reason.clone(),
            cause: Some(refund.cause),
            charge_fully_refunded: completes,
            total_charge: Some(recharge.total),
            processor_fee: recharge.processor_fee,
        };
        self.rows.refunds.push(json!({
            "refund_key": refund.key, "recharge_id": recharge.id, "c_organization_id": self.who.id,
            "correlation_id": refund.correlation, "cause": refund.cause.as_str(), "reason": refund.reason,
            "requested_by": refund.requested_by, "currency": self.who.currency, "amount": exact(refund.amount),
            "total": exact(refund.total), "status": "succeeded", "stripe_refund_id": refund_id, "refusals": 0, "tries": 1,
            "was_refunded": true, "was_credited": was_credited, "completes": completes, "created_at": refund.requested_at,
            "ended_at": at, "updated_at": at,
        }));
        let event = Event::following(&refund_id, &self.who.id, at, &refund.correlation, data);
        self.book_about(refund.recharge, &event, posting::refund, at)
    }

    /// A dispute is opened, or decided.
    pub(super) fn dispute(
        &mut self,
        at: Timestamp,
        place: usize,
        dispute_id: String,
        stage: DisputeStage,
    ) -> anyhow::Result<()> {
        let Some(recharge) = self.recharges.get(place) else { bail!("{dispute_id} is of no recharge") };
        let data = RechargeDisputedV1 {
            recharge_id: recharge.id,
            dispute_id: dispute_id.clone(),
            stage,
            amount: recharge.amount,
            total: recharge.total,
            reason: "fraudulent".to_owned(),
        };
        if stage == DisputeStage::Opened {
            self.rows.disputes.push(json!({
                "dispute_id": dispute_id, "recharge_id": recharge.id, "c_organization_id": self.who.id,
                "currency": self.who.currency, "amount": exact(recharge.amount), "total": exact(recharge.total),
                "stage": stage.as_str(), "reason": data.reason, "opened_at": at,
            }));
        } else if let Some(row) = self.rows.disputes.iter_mut().rev().find(|row| row["dispute_id"] == *dispute_id) {
            (row["stage"], row["closed_at"]) = (json!(stage.as_str()), json!(at));
        }
        let reason = format!("dispute {dispute_id} (fraudulent) is {}", stage.as_str());
        self.pause = match stage {
            DisputeStage::Won => None,
            DisputeStage::Opened | DisputeStage::Lost => {
                Some(Pause { at, reason, card: None, dispute: Some(dispute_id.clone()) })
            }
        };
        if stage == DisputeStage::Lost {
            // A person has looked at it since.
            self.resumed_at = Some(at + Duration::minutes(20));
        }
        let cause = format!("{dispute_id}:{}", stage.as_str());
        let event = Event::following(&cause, &self.who.id, at, &recharge.trigger, data);
        self.book_about(place, &event, posting::dispute, at)
    }

    /// Books what the ledger would book of an event about a recharge.
    fn book_about<T: Payload>(
        &mut self,
        place: usize,
        event: &Event<T>,
        decide: fn(&Event<T>, &RechargeBooks) -> Result<Decision, PostingError>,
        at: Timestamp,
    ) -> anyhow::Result<()> {
        let Decision::Post(postings) = decide(event, &self.recharges[place].books(at))? else {
            bail!("the ledger would not book {}", event.id)
        };
        for posting in postings {
            self.recharges[place].note(&posting);
            self.book(&posting, at + Duration::milliseconds(30), true);
        }
        Ok(())
    }
}
