//! What is typed to give a recharge back, and what that would do. Pure.

use rust_decimal::Decimal;

use super::record::Record;
use crate::console::amount::Amount;
use crate::console::form::Form;
use crate::console::text::{Text, fill};

/// What was typed.
#[derive(Default)]
pub(super) struct Typed {
    /// Only a part of what is left.
    pub(super) is_part: bool,
    pub(super) amount: String,
    pub(super) reason: String,
}

/// What is wrong with it; empty: nothing.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Complaints {
    pub(super) amount: String,
    pub(super) reason: String,
}

/// What would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Plan {
    /// The quota that is taken back.
    pub(super) quota: Amount,
    /// What the customer gets back.
    pub(super) money: Amount,
}

impl Typed {
    pub(super) fn of(form: &Form) -> Self {
        let typed = |name| form.get(name).trim().to_owned();
        Self { is_part: form.get("extent") == "part", amount: typed("amount"), reason: typed("reason") }
    }

    /// What it would do, or what is wrong with it.
    pub(super) fn plan(&self, text: &Text, record: &Record, form: &Form) -> Result<Plan, Complaints> {
        let words = &text.history;
        let (left, _) = record.left();
        let quota = if self.is_part { amount(text, record, left, form) } else { Ok(left) };
        let reason = if self.reason.is_empty() { words.reason_missing.to_owned() } else { String::new() };
        match quota {
            Ok(quota) if reason.is_empty() => Ok(Plan { quota, money: record.share(quota.0) }),
            Ok(_) => Err(Complaints { amount: String::new(), reason }),
            Err(amount) => Err(Complaints { amount, reason }),
        }
    }
}

fn amount(text: &Text, record: &Record, left: Amount, form: &Form) -> Result<Amount, String> {
    let words = &text.history;
    let typed = form.amount("amount");
    let number = typed.as_str().and_then(|typed| typed.parse::<Decimal>().ok());
    let number = number.ok_or_else(|| words.amount_wrong.to_owned())?;
    let digits = record.currency.digits().min(2);
    if number <= Decimal::ZERO || number.normalize().scale() > digits {
        return Err(words.amount_wrong.to_owned());
    }
    if number > left.0 {
        return Err(fill(words.amount_too_much, &[("left", &left.money(&record.currency))]));
    }
    Ok(Amount(number))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn what_is_typed_is_a_plan_or_wrong() {
        let en = Text::of("en").unwrap();
        let record = record(&json!({ "refunded_amount": 50, "refunded_total": 51.57 }));
        let plan = |body: &str| {
            let form = Form::read(body.as_bytes());
            Typed::of(&form).plan(en, &record, &form).map(|plan| format!("{} {}", plan.quota, plan.money))
        };
        assert_eq!(plan("extent=all&amount=x&reason=a"), Ok("150 154.73".to_owned()));
        assert_eq!(plan("extent=part&amount=100.00&reason=a"), Ok("100 103.15".to_owned()));
        let words = &en.history;
        for wrong in ["", "x", "0", "-1", "0.001", "1x", "1,5", "%24100", "NaN"] {
            let complaints = plan(&format!("extent=part&amount={wrong}&reason=a")).unwrap_err();
            assert_eq!((complaints.amount.as_str(), complaints.reason.as_str()), (words.amount_wrong, ""), "{wrong}");
        }
        let complaints = plan("extent=part&amount=150.01&reason=+").unwrap_err();
        assert!(complaints.amount.contains("$150.00") && complaints.reason == words.reason_missing, "{complaints:?}");
    }
}
