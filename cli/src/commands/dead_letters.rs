//! `bill dead-letters`.

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Many, Yes};
use crate::call::{Body, Call};
use crate::show::{As, Column, Show, details, list, table};

const LETTERS: [Column; 6] = [
    Column("SEQ", "sequence", As::Number),
    Column("PARKED", "parked_at", As::Whole),
    Column("SERVICE", "service", As::Text),
    Column("ORGANIZATION", "c_organization_id", As::Text),
    Column("REASON", "reason", As::Text),
    Column("ERROR", "error", As::Text),
];

const GROUPS: [Column; 7] = [
    Column("COUNT", "count", As::Number),
    Column("SERVICE", "service", As::Text),
    Column("REASON", "reason", As::Text),
    Column("OLDEST", "oldest", As::Whole),
    Column("NEWEST", "newest", As::Whole),
    Column("ERROR", "error", As::Text),
    Column("SEQ", "sequences", As::Text),
];

const RESULTS: [Column; 5] = [
    Column("SEQ", "sequence", As::Number),
    Column("DONE", "success", As::Text),
    Column("SERVICE", "service", As::Text),
    Column("SUBJECT", "subject", As::Text),
    Column("WHY NOT", "error", As::Text),
];

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetters {
    /// Dead letters, oldest first
    List {
        /// Groups of one cause instead of letters
        #[arg(long)]
        group: bool,
        #[command(flatten)]
        many: Many,
    },
    /// One dead letter in full, and what was done about it
    Show {
        /// Its sequence
        seq: u64,
    },
    /// Bring dead letters back to the services that gave up
    Redrive {
        /// Their sequences, 100 at most
        #[arg(required = true, num_args = 1..=100)]
        seq: Vec<u64>,
    },
    /// Throw a dead letter away
    Discard(Discard),
}

#[derive(Debug, Args)]
pub(crate) struct Discard {
    /// Its sequence
    seq: u64,
    /// Why, for the books
    #[arg(long)]
    reason: String,
    #[command(flatten)]
    yes: Yes,
}

impl DeadLetters {
    pub(super) fn call(self) -> Call {
        const ALL: &str = "dead-letters";
        match self {
            Self::List { group: true, .. } => Call::get(&[&ALL], groups).query("group", Some("reason")),
            Self::List { many, .. } => {
                Call::get(&[&ALL], |body, show| list(body, &LETTERS, show)).pages("after", many.limit())
            }
            Self::Show { seq } => {
                const FIRST: [&str; 7] =
                    ["sequence", "service", "c_organization_id", "reason", "error", "parked_at", "subject"];
                Call::get(&[&ALL, &seq], |body, show| details(body, &FIRST, show))
            }
            Self::Redrive { seq } => Call::post(&[&ALL, &"redrive"], results).body(Body::new().with("sequences", seq)),
            Self::Discard(Discard { seq, reason, yes }) => {
                Call::post(&[&ALL, &seq, &"discard"], |body, show| details(body, &["success", "action"], show))
                    .body(Body::new().with("reason", reason))
                    .asks(yes.yes, || format!("Throw the dead letter {seq} away?"))
            }
        }
    }
}

fn groups(body: &Value, show: &Show) -> String {
    let groups = body["grouped"].as_array().map(Vec::as_slice).unwrap_or_default();
    if groups.is_empty() {
        return "There are none.\n".to_owned();
    }
    let counted = format!("\nGroups of the oldest {}; there are more.\n", body["counted"]);
    table(groups, &GROUPS, None, show) + if body["next_cursor"].is_null() { "" } else { &counted }
}

fn results(body: &Value, show: &Show) -> String {
    let results = body["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    table(results, &RESULTS, None, show)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn groups_and_results() {
        let show = Show::plain_utc();
        let body = json!({ "counted": 1000, "next_cursor": "9", "grouped": [
            { "count": 2, "service": "ledger", "reason": "malformed", "error": "no", "oldest": null, "newest": null,
              "sequences": [1, 3] },
        ] });
        let text = groups(&body, &show);
        assert!(text.contains("    2  ledger   malformed  -       -       no     1, 3\n"), "{text}");
        assert!(text.ends_with("\nGroups of the oldest 1000; there are more.\n"), "{text}");
        assert_eq!(groups(&json!({ "grouped": [] }), &show), "There are none.\n");
        let body = json!({ "results": [
            { "success": true, "sequence": 1, "service": "ledger", "subject": "s" },
            { "success": false, "sequence": 22, "error": "There is no such dead letter" },
        ] });
        assert_eq!(
            results(&body, &show),
            "SEQ  DONE  SERVICE  SUBJECT  WHY NOT\n  1  yes   ledger   s        -\n \
             22  no    -        -        There is no such dead letter\n"
        );
    }
}
