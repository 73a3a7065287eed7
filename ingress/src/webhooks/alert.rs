//! What LiteLLM's own alert means. Pure: a body in, what to publish out.
//!
//! Facts, from running proxies: a body has no id and no time, unknown fields and nulls appear, and one crossing brings up
//! to a dozen copies. So the id is made of what copies share.

use common::contract::{IgnoredWebhookV1, LimitExceededV1, LimitSource, LowBalanceHintV1};
use common::ids::{EventId, TeamId};
use rust_decimal::Decimal;
use serde_json::Value;

use super::storable::storable;
use crate::fields;

/// What an alert asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Alert {
    /// A team's budget is used up: a reason to recharge.
    LimitExceeded(LimitExceededV1),
    /// A team comes near its budget: a reason to look at the balance now.
    Hint(LowBalanceHintV1),
    /// Recorded and not acted on.
    Ignored(IgnoredWebhookV1),
}

/// An alert with its id.
#[derive(Debug, Clone, PartialEq)]
pub struct Understood {
    /// The same for every copy of the alert.
    pub id: EventId,
    /// What it asks for.
    pub alert: Alert,
}

/// Longer names of teams and events are cut: they are only for the log.
const LONGEST_NAME: usize = 128;

/// Reads an alert. Every JSON value is one: what is not understood is recorded, because a refusal would only be sent again.
#[must_use]
pub fn understand(body: &[u8], value: Value) -> Understood {
    let text = |field: &str| value[field].as_str().map(str::to_owned);
    let (event, group, team) = (text("event"), text("event_group"), text("team_id"));
    let team_id = team.as_deref().and_then(|team| TeamId::parse(team).ok());
    let spend = fields::decimal(&value["spend"]).ok();
    let budget = fields::decimal(&value["max_budget"]).ok();
    let reason = match (group.as_deref(), event.as_deref(), team_id) {
        (Some("team"), Some(event @ ("budget_crossed" | "max_budget_alert")), Some(team_id)) => match (spend, budget) {
            (Some(spend), Some(budget)) => return exceeded(event, team_id, spend, budget, value),
            _ => "no spend or no max_budget".to_owned(),
        },
        (
            Some("team"),
            Some(event @ ("threshold_crossed" | "soft_budget_crossed" | "projected_limit_exceeded")),
            Some(team_id),
        ) => {
            let id = same_for_copies(&team_id, event, spend.unwrap_or_default(), budget.unwrap_or_default());
            let hint = LowBalanceHintV1 { event_type: event.to_owned(), team_id, raw: storable(value) };
            return Understood { id, alert: Alert::Hint(hint) };
        }
        (Some("team"), Some(_), Some(_)) => "not an event that calls for a recharge".to_owned(),
        (Some("team"), _, None) => "no valid team_id".to_owned(),
        (Some(group), _, _) => format!("event_group is {}, not team", name(group)),
        (None, _, _) => "not an alert of LiteLLM".to_owned(),
    };
    Understood { id: EventId::from_body("alert", body), alert: Alert::Ignored(ignored(&value, reason)) }
}

/// A record of a body that is not acted on.
#[must_use]
pub fn ignored(value: &Value, reason: String) -> IgnoredWebhookV1 {
    IgnoredWebhookV1 {
        reason,
        event_type: value["event"].as_str().map(name),
        team_id: value["team_id"].as_str().map(name),
        raw: storable(value.clone()),
    }
}

fn exceeded(event: &str, team_id: TeamId, spend: Decimal, budget: Decimal, value: Value) -> Understood {
    let id = same_for_copies(&team_id, event, spend, budget);
    let event = LimitExceededV1 {
        source: LimitSource::LitellmAlert,
        event_type: event.to_owned(),
        team_id,
        // LiteLLM's organization_id is its own, not ours.
        organization_id: None,
        current_usage: spend,
        current_limit: budget,
        exceeded_by: spend.checked_sub(budget).filter(|over| !over.is_sign_negative()),
        occurred_at: None,
        raw: storable(value),
    };
    Understood { id, alert: Alert::LimitExceeded(event) }
}

/// The id of an alert: team, event, budget, and the spend in steps of a hundredth of the budget. Copies of one crossing
/// fall together, although the spend grows a little while they are sent; a crossing after a raise has another budget.
fn same_for_copies(team: &TeamId, event: &str, spend: Decimal, budget: Decimal) -> EventId {
    let step = budget.checked_div(Decimal::ONE_HUNDRED).filter(|step| !step.is_zero()).unwrap_or(Decimal::ONE);
    let bucket = spend.checked_div(step).unwrap_or_default().floor();
    EventId::from_body("alert", format!("{team}\n{event}\n{}\n{}", budget.normalize(), bucket.normalize()).as_bytes())
}

