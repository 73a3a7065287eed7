//! The state of the pipeline in words: each part with its verdict, what it is about, and what to do. Pure.

use common::clock::Timestamp;

use super::Badge;
use super::pipeline::{
    Backend, Consumer, DeadLetters, InFlight, Pipeline, Quotas, Reconciliation, Refunds, Step, Stripe,
};
use super::verdict::{self, Progress, Trouble, Verdict, worst};
use crate::console::moment::Moment;
use crate::console::text::{Text, fill, term};

/// Everything that the page shows.
pub(super) struct Judged {
    pub(super) verdicts: Vec<Verdict>,
    pub(super) steps: Vec<Step>,
    pub(super) stages: Option<Vec<Stage>>,
    pub(super) parts: Vec<Part>,
}

/// A service at one stream.
pub(super) struct Stage {
    pub(super) service: String,
    pub(super) stream: String,
    /// What the stream carries.
    pub(super) carries: String,
    pub(super) badge: Badge,
    pub(super) class: &'static str,
    pub(super) advice: String,
    /// Waiting, in work, redelivered; `None`: not known.
    pub(super) numbers: [Option<u64>; 3],
    pub(super) last: Option<Moment>,
}

/// A part beside the consumers.
pub(super) struct Part {
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) badge: Badge,
    pub(super) says: String,
    pub(super) facts: Vec<Fact>,
    /// What to do; empty: nothing.
    pub(super) advice: String,
    /// Where to look, and how that is called.
    pub(super) link: Option<(String, &'static str)>,
}

/// A line of a part.
pub(super) struct Fact {
    pub(super) name: String,
    pub(super) value: Value,
}

pub(super) enum Value {
    Text(String),
    At(Moment),
    /// So many, the oldest of which since then.
    Since(String, Moment),
    /// What happened, and when.
    When(String, Moment),
    /// What somebody else said when it failed, at any length, and when.
    Failed(String, Moment),
}

fn badge(text: &Text, verdict: Verdict) -> Badge {
    Badge::new(verdict.class(), term(text.terms.verdicts, verdict.word()))
}

/// Judges everything.
pub(super) fn judge(text: &'static Text, pipeline: Pipeline) -> Judged {
    let now = pipeline.at.0;
    let oldest_charge =
        pipeline.recharges.as_ref().and_then(|all| all.iter().find(|one| one.status == "pending")?.oldest_at);
    let stages = pipeline.consumers.map(|all| all.into_iter().map(|one| stage(text, one, now)).collect::<Vec<_>>());
    let of = |name: &str| {
        let own = stages.iter().flatten().filter(|(stage, _)| stage.service == name);
        worst(own.map(|(_, verdict)| *verdict))
    };
    let services = ["recharger", "ledger", "syncer"].map(of);
    let reason = |part: &str| {
        let said = pipeline.unknown.iter().find(|unknown| unknown.part == part);
        said.map(|unknown| term(text.terms.absences, &unknown.reason).to_owned()).unwrap_or_default()
    };
    let (stripe, stripe_verdict) = known(text, pipeline.outside.stripe, &reason("outside.stripe"), "stripe", |told| {
        stripe(text, told, oldest_charge, now)
    });
    let (backend, backend_verdict) =
        known(text, pipeline.outside.quota_backend, &reason("outside.quota_backend"), "backend", |told| {
            backend(text, told, now)
        });
    let rest = [
        known(text, pipeline.dead_letters, &reason("dead_letters"), "dead-letters", |told| dead_letters(text, told)),
        known(text, pipeline.recharges, &reason("recharges"), "recharges", |told| recharges(text, told, now)),
        known(text, pipeline.refunds, &reason("refunds"), "refunds", |told| refunds(text, told, now)),
        known(text, pipeline.quotas, &reason("quotas"), "quotas", |told| quotas(text, told, now)),
        known(text, pipeline.reconciliation, &reason("reconciliation"), "reconciliation", |told| {
            books(text, told, now)
        }),
    ];
    let mut verdicts = vec![stripe_verdict, backend_verdict];
    verdicts.extend(services);
    let mut parts = Vec::new();
    for (part, verdict) in rest {
        verdicts.push(verdict);
        parts.push(part);
    }
    parts.splice(1..1, [stripe]);
    parts.splice(5..5, [backend]);
    let [recharger, ledger, syncer] = services;
    let chain = [
        (text.operator.step_recharger, recharger),
        (text.operator.step_stripe, stripe_verdict),
        (text.operator.step_ledger, ledger),
        (text.operator.step_syncer, syncer),
        (text.operator.step_backend, backend_verdict),
    ];
    let says = |verdict: Verdict| term(text.terms.verdicts, verdict.word());
    let steps = chain.map(|(name, verdict)| Step { class: verdict.step(), name, says: says(verdict) }).into();
    Judged { verdicts, steps, stages: stages.map(|all| all.into_iter().map(|(stage, _)| stage).collect()), parts }
}

