//! Times as people read them: in UTC from the server, and in the viewer's own zone as soon as the browser has rewritten them.
//! Pure.

use std::fmt;

use common::clock::Timestamp;
use serde::Deserialize;

/// A time from an answer of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(transparent)]
pub(crate) struct Moment(pub(crate) Timestamp);

impl askama::filters::HtmlSafe for Moment {}

/// As a `time` element; the exact time is what the browser's script shows on hover.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.0.format("%Y-%m-%dT%H:%M:%S%.3fZ");
        let shown = self.0.format("%Y-%m-%d %H:%M UTC");
        let title = self.0.format("%Y-%m-%d %H:%M:%S%.3f UTC");
        write!(f, r#"<time datetime="{exact}" data-at="{exact}" title="{title}">{shown}</time>"#)
    }
}

/// Only the day of a time, in UTC: where the minute says nothing.
pub(crate) struct Day(Timestamp);

impl askama::filters::HtmlSafe for Day {}

/// As a `time` element that the browser's script writes as a date.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = self.0.format("%Y-%m-%dT%H:%M:%S%.3fZ");
        let title = self.0.format("%Y-%m-%d %H:%M:%S%.3f UTC");
        let shown = self.0.format("%Y-%m-%d");
        write!(f, r#"<time datetime="{exact}" data-at="{exact}" data-style="date" title="{title}">{shown}</time>"#)
    }
}

impl Moment {
    /// Its day.
    pub(crate) fn day(&self) -> Day {
        Day(self.0)
    }

    /// As text, for CSV files.
    pub(crate) fn exact(&self) -> String {
        self.0.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_says_its_zone() {
        let moment: Moment = serde_json::from_str("\"2026-03-01T09:05:07.25+02:00\"").unwrap();
        assert_eq!(
            moment.to_string(),
            r#"<time datetime="2026-03-01T07:05:07.250Z" data-at="2026-03-01T07:05:07.250Z" title="2026-03-01 07:05:07.250 UTC">2026-03-01 07:05 UTC</time>"#
        );
        assert_eq!(
            moment.day().to_string(),
            r#"<time datetime="2026-03-01T07:05:07.250Z" data-at="2026-03-01T07:05:07.250Z" data-style="date" title="2026-03-01 07:05:07.250 UTC">2026-03-01</time>"#
        );
    }
}
