//! An organization's policy, as callers write it. Pure.

use common::ids::{OrganizationId, TeamId};
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use serde_json::{Map, Value};

use crate::fields::{self, FieldProblem, Fields, Read};

/// The largest amount of a policy: what the columns hold, numeric(10,2).
const LARGEST_MINOR: i64 = 9_999_999_999;
/// A day has no more minutes.
pub(crate) const MOST_DAILY_RECHARGES: i32 = 1_440;
/// Thirty days.
pub(super) const LONGEST_COOLDOWN: i32 = 30 * 24 * 3600;

/// When and by how much to recharge.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Policy {
    pub(crate) litellm_team_id: Option<TeamId>,
    pub(crate) currency: Currency,
    pub(crate) minimum_balance: Decimal,
    pub(crate) target_balance: Decimal,
    pub(crate) target_basis: String,
    pub(crate) auto_recharge_enabled: bool,
    pub(crate) minimum_recharge_amount: Decimal,
    pub(crate) max_daily_recharges: i32,
    pub(crate) max_daily_amount: Option<Decimal>,
    pub(crate) max_monthly_amount: Option<Decimal>,
    pub(crate) cooldown_seconds: i32,
    /// What is credited when the team at LiteLLM turns out to be unlimited.
    pub(crate) opening_quota: Option<Decimal>,
}

/// The defaults are those of the columns.
impl Default for Policy {
    fn default() -> Self {
        Self {
            litellm_team_id: None,
            currency: Currency::USD,
            minimum_balance: Decimal::ONE_HUNDRED,
            target_balance: Decimal::ONE_THOUSAND,
            target_basis: "quota".to_owned(),
            auto_recharge_enabled: true,
            minimum_recharge_amount: Decimal::ONE_HUNDRED,
            max_daily_recharges: 5,
            max_daily_amount: None,
            max_monthly_amount: None,
            cooldown_seconds: 3600,
            opening_quota: None,
        }
    }
}

/// A new organization.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct NewOrganization {
    pub(crate) id: OrganizationId,
    pub(crate) policy: Policy,
}

/// What shall become of an organization.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Change {
    pub(crate) policy: Policy,
    /// Whether a pause shall end.
    pub(crate) resume: bool,
}

impl NewOrganization {
    /// Reads the body of a creation. `strict` refuses fields that are not known.
    pub(crate) fn read(body: &Map<String, Value>, strict: bool) -> Result<Self, Vec<FieldProblem>> {
        let mut fields = Fields::of(body);
        let id = fields.required("c_organization_id", fields::organization_id);
        let mut policy = Policy::default();
        if let Some(currency) = fields.optional("currency", fields::currency) {
            policy.currency = currency;
        }
        policy.read(&mut fields);
        if strict {
            fields.refuse_unknown();
        }
        fields.finish()?;
        let id = id.ok_or_else(Vec::new)?;
        Ok(Self { id, policy })
    }
}

impl Change {
    /// What of a policy is trusted to operators only: another team would bring another team's quota, and an opening quota
    /// is money.
    pub(crate) const TRUSTED: [&str; 2] = ["litellm_team_id", "opening_quota"];

    /// Reads the body of a change to `policy`: what is not named stays.
    pub(crate) fn read(mut policy: Policy, body: &Map<String, Value>, strict: bool) -> Result<Self, Vec<FieldProblem>> {
        let mut fields = Fields::of(body);
        let resume = fields.optional("resume", fields::boolean).unwrap_or(false);
        let currency = fields.optional("currency", fields::currency);
        if currency.is_some_and(|currency| currency != policy.currency) {
            // The ledger's books of an organization are in one currency.
            fields.problem("currency", "can't be changed after the organization is created");
        }
        policy.read(&mut fields);
        if strict {
            fields.refuse_unknown();
        }
        fields.finish()?;
        Ok(Self { policy, resume })
    }
}

