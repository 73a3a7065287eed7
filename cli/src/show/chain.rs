//! One recharge, step by step. Pure.

use serde_json::Value;

use super::list::draw;
use super::value::currency_of;
use super::{As, Show, details, indented, plain, text_of};

/// What is told first, in this order.
const FIRST: [&str; 12] = [
    "status",
    "c_organization_id",
    "amount",
    "fee",
    "total_charge",
    "new_quota",
    "refunded_amount",
    "refunded_total",
    "triggered_by",
    "trigger_event_id",
    "payment_intent_id",
    "charge_id",
];

/// So many characters of a value are told in the time line.
const LONGEST: usize = 200;

/// A recharge with its time line, then what went back and what is disputed.
pub(crate) fn chain(body: &Value, show: &Show) -> String {
    let currency = currency_of(body);
    let mut about = body.clone();
    let mut take = |name: &str| about.as_object_mut().and_then(|about| about.remove(name)).unwrap_or_default();
    let (id, steps) = (take("recharge_id"), take("steps"));
    let steps = steps.as_array().map(Vec::as_slice).unwrap_or_default();
    let mut text = format!("recharge {}\n", text_of("recharge_id", &id, None, show));
    if !steps.is_empty() {
        text.push_str(&format!("\n{}", indented(&time_line(steps, currency, show), 2)));
    }
    text + "\n" + &indented(&details(&about, &FIRST, show), 2)
}

/// Each step with whatever it tells beyond its name and time.
fn time_line(steps: &[Value], currency: Option<&str>, show: &Show) -> String {
    let row = |step: &Value| {
        let field = |name: &str| text_of(name, &step[name], None, show);
        vec![field("at"), field("step"), told(step, currency_of(step).or(currency), show).join(" · ")]
    };
    let headings = ["WHEN", "STEP", "WHAT"].map(str::to_owned).to_vec();
    draw(headings, steps.iter().map(row).collect(), &[As::Whole, As::Whole, As::Text], show)
}

/// Name and value of each field that there is, and of the fields in it.
fn told(step: &Value, currency: Option<&str>, show: &Show) -> Vec<String> {
    let mut told = Vec::new();
    for (name, value) in step.as_object().into_iter().flatten() {
        match value {
            _ if value.is_null() || ["step", "at", "currency"].contains(&name.as_str()) => {}
            Value::Object(_) => told.extend(self::told(value, currency, show)),
            Value::Array(items) if items.iter().any(Value::is_object) => {
                let items: Vec<_> = items.iter().map(|item| values(item, currency, show)).collect();
                told.push(format!("{} {}", plain(name), shortened(items.join(", "))));
            }
            _ => told.push(format!("{} {}", plain(name), shortened(text_of(name, value, currency, show)))),
        }
    }
    told
}

/// The values of an item's fields: their names would be told again and again.
fn values(item: &Value, currency: Option<&str>, show: &Show) -> String {
    let fields = item.as_object().into_iter().flatten();
    let values: Vec<_> = fields.map(|(name, value)| text_of(name, value, currency, show)).collect();
    values.join(" ")
}

/// A stranger's text may be a long one, and all of it is in the JSON.
fn shortened(text: String) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_long_text_is_cut() {
        assert_eq!(shortened("ä".repeat(200)), "ä".repeat(200));
        assert_eq!(shortened("ä".repeat(201)), "ä".repeat(200) + "…");
    }

    #[test]
    fn a_chain_with_steps_that_say_more_than_is_known() {
        let body = json!({
            "recharge_id": "r1", "status": "refunded", "c_organization_id": "acme", "amount": 25, "currency": "usd",
            "failure": null, "triggered_by": "manual", "new_unknown": "x",
            "steps": [
                { "step": "claimed", "at": "2026-11-23T10:00:00Z" },
                { "step": "charged", "at": "2026-11-23T10:00:01.5Z", "total_charge": 26, "charge_id": "ch_1", "none": null,
                  "failure": { "code": "odd", "class": null },
                  "entries": [{ "account": "balance", "amount": 25 }, { "account": "clearing", "amount": -25 }] },
            ],
            "refunds": [{ "refund_key": "k", "amount": 25, "currency": "usd" }],
            "disputes": [],
        });
        assert_eq!(
            chain(&body, &Show::plain_utc()),
            "recharge r1\n\
             \n  WHEN                 STEP     WHAT\
             \n  2026-11-23 10:00:00  claimed\
             \n  2026-11-23 10:00:01  charged  charge_id ch_1 · entries balance 25 USD, clearing -25 USD · code odd · total_charge 26 USD\n\
             \n  status             refunded\
             \n  c_organization_id  acme\
             \n  amount             25 USD\
             \n  triggered_by       manual\
             \n  currency           usd\
             \n  new_unknown        x\n\
             \n  refunds\
             \n    amount  currency  refund_key\
             \n    25 USD  usd       k\n"
        );
    }
}
