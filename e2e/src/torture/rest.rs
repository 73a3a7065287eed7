//! The end of a campaign: waiting until the system is at rest, dead letters as an operator treats them, and a
//! comparison of all books.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::field::Field;
use super::notes::Notes;
use crate::{books, wait};

/// How often to look.
const LOOK: Duration = Duration::from_millis(250);
/// So often in a row it must be at rest: a message that was just acknowledged may be about to be followed by another.
const LOOKS: usize = 3;

/// Waits until nothing moves and nothing is left to do. Returns what hangs when that does not come.
pub(super) async fn until_quiet(field: &Field, limit: Duration) -> Vec<String> {
    let started = Instant::now();
    let mut quiet = 0;
    loop {
        let hangs = match what_moves(field).await {
            Ok(hangs) => hangs,
            Err(error) => vec![format!("nobody can tell: {error:#}")],
        };
        quiet = if hangs.is_empty() { quiet + 1 } else { 0 };
        if quiet >= LOOKS || started.elapsed() > limit {
            return hangs;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What is in flight, due, or leased, and which consumers have something left; a line each.
async fn what_moves(field: &Field) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for sql in [
        "SELECT 'recharge ' || recharge_id || ' of ' || c_organization_id || ' is ' || status || ', next look '
                || COALESCE(next_at::text, 'never') || ', tries ' || tries
           FROM recharge_records
          WHERE trigger_event_id IS NOT NULL
            AND (status NOT IN ('settled', 'declined', 'failed', 'refunded') OR next_at IS NOT NULL) ORDER BY created_at",
        "SELECT 'refund ' || refund_key || ' of ' || c_organization_id || ' is ' || status || ', next look '
                || COALESCE(next_at::text, 'never') || ', last error ' || COALESCE(last_error, 'none')
           FROM refunds WHERE status IN ('requested', 'pending') OR next_at IS NOT NULL ORDER BY created_at",
        "SELECT 'dispute ' || dispute_id || ' is to be said again' FROM disputes WHERE next_at IS NOT NULL",
        "SELECT 'version ' || target_version || ' of ' || c_organization_id || ' is not pushed, the KMS has version '
                || COALESCE(pushed_version::text, 'none')
           FROM quota_targets WHERE target_version > COALESCE(pushed_version, 0)",
        "SELECT 'repair ' || id || ' of ' || c_organization_id || ' (' || kind || ') has no end'
           FROM quota_repairs WHERE ended_at IS NULL",
        "SELECT 'dead letter ' || sequence || ' is begun to be ' || action FROM dead_letter_actions WHERE done_at IS NULL",
    ] {
        let found: Vec<String> = sqlx::query_scalar(sql).fetch_all(&field.pool).await?;
        lines.extend(found);
    }
    lines.extend(books::left_over(&field.broker).await?);
    Ok(lines)
}

/// What was done about dead letters.
#[derive(Debug, Default)]
pub(super) struct Letters {
    /// How many were brought back, each with what it was.
    pub(super) redriven: Vec<String>,
    /// Those that came back after that.
    pub(super) returned: Vec<String>,
    /// What hangs in the end.
    pub(super) unfinished: Vec<String>,
}

/// Waits for rest, brings dead letters back as an operator would, and waits again.
pub(super) async fn settle_down(field: &Field, notes: &Notes, limit: Duration) -> anyhow::Result<Letters> {
    let mut letters = Letters { unfinished: until_quiet(field, limit).await, ..Letters::default() };
    let found = dead_letters(field).await?;
    if found.is_empty() {
        return Ok(letters);
    }
    for letter in &found {
        let words = words_of(letter);
        notes.line(&format!("dead letter: {words}"));
        let path = format!("/api/dead-letters/{}/redrive", letter["sequence"]);
        let (status, answer) = field.client.post(&path, &json!({})).await?;
        ensure!(status == 200, "redriving {words}: {status} {answer}");
        letters.redriven.push(words);
    }
    letters.unfinished = until_quiet(field, limit).await;
    let again = dead_letters(field).await?;
    letters.returned = again.iter().map(words_of).collect();
    Ok(letters)
}

fn words_of(letter: &Value) -> String {
    let word = |name: &str| letter[name].as_str().unwrap_or("?").to_owned();
    let ids = format!("{} of {}", word("message_id"), word("c_organization_id"));
    format!("{} gave up {} ({}, {ids}): {}", word("service"), word("subject"), word("reason"), word("error"))
}

async fn dead_letters(field: &Field) -> anyhow::Result<Vec<Value>> {
    let mut letters = Vec::new();
    let mut seen = BTreeSet::new();
    let mut after = String::from("0");
    while seen.insert(after.clone()) {
        let (status, answer) = field.client.get(&format!("/api/dead-letters?limit=100&after={after}")).await?;
        ensure!(status == 200, "the dead letters: {status} {answer}");
        letters.extend(answer["items"].as_array().cloned().unwrap_or_default());
        match answer["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    Ok(letters)
}

/// Asks for a comparison of all books since 1970, and waits for it. Returns what it found.
pub(super) async fn reconcile(field: &Field) -> anyhow::Result<Vec<String>> {
    let since = json!({ "since": "1970-01-01T00:00:00Z" });
    let (status, answer) = field.client.post("/api/reconciliations", &since).await?;
    ensure!(status.is_success(), "the comparison: {status} {answer}");
    let run = answer["run_id"].as_str().context("a comparison without an id")?.to_owned();
    let run = wait::until("the comparison of the books", || async {
        let (status, answer) = field.client.get(&format!("/api/reconciliations/{run}?limit=100")).await?;
        ensure!(status == 200 && answer["finished"] == true, "{status} {answer}");
        Ok(answer)
    })
    .await?;
    let findings = run["items"].as_array().into_iter().flatten();
    let mut found: Vec<String> = findings.map(Value::to_string).collect();
    if run["findings"] != found.len() {
        found.push(format!("in all {} disagreements", run["findings"]));
    }
    if run["checked"] == 0 {
        found.push("nothing was compared".to_owned());
    }
    Ok(found)
}
