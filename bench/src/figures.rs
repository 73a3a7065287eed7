//! What is told: a line for each thing that was measured, and the same as JSON.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use xtask::say;

use crate::measure::Times;

/// One thing that was measured.
#[derive(Debug, Clone)]
pub struct Figure {
    /// What.
    pub name: String,
    /// Its address, or how else it was asked for.
    pub what: String,
    /// How many asked at once.
    pub at_once: usize,
    /// How long it took.
    pub times: Times,
    /// How long the answer was, in bytes; 0 where that is nothing to tell.
    pub bytes: usize,
    /// What its 95th percentile must not exceed; none: it is told for comparison.
    pub limit: Option<Duration>,
}

/// What was measured of one part.
#[derive(Debug)]
pub struct Report {
    /// The part's word.
    pub part: &'static str,
    /// On what it was measured.
    pub setting: Value,
    /// Each thing.
    pub figures: Vec<Figure>,
}

impl Figure {
    fn p95(&self) -> Duration {
        self.times.percentile(95)
    }

    fn is_over(&self) -> bool {
        self.limit.is_some_and(|limit| self.p95() > limit)
    }

    fn line(&self) -> String {
        let Self { name, at_once, times, bytes, .. } = self;
        let beside = match self.limit {
            None => "no limit".to_owned(),
            Some(limit) => {
                let verdict = if self.is_over() { "OVER" } else { "ok" };
                format!("limit {} ms, p95/limit {}  {verdict}", ms(limit), ratio(self.p95(), limit))
            }
        };
        let (median, p95, max) = (ms(times.percentile(50)), ms(self.p95()), ms(times.max()));
        format!("{name:<44} {at_once:>2} {median:>9} {p95:>9} {max:>9} {bytes:>9}  {beside}")
    }

    fn json(&self) -> Value {
        let us = |time: Duration| json!(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
        json!({
            "name": self.name, "what": self.what, "at_once": self.at_once, "bytes": self.bytes,
            "median_us": us(self.times.percentile(50)), "p95_us": us(self.p95()), "max_us": us(self.times.max()),
            "limit_us": self.limit.map(us), "over": self.is_over(),
        })
    }
}

impl Report {
    /// What exceeds its limit.
    #[must_use]
    pub fn over(&self) -> Vec<&Figure> {
        self.figures.iter().filter(|figure| figure.is_over()).collect()
    }

    /// Prints everything, and in the end what exceeds its limit.
    pub fn tell(&self) {
        say(format_args!(
            "{:<44} {:>2} {:>9} {:>9} {:>9} {:>9}",
            self.part, "at", "median ms", "p95 ms", "max ms", "bytes"
        ));
        for figure in &self.figures {
            say(figure.line());
        }
        let over = self.over();
        match over.as_slice() {
            [] => say(format_args!("{}: everything is within its limit", self.part)),
            over => {
                let names: Vec<_> = over.iter().map(|figure| format!("{} ({})", figure.name, figure.what)).collect();
                say(format_args!("{}: OVER THE LIMIT: {}", self.part, names.join(", ")));
            }
        }
    }
}

/// Writes reports as JSON.
///
/// # Errors
/// When the file can't be written.
pub fn save(file: &Path, reports: &[Report]) -> anyhow::Result<()> {
    let parts: Vec<Value> = reports
        .iter()
        .map(|report| {
            let figures: Vec<Value> = report.figures.iter().map(Figure::json).collect();
            json!({ "part": report.part, "setting": report.setting, "figures": figures })
        })
        .collect();
    let text = serde_json::to_string_pretty(&json!({ "parts": parts }))?;
    std::fs::write(file, format!("{text}\n")).with_context(|| format!("writing {}", file.display()))
}

/// Milliseconds with two decimals.
fn ms(time: Duration) -> String {
    let hundredths = time.as_micros().div_ceil(10);
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// How much of a limit a time takes, with two decimals, rounded up.
fn ratio(time: Duration, limit: Duration) -> String {
    let hundredths = (time.as_micros() * 100).div_ceil(limit.as_micros().max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(p95: u64, limit: Option<u64>) -> Figure {
        Figure {
            name: "a page".to_owned(),
            what: "/a".to_owned(),
            at_once: 1,
            times: Times::of(vec![Duration::from_micros(p95)]),
            bytes: 7,
            limit: limit.map(Duration::from_millis),
        }
    }

    #[test]
    fn a_figure_stands_beside_its_limit() {
        for (figure, over, told) in [
            (figure(12_340, Some(100)), false, "12.34         7  limit 100.00 ms, p95/limit 0.13  ok"),
            (figure(100_000, Some(100)), false, "p95/limit 1.00  ok"),
            (figure(100_001, Some(100)), true, "p95/limit 1.01  OVER"),
            (figure(900_000, None), false, "no limit"),
        ] {
            assert!(figure.line().ends_with(told), "{}", figure.line());
            assert_eq!(figure.is_over(), over, "{told}");
            assert_eq!(figure.json()["over"], over);
            let report = Report { part: "pages", setting: Value::Null, figures: vec![figure] };
            assert_eq!(report.over().len(), usize::from(over));
        }
    }
}
