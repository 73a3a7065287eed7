//! How an organization stands, as a line of the list. Pure.

use common::money::Currency;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::Deserialize;

use super::Badge;
use crate::console::amount::Amount;
use crate::console::moment::Moment;
use crate::console::pages::status;
use crate::console::text::{Text, fill, term};

/// So many characters of an id stand on one line.
const ONE_LINE: usize = 24;
/// So many characters of a team's id are told, where it has more.
const TEAM: usize = 16;

/// What the API says.
#[derive(Deserialize)]
pub(super) struct Standing {
    c_organization_id: String,
    litellm_team_id: Option<String>,
    urgency: String,
    currency: Currency,
    quota: Amount,
    synced_quota: Option<Amount>,
    available: Option<Amount>,
    minimum_balance: Amount,
    auto_recharge_enabled: bool,
    has_payment_method: bool,
    payment_method_brand: Option<String>,
    payment_method_last4: Option<String>,
    closed_at: Option<Moment>,
    pause_reason: Option<String>,
    refund_failing: bool,
    recharge: Option<InFlight>,
    last_recharge: Option<Last>,
}

#[derive(Deserialize)]
struct InFlight {
    status: String,
}

#[derive(Deserialize)]
struct Last {
    recharge_id: String,
    status: String,
    at: Moment,
}

/// What the list shows.
pub(super) struct Row {
    pub(super) id: String,
    /// Whether its id is short enough for one line.
    pub(super) fits: bool,
    /// Its team, where that is called otherwise.
    pub(super) team: Option<Team>,
    pub(super) badge: Badge,
    /// Why, in words.
    pub(super) reason: String,
    pub(super) class: &'static str,
    pub(super) left: Option<Left>,
    pub(super) minimum: String,
    pub(super) auto: Badge,
    pub(super) card: Option<String>,
    pub(super) last: Option<Recharge>,
}

/// A team's id, often a long one made by a machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Team {
    pub(super) whole: String,
    /// Its beginning.
    pub(super) shown: String,
}

/// What is left, against the minimum.
pub(super) struct Left {
    pub(super) amount: String,
    pub(super) meter: Meter,
}

/// A meter whose middle is the minimum.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Meter {
    pub(super) class: &'static str,
    /// Of a hundred.
    pub(super) width: u32,
}

/// The newest recharge.
pub(super) struct Recharge {
    pub(super) id: String,
    pub(super) badge: Badge,
    pub(super) at: Moment,
}

impl Standing {
    pub(super) fn row(self, text: &Text) -> Row {
        let words = &text.operator;
        let class = class(&self.urgency);
        let urgency = Badge::new(class, term(text.terms.urgencies, &self.urgency));
        let auto = match (self.closed_at.is_some(), self.auto_recharge_enabled) {
            (true, _) => Badge::new("is-quiet", words.closed),
            (false, true) => Badge::new("is-good", words.on),
            (false, false) => Badge::new("is-quiet", words.off),
        };
        Row {
            reason: self.reason(text),
            class: if class == "is-bad" { "is-bad" } else { "" },
            left: self.available.map(|available| Left {
                amount: available.money(&self.currency),
                meter: meter(available.0, self.minimum_balance.0),
            }),
            minimum: fill(words.at_least, &[("amount", &self.minimum_balance.money(&self.currency))]),
            card: self.has_payment_method.then(|| card(&self.payment_method_brand, &self.payment_method_last4)),
            team: self.litellm_team_id.and_then(|team| named(team, &self.c_organization_id)),
            fits: self.c_organization_id.chars().count() <= ONE_LINE,
            id: self.c_organization_id,
            badge: urgency,
            auto,
            last: self.last_recharge.map(|last| Recharge {
                badge: Badge::new(status::class(&last.status), term(text.terms.statuses, &last.status)),
                id: last.recharge_id,
                at: last.at,
            }),
        }
    }

    /// Why it stands there, as a sentence; empty where the badge says it all.
    fn reason(&self, text: &Text) -> String {
        let words = &text.operator;
        let says = match self.urgency.as_str() {
            "paused" => return pause(text, self.pause_reason.as_deref().unwrap_or_default()),
            "failing" if self.refund_failing => words.why_refund,
            "failing" => words.why_failing,
            "action_required" => words.why_action,
            "behind" => {
                let there = self.synced_quota.map_or(text.common.none.to_owned(), |quota| quota.money(&self.currency));
                let values = [("ledger", self.quota.money(&self.currency)), ("backend", there)];
                return fill(words.why_behind, &values.each_ref().map(|(name, value)| (*name, value.as_str())));
            }
            "low" => words.why_low,
            "no_card" => words.why_no_card,
            "off" if self.closed_at.is_some() => words.why_closed,
            "off" => words.why_off,
            _ => "",
        };
        match &self.recharge {
            Some(recharge) if says.is_empty() => {
                fill(words.why_in_flight, &[("status", term(text.terms.statuses, &recharge.status))])
            }
            _ => says.to_owned(),
        }
    }
}

