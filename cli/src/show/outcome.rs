//! How a call ended that moves money or quota. Pure.

use serde_json::Value;

use super::value::currency_of;
use super::{Show, details, indented, plain, text_of};

/// What is told first, in this order.
const FIRST: [&str; 7] =
    ["recharged_amount", "refunded_amount", "amount", "fee", "total_charge", "refunded_total", "new_quota"];

/// What came of it: a sentence with the numbers, then all that was answered.
pub(crate) fn outcome(body: &Value, show: &Show) -> String {
    let amount = |name: &str| text_of(name, &body[name], currency_of(body), show);
    let word = |name: &str| plain(body[name].as_str().unwrap_or_default());
    let mut told = vec!["success", "action"];
    let sentence = match (body["success"].as_bool(), word("action").as_str()) {
        (Some(true), "recharged" | "auto_recharged") => {
            format!("Recharged by {}. The quota is {} now.", amount("recharged_amount"), amount("new_quota"))
        }
        (Some(true), "refunded") => format!("Refunded {}.", amount("refunded_total")),
        (Some(true), _) if body["quota"].is_number() => format!("Done. The quota is {} now.", amount("quota")),
        (Some(true), _) => "Done.".to_owned(),
        (_, action) => {
            told.extend(["reason", "message"]);
            let parts = [action.replace('_', " "), word("reason"), word("message")];
            let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            format!("Not done: {}", parts.join(": "))
        }
    };
    let mut rest = body.clone();
    if let Some(rest) = rest.as_object_mut() {
        told.into_iter().for_each(|told| drop(rest.remove(told)));
    }
    format!("{sentence}\n{}", indented(&details(&rest, &FIRST, show), 2))
}

/// What is told of a call that was accepted and has not ended, or of which nobody knows whether it was accepted.
pub(crate) fn accepted(body: &Value, show: &Show) -> String {
    let word = |name: &str| plain(body[name].as_str().unwrap_or_default());
    let sentence = match body["message"].as_str() {
        Some(message) => plain(message),
        None => "Accepted; it has not ended yet.".to_owned(),
    };
    let ask = match (word("event_id"), word("run_id")) {
        (event, _) if !event.is_empty() => format!("  ask with    bill event {event}\n"),
        (_, run) if !run.is_empty() => format!("  ask with    bill reconcile show {run}\n"),
        _ => return format!("{sentence}\n{}", indented(&details(body, &[], show), 2)),
    };
    format!("{sentence}\n{ask}  status URL  {}\n", word("status_url"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_recharge() {
        let done = r#"{"success": true, "action": "recharged", "recharged_amount": 25.00, "fee": 0.75, "total_charge": 25.75,
                       "currency": "usd", "event_id": "req_1", "recharge_id": "r1", "new_quota": 225.00}"#;
        assert_eq!(
            outcome(&read(done), &Show::plain_utc()),
            "Recharged by 25.00 USD. The quota is 225.00 USD now.\n  recharged_amount  25.00 USD\n  fee               0.75 USD\n  \
             total_charge      25.75 USD\n  new_quota         225.00 USD\n  currency          usd\n  event_id          req_1\n  recharge_id       r1\n"
        );
        let declined = r#"{"success": false, "action": "declined", "reason": "insufficient_funds", "message": "Your card is empty.", "paused": true, "amount": 25.00, "currency": "usd", "class": null, "recharge_id": "r1"}"#;
        assert_eq!(
            outcome(&read(declined), &Show::plain_utc()),
            "Not done: declined: insufficient_funds: Your card is empty.\n  amount       25.00 USD\n  \
             currency     usd\n  paused       yes\n  recharge_id  r1\n"
        );
        let confirm = json!({ "success": false, "action": "action_required", "reason": "authentication_required",
                              "message": "", "confirmation_url": "https://pay/1" });
        assert_eq!(
            outcome(&confirm, &Show::plain_utc()),
            "Not done: action required: authentication_required\n  confirmation_url  https://pay/1\n"
        );
    }

    #[test]
    fn a_quota() {
        let synced = json!({ "success": true, "quota": 5, "changed": false, "event_id": "e" });
        assert!(outcome(&synced, &Show::plain_utc()).starts_with("Done. The quota is 5 now.\n"));
        let failed = json!({ "success": false, "reason": "backend_refused", "message": "no", "quota": 5 });
        assert!(outcome(&failed, &Show::plain_utc()).starts_with("Not done: backend_refused: no\n"));
    }

    #[test]
    fn not_at_its_end() {
        let body = json!({ "accepted": true, "event_id": "req_1", "status_url": "http://x/api/events/req_1" });
        assert_eq!(
            accepted(&body, &Show::plain_utc()),
            "Accepted; it has not ended yet.\n  ask with    bill event req_1\n  status URL  http://x/api/events/req_1\n"
        );
        let run = json!({ "accepted": true, "run_id": "run_1", "status_url": "u" });
        assert!(accepted(&run, &Show::plain_utc()).contains("bill reconcile show run_1"));
        let unknown = json!({ "accepted": null, "message": "It is not known", "event_id": "req_1", "status_url": "u" });
        assert!(accepted(&unknown, &Show::plain_utc()).starts_with("It is not known\n"));
    }
}
