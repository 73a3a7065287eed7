//! `bill simulate`.

use clap::Args;
use common::ids::OrganizationId;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::call::{Body, Call};
use crate::show::{As, Column, Show, details, indented, plain, table};
use crate::values::{self, Setting};

const SIMULATED: [Column; 6] = [
    Column("WHEN", "at", As::Whole),
    Column("USAGE", "usage", As::Number),
    Column("QUOTA", "quota_before", As::Number),
    Column("AMOUNT", "amount", As::Number),
    Column("CHARGE", "total_charge", As::Number),
    Column("NEW QUOTA", "quota_after", As::Number),
];

const SKIPS: [Column; 4] = [
    Column("NOT BECAUSE OF", "reason", As::Text),
    Column("COUNT", "count", As::Number),
    Column("FIRST", "first", As::Whole),
    Column("LAST", "last", As::Whole),
];

#[derive(Debug, Args)]
pub(crate) struct Simulate {
    /// The organization
    #[arg(value_parser = values::organization)]
    id: OrganizationId,
    /// Over the usage of so many last days; otherwise: now, as the sweep would see it
    #[arg(long, value_name = "N")]
    days: Option<u32>,
    /// For a person who asks for so much
    #[arg(long, conflicts_with_all = ["days", "usage"], value_name = "AMOUNT", value_parser = values::amount)]
    amount: Option<Decimal>,
    /// For a webhook that says that so much is spent
    #[arg(long, requires = "limit", value_name = "AMOUNT", value_parser = values::amount)]
    usage: Option<Decimal>,
    /// … with this limit in force
    #[arg(long, requires = "usage", value_name = "AMOUNT", value_parser = values::amount)]
    limit: Option<Decimal>,
    /// … by how much it was exceeded, as the sender says
    #[arg(long, requires = "usage", value_name = "AMOUNT", value_parser = values::amount)]
    exceeded_by: Option<Decimal>,
    /// A setting that is tried and not saved, by the names that `bill org show` tells
    #[arg(long = "set", num_args = 1.., value_name = "KEY=VALUE")]
    settings: Vec<Setting>,
}

impl Simulate {
    pub(super) fn call(self) -> Call {
        let Self { id, days, amount, usage, limit, exceeded_by, settings } = self;
        let event = usage.map(|_| {
            let event = Body::new().amount("current_usage", usage).amount("current_limit", limit);
            Value::from(event.amount("exceeded_by", exceeded_by))
        });
        let policy = Body::new().settings(settings);
        let policy = (!policy.is_empty()).then(|| Value::from(policy));
        let body =
            Body::new().maybe("event", event).maybe("days", days).amount("amount", amount).maybe("policy", policy);
        Call::post(&[&"organizations", &id, &"simulate"], simulation).body(body)
    }
}

/// The decision, then the replay: each with its sentence first.
fn simulation(body: &Value, show: &Show) -> String {
    let mut text = String::new();
    let currency = body["currency"].as_str();
    for part in ["decision", "replay"] {
        let Some(told) = body[part].as_object() else { continue };
        if !text.is_empty() {
            text.push('\n');
        }
        let mut rest = told.clone();
        rest.entry("currency").or_insert_with(|| body["currency"].clone());
        let mut take = |name: &str| rest.remove(name).unwrap_or_default();
        let (message, listed, skips) = (take("message"), take("simulated"), take("skips"));
        text.push_str(&format!("{}\n", plain(message.as_str().unwrap_or(part))));
        for (items, columns) in [(&listed, SIMULATED.as_slice()), (&skips, SKIPS.as_slice())] {
            if let Some(items) = items.as_array().filter(|items| !items.is_empty()) {
                text.push_str(&format!("\n{}", indented(&table(items, columns, currency, show), 2)));
            }
        }
        let first = ["would", "reason", "amount", "fee", "total_charge", "new_quota", "usage", "quota"];
        text.push_str(&format!("\n{}", indented(&details(&Value::Object(rest), &first, show), 2)));
    }
    if text.is_empty() { details(body, &[], show) } else { text }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_decision_and_a_replay() {
        let body = json!({
            "c_organization_id": "acme", "currency": "usd",
            "decision": { "would": "charge", "amount": 100, "usage_at": null, "message": "100 would be charged." },
            "replay": { "message": "There would have been 1.", "recharges": 1, "total_charge": 100, "skips": [],
                        "simulated": [{ "at": "2026-11-23T10:00:00Z", "usage": 5, "quota_before": 4, "amount": 100,
                                        "total_charge": 100, "quota_after": 104, "reduced": false }] },
        });
        assert_eq!(
            simulation(&body, &Show::plain_utc()),
            "100 would be charged.\n\
             \n  would     charge\n  amount    100 USD\n  currency  usd\n\
             \nThere would have been 1.\n\
             \n  WHEN                 USAGE  QUOTA   AMOUNT   CHARGE  NEW QUOTA\
             \n  2026-11-23 10:00:00  5 USD  4 USD  100 USD  100 USD    104 USD\n\
             \n  total_charge  100 USD\n  currency      usd\n  recharges     1\n"
        );
    }
}