impl Policy {
    /// Takes every field that is there.
    fn read(&mut self, fields: &mut Fields<'_>) {
        let currency = self.currency;
        let limit = |value: &Value| limit_amount(value, currency);
        set(&mut self.litellm_team_id, fields.clearable("litellm_team_id", fields::team_id));
        set(&mut self.minimum_balance, fields.optional("minimum_balance", limit));
        set(&mut self.target_balance, fields.optional("target_balance", limit));
        set(&mut self.target_basis, fields.optional("target_basis", basis));
        set(&mut self.auto_recharge_enabled, fields.optional("auto_recharge_enabled", fields::boolean));
        let charge = |value: &Value| charge_amount(value, currency).map(Money::to_decimal);
        set(&mut self.minimum_recharge_amount, fields.optional("minimum_recharge_amount", charge));
        let recharges = fields.optional("max_daily_recharges", fields::integer(0..=MOST_DAILY_RECHARGES));
        set(&mut self.max_daily_recharges, recharges);
        set(&mut self.opening_quota, fields.clearable("opening_quota", limit));
        set(&mut self.max_daily_amount, fields.clearable("max_daily_amount", limit));
        set(&mut self.max_monthly_amount, fields.clearable("max_monthly_amount", limit));
        set(&mut self.cooldown_seconds, fields.optional("cooldown_seconds", fields::integer(0..=LONGEST_COOLDOWN)));
        // The default may be less than the currency's least charge (HUF 175.00): then it has to be named.
        if Money::from_decimal(self.minimum_recharge_amount, currency)
            .is_ok_and(|money| money.minor < currency.minimum_charge())
        {
            let least = Money::new(currency.minimum_charge(), currency);
            fields.problem("minimum_recharge_amount", format!("must be at least {least}"));
        }
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn basis(value: &Value) -> Read<String> {
    match value.as_str() {
        Some(word @ ("quota" | "available")) => Ok(word.to_owned()),
        _ => Err("must be \"quota\" or \"available\"".to_owned()),
    }
}

/// An amount of the currency that the columns hold.
pub(crate) fn limit_amount(value: &Value, currency: Currency) -> Read<Decimal> {
    let money =
        Money::from_decimal(fields::decimal(value)?, currency).map_err(|error| format!("is not valid: {error}"))?;
    let hundredths = money.minor.checked_rem(currency.step()) == Some(0);
    let most = Money::new(LARGEST_MINOR, Currency::USD).to_decimal();
    if !hundredths || money.to_decimal() > most {
        return Err(format!("must be at most {most}, with at most two decimals"));
    }
    Ok(money.to_decimal())
}

/// An amount of more than nothing: what a refund gives back.
pub(crate) fn positive_amount(value: &Value, currency: Currency) -> Read<Money> {
    let amount = limit_amount(value, currency)?;
    let money = Money::from_decimal(amount, currency).map_err(|error| format!("is not valid: {error}"))?;
    if money.minor > 0 { Ok(money) } else { Err("must be more than 0".to_owned()) }
}

/// An amount that can be charged.
pub(crate) fn charge_amount(value: &Value, currency: Currency) -> Read<Money> {
    let amount = limit_amount(value, currency)?;
    let money = Money::from_decimal(amount, currency).map_err(|error| format!("is not valid: {error}"))?;
    let (least, most) = (currency.minimum_charge().max(1), currency.maximum_charge());
    if (least..=most).contains(&money.minor) {
        Ok(money)
    } else {
        Err(format!("must be from {} to {}", Money::new(least, currency), Money::new(most, currency)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn new(body: &Value) -> Result<NewOrganization, Vec<String>> {
        NewOrganization::read(body.as_object().unwrap(), true).map_err(names)
    }

    fn names(problems: Vec<FieldProblem>) -> Vec<String> {
        problems.into_iter().map(|problem| problem.field).collect()
    }

    fn refused(body: Value, want: &[&str]) {
        assert_eq!(new(&body).unwrap_err(), want, "{body}");
    }

    #[test]
    fn numbers_and_texts_are_taken_and_the_rest_is_default() {
        let body = json!({"c_organization_id": "acme", "minimum_balance": 100, "target_balance": "500.50",
                          "auto_recharge_enabled": true, "minimum_recharge_amount": 200, "max_daily_amount": null});
        let policy = new(&body).unwrap().policy;
        assert_eq!(policy.target_balance.to_string(), "500.50");
        assert_eq!(policy.minimum_recharge_amount.to_string(), "200.00");
        assert_eq!((policy.max_daily_recharges, policy.cooldown_seconds, policy.max_daily_amount), (5, 3600, None));
    }

    #[test]
    fn everything_wrong_is_named_at_once() {
        refused(json!({}), &["c_organization_id"]);
        refused(
            json!({"c_organization_id": "a.b", "minimum_balance": -1, "target_balance": 1.001, "target_basis": "hope",
                   "auto_recharge_enabled": "yes", "minimum_recharge_amount": 0.49, "max_daily_recharges": 1.5,
                   "cooldown_seconds": -1, "currency": "dollars", "litellm_team_id": "", "surprise": 1}),
            &[
                "c_organization_id",
                "currency",
                "litellm_team_id",
                "minimum_balance",
                "target_balance",
                "target_basis",
                "auto_recharge_enabled",
                "minimum_recharge_amount",
                "max_daily_recharges",
                "cooldown_seconds",
                "surprise",
            ],
        );
        let id = |field: &str, value: Value| json!({"c_organization_id": "a", field: value});
        refused(id("target_balance", json!(100_000_000)), &["target_balance"]);
        refused(id("minimum_recharge_amount", json!(1_000_000)), &["minimum_recharge_amount"]);
        refused(id("currency", json!("huf")), &["minimum_recharge_amount"]);
    }

    #[test]
    fn amounts_follow_the_currency() {
        let of = |currency: &str, amount: &str| {
            charge_amount(&json!(amount), currency.parse().unwrap()).map(|money| money.minor)
        };
        assert_eq!(of("usd", "0.50"), Ok(50));
        assert_eq!(of("usd", "999999.99"), Ok(99_999_999));
        assert_eq!(of("jpy", "500"), Ok(500));
        assert_eq!(of("kwd", "1.230"), Ok(1_230));
        for (currency, bad) in
            [("usd", "0.49"), ("usd", "1000000"), ("usd", "1.001"), ("jpy", "500.5"), ("kwd", "1.234"), ("usd", "0")]
        {
            assert!(of(currency, bad).is_err(), "{bad} {currency}");
        }
    }

    #[test]
    fn a_change_leaves_what_it_does_not_name() {
        let before = Policy { max_daily_amount: Some(Decimal::TEN), ..Policy::default() };
        let read = |body: Value| Change::read(before.clone(), body.as_object().unwrap(), true).map_err(names);
        assert_eq!(read(json!({})).unwrap(), Change { policy: before.clone(), resume: false });
        let change = read(json!({"max_daily_amount": null, "litellm_team_id": "t", "resume": true})).unwrap();
        assert!(change.resume && change.policy.max_daily_amount.is_none());
        assert_eq!(read(json!({"currency": "usd"})).unwrap().policy, before);
        assert_eq!(
            read(json!({"currency": "eur", "c_organization_id": "b"})).unwrap_err(),
            ["currency", "c_organization_id"]
        );
    }

    proptest! {
        #[test]
        fn no_amount_panics(text in r"-?[0-9]{0,32}\.?[0-9]{0,32}", code in "(usd|jpy|kwd|huf)") {
            let currency: Currency = code.parse().unwrap();
            if let Ok(money) = charge_amount(&json!(text), currency) {
                prop_assert!(money.minor >= currency.minimum_charge() && money.minor <= currency.maximum_charge());
            }
        }
    }
}
