//! What became of what was asked for on the page before. Pure.

use super::data::{Config, EventStatus};
use super::phrase::{Phrase, Value, phrase, plain};
use crate::console::text::{Text, term};

/// A notice.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) class: &'static str,
    pub(super) says: Phrase,
}

/// What to say of an event; `None` where the steps of its recharge say it.
pub(super) fn outcome(text: &Text, config: &Config, event: &str, status: Option<&EventStatus>) -> Option<Outcome> {
    let words = &text.organization;
    let is_sync = event.starts_with("sync");
    let of = |class, says| Some(Outcome { class, says });
    let waiting = if is_sync { words.syncing } else { words.recharge_asked };
    // What is just being sent may not be known anywhere yet.
    let Some(status) = status else { return of("is-info", plain(waiting)) };
    if status.c_organization_id.as_deref().is_some_and(|whose| whose != config.c_organization_id) {
        return None;
    }
    match (status.state.as_str(), status.decision.as_deref()) {
        ("synced", _) => {
            let quota = status.quota.map_or_else(String::new, |quota| quota.money(&config.currency));
            let says = match (status.quota, status.changed) {
                (None, _) => words.synced,
                (Some(_), Some(true)) => words.synced_changed,
                (Some(_), _) => words.synced_same,
            };
            of("is-good", phrase(says, &[("quota", Value::Strong(&quota))]))
        }
        ("failed", None) if is_sync => {
            let message = status.message.as_deref().unwrap_or_default();
            of("is-bad", phrase(words.sync_failed, &[("message", Value::Foreign(message))]))
        }
        (_, Some("skipped")) => {
            let reason = term(text.terms.skips, status.reason.as_deref().unwrap_or_default());
            of("is-warn", phrase(words.recharge_skipped, &[("reason", Value::Strong(reason))]))
        }
        _ if status.recharge_id.is_some() => None,
        ("accepted" | "unconfirmed" | "booked" | "decided", _) => of("is-info", plain(waiting)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_became_of_it() {
        let config: Config = serde_json::from_value(json!({
            "c_organization_id": "acme", "currency": "usd", "minimum_balance": 100, "target_balance": 1000,
            "target_basis": "quota", "auto_recharge_enabled": true, "minimum_recharge_amount": 200,
            "max_daily_recharges": 5, "cooldown_seconds": 3600,
        }))
        .unwrap();
        let text = Text::of("en").unwrap();
        for (event, status, want) in [
            (
                "sync_1",
                json!({"state": "synced", "quota": 700, "changed": false}),
                "is-good In force: $700.00. Nothing had to be changed.",
            ),
            (
                "sync_1",
                json!({"state": "synced", "quota": 700, "changed": true}),
                "is-good In force: $700.00. The backend had another quota before.",
            ),
            ("sync_1", json!({"state": "unconfirmed", "c_organization_id": "acme"}), "is-info"),
            ("sync_1", json!({"state": "failed", "message": "<no>"}), "&lt;no&gt;"),
            (
                "req_1",
                json!({"state": "skipped", "decision": "skipped", "reason": "in_flight"}),
                "is-warn Nothing was charged",
            ),
            ("req_1", json!({"state": "accepted"}), "is-info"),
            ("req_1", json!({"state": "pending", "decision": "charge", "recharge_id": "r"}), "none"),
            ("sync_1", json!({"state": "synced", "quota": 1, "c_organization_id": "other"}), "none"),
        ] {
            let status: EventStatus = serde_json::from_value(status).unwrap();
            let said = outcome(text, &config, event, Some(&status));
            let said = said.map_or("none".to_owned(), |said| format!("{} {}", said.class, said.says));
            let said = said.replace("<strong>", "").replace("</strong>", "");
            assert!(said.contains(want), "{want}: {said}");
        }
        assert!(outcome(text, &config, "req_1", None).is_some());
    }
}
