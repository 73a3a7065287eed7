//! The parts of an organization's page. Pure.

use common::money::Currency;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

use super::data::{Balance, Config, EventRow, EventStatus, Month, QuotaEntry, Recharge, Simulation};
use super::phrase::{Phrase, Value, phrase, plain};
use super::policy_sentence::{now, sentence};
use super::progress::{Step, steps};
use super::trial::why_not;
use crate::console::amount::Amount;
use crate::console::moment::Moment;
use crate::console::pages::status;
use crate::console::text::{Text, fill, term};
use crate::console::visit::Visit;
use crate::http::Problem;

/// From this much on the meter warns, in hundredths.
const NEARLY: u64 = 80;
const ALL: u64 = 100;

/// The available balance, large.
pub(super) struct Hero {
    pub(super) class: &'static str,
    /// The figure before its decimal point, and the rest; `None`: it is not known.
    pub(super) figure: Option<(String, String)>,
    pub(super) unit: String,
    pub(super) note: Phrase,
    pub(super) quota: String,
    pub(super) usage: Option<String>,
    pub(super) meter: Option<Meter>,
}

/// How much of the quota is used.
pub(super) struct Meter {
    pub(super) class: &'static str,
    pub(super) width: u64,
    pub(super) says: String,
}

pub(super) fn hero(text: &Text, config: &Config, balance: &Balance) -> Hero {
    let (words, currency) = (&text.organization, &config.currency);
    let figure = balance.available.map(|left| {
        let money = left.money(currency);
        match money.rsplit_once('.') {
            Some((whole, cents)) => (whole.to_owned(), format!(".{cents}")),
            None => (money, String::new()),
        }
    });
    let note = match (balance.available, balance.usage_at) {
        (Some(left), _) if left.0 <= Decimal::ZERO => plain(words.nothing_left),
        (Some(_), Some(at)) => phrase(words.left_of_quota, &[("time", Value::At(at))]),
        _ => plain(words.usage_unknown),
    };
    Hero {
        class: if balance.available.is_some_and(|left| left.0 <= Decimal::ZERO) { "is-bad" } else { "" },
        figure,
        unit: unit(currency),
        note,
        quota: balance.quota.money(currency),
        usage: balance.usage.map(|usage| usage.money(currency)),
        meter: balance.usage.and_then(|usage| meter(text, usage, balance.quota)),
    }
}

/// The currency's code, unless it is a part of every amount.
fn unit(currency: &Currency) -> String {
    let code = currency.code().to_uppercase();
    if Amount::default().money(currency).starts_with(&code) { String::new() } else { code }
}

fn meter(text: &Text, usage: Amount, quota: Amount) -> Option<Meter> {
    if quota.0 <= Decimal::ZERO {
        return None;
    }
    let hundredths = usage.0.checked_mul(Decimal::ONE_HUNDRED)?.checked_div(quota.0)?;
    let used = hundredths.max(Decimal::ZERO).min(Decimal::from(999)).floor().to_u64()?;
    let class = match used {
        ALL.. => "is-bad",
        NEARLY.. => "is-warn",
        _ => "",
    };
    let says = fill(text.organization.meter, &[("used", &used.to_string())]);
    Some(Meter { class, width: used.min(ALL), says })
}

/// A recharge that is on its way, or that was asked for on the page before.
pub(super) struct Flight {
    pub(super) title: String,
    pub(super) href: String,
    pub(super) steps: Vec<Step>,
    /// How it ended, if it has.
    pub(super) says: Option<Phrase>,
}

