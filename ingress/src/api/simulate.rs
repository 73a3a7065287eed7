//! `POST /api/organizations/:id/simulate`: what would be charged? The recharger is asked, and nothing changes.

use common::contract::{PolicyChangesV1, SimulatedEventV1, SimulationRequestV1, SimulationV1, TargetBasisV1};
use common::ids::OrganizationId;
use common::money::{Currency, Money};
use common::queries::{self, AskError};
use schemars::JsonSchema;
use serde_json::{Map, Value, json};
use warp::http::Method;

use super::access::Access;
use super::operation::Operation;
use super::schemas::{Amount, PositiveAmount, ProblemBody, Quantity, Whole};
use super::{organization_id, unknown_organization};
use crate::app::App;
use crate::fields::{self, FieldProblem, Fields, Read};
use crate::http::{Answer, Problem, Request};
use crate::organizations::view::TargetBasis;
use crate::organizations::{MOST_DAILY_RECHARGES, charge_amount, limit_amount};

/// How many days can be replayed.
const MOST_DAYS: i32 = 90;

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(
            Method::POST,
            "/api/organizations/{id}/simulate",
            "simulate_recharges",
            Access::ReadOrganization,
            |app, call| {
                Box::pin(async move {
                    let id = call.param(0).to_owned();
                    simulate(&app, call.request, &id).await
                })
            },
        )
        .says(
            "Recharges",
            "A dry run: what would the policy, or another one, charge for an event, now, or over recent usage; or what would a \
             recharge of an amount cost that a person asks for? Nothing is charged or changed.",
        )
        .body_or_nothing::<SimulationBody>()
        .answers::<SimulationV1>(200, "What would be charged.")
        .answers::<ProblemBody>(409, "It can't be told, because the usage is not known, or the organization is closed."),
    ]
}

/// What to try. With an event: for that. With days: over so many days of usage. With an amount: for a person who asks for
/// it, which goes with neither of the two. With none of them: now, as the sweep would see it.
#[derive(JsonSchema)]
#[schemars(rename = "Simulation", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct SimulationBody {
    /// A limit-exceeded webhook as it would come.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    event: Option<EventBody>,
    /// Over how many of the last days the usage is replayed.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    days: Option<Whole<1, MOST_DAYS>>,
    /// What a person would ask for, as in a recharge.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    amount: Option<PositiveAmount>,
    /// What of the policy is different from what is saved.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyBody>,
}

/// The numbers of a limit-exceeded webhook.
#[derive(JsonSchema)]
#[schemars(rename = "SimulatedEvent", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct EventBody {
    /// What was spent in total.
    current_usage: Quantity,
    /// The limit that was in force.
    current_limit: Quantity,
    /// By how much it was exceeded; the difference of the two unless it is named.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    exceeded_by: Option<Quantity>,
}

/// Changes to a policy that are tried and not saved. What is absent stays as it is saved.
#[derive(JsonSchema)]
#[schemars(rename = "PolicyChanges", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct PolicyBody {
    /// Whether it is recharged by itself.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    auto_recharge_enabled: Option<bool>,
    /// Below this it is recharged.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    minimum_balance: Option<Amount>,
    /// Up to this it is recharged.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    target_balance: Option<Amount>,
    /// What the target is compared with.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    target_basis: Option<TargetBasis>,
    /// The least that is charged at once. From the currency's least charge on (0.50 usd).
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    minimum_recharge_amount: Option<PositiveAmount>,
    /// So many recharges in a day at most.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    max_daily_recharges: Option<Whole<0, MOST_DAILY_RECHARGES>>,
    /// So much in a day at most; null: any amount.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    max_daily_amount: Option<Amount>,
    /// So much in a month at most; null: any amount.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    max_monthly_amount: Option<Amount>,
}

/// `POST /api/organizations/:id/simulate`
async fn simulate(app: &App, mut request: Request, id: &str) -> Result<Answer, Problem> {
    let id = organization_id(id)?;
    let body = request.object_or_nothing().await?;
    let known = super::known(app, &id).await?;
    let asked = read(&body, known.currency).map_err(|problems| Problem::fields(&problems))?;
    let answer = queries::ask(app.publisher.broker(), &id, &asked, queries::PATIENCE).await;
    answer.map(|simulation| Answer::ok(json!(simulation))).map_err(|error| unanswered(&id, error))
}

fn unanswered(id: &OrganizationId, error: AskError) -> Problem {
    match error {
        AskError::NotConnected => Problem::unavailable("broker_unavailable", "The message broker is not available"),
        AskError::NoResponder | AskError::TimedOut | AskError::Failed(_) => {
            tracing::warn!(c_organization_id = %id, %error, "a simulation for {id} was not answered: {error}");
            Problem::unavailable("recharger_unavailable", "The recharger does not answer; try again in a moment")
        }
        AskError::Refused { code, message } => match code.as_str() {
            "unknown_organization" => unknown_organization(id),
            queries::INVALID => Problem::bad_request("invalid_body", message),
            "usage_unknown" => Problem::conflict("usage_unknown", message).and("c_organization_id", id.as_str()),
            _ => Problem::conflict("simulation_refused", message).and("reason", code),
        },
    }
}

