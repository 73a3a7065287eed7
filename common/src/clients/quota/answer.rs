//! What a backend answered, as values. Pure.

use std::time::Duration;

use rust_decimal::Decimal;
use serde_json::Value;

use super::{Allowance, BackendError, BackendQuota, Listing, Usage};
use crate::ids::{OrganizationId, TeamId};
use crate::money::decimal_from_json;

/// How much of an error's body is kept.
const EXCERPT: usize = 200;
/// The longest wait that a backend may ask for: it must not be able to stop a recharge for hours with one header.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// An answer of a backend that is there.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// 2xx, with JSON.
    Body(Value),
    /// 4xx, or anything else that repeating won't change. What it means depends on the call.
    Rejected { status: u16, reason: String },
}

/// Sorts an answer by its HTTP status.
pub(super) fn classify(status: u16, retry_after: Option<&str>, body: &[u8]) -> Result<Answer, BackendError> {
    match status {
        // Nothing to say, as 204 after a write. Whoever reads a value from it finds none.
        200..=299 if body.is_empty() => Ok(Answer::Body(Value::Null)),
        200..=299 => serde_json::from_slice(body)
            .map(Answer::Body)
            .map_err(|error| BackendError::unavailable(format!("{status} with a body that is not JSON: {error}"))),
        // The server, or what stands before it, can't now.
        408 | 423 | 425 | 429 | 500..=599 => Err(BackendError::Unavailable {
            reason: format!("{status}: {}", excerpt(body)),
            after: retry_after.and_then(wait_of),
        }),
        // 4xx, and the 1xx and 3xx that the client does not follow.
        _ => Ok(Answer::Rejected { status, reason: excerpt(body) }),
    }
}

