//! What the API says is wrong with the fields of a form, in the words of the page's language. Pure.

use common::money::Currency;

use crate::console::amount::Amount;
use crate::console::text::{Terms, Text, fill, term};
use crate::http::Problem;

/// The problems of a form, by the API's names of its fields.
#[derive(Default)]
pub(super) struct Wrong(Vec<(String, String)>);

impl Wrong {
    /// What is wrong; `None` where the problem is not about fields.
    pub(super) fn of(text: &Text, problem: &Problem) -> Option<Self> {
        let fields = problem.fact("fields").as_array()?.iter();
        let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        Some(Self(
            fields.map(|wrong| (word(&wrong["field"]), says(text.terms.wrongs, &word(&wrong["problem"])))).collect(),
        ))
    }

    /// What is wrong with a field; empty: nothing.
    pub(super) fn at(&self, field: &str) -> &str {
        self.0.iter().find(|(name, _)| name == field).map_or("", |(_, says)| says.as_str())
    }

    /// What is wrong with fields that the form does not show, each with its name.
    pub(super) fn elsewhere(&self, text: &Text, shown: &[&str]) -> Vec<String> {
        let others = self.0.iter().filter(|(name, _)| !shown.contains(&name.as_str()));
        others.map(|(name, says)| format!("{}: {says}", term(text.terms.fields, name))).collect()
    }
}

/// A sentence of the API, of which the beginning is the field's name, as a sentence of its own; unknown ones stay as they are.
fn says(wrongs: Terms, problem: &str) -> String {
    let told = wrongs.iter().find_map(|(pattern, says)| Some((values(pattern, problem)?, says)));
    let Some((values, says)) = told else { return problem.to_owned() };
    let values: Vec<(&str, String)> = values.into_iter().map(|(name, value)| (name, money(value))).collect();
    fill(says, &values.iter().map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>())
}

/// What stands in the places of a pattern, if the text is made by it.
fn values<'a>(pattern: &'a str, text: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
    let Some((before, rest)) = pattern.split_once('{') else { return (pattern == text).then(Vec::new) };
    let (name, rest) = rest.split_once('}')?;
    let text = text.strip_prefix(before)?;
    let next = rest.split('{').next().unwrap_or_default();
    let (value, after) = if next.is_empty() { (text, "") } else { text.split_at(text.find(next)?) };
    let mut found = values(rest, after)?;
    found.insert(0, (name, value));
    Some(found)
}

/// An amount as the API writes it in a sentence (`0.50 usd`), as people read it.
fn money(text: &str) -> String {
    let read = || {
        let (number, currency) = text.split_once(' ')?;
        Some(Amount(number.parse().ok()?).money(&currency.parse::<Currency>().ok()?))
    };
    read().unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_of_the_api() {
        let en = Text::of("en").unwrap();
        for (problem, told) in [
            ("is missing", "Fill this in."),
            ("must be at least 0.50 usd", "At least $0.50."),
            ("must be from 0.50 usd to 999999.99 usd", "From $0.50 to $999,999.99."),
            ("must be a whole number from 0 to 1440", "A whole number from 0 to 1440."),
            (
                "must be at most 99999999.99, with at most two decimals",
                "At most 99999999.99, with at most two decimals.",
            ),
            ("must be something new", "must be something new"),
            ("must be at least ", "At least ."),
        ] {
            assert_eq!(says(en.terms.wrongs, problem), told);
        }
        let problem = Problem::bad_request("invalid_body", "x");
        assert!(Wrong::of(en, &problem).is_none());
        let fields =
            serde_json::json!([{ "field": "name", "problem": "is missing" }, { "field": "x", "problem": "is odd" }]);
        let wrong = Wrong::of(en, &problem.and("fields", fields)).unwrap();
        assert_eq!((wrong.at("name"), wrong.at("role")), ("Fill this in.", ""));
        assert_eq!(wrong.elsewhere(en, &["name"]), ["x: is odd"]);
    }

    /// What the API really says is known in both languages.
    #[test]
    fn every_field_of_an_organization() {
        let bodies = [
            serde_json::json!({ "c_organization_id": "a b", "currency": "dollars", "litellm_team_id": "", "minimum_balance": "x",
                "target_balance": -1, "target_basis": "x", "auto_recharge_enabled": "x", "minimum_recharge_amount": 0,
                "max_daily_recharges": "x", "opening_quota": 1e12, "max_daily_amount": 0.001, "cooldown_seconds": -1 }),
            serde_json::json!({}),
        ];
        for body in &bodies {
            let problems = crate::organizations::NewOrganization::read(body.as_object().unwrap(), true).unwrap_err();
            for code in ["en", "zh"] {
                for wrong in &problems {
                    let told = says(Text::of(code).unwrap().terms.wrongs, &wrong.problem);
                    assert_ne!(told, wrong.problem, "{}", wrong.field);
                }
            }
        }
    }
}