pub(super) fn flight(text: &Text, recharges: &[Recharge], event: Option<&EventStatus>) -> Option<Flight> {
    let words = &text.organization;
    let asked = event.and_then(|event| event.recharge_id.as_deref());
    let of_event = || recharges.iter().find(|recharge| Some(recharge.recharge_id.as_str()) == asked);
    let skipped = event.is_some_and(|event| event.decision.as_deref() == Some("skipped"));
    let moving = || recharges.iter().find(|recharge| recharge.is_in_flight());
    let recharge = if skipped { moving() } else { of_event().or_else(moving) }?;
    let amount = recharge.amount.money(&recharge.currency);
    let title = if recharge.is_in_flight() { words.flight } else { words.flight_ended };
    let says = match (recharge.status(), recharge.new_quota) {
        ("settled", Some(quota)) => {
            let quota = quota.money(&recharge.currency);
            Some(phrase(words.flight_settled, &[("amount", Value::Strong(&amount)), ("quota", Value::Strong(&quota))]))
        }
        ("declined" | "failed", _) => Some(plain(words.flight_not_charged)),
        ("refunding" | "returning" | "refunded", _) => {
            let cause = recharge.undo_cause.as_deref().unwrap_or_default();
            Some(phrase(words.flight_back, &[("reason", Value::Plain(term(text.terms.undos, cause)))]))
        }
        _ => None,
    };
    Some(Flight {
        title: fill(title, &[("amount", &amount)]),
        href: format!("/console/recharges/{}", recharge.recharge_id),
        steps: steps(recharge.status(), words),
        says,
    })
}

/// Automatic recharge.
pub(super) struct Auto {
    pub(super) on: bool,
    pub(super) lead: Option<&'static str>,
    pub(super) sentence: Phrase,
    /// What it would do now.
    pub(super) now: Option<Phrase>,
}

pub(super) fn auto(
    text: &'static Text,
    config: &Config,
    balance: &Balance,
    simulation: &Result<Simulation, Problem>,
) -> Auto {
    let words = &text.organization;
    let on = config.auto_recharge_enabled && !config.is_closed();
    let now = match simulation {
        // That it is off is said above already.
        _ if !on => None,
        Ok(simulation) => simulation.decision.as_ref().map(|decision| now(text, config, decision, balance.available)),
        Err(problem) => Some(phrase(words.now_unknown, &[("reason", Value::Foreign(why_not(text, problem)))])),
    };
    let lead = (!on).then_some(words.auto_off_lead);
    Auto { on, lead, sentence: sentence(text, config, Some(balance.quota)), now }
}

/// The card that is charged.
pub(super) struct CardOnFile {
    pub(super) name: Option<String>,
    /// What to say of a card that was just given.
    pub(super) notice: Option<(&'static str, &'static str)>,
}

pub(super) fn card(visit: &Visit, config: &Config) -> CardOnFile {
    let words = &visit.text.organization;
    let given = visit.query.get("card").is_some_and(|card| matches!(card, "saved" | "pending"));
    let came = visit.query.get("was").is_none_or(|was| Some(was) != config.default_payment_method_id.as_deref())
        && config.default_payment_method_id.is_some()
        && visit.query.get("was").is_some();
    let notice = match (given, came) {
        (false, _) => None,
        (true, true) => Some(("is-good", words.card_came)),
        (true, false) => Some(("is-info", words.card_pending)),
    };
    CardOnFile { name: config.card(), notice }
}

/// The calendar month so far.
pub(super) struct MonthSoFar {
    pub(super) usage: Option<String>,
    pub(super) usage_note: Phrase,
    pub(super) paid: String,
    pub(super) paid_note: String,
}

pub(super) fn month(text: &Text, config: &Config, month: &Month) -> MonthSoFar {
    let (words, currency) = (&text.organization, &config.currency);
    let usage_note = match (month.source.as_deref(), month.counted_from) {
        (Some("backend"), _) => plain(words.month_backend),
        (Some(_), Some(since)) => phrase(words.month_since, &[("time", Value::At(since))]),
        _ => plain(words.month_unknown),
    };
    let (captured, refunded) = (month.captured.money(currency), month.refunded.money(currency));
    let paid_note = if month.refunded.is_zero() { words.paid_all } else { words.paid_without };
    MonthSoFar {
        usage: month.usage.map(|usage| usage.money(currency)),
        usage_note,
        paid: month.paid.money(currency),
        paid_note: fill(paid_note, &[("captured", &captured), ("refunded", &refunded)]),
    }
}