fn name(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bodies as a real proxy sent them.
    fn fixture(name: &str) -> String {
        let path = format!("{}/tests/it/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn read(body: &str) -> Understood {
        understand(body.as_bytes(), serde_json::from_str(body).unwrap())
    }

    #[test]
    fn a_teams_crossed_budget_is_a_reason_to_recharge() {
        let Alert::LimitExceeded(event) = read(&fixture("team_budget_crossed")).alert else { panic!("another alert") };
        assert_eq!(event.source, LimitSource::LitellmAlert);
        assert_eq!(event.team_id.as_str(), "team-acme");
        assert_eq!(
            (event.current_usage.to_string(), event.current_limit.to_string()),
            ("0.06".to_owned(), "0.05".to_owned())
        );
        let renamed =
            fixture("team_budget_crossed").replace("\"event\":\"budget_crossed\"", "\"event\":\"max_budget_alert\"");
        assert!(matches!(read(&renamed).alert, Alert::LimitExceeded(_)));
    }

    #[test]
    fn what_comes_near_is_a_hint() {
        for event in ["threshold_crossed", "soft_budget_crossed", "projected_limit_exceeded"] {
            let body = fixture("team_budget_crossed")
                .replace("\"event\":\"budget_crossed\"", &format!("\"event\":\"{event}\""));
            let Alert::Hint(hint) = read(&body).alert else { panic!("{event}") };
            assert_eq!((hint.event_type.as_str(), hint.team_id.as_str()), (event, "team-acme"));
        }
    }

    #[test]
    fn everything_else_is_recorded() {
        let check = |body: &str, want: &str| match read(body).alert {
            Alert::Ignored(ignored) => assert_eq!(ignored.reason, want, "{body}"),
            other => panic!("{body}: {other:?}"),
        };
        check(&fixture("key_budget_crossed"), "event_group is key, not team");
        check(&fixture("key_threshold_crossed"), "event_group is key, not team");
        check(&fixture("organization_budget_crossed"), "event_group is organization, not team");
        check(&fixture("customer_spend_tracked"), "event_group is end_user, not team");
        check(&fixture("health_services_webhook_test"), "event_group is key, not team");
        let team = fixture("team_budget_crossed");
        check(&team.replace("\"team-acme\"", "null"), "no valid team_id");
        check(&team.replace("\"max_budget\":0.05", "\"max_budget\":null"), "no spend or no max_budget");
        check(
            &team.replace("\"event\":\"budget_crossed\"", "\"event\":\"spend_tracked\""),
            "not an event that calls for a recharge",
        );
        for odd in ["[]", "1", "null", "\"x\"", "{}"] {
            check(odd, "not an alert of LiteLLM");
        }
    }

    #[test]
    fn copies_have_one_id_and_another_budget_has_another() {
        let body = fixture("team_budget_crossed");
        let id = |body: &str| read(body).id;
        let grown = |spend: &str| body.replace("\"spend\":0.06", &format!("\"spend\":{spend}"));
        assert_eq!(id(&body), id(&grown("0.06000000000000001")));
        assert_eq!(id(&body), id(&grown("0.0604")));
        assert_ne!(id(&body), id(&grown("0.0606")));
        assert_ne!(id(&body), id(&body.replace("\"max_budget\":0.05", "\"max_budget\":0.1")));
        assert_eq!(id(&body), id(&body.replace("\"max_budget\":0.05", "\"max_budget\":0.050")));
        assert_ne!(id(&body), id(&body.replace("team-acme", "team-b")));
        assert_ne!(id(&body), id(&body.replace("\"event\":\"budget_crossed\"", "\"event\":\"max_budget_alert\"")));
        // A budget of zero has no hundredth.
        assert!(matches!(
            read(&body.replace("\"max_budget\":0.05", "\"max_budget\":0")).alert,
            Alert::LimitExceeded(_)
        ));
    }

    proptest! {
        #[test]
        fn no_numbers_panic(spend in r"[0-9]{1,15}(\.[0-9]{1,28})?", budget in r"[0-9]{1,15}(\.[0-9]{1,28})?") {
            let body = format!(r#"{{"event_group":"team","event":"budget_crossed","team_id":"t","spend":{spend},"max_budget":{budget}}}"#);
            if let Ok(value) = serde_json::from_str(&body) {
                let _ = understand(body.as_bytes(), value);
            }
        }
    }
}
