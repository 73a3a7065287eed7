//! `bill reconcile`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Make, Many, Once};
use crate::call::{Body, Call};
use crate::show::{As, Column, Show, details, list, table};
use crate::values::{self, Moment};

const RUNS: [Column; 8] = [
    Column("WHEN", "requested_at", As::Whole),
    Column("RUN", "run_id", As::Whole),
    Column("BY", "requested_by", As::Text),
    Column("SINCE", "since", As::Whole),
    Column("FINISHED", "finished", As::Text),
    Column("CHECKED", "checked", As::Number),
    Column("FINDINGS", "findings", As::Number),
    Column("REPAIRED", "repaired", As::Number),
];

const FINDINGS: [Column; 8] = [
    Column("PART", "part", As::Text),
    Column("KIND", "kind", As::Text),
    Column("ORGANIZATION", "c_organization_id", As::Text),
    Column("RECHARGE", "recharge_id", As::Whole),
    Column("EXPECTED", "expected", As::Text),
    Column("FOUND", "found", As::Text),
    Column("ACTION", "action", As::Text),
    Column("DETAIL", "detail", As::Text),
];

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Reconcile {
    #[command(subcommand)]
    command: Option<Look>,
    /// From when on: 2026-11-01, 2026-11-01T10:00:00Z, or a time before now such as 7d
    #[arg(long, value_name = "WHEN")]
    since: Option<Moment>,
    #[command(flatten)]
    once: Once,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Look {
    /// Comparisons that were made, newest first
    List(Many),
    /// One comparison with what it found
    Show {
        /// The run
        #[arg(value_parser = values::word)]
        run_id: String,
        #[command(flatten)]
        many: Many,
    },
}

impl Reconcile {
    pub(super) fn call(self, make: &Make) -> Result<Call, String> {
        const ALL: &str = "reconciliations";
        Ok(match self.command {
            Some(Look::List(many)) => {
                Call::get(&[&ALL], |body, show| list(body, &RUNS, show)).pages("before", many.limit())
            }
            Some(Look::Show { run_id, many }) => Call::get(&[&ALL, &run_id], run).pages("after", many.limit()),
            None => {
                let before = |moment: Moment| moment.before(make.now).ok_or("--since is too long ago");
                let since = self.since.map(before).transpose()?;
                let body = Body::new().maybe("since", since.map(|since| since.to_rfc3339()));
                self.once.of(Call::post(&[&ALL], run).body(body), make)
            }
        })
    }
}

/// A run with its parts, and what was found.
fn run(body: &Value, show: &Show) -> String {
    let mut about = body.clone();
    let mut take = |name: &str| about.as_object_mut().and_then(|about| about.remove(name)).unwrap_or_default();
    let (items, next) = (take("items"), take("next_cursor"));
    let first =
        ["run_id", "finished", "since", "requested_by", "requested_at", "checked", "findings", "repaired", "reported"];
    let text = details(&about, &first, show);
    match items.as_array().filter(|items| !items.is_empty()) {
        None => text + "\nNothing was found to disagree.\n",
        Some(items) => {
            let more = if next.is_null() { "" } else { "\nThere are more: bill reconcile show --limit …\n" };
            text + "\n" + &table(items, &FINDINGS, None, show) + more
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn runs() {
        let show = Show::plain_utc();
        let clean = json!({ "run_id": "run_1", "findings": 0, "items": [], "next_cursor": null,
                            "parts": [{ "part": "ledger", "checked": 3 }] });
        assert_eq!(
            run(&clean, &show),
            "run_id    run_1\nfindings  0\n\nparts\n  checked  part\n  3        ledger\n\nNothing was found to disagree.\n"
        );
        let found = json!({ "run_id": "run_1", "findings": 2, "next_cursor": "7",
                            "items": [{ "part": "stripe", "kind": "orphan", "expected": "1", "found": "2" }] });
        let text = run(&found, &show);
        assert!(text.contains("stripe  orphan  -             -         1         2"), "{text}");
        assert!(text.ends_with("--limit …\n"), "{text}");
    }
}
