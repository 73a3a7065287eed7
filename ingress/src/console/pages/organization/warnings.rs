//! What somebody should know before everything else, the most urgent first. Pure.

use rust_decimal::Decimal;

use super::data::{Balance, Config, QuotaEntry, Recharge};
use super::path;
use super::phrase::{Phrase, Value, phrase, plain};
use crate::console::text::{Text, term};

/// A banner.
#[derive(Debug)]
pub(super) struct Banner {
    pub(super) id: &'static str,
    pub(super) class: &'static str,
    pub(super) title: &'static str,
    pub(super) lines: Vec<Phrase>,
    pub(super) actions: Vec<Action>,
}

/// What can be done about it.
#[derive(Debug)]
pub(super) struct Action {
    pub(super) words: &'static str,
    pub(super) href: String,
    /// Whether it is a form, not a link.
    pub(super) posts: bool,
}

/// What the banners are about.
pub(super) struct Seen<'a> {
    pub(super) text: &'static Text,
    pub(super) config: &'a Config,
    pub(super) balance: &'a Balance,
    /// Newest first.
    pub(super) recharges: &'a [Recharge],
    /// Newest first.
    pub(super) quotas: &'a [QuotaEntry],
    pub(super) may_change: bool,
}

/// The banners, the most urgent first.
pub(super) fn banners(seen: &Seen<'_>) -> Vec<Banner> {
    if seen.config.is_closed() {
        return closed(seen).into_iter().collect();
    }
    let of = [used_up(seen), confirmation(seen), paused(seen), declined(seen), no_card(seen), behind(seen)];
    of.into_iter().flatten().collect()
}

impl Seen<'_> {
    fn link(&self, words: &'static str, rest: &str) -> Vec<Action> {
        let href = path(&self.config.c_organization_id, rest);
        self.may_change.then_some(Action { words, href, posts: false }).into_iter().collect()
    }

    /// Why the newest recharge was not charged, if it was not.
    fn refusal(&self) -> Option<Phrase> {
        let newest = self.recharges.iter().find(|recharge| !recharge.is_in_flight())?;
        let failure = newest.failure.as_ref().filter(|_| matches!(newest.status(), "declined" | "failed"))?;
        let terms = self.text.terms.declines;
        let known = [&failure.decline_code, &failure.code];
        let known = known.into_iter().flatten().find_map(|code| terms.iter().find(|(have, _)| have == code));
        Some(match known {
            Some((_, says)) => plain(says),
            None => {
                let says = failure.message.as_deref().or(failure.code.as_deref()).unwrap_or_default();
                phrase(self.text.organization.bank_said, &[("message", Value::Foreign(says))])
            }
        })
    }
}

fn closed(seen: &Seen<'_>) -> Option<Banner> {
    let words = &seen.text.organization;
    let line = phrase(words.closed_says, &[("time", Value::At(seen.config.closed_at?))]);
    Some(Banner { id: "closed", class: "is-bad", title: words.closed, lines: vec![line], actions: Vec::new() })
}

fn used_up(seen: &Seen<'_>) -> Option<Banner> {
    let words = &seen.text.organization;
    seen.balance.available.filter(|left| left.0 <= Decimal::ZERO)?;
    let actions = seen.link(words.recharge_now, "/recharge");
    Some(Banner {
        id: "used-up",
        class: "is-bad",
        title: words.used_up,
        lines: vec![plain(words.used_up_says)],
        actions,
    })
}

fn confirmation(seen: &Seen<'_>) -> Option<Banner> {
    let words = &seen.text.organization;
    let recharge = seen.recharges.iter().find(|recharge| recharge.status() == "action_required")?;
    let total = recharge.total_charge.unwrap_or(recharge.amount).money(&recharge.currency);
    let mut lines = vec![phrase(words.confirm_says, &[("total", Value::Strong(&total))])];
    lines.extend(recharge.expires_at.map(|until| phrase(words.confirm_until, &[("time", Value::At(until))])));
    let url = recharge.confirmation_url.as_ref().filter(|url| seen.may_change && url.starts_with("http"));
    let action = url.map(|url| Action { words: words.confirm_do, href: url.clone(), posts: false });
    let actions = action.into_iter().collect();
    Some(Banner { id: "confirm", class: "is-warn", title: words.confirm, lines, actions })
}

fn paused(seen: &Seen<'_>) -> Option<Banner> {
    let words = &seen.text.organization;
    if !seen.balance.paused {
        return None;
    }
    let reason = seen.refusal().or_else(|| {
        let why = seen.balance.pause_reason.as_deref()?;
        let says = term(seen.text.terms.declines, why);
        Some(if says == why { phrase(words.bank_said, &[("message", Value::Foreign(why))]) } else { plain(says) })
    });
    let since = match seen.balance.paused_at {
        Some(at) => phrase(words.paused_since, &[("time", Value::At(at))]),
        None => plain(words.paused_says),
    };
    let mut lines: Vec<_> = reason.into_iter().chain([since]).collect();
    let mut actions = Vec::new();
    if seen.may_change {
        lines.push(plain(words.paused_do));
        actions = seen.link(words.other_card, "/card");
        let href = path(&seen.config.c_organization_id, "/resume");
        actions.push(Action { words: words.resume, href, posts: true });
    }
    Some(Banner { id: "paused", class: "is-bad", title: words.paused, lines, actions })
}

