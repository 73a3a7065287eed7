//! What a policy would do, tried without saving anything.

use common::money::Currency;
use futures_util::join;
use serde_json::{Map, Value as Json, json};

use super::data::{Config, Decision, Replay, Simulation};
use super::phrase::{Phrase, Value, phrase, plain};
use super::policy_sentence::{now, sentence};
use crate::console::amount::Amount;
use crate::console::moment::Moment;
use crate::console::text::{Text, fill, term};
use crate::console::visit::Visit;
use crate::http::Problem;

/// What came of it.
pub(super) struct Trial {
    pub(super) sentence: Phrase,
    pub(super) now: Phrase,
    pub(super) replay: Result<Replayed, String>,
}

/// What would have been done over some days, beside what was.
pub(super) struct Replayed {
    /// From when to when, and how much is known of it.
    pub(super) lead: Phrase,
    pub(super) would: String,
    pub(super) would_note: String,
    pub(super) really: String,
    pub(super) really_note: String,
    pub(super) rows: Vec<Row>,
    pub(super) truncated: bool,
    pub(super) skips: Vec<Skip>,
}

/// A recharge that there would have been.
pub(super) struct Row {
    pub(super) at: Moment,
    pub(super) usage: String,
    pub(super) amount: String,
    pub(super) total: String,
    pub(super) quota_after: String,
}

/// Why there would not have been more.
pub(super) struct Skip {
    pub(super) reason: String,
    pub(super) count: i64,
    pub(super) first: Moment,
    pub(super) last: Moment,
}

/// Tries `policy` now and over the last days. `config` is how the organization would be with it. What is wrong with its
/// fields is a problem; that usage is not known, or that nobody answers, is shown.
pub(super) async fn tried(
    visit: &Visit,
    config: &Config,
    policy: &Map<String, Json>,
    days: u32,
    quota: Option<Amount>,
    available: Option<Amount>,
) -> Result<Trial, Problem> {
    let to = format!("/api/organizations/{}/simulate", config.c_organization_id);
    let (at_once, over) = join!(
        visit.post::<Simulation>(&to, json!({ "policy": policy })),
        visit.post::<Simulation>(&to, json!({ "policy": policy, "days": days })),
    );
    let text = visit.text;
    let about_fields = |problem: &Problem| problem.fact("fields").is_array();
    let now = match at_once {
        Ok(Simulation { decision: Some(decision), .. }) => says_now(text, config, &decision, available),
        Ok(_) => plain(""),
        Err(problem) if about_fields(&problem) => return Err(problem),
        Err(problem) => phrase(text.organization.now_unknown, &[("reason", Value::Foreign(why_not(text, &problem)))]),
    };
    let replay = match over {
        Ok(Simulation { replay: Some(replay), .. }) => Ok(replayed(text, &config.currency, &replay)),
        Ok(_) => Err(String::new()),
        Err(problem) if about_fields(&problem) => return Err(problem),
        Err(problem) => Err(why_not(text, &problem).to_owned()),
    };
    Ok(Trial { sentence: sentence(text, config, quota), now, replay })
}

/// Why nobody can tell, as a sentence.
pub(super) fn why_not<'a>(text: &'static Text, problem: &'a Problem) -> &'a str {
    let says = term(text.terms.problems, problem.code());
    if says == problem.code() { problem.sentence() } else { says }
}

fn says_now(text: &Text, config: &Config, decision: &Decision, available: Option<Amount>) -> Phrase {
    if config.auto_recharge_enabled { now(text, config, decision, available) } else { plain(text.organization.now_off) }
}

fn replayed(text: &Text, currency: &Currency, replay: &Replay) -> Replayed {
    let words = &text.organization;
    let lead = match replay.from {
        None => plain(words.replay_unknown),
        Some(from) => {
            let looks = replay.snapshots.to_string();
            let says = if from.0 > replay.asked_from.0 { words.replay_shorter } else { words.replay_lead };
            phrase(says, &[("from", Value::At(from)), ("to", Value::At(replay.to)), ("looks", Value::Plain(&looks))])
        }
    };
    let show = |amount: Amount| amount.money(currency);
    let skips = replay.skips.iter().map(|skip| Skip {
        reason: term(text.terms.skips, &skip.reason).to_owned(),
        count: skip.count,
        first: skip.first,
        last: skip.last,
    });
    let rows = replay.simulated.iter().map(|row| Row {
        at: row.at,
        usage: show(row.usage),
        amount: show(row.amount),
        total: show(row.total_charge),
        quota_after: show(row.quota_after),
    });
    let (would, really) = (replay.recharges.to_string(), replay.actual_recharges.to_string());
    let (bought, charged) = (show(replay.total_amount), show(replay.total_charge));
    let by_hand = replay.actual_manual_recharges.to_string();
    Replayed {
        lead,
        would,
        would_note: fill(words.replay_would_note, &[("amount", &bought), ("total", &charged)]),
        really,
        really_note: fill(words.replay_really_note, &[("amount", &show(replay.actual_amount)), ("manual", &by_hand)]),
        rows: rows.collect(),
        truncated: replay.truncated,
        skips: skips.collect(),
    }
}