/// A part, or that it is not known and why.
fn known<T>(
    text: &Text,
    told: Option<T>,
    reason: &str,
    id: &'static str,
    part: impl FnOnce(T) -> (Part, Verdict),
) -> (Part, Verdict) {
    let title = text.terms.parts.iter().find(|(have, _)| *have == id).map_or(id, |(_, says)| *says);
    let (mut part, verdict) = told.map(part).unwrap_or_else(|| {
        let badge = badge(text, Verdict::Unknown);
        let (says, facts, advice) = (reason.to_owned(), Vec::new(), String::new());
        let link = Some(("/console/pipeline".to_owned(), text.operator.look_again));
        (Part { id, title, badge, says, facts, advice, link }, Verdict::Unknown)
    });
    (part.id, part.title) = (id, title);
    (part, verdict)
}

fn part(text: &Text, verdict: Verdict, says: impl Into<String>, facts: Vec<Fact>, advice: &str) -> Part {
    let advice = if verdict == Verdict::Well { String::new() } else { advice.to_owned() };
    Part { id: "", title: "", badge: badge(text, verdict), says: says.into(), facts, advice, link: None }
}

fn fact(name: impl Into<String>, value: Value) -> Fact {
    Fact { name: name.into(), value }
}

/// So many, and since when the oldest.
fn since(count: i64, oldest: Option<Moment>) -> Value {
    match oldest.filter(|_| count > 0) {
        Some(oldest) => Value::Since(count.to_string(), oldest),
        None => Value::Text(count.to_string()),
    }
}

fn stage(text: &Text, consumer: Consumer, now: Timestamp) -> (Stage, Verdict) {
    let words = &text.operator;
    let last = consumer.last_delivered_at.max(consumer.last_acked_at);
    let told = consumer.pending.zip(consumer.ack_pending).zip(consumer.redelivered).zip(consumer.asking);
    let (verdict, trouble) = match told {
        Some((((pending, in_work), redelivered), asking)) => {
            let progress = Progress { pending, in_work, redelivered, asking, last: last.map(|last| last.0) };
            verdict::consumer(&progress, now)
        }
        None => (Verdict::Unknown, Trouble::None),
    };
    let advice = match trouble {
        Trouble::None => consumer.problem.unwrap_or_default(),
        Trouble::Nobody => fill(words.advise_nobody, &[("service", &consumer.service)]),
        Trouble::Standing => fill(words.advise_standing, &[("service", &consumer.service)]),
        Trouble::Again => words.advise_again.to_owned(),
        Trouble::Many => fill(words.advise_many, &[("service", &consumer.service)]),
    };
    let stage = Stage {
        carries: term(text.terms.streams, &consumer.stream).to_owned(),
        badge: badge(text, verdict),
        class: match verdict {
            Verdict::Stuck => "is-bad",
            Verdict::Slow => "is-warn",
            Verdict::Well | Verdict::Unknown => "",
        },
        advice,
        numbers: [consumer.pending, consumer.ack_pending, consumer.redelivered],
        last,
        service: consumer.service,
        stream: consumer.stream,
    };
    (stage, verdict)
}

fn dead_letters(text: &'static Text, told: DeadLetters) -> (Part, Verdict) {
    let words = &text.operator;
    let verdict = verdict::dead_letters(told.count);
    let says = if told.count == 0 {
        words.no_letters.to_owned()
    } else {
        fill(words.letters_wait, &[("count", &told.count.to_string())])
    };
    let facts = told.oldest_at.map(|oldest| fact(words.oldest, Value::At(oldest))).into_iter().collect();
    let link = (told.count > 0).then(|| ("/console/dead-letters".to_owned(), words.see_letters));
    (Part { link, ..part(text, verdict, says, facts, words.advise_letters) }, verdict)
}

fn recharges(text: &Text, told: Vec<InFlight>, now: Timestamp) -> (Part, Verdict) {
    let words = &text.operator;
    let there: Vec<&InFlight> = told.iter().filter(|line| line.count > 0).collect();
    let judged = |line: &&InFlight| verdict::recharges(&line.status, line.oldest_at.map(|at| at.0), now);
    let verdict = there.iter().map(judged).max().unwrap_or(Verdict::Well);
    let says = if there.is_empty() {
        words.nothing_in_flight.to_owned()
    } else {
        let count: i64 = there.iter().map(|line| line.count).sum();
        fill(words.in_flight, &[("count", &count.to_string())])
    };
    let line = |line: &&InFlight| fact(term(text.terms.statuses, &line.status), since(line.count, line.oldest_at));
    (part(text, verdict, says, there.iter().map(line).collect(), words.advise_recharges), verdict)
}

fn refunds(text: &Text, told: Refunds, now: Timestamp) -> (Part, Verdict) {
    let words = &text.operator;
    let verdict = verdict::refunds(told.failing, told.oldest_at.map(|at| at.0), now);
    let says = if told.open == 0 { words.no_refunds } else { words.refunds_open };
    let mut facts =
        vec![fact(words.open, since(told.open, told.oldest_at)), fact(words.failing, since(told.failing, None))];
    facts.extend(told.last_error.map(|error| fact(words.last_error, Value::Text(error))));
    (part(text, verdict, says, if told.open == 0 { Vec::new() } else { facts }, words.advise_refunds), verdict)
}