/// `Retry-After` in seconds. The form with a date is not used between programs.
fn wait_of(header: &str) -> Option<Duration> {
    let seconds: u64 = header.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

/// The beginning of an error's body, on one line.
fn excerpt(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(&body[..body.len().min(EXCERPT * 4)]);
    let line: String = text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(EXCERPT).collect();
    if line.is_empty() { "no explanation".to_owned() } else { line }
}

/// Whether a rejected create means that the organization is there already. Versions differ in the status they use.
pub(super) fn says_it_exists(status: u16, reason: &str) -> bool {
    let reason = reason.to_ascii_lowercase();
    status == 409 || (matches!(status, 400 | 422) && reason.contains("exists") && !reason.contains("not exists"))
}

/// Reads one organization; it must be the one that was asked for.
pub(super) fn organization(value: &Value, wanted: &OrganizationId) -> Result<BackendQuota, BackendError> {
    if !value.is_object() || value.get("c_organization_id").is_some_and(|id| id != wanted.as_str()) {
        return Err(BackendError::unavailable(format!("the answer is not about {wanted}")));
    }
    let quota = value
        .get("quota")
        .and_then(|quota| decimal_from_json(quota).ok())
        .ok_or_else(|| BackendError::unavailable("the answer has no readable quota"))?;
    Ok(BackendQuota { quota: Allowance::Limited(quota), team_id: team(value.get("l_team_id")), usage_reset: None })
}

/// A team id that we can't hold is as good as none: it is no reason to leave a customer without quota.
fn team(value: Option<&Value>) -> Option<TeamId> {
    match value? {
        Value::String(text) => TeamId::parse(text.clone()).ok(),
        Value::Number(number) => TeamId::parse(number.to_string()).ok(),
        _ => None,
    }
}

/// Finds one organization in the list.
pub(super) fn in_list(list: &Value, wanted: &OrganizationId) -> Result<Option<BackendQuota>, BackendError> {
    items(list)?
        .iter()
        .find(|item| item.get("c_organization_id").is_some_and(|id| id == wanted.as_str()))
        .map(|item| organization(item, wanted))
        .transpose()
}

/// Reads the whole list. What in it can't be read, or is nobody of ours, is passed over: one such must not hide the others.
pub(super) fn listing(list: &Value) -> Result<Listing, BackendError> {
    let known = items(list)?.iter().filter_map(|item| {
        let id = OrganizationId::parse(item.get("c_organization_id")?.as_str()?).ok()?;
        let quota = organization(item, &id).ok()?;
        Some((id, quota))
    });
    Ok(known.collect())
}

fn items(list: &Value) -> Result<&Vec<Value>, BackendError> {
    list.as_array()
        .or_else(|| list.get("organizations")?.as_array())
        .or_else(|| list.get("data")?.as_array())
        .ok_or_else(|| BackendError::unavailable("the list of organizations is not a list"))
}

/// Reads what was spent. A negative number is how the KMS says that it does not know.
pub(super) fn spend(value: &Value) -> Result<Usage, BackendError> {
    match value.get("spend") {
        None => Err(BackendError::unavailable("the answer has no spend")),
        Some(Value::Null) => Ok(Usage::Unavailable),
        Some(spend) => match decimal_from_json(spend) {
            Ok(spend) if spend < Decimal::ZERO => Ok(Usage::Unavailable),
            Ok(spend) => Ok(Usage::Known(spend)),
            Err(_) => Err(BackendError::unavailable("the answer has no readable spend")),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn acme() -> OrganizationId {
        OrganizationId::parse("acme").unwrap()
    }

    fn decimal(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    #[test]
    fn every_status_has_a_meaning() {
        for status in 0..=999_u16 {
            let got = classify(status, None, b"{}");
            match status {
                200..=299 => assert_eq!(got, Ok(Answer::Body(json!({}))), "{status}"),
                408 | 423 | 425 | 429 | 500..=599 => {
                    assert!(matches!(got, Err(BackendError::Unavailable { after: None, .. })), "{status}");
                }
                _ => assert!(matches!(got, Ok(Answer::Rejected { status: s, .. }) if s == status), "{status}"),
            }
        }
    }

    #[test]
    fn an_unreadable_success_is_no_success() {
        for body in [&b"<html>"[..], b"\xff", b" "] {
            assert!(matches!(classify(200, None, body), Err(BackendError::Unavailable { .. })));
        }
        assert_eq!(classify(204, None, b""), Ok(Answer::Body(Value::Null)));
        assert!(organization(&Value::Null, &acme()).is_err());
        assert!(in_list(&Value::Null, &acme()).is_err());
        assert!(spend(&Value::Null).is_err());
    }

    #[test]
    fn the_wait_that_was_asked_for_is_kept_within_reason() {
        for (header, want) in
            [("3", Some(3)), (" 7 ", Some(7)), ("99999", Some(60)), ("-1", None), ("Wed, 21 Oct 2026", None)]
        {
            let Err(BackendError::Unavailable { after, .. }) = classify(429, Some(header), b"") else { panic!() };
            assert_eq!(after, want.map(Duration::from_secs), "{header}");
        }
    }

    #[test]
    fn what_means_that_it_exists() {
        for (status, reason, want) in [
            (409, "", true),
            (400, "Organization already exists", true),
            (422, "c_organization_id EXISTS", true),
            (400, "quota must be positive", false),
            (400, "team not exists", false),
            (403, "exists", false),
        ] {
            assert_eq!(says_it_exists(status, reason), want, "{status} {reason}");
        }
    }

    #[test]
    fn quotas_are_numbers_or_strings() {
        for quota in [json!(500), json!(500.10), json!("500"), json!("500.10"), json!("5e2"), json!(0)] {
            let value = json!({ "c_organization_id": "acme", "quota": quota, "l_team_id": "team_1" });
            let got = organization(&value, &acme()).unwrap();
            assert!(got.quota.is(decimal_from_json(&quota).unwrap()));
            assert_eq!(got.team_id.unwrap().as_str(), "team_1");
        }
        for bad in [json!(null), json!("many"), json!(true), json!([1])] {
            assert!(organization(&json!({ "quota": bad }), &acme()).is_err(), "{bad}");
        }
        assert!(organization(&json!({ "c_organization_id": "other", "quota": 1 }), &acme()).is_err());
        assert!(organization(&json!([]), &acme()).is_err());
    }

    #[test]
    fn a_team_may_be_missing() {
        for (team_id, want) in [(json!(null), None), (json!(""), None), (json!("a b"), None), (json!(7), Some("7"))] {
            let got = organization(&json!({ "quota": 1, "l_team_id": team_id }), &acme()).unwrap();
            assert_eq!(got.team_id.as_ref().map(TeamId::as_str), want);
        }
    }

    #[test]
    fn the_list_is_searched() {
        let one = json!({ "c_organization_id": "other", "quota": 1 });
        let two = json!({ "c_organization_id": "acme", "quota": "2.50" });
        for list in [json!([one, two]), json!({ "organizations": [one, two] }), json!({ "data": [one, two] })] {
            assert!(in_list(&list, &acme()).unwrap().unwrap().quota.is(decimal("2.5")));
        }
        assert_eq!(in_list(&json!([one]), &acme()), Ok(None));
        assert!(in_list(&json!({ "detail": "no" }), &acme()).is_err());
        assert!(in_list(&json!([{ "c_organization_id": "acme" }]), &acme()).is_err());
    }

    #[test]
    fn the_list_is_read_whole_and_what_is_odd_in_it_passed_over() {
        let good = json!({ "c_organization_id": "acme", "quota": "2.50", "l_team_id": "team_1" });
        let odd =
            [json!({ "c_organization_id": "a b", "quota": 1 }), json!({ "c_organization_id": "other" }), json!(7)];
        let list = Value::Array(odd.into_iter().chain([good]).collect());
        let got = listing(&list).unwrap();
        assert_eq!(got.keys().map(OrganizationId::as_str).collect::<Vec<_>>(), ["acme"]);
        assert!(got[&acme()].quota.is(decimal("2.5")));
        assert!(listing(&json!({ "detail": "no" })).is_err());
        assert!(listing(&json!([])).unwrap().is_empty());
    }

    #[test]
    fn minus_one_is_unavailable() {
        for (value, want) in [
            (json!("-1.0"), Usage::Unavailable),
            (json!(-1), Usage::Unavailable),
            (json!(-0.01), Usage::Unavailable),
            (json!(null), Usage::Unavailable),
            (json!("0"), Usage::Known(Decimal::ZERO)),
            (json!("12.345"), Usage::Known(decimal("12.345"))),
            (json!(12.345), Usage::Known(decimal("12.345"))),
        ] {
            assert_eq!(spend(&json!({ "spend": value })), Ok(want), "{value}");
        }
        assert!(spend(&json!({})).is_err());
        assert!(spend(&json!({ "spend": "a lot" })).is_err());
    }
}
