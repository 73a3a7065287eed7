//! The fields of a policy: as they are shown, as they are typed, and as they are sent. Pure.

use common::money::{Currency, Money};
use serde_json::{Map, Value, json};

use super::data::Config;
use crate::console::amount::{Amount, symbol};
use crate::console::form::{Form, query};
use crate::console::pages::wrong::Wrong;
use crate::console::text::{Text, fill, term};

/// The most that a policy's amount may be, in hundredths.
const LARGEST: i64 = 9_999_999_999;

/// What is typed, by the API's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) auto_recharge_enabled: bool,
    pub(super) by_available: bool,
    /// The other fields, in the order of [`NAMES`].
    texts: Vec<String>,
}

/// How a field is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// An amount.
    Limit,
    /// An amount, or nothing.
    Cap,
    /// An amount that can be charged.
    Charge,
    /// A whole number.
    Whole,
    /// A text, or nothing.
    Words,
}

const NAMES: [(&str, Kind); 9] = [
    ("minimum_balance", Kind::Limit),
    ("target_balance", Kind::Limit),
    ("minimum_recharge_amount", Kind::Charge),
    ("max_daily_recharges", Kind::Whole),
    ("max_daily_amount", Kind::Cap),
    ("max_monthly_amount", Kind::Cap),
    ("cooldown_seconds", Kind::Whole),
    ("litellm_team_id", Kind::Words),
    ("opening_quota", Kind::Cap),
];
/// What of it a dry run knows nothing of.
const NOT_TRIED: [&str; 3] = ["cooldown_seconds", "litellm_team_id", "opening_quota"];

/// A field with all that is shown of it.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    pub(super) hint: String,
    pub(super) value: String,
    /// Empty: nothing is wrong.
    pub(super) error: String,
    pub(super) before: String,
    pub(super) after: &'static str,
    pub(super) required: bool,
    pub(super) amount: Option<Limits>,
    pub(super) mode: &'static str,
}

/// What an amount may be, and what to say when it is something else.
pub(super) struct Limits {
    pub(super) decimals: u32,
    pub(super) least: String,
    pub(super) most: String,
    pub(super) says: String,
}

impl Typed {
    /// What is saved.
    pub(super) fn saved(config: &Config) -> Self {
        let cap = |amount: Option<Amount>| amount.map_or_else(String::new, |amount| amount.to_string());
        let texts = vec![
            config.minimum_balance.to_string(),
            config.target_balance.to_string(),
            config.minimum_recharge_amount.to_string(),
            config.max_daily_recharges.to_string(),
            cap(config.max_daily_amount),
            cap(config.max_monthly_amount),
            config.cooldown_seconds.to_string(),
            config.litellm_team_id.clone().unwrap_or_default(),
            cap(config.opening_quota),
        ];
        let by_available = config.target_basis == "available";
        Self { auto_recharge_enabled: config.auto_recharge_enabled, by_available, texts }
    }

    /// What was sent.
    pub(super) fn sent(form: &Form) -> Self {
        Self {
            auto_recharge_enabled: form.has("auto_recharge_enabled"),
            by_available: form.get("target_basis") == "available",
            texts: NAMES.iter().map(|(name, _)| form.get(name).to_owned()).collect(),
        }
    }

    fn text(&self, name: &str) -> &str {
        let place = NAMES.iter().position(|(have, _)| *have == name);
        place.and_then(|place| self.texts.get(place)).map_or("", String::as_str)
    }

    /// As a change of the organization. Where there has to be something, nothing is sent as it was typed, so that the API
    /// says so: null would leave what is saved.
    pub(super) fn change(&self, operator: bool) -> Map<String, Value> {
        let mut body = Map::new();
        body.insert("auto_recharge_enabled".to_owned(), json!(self.auto_recharge_enabled));
        body.insert("target_basis".to_owned(), json!(if self.by_available { "available" } else { "quota" }));
        let trusted = crate::organizations::Change::TRUSTED;
        for (name, kind) in NAMES.iter().filter(|(name, _)| operator || !trusted.contains(name)) {
            let form = alone(name, self.text(name));
            let value = match kind {
                Kind::Limit | Kind::Charge => or_empty(form.amount(name)),
                Kind::Cap => form.amount(name),
                Kind::Whole => or_empty(form.whole(name)),
                Kind::Words => form.value(name),
            };
            body.insert((*name).to_owned(), value);
        }
        body
    }

    /// As a policy to be tried.
    pub(super) fn trial(&self) -> Map<String, Value> {
        let mut body = self.change(false);
        body.retain(|name, _| !NOT_TRIED.contains(&name.as_str()));
        body
    }

    /// What the policy would be, as far as what is typed can be read.
    pub(super) fn applied(&self, config: &Config) -> Config {
        let amount = |name: &str| {
            let value = alone(name, self.text(name)).amount(name);
            common::money::decimal_from_json(&value).ok().map(Amount)
        };
        let whole = |name: &str| self.text(name).trim().parse().ok();
        let mut config = config.clone();
        config.auto_recharge_enabled = self.auto_recharge_enabled;
        config.target_basis = if self.by_available { "available" } else { "quota" }.to_owned();
        config.minimum_balance = amount("minimum_balance").unwrap_or(config.minimum_balance);
        config.target_balance = amount("target_balance").unwrap_or(config.target_balance);
        config.minimum_recharge_amount = amount("minimum_recharge_amount").unwrap_or(config.minimum_recharge_amount);
        config.max_daily_recharges = whole("max_daily_recharges").unwrap_or(config.max_daily_recharges);
        config.max_daily_amount = amount("max_daily_amount");
        config.max_monthly_amount = amount("max_monthly_amount");
        config
    }