fn quotas(text: &Text, told: Quotas, now: Timestamp) -> (Part, Verdict) {
    let words = &text.operator;
    let verdict = verdict::quotas(told.oldest_at.map(|at| at.0), now);
    let (says, facts) = match told.behind {
        0 => (words.quotas_there.to_owned(), Vec::new()),
        behind => (
            fill(words.quotas_behind, &[("count", &behind.to_string())]),
            told.oldest_at.map(|at| fact(words.oldest, Value::At(at))).into_iter().collect(),
        ),
    };
    let link = (told.behind > 0).then(|| ("/console/organizations?only=behind".to_owned(), text.operator.see_behind));
    (Part { link, ..part(text, verdict, says, facts, words.advise_quotas) }, verdict)
}

fn stripe(text: &Text, told: Stripe, oldest_charge: Option<Moment>, now: Timestamp) -> (Part, Verdict) {
    let words = &text.operator;
    let answer = told.last_answer.as_ref().map(|answer| answer.at.0);
    let verdict = verdict::stripe(oldest_charge.map(|at| at.0), answer, now);
    let waiting = told.waiting_recharges.saturating_add(told.waiting_refunds);
    let says = if waiting == 0 { words.stripe_idle } else { words.stripe_waits };
    let mut facts = Vec::new();
    facts.extend(told.last_answer.map(|answer| {
        fact(words.last_answer, Value::When(term(text.terms.outcomes, &answer.outcome).to_owned(), answer.at))
    }));
    if waiting > 0 {
        let values = [("recharges", told.waiting_recharges.to_string()), ("refunds", told.waiting_refunds.to_string())];
        let waits = fill(words.waiting_both, &values.each_ref().map(|(name, value)| (*name, value.as_str())));
        facts.push(fact(
            words.waiting,
            told.waiting_since.map_or(Value::Text(waits.clone()), |at| Value::Since(waits, at)),
        ));
    }
    (part(text, verdict, says, facts, words.advise_stripe), verdict)
}

fn backend(text: &Text, told: Backend, now: Timestamp) -> (Part, Verdict) {
    let words = &text.operator;
    let at = |at: Option<Moment>| at.map(|at| at.0);
    let (success, failure) = (told.last_success.as_ref().map(|it| it.at), told.last_failure.as_ref().map(|it| it.at));
    let verdict = verdict::backend(at(told.waiting_since), at(success), at(failure), now);
    let says = match (told.waiting, success) {
        (0, None) => words.backend_new,
        (0, Some(_)) => words.backend_idle,
        _ => words.backend_waits,
    };
    let mut facts = Vec::new();
    facts.extend(told.last_success.map(|success| {
        fact(words.last_answer, Value::When(term(text.terms.outcomes, &success.what).to_owned(), success.at))
    }));
    if told.waiting > 0 {
        facts.push(fact(words.waiting, since(told.waiting, told.waiting_since)));
    }
    facts.extend(told.last_failure.map(|failure| {
        let values = [
            ("organization", failure.c_organization_id.as_str()),
            ("backend", &failure.backend),
            ("reason", &failure.reason),
        ];
        fact(words.last_failure, Value::Failed(fill(words.failure, &values), failure.at))
    }));
    (part(text, verdict, says, facts, words.advise_backend), verdict)
}

fn books(text: &Text, told: Reconciliation, now: Timestamp) -> (Part, Verdict) {
    let words = &text.operator;
    let run = told.last.as_ref().map(|run| verdict::Run {
        finished: run.finished,
        given_up: run.given_up,
        reported: run.reported,
        at: run.requested_at.0,
    });
    let verdict = verdict::reconciliation(run.as_ref(), now);
    let Some(last) = told.last else {
        let link = Some(("/console/reconciliations".to_owned(), words.see_runs));
        return (Part { link, ..part(text, verdict, words.no_runs, Vec::new(), words.advise_no_runs) }, verdict);
    };
    let says = if last.finished && last.findings == 0 {
        words.books_agree.to_owned()
    } else if last.finished {
        let repaired = last.findings.saturating_sub(last.reported).to_string();
        let says = if last.reported == 0 { words.books_repaired } else { words.books_found };
        fill(says, &[("repaired", &repaired), ("reported", &last.reported.to_string())])
    } else if last.given_up {
        words.books_given_up.to_owned()
    } else {
        words.books_running.to_owned()
    };
    let facts = vec![fact(words.asked_at, Value::At(last.requested_at))];
    let link = Some((format!("/console/reconciliations/{}", last.run_id), words.see_run));
    let advice = if last.reported > 0 { words.advise_books } else { words.advise_no_runs };
    (Part { link, ..part(text, verdict, says, facts, advice) }, verdict)
}