fn declined(seen: &Seen<'_>) -> Option<Banner> {
    let words = &seen.text.organization;
    if seen.balance.paused || seen.config.default_payment_method_id.is_none() {
        return None;
    }
    let next = match seen.balance.cooldown_until {
        _ if !seen.config.auto_recharge_enabled => plain(words.declined_off),
        Some(until) => phrase(words.declined_until, &[("time", Value::At(until))]),
        None => plain(words.declined_next),
    };
    let lines = vec![seen.refusal()?, next];
    let actions = seen.link(words.other_card, "/card");
    Some(Banner { id: "declined", class: "is-warn", title: words.declined, lines, actions })
}

fn no_card(seen: &Seen<'_>) -> Option<Banner> {
    let words = &seen.text.organization;
    if seen.config.default_payment_method_id.is_some() {
        return None;
    }
    let actions = seen.link(words.add_card, "/card");
    Some(Banner {
        id: "no-card",
        class: "is-warn",
        title: words.no_card,
        lines: vec![plain(words.no_card_says)],
        actions,
    })
}

/// While a recharge is on its way, the backend is behind as it should be.
fn behind(seen: &Seen<'_>) -> Option<Banner> {
    let words = &seen.text.organization;
    let balance = seen.balance;
    let moving = seen.recharges.iter().any(Recharge::is_in_flight);
    if moving || balance.ledger_version == 0 || balance.quota_in_force == Some(balance.quota) {
        return None;
    }
    let currency = &seen.config.currency;
    let quota = balance.quota.money(currency);
    let mut lines = vec![match balance.quota_in_force {
        Some(there) => {
            let there = there.money(currency);
            phrase(words.behind_says, &[("quota", Value::Strong(&quota)), ("there", Value::Strong(&there))])
        }
        None => phrase(words.behind_never, &[("quota", Value::Strong(&quota))]),
    }];
    let failed =
        seen.quotas.first().filter(|newest| newest.kind == "failed").and_then(|newest| newest.message.as_deref());
    lines.extend(failed.map(|message| phrase(words.behind_because, &[("message", Value::Foreign(message))])));
    lines.push(plain(words.behind_next));
    Some(Banner { id: "behind", class: "is-warn", title: words.behind, lines, actions: Vec::new() })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;

    fn ids(config: Json, balance: Json, recharges: Json, may_change: bool) -> (Vec<&'static str>, String) {
        let with = |base: Json, more: Json| {
            let mut base = base;
            base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            base
        };
        let base = json!({
            "c_organization_id": "acme", "currency": "usd", "minimum_balance": 100, "target_balance": 1000,
            "target_basis": "quota", "auto_recharge_enabled": true, "minimum_recharge_amount": 200,
            "max_daily_recharges": 5, "cooldown_seconds": 3600, "default_payment_method_id": "pm_1",
        });
        let config: Config = serde_json::from_value(with(base, config)).unwrap();
        let base =
            json!({ "quota": 500, "ledger_version": 3, "quota_in_force": 500, "available": 20, "paused": false });
        let balance: Balance = serde_json::from_value(with(base, balance)).unwrap();
        let recharges: Vec<Recharge> = recharges
            .as_array()
            .unwrap()
            .iter()
            .map(|more| {
                let base =
                    json!({ "recharge_id": "r", "amount": 200, "fee": 0, "currency": "usd", "triggered_by": "manual" });
                serde_json::from_value(with(base, more.clone())).unwrap()
            })
            .collect();
        let text = Text::of("en").unwrap();
        let seen = Seen { text, config: &config, balance: &balance, recharges: &recharges, quotas: &[], may_change };
        let banners = banners(&seen);
        (banners.iter().map(|banner| banner.id).collect(), format!("{banners:?}"))
    }

    #[test]
    fn the_most_urgent_comes_first() {
        let hostile = json!({ "status": "declined", "failure": { "code": "odd", "message": "<script>no</script>" } });
        let lost = json!({ "status": "declined", "failure": { "code": "card_declined", "decline_code": "lost_card" } });
        let asks = json!({ "status": "action_required", "confirmation_url": "https://bill.example/pay/1" });
        let paused = json!({ "paused": true, "pause_reason": "lost_card", "available": -1 });
        for (config, balance, recharges, want) in [
            (json!({}), json!({}), json!([]), &[][..]),
            (json!({ "closed_at": "2026-03-01T00:00:00Z" }), paused.clone(), json!([lost]), &["closed"]),
            (json!({}), paused.clone(), json!([lost]), &["used-up", "paused"]),
            (json!({}), json!({}), json!([asks, lost]), &["confirm", "declined"]),
            (json!({}), json!({}), json!([{ "status": "settled" }, lost]), &[]),
            (json!({ "default_payment_method_id": null }), json!({}), json!([]), &["no-card"]),
            (json!({}), json!({ "quota_in_force": 400 }), json!([]), &["behind"]),
            (json!({}), json!({ "quota_in_force": null }), json!([{ "status": "credited" }]), &[]),
            (json!({}), json!({ "quota": 0, "ledger_version": 0, "quota_in_force": null }), json!([]), &[]),
        ] {
            assert_eq!(ids(config, balance, recharges, true).0, want);
        }
        let (_, said) = ids(json!({}), json!({}), json!([hostile]), true);
        assert!(said.contains("&lt;script&gt;") && !said.contains("<script>"), "{said}");
        let (_, said) = ids(json!({}), paused, json!([lost]), false);
        assert!(said.contains("reported lost") && said.contains("actions: []"), "{said}");
        assert!(!said.contains("/resume") && !said.contains("/card"), "{said}");
    }
}
