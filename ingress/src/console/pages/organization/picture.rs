//! The picture of an organization's page: what is drawn, and what it says in one sentence. Pure.

use common::money::Currency;

use super::chart::{self, Event, Picture};
use super::data::{Balance, Config, QuotaEntry, Recharge, Usage, round};
use crate::console::amount::Amount;
use crate::console::text::{Text, fill};

/// A choice of how much the picture shows.
pub(super) struct DaysLink {
    pub(super) days: u32,
    pub(super) href: String,
    pub(super) current: bool,
}

/// The picture with what it says in one sentence.
pub(super) fn picture(
    text: &Text,
    config: &Config,
    balance: &Balance,
    usage: &Option<Usage>,
    recharges: &[Recharge],
    quotas: &[QuotaEntry],
    days: u32,
) -> (Option<Picture>, String) {
    let words = &text.organization;
    let Some(usage) = usage else { return (None, String::new()) };
    let currency = config.currency;
    let events = marks(text, &currency, recharges, quotas);
    let seen = chart::Seen {
        from: usage.from.0,
        to: usage.to.0,
        looks: &usage.points,
        events: &events,
        minimum: config.auto_recharge_enabled.then_some(config.minimum_balance.0),
        currency,
        quota_now: balance.quota_in_force,
    };
    let Some(picture) = chart::draw(&seen) else { return (None, String::new()) };
    let count = |class| picture.marks.iter().filter(|mark| mark.class == class).count().to_string();
    let show = |amount: Option<Amount>| amount.map_or_else(String::new, |amount| amount.money(&currency));
    let (newest, oldest) = (usage.points.first(), usage.points.last());
    let says = fill(
        words.picture_says,
        &[
            ("days", &days.to_string()),
            ("usage_from", &show(oldest.map(|look| look.usage))),
            ("usage_to", &show(newest.map(|look| look.usage))),
            ("quota_from", &show(oldest.map(|look| look.quota))),
            ("quota_to", &show(newest.map(|look| look.quota))),
            ("recharges", &count("of-recharge")),
            ("refunds", &count("of-refund")),
        ],
    );
    (Some(picture), says)
}

fn marks(text: &Text, currency: &Currency, recharges: &[Recharge], quotas: &[QuotaEntry]) -> Vec<Event> {
    let words = &text.organization;
    let chain = |id: &str| format!("/console/recharges/{id}");
    let bought = recharges.iter().filter_map(|recharge| {
        let at = recharge.settled_at?;
        let amount = round(recharge.amount, currency);
        let says = fill(words.mark_recharge, &[("amount", &amount), ("day", &at.0.format("%Y-%m-%d").to_string())]);
        Some(Event { at, class: "of-recharge", href: chain(&recharge.recharge_id), says })
    });
    let gone = ["refund", "void", "dispute_lost", "hold"];
    let back = quotas.iter().filter(|entry| entry.kind == "synced" && gone.contains(&entry.why.as_str())).filter_map(
        |entry| {
            let recharge = entry.recharge_id.as_deref()?;
            let less = entry.previous_quota.and_then(|before| before.0.checked_sub(entry.quota.0)).unwrap_or_default();
            let (amount, day) = (round(Amount(less), currency), entry.at.0.format("%Y-%m-%d").to_string());
            let says = fill(words.mark_refund, &[("amount", &amount), ("day", &day)]);
            Some(Event { at: entry.at, class: "of-refund", href: chain(recharge), says })
        },
    );
    bought.chain(back).collect()
}
