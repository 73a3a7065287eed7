//! `GET /api/organizations/:id/usage`: what an organization spent, over time and this month.

use chrono::{Datelike, Duration, NaiveTime};
use common::clock::Timestamp;
use common::ids::OrganizationId;
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::{Number, json};
use sqlx::PgConnection;
use warp::http::Method;

use super::access::Access;
use super::filters::moment;
use super::operation::{Call, Operation};
use super::schemas::Moment;
use super::{organization_id, stored, unknown_organization};
use crate::app::App;
use crate::http::{Answer, Problem, Query};
use crate::outcome::quota_number;
use crate::usage::repo::{self, Look};

/// How many points are answered at most, and so how far usage is thinned.
const POINTS: i32 = 500;
/// How long a time may be asked for.
const LONGEST_DAYS: i64 = 366;
/// And what is answered when nobody says.
const USUAL_DAYS: i64 = 30;

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(
            Method::GET,
            "/api/organizations/{id}/usage",
            "get_usage",
            Access::ReadOrganization,
            |app, call| Box::pin(async move { show(&app, &call).await }),
        )
        .says(
            "Quota",
            "What an organization spent: over time, newest first and thinned to at most 500 points, and this month. What was \
             before is asked for with the `from` of the answer as `to`.",
        )
        .query::<Days>("days", "The last so many days, instead of `from` and `to`.")
        .query::<Moment>("from", "Since then; else 30 days before `to`. At most 366 days before it.")
        .query::<Moment>("to", "Until then, exclusively; else until now.")
        .answers::<UsageView>(200, "The usage."),
    ]
}

/// How many days are asked for.
struct Days;

impl JsonSchema for Days {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Days".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": LONGEST_DAYS, "default": USUAL_DAYS })
    }
}

/// What an organization spent. Amounts are in its currency.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
pub(crate) struct UsageView {
    /// Whose it is.
    c_organization_id: OrganizationId,
    /// Its currency.
    currency: Currency,
    /// What it has bought in total, as the ledger says: what it may spend.
    quota: Number,
    /// What it has spent in total; null: nobody has looked yet.
    usage: Option<Number>,
    /// When that was seen.
    usage_at: Option<Timestamp>,
    /// What is left: quota − usage; null where the usage is not known.
    available: Option<Number>,
    /// The calendar month, in UTC.
    month: MonthView,
    /// Where `points` begin.
    from: Timestamp,
    /// And where they end, exclusively.
    to: Timestamp,
    /// How far apart points are at least, in seconds: of each such time it is the last look that is a point.
    resolution_seconds: i64,
    /// What was seen in that time, newest first.
    points: Vec<UsagePoint>,
}

/// The calendar month so far.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "MonthUsage")]
pub(crate) struct MonthView {
    /// When it began.
    from: Timestamp,
    /// What was spent since; null: nobody has looked this month.
    usage: Option<Number>,
    /// How that is known; null where it is not.
    source: Option<UsageSource>,
    /// From when on it was counted: the last look before the month, or where there was none, the first look in it. Null
    /// where the quota backend counted.
    counted_from: Option<Timestamp>,
    /// Until when it was counted.
    usage_at: Option<Timestamp>,
    /// What was charged this month, fees included.
    captured: Number,
    /// What of these charges was given back since.
    refunded: Number,
    /// What was paid: captured − refunded.
    paid: Number,
}

/// How a month's usage is known.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UsageSource {
    /// The quota backend counts it itself.
    Backend,
    /// It is the difference between two looks.
    Snapshots,
}

/// What was seen at one moment.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct UsagePoint {
    /// When.
    at: Timestamp,
    /// What had been spent in total.
    usage: Number,
    /// The quota that was in force.
    quota: Number,
    /// What was left: quota − usage.
    available: Number,
}

impl UsagePoint {
    fn of(look: &Look, currency: Currency) -> Self {
        let number = |value| quota_number(value, currency);
        let available = look.quota.checked_sub(look.usage).unwrap_or_default();
        Self { at: look.taken_at, usage: number(look.usage), quota: number(look.quota), available: number(available) }
    }
}