/// A team that is called as its organization tells nothing.
fn named(team: String, organization: &str) -> Option<Team> {
    if team == organization || team.strip_prefix("team_") == Some(organization) {
        return None;
    }
    let shown = match team.char_indices().nth(TEAM) {
        Some((end, _)) => format!("{}…", team.get(..end).unwrap_or_default()),
        None => team.clone(),
    };
    Some(Team { whole: team, shown })
}

fn class(urgency: &str) -> &'static str {
    match urgency {
        "paused" | "failing" => "is-bad",
        "action_required" | "behind" | "low" | "no_card" => "is-warn",
        "ok" => "is-good",
        _ => "is-quiet",
    }
}

/// Why automatic recharge was paused: the recharger writes a decline's word, or a sentence around one.
fn pause(text: &Text, reason: &str) -> String {
    const IN_A_ROW: &str = " charges in a row did not work, the last: ";
    let decline = |word| term(text.terms.declines, word).to_owned();
    if let Some((number, last)) = reason.split_once(IN_A_ROW) {
        return fill(text.operator.why_in_a_row, &[("number", number), ("last", &decline(last))]);
    }
    match reason.strip_prefix("dispute ").and_then(|rest| rest.rsplit_once(" is ")) {
        Some((_, "opened")) => text.operator.why_dispute_open.to_owned(),
        Some((_, "lost")) => text.operator.why_dispute_lost.to_owned(),
        _ => decline(reason),
    }
}

fn card(brand: &Option<String>, last4: &Option<String>) -> String {
    let brand = brand.as_deref().unwrap_or_default();
    let mut letters = brand.chars();
    let brand: String = letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default();
    format!("{brand} •••• {}", last4.as_deref().unwrap_or("????")).trim_start().to_owned()
}

/// The minimum is the middle: what is on the left of it is recharged. Without a minimum, anything is enough.
fn meter(available: Decimal, minimum: Decimal) -> Meter {
    let enough = available >= minimum && available > Decimal::ZERO;
    let share = if minimum.is_zero() {
        Decimal::ONE_HUNDRED
    } else {
        available
            .checked_div(minimum)
            .and_then(|share| share.checked_mul(Decimal::from(50)))
            .unwrap_or(Decimal::ONE_HUNDRED)
    };
    let width = share.clamp(Decimal::ZERO, Decimal::ONE_HUNDRED).round().to_u32().unwrap_or_default();
    match (available > Decimal::ZERO, enough) {
        (false, _) => Meter { class: "is-bad", width: 0 },
        (true, false) => Meter { class: "is-warn", width },
        (true, true) => Meter { class: "is-good", width },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meters() {
        for (available, minimum, class, width) in [
            (0, 100, "is-bad", 0),
            (-5, 100, "is-bad", 0),
            (99, 100, "is-warn", 50),
            (40, 100, "is-warn", 20),
            (100, 100, "is-good", 50),
            (150, 100, "is-good", 75),
            (i64::MAX, 1, "is-good", 100),
            (1, 0, "is-good", 100),
            (0, 0, "is-bad", 0),
            (-1, 0, "is-bad", 0),
        ] {
            let got = meter(Decimal::from(available), Decimal::from(minimum));
            assert_eq!(got, Meter { class, width }, "{available} of {minimum}");
        }
    }

    #[test]
    fn teams() {
        let shown = |team: &str| named(team.to_owned(), "acme").map(|team| team.shown);
        for (team, says) in [
            ("acme", None),
            ("team_acme", None),
            ("team_beta", Some("team_beta")),
            ("sixteen-letters-", Some("sixteen-letters-")),
            ("team_4394a6b2-77da-4e13", Some("team_4394a6b2-77…")),
            ("团队团队团队团队团队团队团队团队团", Some("团队团队团队团队团队团队团队团队…")),
        ] {
            assert_eq!(shown(team).as_deref(), says, "{team}");
        }
    }

    #[test]
    fn pauses_and_cards() {
        let en = Text::of("en").unwrap();
        let declined = term(en.terms.declines, "lost_card");
        assert_eq!(pause(en, "lost_card"), declined);
        assert_eq!(pause(en, "something <new>"), "something <new>");
        let many = pause(en, "3 charges in a row did not work, the last: lost_card");
        assert!(many.starts_with("3 ") && many.ends_with(declined), "{many}");
        assert_eq!(pause(en, "dispute dp_1 (fraudulent) is opened"), en.operator.why_dispute_open);
        assert_eq!(pause(en, "dispute dp_1 (it is fraud) is lost"), en.operator.why_dispute_lost);
        assert_eq!(pause(en, "dispute of something else"), "dispute of something else");
        let card = |brand: Option<&str>, last4: Option<&str>| {
            super::card(&brand.map(str::to_owned), &last4.map(str::to_owned))
        };
        assert_eq!((card(Some("visa"), Some("4242")), card(None, None)), ("Visa •••• 4242".into(), "•••• ????".into()));
    }
}
