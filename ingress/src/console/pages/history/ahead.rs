//! Where a recharge is on its way, and what is still to come. Pure.

use super::record::Record;
use crate::console::text::Text;
use crate::console::text::history::History;

/// A station on the way.
pub(super) struct Station {
    pub(super) class: &'static str,
    pub(super) words: &'static str,
    /// What is being done, or has to be, until it is reached.
    pub(super) says: &'static str,
}

impl Station {
    pub(super) fn is_now(&self) -> bool {
        self.class == "is-now"
    }
}

/// The way from the decision to the quota in force, and back where money goes back.
pub(super) fn way(text: &Text, record: &Record) -> Vec<Station> {
    let words = &text.history;
    let [charged, booked, in_force] = forth(record);
    let mut way = vec![
        Station { class: "is-done", words: words.station_decided, says: "" },
        Station {
            class: charged,
            words: if charged == "is-failed" { words.step_failed } else { words.station_charged },
            says: waits_for_charge(words, record.status()),
        },
        Station { class: booked, words: words.station_booked, says: words.ahead_booked },
        Station { class: in_force, words: words.station_in_force, says: words.ahead_in_force },
    ];
    way.extend(back(words, record));
    way
}

fn waits_for_charge(words: &History, status: &str) -> &'static str {
    match status {
        "action_required" => words.ahead_confirmation,
        "processing" => words.ahead_processing,
        _ => words.ahead_charged,
    }
}

/// How far charging, booking and bringing into force are.
fn forth(record: &Record) -> [&'static str; 3] {
    let reached = |is: bool| if is { "is-done" } else { "is-skipped" };
    match record.status() {
        "pending" | "processing" | "action_required" => ["is-now", "is-waiting", "is-waiting"],
        "charged" => ["is-done", "is-now", "is-waiting"],
        "credited" => ["is-done", "is-done", "is-now"],
        "settled" => ["is-done"; 3],
        "declined" | "failed" => ["is-failed", "is-skipped", "is-skipped"],
        "refunding" | "refunded" | "returning" => {
            ["is-done", reached(record.is_credited()), reached(record.was_in_force())]
        }
        // From before Bill-Service: only that it was in force is known, where it is.
        _ => ["is-skipped", "is-skipped", reached(record.was_in_force())],
    }
}

fn back(words: &History, record: &Record) -> Option<Station> {
    let (class, words, says) = match record.status() {
        "refunding" => ("is-now", words.station_refunded, words.ahead_refunded),
        "returning" => ("is-now", words.station_returned, words.ahead_returned),
        "refunded" if record.undo_cause.as_deref() == Some("payment_failed") => ("is-back", words.station_returned, ""),
        "refunded" => ("is-back", words.station_refunded, ""),
        _ => return None,
    };
    Some(Station { class, words, says })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::record::tests::record;
    use super::*;

    #[test]
    fn each_status_has_its_place() {
        let en = Text::of("en").unwrap();
        for (more, classes) in [
            (json!({ "status": "pending" }), "done now waiting waiting"),
            (json!({ "status": "action_required" }), "done now waiting waiting"),
            (json!({ "status": "charged" }), "done done now waiting"),
            (json!({ "status": "credited" }), "done done done now"),
            (json!({ "status": "settled" }), "done done done done"),
            (json!({ "status": "declined" }), "done failed skipped skipped"),
            (
                json!({ "status": "refunding", "settled_at": "2026-03-01T00:00:00Z", "steps": [{ "step": "credited" }] }),
                "done done done done now",
            ),
            (
                json!({ "status": "refunding", "steps": [{ "step": "booked", "kind": "charge" }] }),
                "done done done skipped now",
            ),
            (
                json!({ "status": "refunded", "steps": [{ "step": "booked", "kind": "void" }] }),
                "done done skipped skipped back",
            ),
            (json!({ "status": "returning" }), "done done skipped skipped now"),
            (json!({ "status": null }), "done skipped skipped skipped"),
        ] {
            let way = way(en, &record(&more));
            let found: Vec<_> = way.iter().map(|station| station.class.trim_start_matches("is-")).collect();
            assert_eq!(found.join(" "), classes, "{more}");
            assert!(way.iter().all(|station| !station.is_now() || !station.says.is_empty()), "{more}");
        }
    }
}