/// What the ledger says, and what is enforced.
pub(super) struct QuotaState {
    pub(super) class: &'static str,
    pub(super) agrees: &'static str,
    pub(super) ledger: String,
    pub(super) version: i64,
    pub(super) backend: String,
    pub(super) in_force: Option<String>,
    pub(super) since: Option<Moment>,
}

pub(super) fn quota(text: &Text, config: &Config, balance: &Balance, quotas: &[QuotaEntry]) -> QuotaState {
    let (words, currency) = (&text.organization, &config.currency);
    let synced = quotas.iter().find(|entry| entry.kind == "synced");
    let backend = synced.or(quotas.first()).map_or(words.quota_backend, |entry| match entry.backend.as_str() {
        "kms" => "KMS",
        "litellm" => "LiteLLM",
        _ => words.quota_backend,
    });
    // The newest push knows it; before the first recharge, it alone does.
    let in_force = synced.map(|entry| entry.quota).or(balance.quota_in_force);
    let (class, agrees) = match in_force {
        None => ("is-quiet", words.not_told),
        Some(there) if there == balance.quota => ("is-good", words.agrees),
        Some(_) => ("is-warn", words.differs),
    };
    QuotaState {
        class,
        agrees,
        ledger: balance.quota.money(currency),
        version: balance.ledger_version,
        backend: fill(words.enforced_by, &[("backend", backend)]),
        in_force: in_force.map(|quota| quota.money(currency)),
        since: since(quotas),
    }
}

/// Since when the quota that is in force is so: the oldest of the newest settings that were all the same.
fn since(quotas: &[QuotaEntry]) -> Option<Moment> {
    let synced = || quotas.iter().filter(|entry| entry.kind == "synced");
    let newest = synced().next()?;
    synced().take_while(|entry| entry.quota == newest.quota).last().map(|entry| entry.at)
}

/// One of the last recharges.
pub(super) struct RecentRecharge {
    pub(super) href: String,
    pub(super) at: Option<Moment>,
    pub(super) amount: String,
    pub(super) fee: String,
    pub(super) class: &'static str,
    pub(super) status: String,
    pub(super) trigger: String,
}

pub(super) fn recent_recharge(text: &Text, recharge: &Recharge) -> RecentRecharge {
    RecentRecharge {
        href: format!("/console/recharges/{}", recharge.recharge_id),
        at: recharge.created_at,
        amount: recharge.amount.money(&recharge.currency),
        fee: recharge.fee.money(&recharge.currency),
        class: status::class(recharge.status()),
        status: term(text.terms.statuses, recharge.status()).to_owned(),
        trigger: term(text.terms.triggers, &recharge.triggered_by).to_owned(),
    }
}

/// One of the last events.
pub(super) struct RecentEvent {
    pub(super) at: Moment,
    pub(super) kind: String,
    pub(super) source: String,
    pub(super) class: &'static str,
    pub(super) decision: String,
    pub(super) reason: Option<String>,
    pub(super) chain: Option<String>,
}

pub(super) fn recent_event(text: &Text, event: &EventRow) -> RecentEvent {
    let reason = event.reason.as_deref().map(|reason| {
        let says = term(text.terms.skips, reason);
        if says == reason { term(text.terms.declines, reason) } else { says }
    });
    RecentEvent {
        at: event.received_at,
        kind: event.event_type.clone(),
        source: term(text.terms.sources, &event.source).to_owned(),
        class: match event.decision.as_str() {
            "charge" => "is-info",
            "skipped" => "is-warn",
            _ => "is-quiet",
        },
        decision: term(text.terms.decisions, &event.decision).to_owned(),
        reason: reason.map(str::to_owned),
        chain: event.recharge_id.as_ref().map(|id| format!("/console/recharges/{id}")),
    }
}