    /// The fields as they are shown. `wrong` is what is wrong with them.
    pub(super) fn fields(&self, text: &Text, currency: Currency, wrong: &Wrong) -> Vec<Field> {
        NAMES.iter().map(|(name, kind)| self.field(text, currency, wrong, name, *kind)).collect()
    }

    fn field(&self, text: &Text, currency: Currency, wrong: &Wrong, name: &'static str, kind: Kind) -> Field {
        let words = &text.organization;
        let is_amount = matches!(kind, Kind::Limit | Kind::Cap | Kind::Charge);
        let nested = format!("policy.{name}");
        let error = [name, nested.as_str()].into_iter().map(|name| wrong.at(name)).find(|error| !error.is_empty());
        let hint = match name {
            "minimum_balance" => words.hint_minimum,
            "target_balance" => words.hint_target,
            "minimum_recharge_amount" => words.hint_least,
            "max_daily_recharges" => words.hint_times,
            "max_daily_amount" | "max_monthly_amount" => words.hint_cap,
            "cooldown_seconds" => words.hint_rest,
            "litellm_team_id" => words.hint_team,
            _ => words.hint_opening,
        };
        Field {
            name,
            label: term(text.terms.fields, name),
            hint: hint.to_owned(),
            value: self.text(name).to_owned(),
            error: error.unwrap_or_default().to_owned(),
            before: if is_amount { symbol(&currency) } else { String::new() },
            after: if name == "cooldown_seconds" { words.seconds } else { "" },
            required: !matches!(kind, Kind::Cap | Kind::Words),
            amount: is_amount.then(|| Limits::of(text, currency, kind == Kind::Charge)),
            mode: match kind {
                Kind::Whole => "numeric",
                Kind::Words => "text",
                _ => "decimal",
            },
        }
    }
}

/// A form with nothing but this.
fn alone(name: &str, text: &str) -> Form {
    Form::read(query([(name, text)]).as_bytes())
}

/// Nothing as an empty text.
fn or_empty(value: Value) -> Value {
    if value.is_null() { json!("") } else { value }
}

impl Limits {
    /// Of an amount that can be charged, or of any.
    pub(super) fn of(text: &Text, currency: Currency, charged: bool) -> Self {
        let (least, most) = if charged {
            (Money::new(currency.minimum_charge().max(1), currency), Money::new(currency.maximum_charge(), currency))
        } else {
            (
                Money::zero(currency),
                Money::covering(Money::new(LARGEST, Currency::USD).to_decimal(), currency)
                    .unwrap_or(Money::zero(currency)),
            )
        };
        let (least, most) = (Amount(least.to_decimal()), Amount(most.to_decimal()));
        let says = fill(
            text.organization.amount_between,
            &[("least", &least.money(&currency)), ("most", &most.money(&currency))],
        );
        Self { decimals: currency.digits().min(2), least: least.to_string(), most: most.to_string(), says }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        serde_json::from_value(json!({
            "c_organization_id": "acme", "currency": "usd", "minimum_balance": 100, "target_balance": "1000.50",
            "target_basis": "available", "auto_recharge_enabled": true, "minimum_recharge_amount": 200,
            "max_daily_recharges": 5, "cooldown_seconds": 3600, "max_daily_amount": 500, "litellm_team_id": "t",
        }))
        .unwrap()
    }

    #[test]
    fn what_is_saved_is_sent_as_it_is() {
        let typed = Typed::saved(&config());
        let sent = json!(typed.change(true));
        assert_eq!(
            sent,
            json!({
                "auto_recharge_enabled": true, "target_basis": "available", "minimum_balance": "100", "target_balance": "1000.5",
                "minimum_recharge_amount": "200", "max_daily_recharges": 5, "max_daily_amount": "500", "max_monthly_amount": null,
                "cooldown_seconds": 3600, "litellm_team_id": "t", "opening_quota": null,
            })
        );
        assert!(
            !typed.change(false).contains_key("litellm_team_id") && !typed.trial().contains_key("cooldown_seconds")
        );
        assert_eq!(Typed::saved(&typed.applied(&config())), typed);
    }

    #[test]
    fn what_is_typed_is_kept_and_nothing_typed_is_no_silence() {
        let form = Form::read(b"minimum_balance=&target_balance=1%2C000&max_daily_recharges=x&max_daily_amount=");
        let typed = Typed::sent(&form);
        let change = json!(typed.change(false));
        assert_eq!((&change["minimum_balance"], &change["target_balance"]), (&json!(""), &json!("1000")));
        assert_eq!((&change["max_daily_recharges"], &change["max_daily_amount"]), (&json!("x"), &Value::Null));
        assert_eq!(change["auto_recharge_enabled"], json!(false));
        let text = Text::of("en").unwrap();
        let fields = typed.fields(text, Currency::USD, &Wrong::default());
        let target = fields.iter().find(|field| field.name == "target_balance").unwrap();
        assert_eq!((target.value.as_str(), target.before.as_str(), target.required), ("1,000", "$", true));
        assert_eq!(target.amount.as_ref().unwrap().most, "99999999.99");
    }
}
