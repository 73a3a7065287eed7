//! How far a recharge has come, as steps. Pure.

use crate::console::text::organization::Organization;

/// A step, with the class that says how it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) class: &'static str,
    pub(super) words: &'static str,
}

impl Step {
    /// Whether this is where it is.
    pub(super) fn is_now(&self) -> bool {
        self.class == "is-now"
    }
}

/// The steps of a recharge that stands at `status`.
pub(super) fn steps(status: &str, text: &Organization) -> Vec<Step> {
    let forward = [text.step_charging, text.step_charged, text.step_credited, text.step_in_force];
    let at = |place: usize| {
        let class = |here: usize| match here.cmp(&place) {
            std::cmp::Ordering::Less => "is-done",
            std::cmp::Ordering::Equal => "is-now",
            std::cmp::Ordering::Greater => "is-waiting",
        };
        forward.iter().enumerate().map(|(here, words)| Step { class: class(here), words }).collect::<Vec<_>>()
    };
    let first = |class, words| {
        let rest = forward.iter().skip(1).map(|words| Step { class: "is-skipped", words });
        std::iter::once(Step { class, words }).chain(rest).collect()
    };
    let back = |now, then: Step| vec![Step { class: "is-done", words: text.step_charged }, now, then];
    match status {
        "processing" => {
            let mut steps = at(0);
            steps[0].words = text.step_processing;
            steps
        }
        "action_required" => {
            let mut steps = at(0);
            steps[0].words = text.step_confirming;
            steps
        }
        "charged" => at(2),
        "credited" => at(3),
        "settled" => at(forward.len()),
        "declined" => first("is-failed", text.step_declined),
        "failed" => first("is-failed", text.step_failed),
        "refunding" | "returning" => back(
            Step { class: "is-now", words: text.step_giving_back },
            Step { class: "is-waiting", words: text.step_given_back },
        ),
        "refunded" => back(
            Step { class: "is-done", words: text.step_giving_back },
            Step { class: "is-back", words: text.step_given_back },
        ),
        _ => at(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::text::Text;

    #[test]
    fn every_status_has_its_steps() {
        let text = &Text::of("en").unwrap().organization;
        let classes = |status| {
            steps(status, text).iter().map(|step| step.class.trim_start_matches("is-")).collect::<Vec<_>>().join(" ")
        };
        for (status, want) in [
            ("pending", "now waiting waiting waiting"),
            ("processing", "now waiting waiting waiting"),
            ("action_required", "now waiting waiting waiting"),
            ("charged", "done done now waiting"),
            ("credited", "done done done now"),
            ("settled", "done done done done"),
            ("declined", "failed skipped skipped skipped"),
            ("failed", "failed skipped skipped skipped"),
            ("refunding", "done now waiting"),
            ("returning", "done now waiting"),
            ("refunded", "done done back"),
            ("what comes later", "now waiting waiting waiting"),
        ] {
            assert_eq!(classes(status), want, "{status}");
        }
    }
}