fn read(body: &Map<String, Value>, currency: Currency) -> Result<SimulationRequestV1, Vec<FieldProblem>> {
    let mut fields = Fields::of(body);
    let mut within = Vec::new();
    let event = nested(&mut fields, "event", &mut within, read_event);
    let days = fields.optional("days", fields::integer(1..=MOST_DAYS)).and_then(|days| u32::try_from(days).ok());
    let amount = fields.optional("amount", |value| charge_amount(value, currency)).map(Money::to_decimal);
    if amount.is_some() && (event.is_some() || days.is_some()) {
        fields.problem("amount", "goes neither with an event nor with days");
    }
    let policy = nested(&mut fields, "policy", &mut within, |policy| read_policy(policy, currency));
    for wrong in within {
        fields.problem(&wrong.field, wrong.problem);
    }
    fields.refuse_unknown();
    fields.finish()?;
    Ok(SimulationRequestV1 { event, days, amount, policy: policy.unwrap_or_default() })
}

/// An object within the object; what is wrong in it is named with its path.
fn nested<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    within: &mut Vec<FieldProblem>,
    read: impl FnOnce(&mut Fields<'_>) -> Option<T>,
) -> Option<T> {
    let object =
        fields.optional(name, |value| value.as_object().cloned().ok_or_else(|| "must be an object".to_owned()))?;
    let mut inner = Fields::of(&object);
    let value = read(&mut inner);
    inner.refuse_unknown();
    if let Err(problems) = inner.finish() {
        within.extend(
            problems.into_iter().map(|wrong| FieldProblem { field: format!("{name}.{}", wrong.field), ..wrong }),
        );
        return None;
    }
    value
}

fn read_event(fields: &mut Fields<'_>) -> Option<SimulatedEventV1> {
    let current_usage = fields.required("current_usage", fields::decimal);
    let current_limit = fields.required("current_limit", fields::decimal);
    let exceeded_by = fields.optional("exceeded_by", fields::decimal);
    let (current_usage, current_limit) = current_usage.zip(current_limit)?;
    Some(SimulatedEventV1 { current_usage, current_limit, exceeded_by })
}

fn read_policy(fields: &mut Fields<'_>, currency: Currency) -> Option<PolicyChangesV1> {
    let limit = |value: &Value| limit_amount(value, currency);
    let recharges = fields.optional("max_daily_recharges", fields::integer(0..=MOST_DAILY_RECHARGES));
    Some(PolicyChangesV1 {
        auto_recharge_enabled: fields.optional("auto_recharge_enabled", fields::boolean),
        minimum_balance: fields.optional("minimum_balance", limit),
        target_balance: fields.optional("target_balance", limit),
        target_basis: fields.optional("target_basis", basis),
        minimum_recharge_amount: fields
            .optional("minimum_recharge_amount", |value| charge_amount(value, currency))
            .map(Money::to_decimal),
        max_daily_recharges: recharges.and_then(|recharges| u32::try_from(recharges).ok()),
        max_daily_amount: fields.clearable("max_daily_amount", limit),
        max_monthly_amount: fields.clearable("max_monthly_amount", limit),
    })
}

fn basis(value: &Value) -> Read<TargetBasisV1> {
    serde_json::from_value(value.clone()).map_err(|_| "must be \"quota\" or \"available\"".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &Value) -> Result<SimulationRequestV1, Vec<String>> {
        let read = read(body.as_object().unwrap(), Currency::USD);
        read.map_err(|problems| problems.into_iter().map(|wrong| wrong.field).collect())
    }

    #[test]
    fn what_is_tried_and_everything_that_is_wrong_with_it() {
        assert_eq!(of(&json!({})).unwrap(), SimulationRequestV1::default());
        let asked = of(&json!({
            "event": { "current_usage": "520.5", "current_limit": 500 },
            "days": 30,
            "policy": { "max_daily_amount": null, "target_basis": "available", "minimum_recharge_amount": "10" },
        }))
        .unwrap();
        assert_eq!((asked.days, asked.policy.max_daily_amount), (Some(30), Some(None)));
        assert_eq!(asked.policy.target_basis, Some(TargetBasisV1::Available));
        assert_eq!(asked.policy.minimum_recharge_amount.unwrap().to_string(), "10.00");
        let event = asked.event.unwrap();
        assert_eq!((event.current_usage.to_string(), event.exceeded_by), ("520.5".to_owned(), None));

        let wrong = of(&json!({
            "event": { "current_usage": -1, "x": 1 },
            "days": 91,
            "policy": { "target_balance": "much", "minimum_recharge_amount": 0.1, "litellm_team_id": "t", "target_basis": "hope" },
            "surprise": 1,
        }));
        assert_eq!(
            wrong.unwrap_err(),
            [
                "days",
                "event.current_usage",
                "event.current_limit",
                "event.x",
                "policy.target_balance",
                "policy.target_basis",
                "policy.minimum_recharge_amount",
                "policy.litellm_team_id",
                "surprise",
            ]
        );
        assert_eq!(of(&json!({ "event": 1, "policy": [] })).unwrap_err(), ["event", "policy"]);

        let asked = of(&json!({ "amount": "25.5" })).unwrap();
        assert_eq!(asked.amount.unwrap().to_string(), "25.50");
        for wrong in [json!({ "amount": 0.1 }), json!({ "amount": 25, "days": 7 }), json!({ "amount": 1.001 })] {
            assert_eq!(of(&wrong).unwrap_err(), ["amount"], "{wrong}");
        }
    }
}
