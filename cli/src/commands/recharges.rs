//! `bill recharge`, `history`, `chain`, `refund`, `event` and `events`.

use clap::Args;
use common::ids::{EventId, OrganizationId, RechargeId};
use rust_decimal::Decimal;
use serde_json::Value;

use super::{Make, Once, Yes};
use crate::call::{Body, Call};
use crate::show::{As, Column, Show, chain, details, list, outcome};
use crate::values;

const RECHARGES: [Column; 7] = [
    Column("WHEN", "created_at", As::Whole),
    Column("RECHARGE", "recharge_id", As::Whole),
    Column("STATUS", "status", As::Text),
    Column("AMOUNT", "amount", As::Number),
    Column("NEW QUOTA", "new_quota", As::Number),
    Column("BECAUSE OF", "triggered_by", As::Text),
    Column("WHY NOT", "failure.message", As::Text),
];

const EVENTS: [Column; 7] = [
    Column("WHEN", "received_at", As::Whole),
    Column("EVENT", "event_id", As::Whole),
    Column("TYPE", "event_type", As::Text),
    Column("DECISION", "decision", As::Text),
    Column("REASON", "reason", As::Text),
    Column("RECHARGE", "recharge_id", As::Whole),
    Column("MESSAGE", "message", As::Text),
];

#[derive(Debug, Args)]
pub(crate) struct Recharge {
    /// The organization
    #[arg(value_parser = values::organization)]
    id: OrganizationId,
    /// How much quota to buy, in the organization's currency
    #[arg(value_parser = values::amount)]
    amount: Decimal,
    #[command(flatten)]
    once: Once,
    #[command(flatten)]
    yes: Yes,
}

impl Recharge {
    pub(super) fn call(self, make: &Make) -> Call {
        let Self { id, amount, once, yes } = self;
        let call = Call::post(&[&"organizations", &id, &"recharge"], outcome)
            .body(Body::new().amount("amount", Some(amount)))
            .asks(yes.yes, || format!("Charge the saved card of {id} for {amount} of quota?"));
        once.of(call, make)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Chain {
    /// The recharge
    recharge_id: RechargeId,
}

impl Chain {
    pub(super) fn call(self) -> Call {
        Call::get(&[&"recharges", &self.recharge_id], chain)
    }
}

#[derive(Debug, Args)]
pub(crate) struct Refund {
    /// The recharge
    recharge_id: RechargeId,
    /// How much of its quota to take back; all that is left of it when absent
    #[arg(value_parser = values::amount)]
    amount: Option<Decimal>,
    /// Why, for the books
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    once: Once,
    #[command(flatten)]
    yes: Yes,
}

impl Refund {
    pub(super) fn call(self, make: &Make) -> Call {
        let Self { recharge_id, amount, reason, once, yes } = self;
        let much = amount.map_or_else(|| "all that is left".to_owned(), |amount| amount.to_string());
        let call = Call::post(&[&"recharges", &recharge_id, &"refund"], outcome)
            .body(Body::new().amount("amount", amount).with("reason", reason))
            .asks(yes.yes, || format!("Give back {much} of the recharge {recharge_id}?"));
        once.of(call, make)
    }
}

#[derive(Debug, Args)]
pub(crate) struct OneEvent {
    /// The event
    #[arg(value_parser = values::event)]
    event_id: EventId,
}

impl OneEvent {
    pub(super) fn call(self) -> Call {
        Call::get(&[&"events", &self.event_id], event)
    }
}

/// An organization's recharges.
pub(super) fn history(id: &OrganizationId, limit: usize) -> Call {
    let view = |body: &_, show: &_| list(body, &RECHARGES, show);
    Call::get(&[&"organizations", id, &"recharge-history"], view).pages("before", limit)
}

/// What came in about an organization.
pub(super) fn events(id: &OrganizationId, limit: usize) -> Call {
    let view = |body: &_, show: &_| list(body, &EVENTS, show);
    Call::get(&[&"organizations", id, &"webhook-events"], view).pages("before", limit)
}

/// Where an event got to, then the recharge that it led to.
fn event(body: &Value, show: &Show) -> String {
    let mut about = body.clone();
    let recharge = about.as_object_mut().and_then(|about| about.remove("recharge")).unwrap_or_default();
    if recharge["currency"].is_string() {
        about["currency"] = recharge["currency"].clone();
    }
    let text = details(&about, &["event_id", "state", "decision", "reason", "message"], show);
    if recharge.is_object() { text + "\n" + &chain(&recharge, show) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_with_its_recharge() {
        let recharge = json!({ "recharge_id": "r", "status": "settled", "currency": "usd" });
        let body = json!({ "event_id": "e", "state": "settled", "new_quota": 5, "recharge": recharge });
        assert_eq!(
            event(&body, &Show::plain_utc()),
            "event_id   e\nstate      settled\ncurrency   usd\nnew_quota  5 USD\n\nrecharge r\n\n  status    settled\n  currency  usd\n"
        );
        assert_eq!(event(&json!({ "state": "accepted", "recharge": null }), &Show::plain_utc()), "state  accepted\n");
    }
}
