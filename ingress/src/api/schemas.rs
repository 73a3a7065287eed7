//! Schemas that many routes share. They only describe: bodies are read field by field, and answers are written by the
//! types that the rest of them stands in.

use std::borrow::Cow;

use common::ids::EventId;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::idempotency::LONGEST_KEY;
use super::{LARGEST_PAGE, USUAL_PAGE};

/// How many items a page shall have.
pub(crate) struct PageSize;

impl JsonSchema for PageSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "PageSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": LARGEST_PAGE, "default": USUAL_PAGE })
    }
}

/// Why a call was not done. Some problems carry more: which fields are wrong, when to come again, which id it is about.
#[derive(JsonSchema)]
#[schemars(rename = "Problem")]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct ProblemBody {
    /// A sentence for people: what is wrong and what to do.
    error: String,
    /// A stable word for programs.
    #[schemars(pattern(r"^[a-z][a-z0-9_]*$"))]
    code: String,
    /// Everything that is wrong with the body, field by field.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    fields: Option<Vec<FieldOfProblem>>,
}

/// What is wrong with one field.
#[derive(JsonSchema)]
#[schemars(rename = "FieldProblem")]
#[expect(dead_code, reason = "only its schema is used")]
struct FieldOfProblem {
    /// The field; empty for the body as a whole.
    field: String,
    /// What is wrong, as the end of a sentence that begins with the field.
    problem: String,
}

/// A page of a list.
#[derive(JsonSchema)]
#[schemars(rename = "PageOf{T}")]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Page<T> {
    /// The items.
    items: Vec<T>,
    /// What to ask for the next page with; null: there is none.
    next_cursor: Option<String>,
}

/// A text as [`crate::fields::text`] takes it: of 1 to so many characters, without control characters.
pub(crate) struct Words<const LONGEST: usize>;

impl<const LONGEST: usize> JsonSchema for Words<LONGEST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Words{LONGEST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": r"^[^\x00-\x1f\x7f-\x9f]+$",
        })
    }
}

/// A whole number as [`crate::fields::integer`] takes it: as a number, or as a text of its digits.
pub(crate) struct Whole<const LEAST: i32, const MOST: i32>;

impl<const LEAST: i32, const MOST: i32> JsonSchema for Whole<LEAST, MOST> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        format!("Whole{LEAST}To{MOST}").into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [
                { "type": "integer", "minimum": LEAST, "maximum": MOST },
                { "type": "string", "pattern": r"^[0-9]{1,7}$", "description": "The same number in digits." },
            ],
        })
    }
}

fn amount(least: &Value, digits: &str) -> Schema {
    json_schema!({
        "description": "An exact decimal, as a number or as a text. It has at most the decimals of the currency, and at most two.",
        "anyOf": [
            { "type": "number", "minimum": least, "maximum": 99_999_999.99, "multipleOf": 0.01 },
            { "type": "string", "pattern": digits },
        ],
    })
}

/// An amount of money in the organization's currency, of zero or more.
pub(crate) struct Amount;

impl JsonSchema for Amount {
    fn schema_name() -> Cow<'static, str> {
        "Amount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        amount(&json!(0), r"^[0-9]{1,8}(\.[0-9]{1,2})?$")
    }
}

/// An amount of money in the organization's currency, of more than zero.
pub(crate) struct PositiveAmount;

impl JsonSchema for PositiveAmount {
    fn schema_name() -> Cow<'static, str> {
        "PositiveAmount".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        amount(&json!(0.01), r"^([1-9][0-9]{0,7}(\.[0-9]{1,2})?|0\.([1-9][0-9]?|0[1-9]))$")
    }
}

/// What was spent, or may be, as [`crate::fields::decimal`] takes it: far more digits than money has.
pub(crate) struct Quantity;

impl JsonSchema for Quantity {
    fn schema_name() -> Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An exact decimal of zero or more, as a number or as a text.",
            "anyOf": [
                { "type": "number", "minimum": 0, "maximum": 1_000_000_000_000_000_i64 },
                { "type": "string", "pattern": r"^[0-9]{1,15}(\.[0-9]{1,12})?$" },
            ],
        })
    }
}

/// The header `Idempotency-Key`.
pub(crate) struct IdempotencyKey;

impl JsonSchema for IdempotencyKey {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "IdempotencyKey".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // Blanks at its end are none of it: HTTP takes them away.
        json_schema!({ "type": "string", "minLength": 1, "maxLength": LONGEST_KEY, "pattern": r"^[!-~][\t -~]*$" })
    }
}

/// A moment as [`crate::fields::timestamp`] takes it.
pub(crate) struct Moment;

impl JsonSchema for Moment {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Moment".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "minLength": 20 })
    }
}

/// A number of a message in a stream, or of a row in a table, from 0.
pub(crate) struct Position;

impl JsonSchema for Position {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Position".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 0, "maximum": i64::MAX })
    }
}

/// A cursor of a list of things with UUIDs in the order of time: microseconds and the id.
pub(crate) struct UuidCursor;

impl JsonSchema for UuidCursor {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "UuidCursor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{1,16}_[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$" })
    }
}

/// A cursor of a list of events in the order of time: microseconds and the id.
pub(crate) struct EventCursor;

impl JsonSchema for EventCursor {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "EventCursor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[0-9]{1,16}_[A-Za-z0-9_.:-]{1,200}$" })
    }
}

/// What became of a call of whose outcome nobody waited for the end.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum NotEnded {
    Accepted(Accepted),
    Unconfirmed(Unconfirmed),
}

/// It was accepted, and has not ended yet.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Accepted {
    /// It is certain to happen.
    #[schemars(extend("const" = true))]
    accepted: bool,
    /// The event that it became.
    event_id: EventId,
    /// Where to ask how it ended.
    status_url: String,
}

/// Nobody knows whether it was accepted: the message broker did not confirm it in time.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Unconfirmed {
    /// Not known.
    accepted: (),
    #[schemars(extend("const" = "unconfirmed"))]
    state: String,
    /// The event that it became, or will when the call is repeated.
    event_id: EventId,
    /// Where to ask what became of it.
    status_url: String,
    /// With this key the call can be repeated as the same call.
    idempotency_key: String,
    /// The same as a sentence.
    message: String,
}