/// `GET /api/organizations/:id/usage?days=|from=&to=`
async fn show(app: &App, call: &Call) -> Result<Answer, Problem> {
    let id = organization_id(call.param(0))?;
    let now = app.clock.now();
    let (from, to) = window(&call.request.query, now)?;
    let organization = stored(app, &id).await?.ok_or_else(|| unknown_organization(&id))?;
    let currency = organization.currency();
    let mut connection = app.pool.acquire().await?;
    let (minor, _) = super::repo::quota(&mut connection, &id, currency).await?.unwrap_or((0, 0));
    let quota = Money::new(minor, currency);
    let newest = repo::newest(&mut connection, &id, None).await?;
    let available = newest.as_ref().and_then(|look| quota.to_decimal().checked_sub(look.usage));
    let looks = repo::looks(&mut connection, &id, from, to, POINTS).await?;
    let month = month(&mut connection, &id, currency, now, newest.as_ref()).await?;
    Ok(Answer::ok(json!(UsageView {
        c_organization_id: id,
        currency,
        quota: quota.to_number(),
        usage: newest.as_ref().map(|look| quota_number(look.usage, currency)),
        usage_at: newest.as_ref().map(|look| look.taken_at),
        available: available.map(|available| quota_number(available, currency)),
        month,
        from,
        to,
        resolution_seconds: (to - from).num_seconds() / i64::from(POINTS),
        points: looks.iter().map(|look| UsagePoint::of(look, currency)).collect(),
    })))
}

async fn month(
    connection: &mut PgConnection,
    id: &OrganizationId,
    currency: Currency,
    now: Timestamp,
    newest: Option<&Look>,
) -> Result<MonthView, Problem> {
    let today = now.date_naive();
    let from = today.with_day(1).unwrap_or(today).and_time(NaiveTime::MIN).and_utc();
    let (captured, refunded) = repo::charged(connection, id, from).await?;
    let mut view = MonthView {
        from,
        usage: None,
        source: None,
        counted_from: None,
        usage_at: None,
        captured: quota_number(captured, currency),
        refunded: quota_number(refunded, currency),
        paid: quota_number(captured.checked_sub(refunded).unwrap_or_default(), currency),
    };
    if let Some((usage, at)) = repo::told(connection, id, from).await? {
        (view.usage, view.source, view.usage_at) =
            (Some(quota_number(usage, currency)), Some(UsageSource::Backend), Some(at));
        return Ok(view);
    }
    let Some(last) = newest.filter(|last| last.taken_at >= from) else { return Ok(view) };
    let first = match repo::newest(connection, id, Some(from)).await? {
        Some(before) => Some(before),
        None => repo::first_since(connection, id, from).await?,
    };
    if let Some(first) = first {
        // A backend that was set up anew counts from zero again.
        let usage = last.usage.checked_sub(first.usage).unwrap_or_default().max(Decimal::ZERO);
        (view.usage, view.source) = (Some(quota_number(usage, currency)), Some(UsageSource::Snapshots));
        (view.counted_from, view.usage_at) = (Some(first.taken_at), Some(last.taken_at));
    }
    Ok(view)
}

/// What time is asked for.
fn window(query: &Query, now: Timestamp) -> Result<(Timestamp, Timestamp), Problem> {
    let wrong = |error: &str| Problem::bad_request("invalid_query", error);
    let (from, to) = (moment(query, "from")?, moment(query, "to")?);
    if let Some(days) = query.get("days") {
        let days = days.parse().ok().filter(|days| (1..=LONGEST_DAYS).contains(days));
        let days = days.ok_or_else(|| wrong(&format!("days must be a whole number from 1 to {LONGEST_DAYS}")))?;
        return match (from, to) {
            (None, None) => Ok((now - Duration::days(days), now)),
            _ => Err(wrong("days is for the last days, without from and to")),
        };
    }
    let to = to.unwrap_or(now);
    let from = from.or_else(|| to.checked_sub_signed(Duration::days(USUAL_DAYS))).unwrap_or(to);
    if from >= to {
        return Err(wrong("from must be before to"));
    }
    if to - from > Duration::days(LONGEST_DAYS) {
        return Err(wrong(&format!("from must be at most {LONGEST_DAYS} days before to")));
    }
    Ok((from, to))
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn windows() {
        let now = DateTime::parse_from_rfc3339("2026-03-15T12:00:00Z").unwrap().to_utc();
        let asked = |query: &str| window(&Query::parse(query), now).map(|(from, to)| (now - from, now - to));
        let days = Duration::days;
        for (query, want) in [
            ("", (days(30), days(0))),
            ("days=7", (days(7), days(0))),
            ("to=2026-03-10T12:00:00Z", (days(35), days(5))),
            ("from=2026-03-14T12:00:00%2B00:00", (days(1), days(0))),
            ("from=2026-03-01T12:00:00Z&to=2026-03-10T12:00:00Z", (days(14), days(5))),
        ] {
            assert_eq!(asked(query).unwrap(), want, "{query}");
        }
        for bad in [
            "days=0",
            "days=367",
            "days=x",
            "days=7&to=2026-03-10T12:00:00Z",
            "from=yesterday",
            "from=2026-03-16T12:00:00Z",
            "from=2020-03-16T12:00:00Z",
            "from=2026-03-10T12:00:00Z&to=2026-03-10T12:00:00Z",
        ] {
            assert!(asked(bad).is_err(), "{bad}");
        }
    }
}
