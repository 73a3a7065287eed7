//! The body of a limit-exceeded webhook. Pure: bytes in, a payload out, or everything that is wrong with them.

use common::contract::{LimitExceededV1, LimitSource};
use serde_json::Value;

use super::storable::storable;
use crate::fields::{self, FieldProblem, Fields};

/// Why a body is none.
#[derive(Debug)]
pub enum BadBody {
    /// Not JSON; the error knows where.
    NotJson(serde_json::Error),
    /// JSON, with these fields wrong.
    Fields(Vec<FieldProblem>),
}

/// Reads the body.
///
/// # Errors
/// What is wrong with it.
pub fn parse(body: &[u8]) -> Result<LimitExceededV1, BadBody> {
    let value: Value = serde_json::from_slice(body).map_err(BadBody::NotJson)?;
    let Some(object) = value.as_object() else {
        return Err(BadBody::Fields(vec![FieldProblem {
            field: String::new(),
            problem: "must be an object".to_owned(),
        }]));
    };
    let mut fields = Fields::of(object);
    let event_type = fields.required("event_type", |value| match value.as_str() {
        Some("limit_exceeded") => Ok("limit_exceeded".to_owned()),
        _ => Err("must be \"limit_exceeded\"".to_owned()),
    });
    let team_id = fields.required("team_id", fields::team_id);
    let current_usage = fields.required("current_usage", fields::decimal);
    let current_limit = fields.required("current_limit", fields::decimal);
    let exceeded_by = fields.optional("exceeded_by", fields::decimal);
    let occurred_at = fields.optional("timestamp", fields::timestamp);
    let organization_id = fields.optional("organization_id", fields::organization_id);
    fields.finish().map_err(BadBody::Fields)?;
    // All four are there when nothing was wrong.
    let (Some(event_type), Some(team_id), Some(current_usage), Some(current_limit)) =
        (event_type, team_id, current_usage, current_limit)
    else {
        return Err(BadBody::Fields(Vec::new()));
    };
    Ok(LimitExceededV1 {
        source: LimitSource::LimitExceeded,
        event_type,
        team_id,
        organization_id,
        current_usage,
        current_limit,
        exceeded_by,
        occurred_at,
        raw: storable(value),
    })
}

#[cfg(test)]
mod tests {
    use common::money::decimal_from_json;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn good() -> Value {
        json!({"event_type": "limit_exceeded", "team_id": "team_webhook_001", "current_usage": 520, "current_limit": 500,
               "exceeded_by": 20, "timestamp": "2025-07-17T10:00:00Z", "organization_id": "acme"})
    }

    fn with(field: &str, value: Value) -> Value {
        let mut body = good();
        body[field] = value;
        body
    }

    fn check(body: &Value, bad_fields: &[&str]) {
        match parse(body.to_string().as_bytes()) {
            Ok(_) => assert!(bad_fields.is_empty(), "{body} was taken, expected {bad_fields:?}"),
            Err(BadBody::Fields(problems)) => {
                let names: Vec<_> = problems.iter().map(|problem| problem.field.as_str()).collect();
                assert_eq!(names, bad_fields, "{body}");
            }
            Err(BadBody::NotJson(error)) => panic!("{body}: {error}"),
        }
    }

    #[test]
    fn fields() {
        check(&good(), &[]);
        check(&json!({}), &["event_type", "team_id", "current_usage", "current_limit"]);
        check(&json!([]), &[""]);
        check(&json!("limit_exceeded"), &[""]);
        check(&with("current_usage", json!("520.25")), &[]);
        check(&with("organization_id", Value::Null), &[]);
        check(&with("timestamp", Value::Null), &[]);
        check(&with("exceeded_by", Value::Null), &[]);
        check(&with("something_new", json!({"a": [1]})), &[]);
        check(&with("event_type", json!("key_created")), &["event_type"]);
        check(&with("team_id", json!(7)), &["team_id"]);
        check(&with("team_id", json!("")), &["team_id"]);
        check(&with("team_id", json!("a b")), &["team_id"]);
        check(&with("team_id", json!("x".repeat(129))), &["team_id"]);
        check(&with("current_usage", json!(-1)), &["current_usage"]);
        check(&with("current_usage", Value::Null), &["current_usage"]);
        check(&with("current_limit", json!("much")), &["current_limit"]);
        check(&with("exceeded_by", json!(true)), &["exceeded_by"]);
        check(&with("timestamp", json!("yesterday")), &["timestamp"]);
        check(&with("organization_id", json!("a.b")), &["organization_id"]);
        check(
            &json!({"event_type": 1, "team_id": [], "current_usage": {}, "current_limit": "", "timestamp": 0}),
            &["event_type", "team_id", "current_usage", "current_limit", "timestamp"],
        );
    }

    #[test]
    fn numbers_are_exact() {
        let body = br#"{"event_type":"limit_exceeded","team_id":"t","current_usage":520.1000000000000001,"current_limit":"500"}"#;
        let event = parse(body).unwrap();
        assert_eq!(event.current_usage.to_string(), "520.1000000000000001");
        assert_eq!(decimal_from_json(&event.raw["current_usage"]), Ok(event.current_usage));
    }

    #[test]
    fn what_is_not_json_says_where() {
        let Err(BadBody::NotJson(error)) = parse(b"{\n  \"event_type\": oops") else { panic!("taken") };
        assert_eq!((error.line(), error.column()), (2, 17));
        assert!(matches!(parse(b""), Err(BadBody::NotJson(_))));
        assert!(matches!(parse(&[0xff, 0xfe]), Err(BadBody::NotJson(_))));
        assert!(matches!(parse("[".repeat(60_000).as_bytes()), Err(BadBody::NotJson(_))));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&body);
        }

        #[test]
        fn no_mutilation_of_a_good_body_panics(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut body = good().to_string().into_bytes();
            let at = at.index(body.len());
            body[at] = byte;
            body.truncate(cut.index(body.len()) + 1);
            let _ = parse(&body);
        }
    }
}
