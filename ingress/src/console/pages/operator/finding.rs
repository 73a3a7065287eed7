//! What a comparison found, in words and with amounts as people read them. Pure.
//!
//! Services write what they expected and found as texts: amounts with their currency, sometimes in minor units (a whole
//! number, where the currency has decimals), and of quotas the bare number.

use common::money::{Currency, Money};
use serde::Deserialize;

use super::Badge;
use crate::console::amount::Amount;
use crate::console::moment::Moment;
use crate::console::text::{Text, fill, term};

/// What the API says.
#[derive(Deserialize)]
pub(super) struct Finding {
    pub(super) part: String,
    kind: String,
    pub(super) c_organization_id: Option<String>,
    recharge_id: Option<String>,
    reference: Option<String>,
    expected: Option<String>,
    found: Option<String>,
    action: String,
    detail: String,
    found_at: Moment,
}

/// What the page shows.
pub(super) struct Row {
    pub(super) says: String,
    pub(super) detail: String,
    pub(super) organization: Option<String>,
    pub(super) recharge: Option<String>,
    pub(super) reference: Option<String>,
    pub(super) expected: String,
    pub(super) found: String,
    pub(super) badge: Badge,
    pub(super) at: Moment,
}

impl Finding {
    /// Whether its numbers are amounts in the organization's currency, without that being said.
    pub(super) fn needs_currency(&self) -> bool {
        matches!(self.kind.as_str(), "quota_drift" | "quota_missing")
    }

    /// In words. `currency`: the organization's, where that is needed and known.
    pub(super) fn row(self, text: &Text, currency: Option<Currency>) -> Row {
        let quota = self.needs_currency();
        let value = |value: &Option<String>| match value.as_deref() {
            None => text.operator.nothing.to_owned(),
            Some("unlimited") if quota => text.operator.unlimited.to_owned(),
            Some(value) if quota => bare(value, currency).unwrap_or_else(|| value.to_owned()),
            Some(value) => payment(text, value).unwrap_or_else(|| amounts(value)),
        };
        let repaired = self.action == "repaired";
        Row {
            says: term(text.terms.findings, &self.kind).to_owned(),
            expected: value(&self.expected),
            found: value(&self.found),
            badge: if repaired {
                Badge::new("is-good", text.operator.repaired)
            } else {
                Badge::new("is-bad", text.operator.reported)
            },
            detail: amounts(&self.detail),
            organization: self.c_organization_id,
            recharge: self.recharge_id,
            reference: self.reference,
            at: self.found_at,
        }
    }
}

/// A number that is an amount of a currency that is known otherwise.
fn bare(number: &str, currency: Option<Currency>) -> Option<String> {
    Some(Amount(number.parse().ok()?).money(&currency?))
}

/// What Stripe shows of a payment: `succeeded 20600 usd, 0 given back`.
fn payment(text: &Text, value: &str) -> Option<String> {
    let (paid, back) = value.strip_suffix(" given back")?.split_once(", ")?;
    let mut words = paid.split(' ');
    let (status, paid, currency) = (words.next()?, words.next()?, words.next()?);
    let (paid, back) = (money(paid, currency)?, money(back, currency)?);
    Some(fill(text.operator.paid_and_back, &[("paid", &paid), ("back", &back), ("status", status)]))
}

/// A text with its amounts as people read them.
fn amounts(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    let mut words = value.split(' ').peekable();
    while let Some(word) = words.next() {
        if !out.is_empty() {
            out.push(' ');
        }
        let together = words.peek().and_then(|next| {
            let currency = next.trim_end_matches([',', '.', ';', ':']);
            Some((money(word, currency)?, next.get(currency.len()..)?.to_owned()))
        });
        match together {
            Some((money, rest)) => {
                out.push_str(&money);
                out.push_str(&rest);
                words.next();
            }
            None => out.push_str(word),
        }
    }
    out
}

fn money(number: &str, currency: &str) -> Option<String> {
    // Codes are written small, and words of three letters are no currency without a number before them.
    let currency: Currency =
        currency.parse().ok().filter(|_| currency.bytes().all(|byte| byte.is_ascii_lowercase()))?;
    let amount = match number.parse::<i64>() {
        Ok(minor) => Amount(Money::new(minor, currency).to_decimal()),
        Err(_) => Amount(number.parse().ok()?),
    };
    Some(amount.money(&currency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_in_texts() {
        for (text, shown) in [
            ("20600 usd were paid, 200.00 usd were ordered", "$206.00 were paid, $200.00 were ordered"),
            ("refund re_1 of 5.00 usd is failed at Stripe", "refund re_1 of $5.00 is failed at Stripe"),
            ("1000 jpy", "JP¥1,000"),
            ("1000.5 bhd", "BHD\u{a0}1,000.500"),
            ("-5.00 usd of it is left", "−$5.00 of it is left"),
            ("3 of the USD things", "3 of the USD things"),
            ("<b> x", "<b> x"),
            ("", ""),
            ("a  b", "a  b"),
        ] {
            assert_eq!(amounts(text), shown);
        }
        let en = Text::of("en").unwrap();
        let paid = payment(en, "succeeded 20600 usd, 500 given back").unwrap();
        assert!(paid.contains("$206.00") && paid.contains("$5.00"), "{paid}");
        assert_eq!((payment(en, "succeeded"), payment(en, "x y z, 1 given back")), (None, None));
    }

    #[test]
    fn quotas_have_the_organizations_currency() {
        let en = Text::of("en").unwrap();
        let row = |kind: &str, expected: &str, found: Option<&str>, currency: Option<Currency>| {
            let finding: Finding = serde_json::from_value(serde_json::json!({
                "part": "quotas", "kind": kind, "c_organization_id": "acme", "expected": expected, "found": found,
                "action": "reported", "detail": "x", "found_at": "2026-01-01T00:00:00Z"
            }))
            .unwrap();
            let row = finding.row(en, currency);
            (row.expected, row.found)
        };
        let (nothing, unlimited) = (en.operator.nothing.to_owned(), en.operator.unlimited.to_owned());
        assert_eq!(row("quota_drift", "500", Some("unlimited"), Some(Currency::USD)), ("$500.00".into(), unlimited));
        assert_eq!(row("quota_missing", "500", None, None), ("500".into(), nothing));
        assert_eq!(row("target_behind", "4", Some("3"), Some(Currency::USD)), ("4".into(), "3".into()));
    }
}
