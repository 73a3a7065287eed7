//! What a PromQL expression asks for: metrics, and labels of theirs. Pure, and no more of the language than that: whether
//! an expression is well formed is promtool's to say.

use std::collections::BTreeSet;

/// Words of the language that stand before a list of labels.
const GROUPING: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];
/// Words of the language between expressions.
const BETWEEN: [&str; 5] = ["and", "or", "unless", "offset", "bool"];

/// One expression.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expression {
    /// Each metric that is asked for, with the labels that it is selected by.
    pub(crate) metrics: Vec<(String, BTreeSet<String>)>,
    /// The labels that results are grouped or joined by.
    pub(crate) grouped: BTreeSet<String>,
    /// Whether results lose their labels but for those.
    pub(crate) is_aggregated: bool,
}

impl Expression {
    pub(crate) fn read(text: &str) -> Self {
        let mut found = Self::default();
        let mut rest = Rest(text);
        while let Some(next) = rest.0.chars().next() {
            match next {
                '"' => rest.string(),
                '[' => drop(rest.until(']')),
                '0'..='9' => drop(rest.word()),
                'a'..='z' | 'A'..='Z' | '_' => found.take(&mut rest),
                _ => rest.skip(next),
            }
        }
        found
    }

    fn take(&mut self, rest: &mut Rest<'_>) {
        let word = rest.word();
        if BETWEEN.contains(&word) {
            return;
        }
        if GROUPING.contains(&word) {
            self.is_aggregated |= word == "by";
            rest.skip_blank();
            let labels = rest.until(')');
            self.grouped.extend(labels.trim_start_matches('(').split(',').map(|label| label.trim().to_owned()));
            self.grouped.remove("");
            return;
        }
        rest.skip_blank();
        // A function, or an aggregation with or without a list of labels before its argument.
        if rest.0.starts_with('(') || GROUPING.iter().any(|group| rest.0.starts_with(&format!("{group} ("))) {
            self.is_aggregated |= ["sum", "max", "min", "count"].contains(&word);
            return;
        }
        let mut labels = BTreeSet::new();
        if rest.0.starts_with('{') {
            rest.skip('{');
            while !rest.0.is_empty() && !rest.0.starts_with('}') {
                match rest.0.chars().next() {
                    Some('"') => rest.string(),
                    Some('a'..='z' | '_') => drop(labels.insert(rest.word().to_owned())),
                    Some(other) => rest.skip(other),
                    None => {}
                }
            }
        }
        self.metrics.push((word.to_owned(), labels));
    }
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn split(&mut self, at: usize) -> &'a str {
        let (taken, rest) = self.0.split_at(at);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, one: char) {
        self.split(one.len_utf8());
    }

    fn skip_blank(&mut self) {
        self.0 = self.0.trim_start();
    }

    fn word(&mut self) -> &'a str {
        let belongs = |char: char| char.is_ascii_alphanumeric() || char == '_' || char == ':' || char == '.';
        self.split(self.0.find(|char| !belongs(char)).unwrap_or(self.0.len()))
    }

    fn until(&mut self, end: char) -> &'a str {
        let taken = self.split(self.0.find(end).unwrap_or(self.0.len()));
        if self.0.starts_with(end) {
            self.skip(end);
        }
        taken
    }

    /// In double quotes, as ours are.
    fn string(&mut self) {
        self.skip('"');
        let mut escaped = false;
        let end = self.0.find(|char| {
            let ends = char == '"' && !escaped;
            escaped = char == '\\' && !escaped;
            ends
        });
        self.split(end.map_or(self.0.len(), |end| end + 1));
    }
}

#[test]
fn metrics_and_labels_are_found() {
    let read = |text: &str| {
        let found = Expression::read(text);
        let metrics = found.metrics.into_iter().map(|(name, labels)| format!("{name}{labels:?}")).collect::<Vec<_>>();
        let grouped = found.grouped.into_iter().collect::<Vec<_>>();
        (metrics.join(" "), grouped.join(" "), found.is_aggregated)
    };
    for (text, metrics, grouped, aggregated) in [
        ("up", "up{}", "", false),
        ("time() - (a_seconds > 0) < 21 * 86400", "a_seconds{}", "", false),
        (r#"rate(a_total{b=~"c|{}\"d", e != "f"}[5m] offset 1d)"#, r#"a_total{"b", "e"}"#, "", false),
        ("sum by (b, c) (rate(a_total[$__rate_interval]))", "a_total{}", "b c", true),
        ("max(a) > 0 or min(b{job=\"x\"})", r#"a{} b{"job"}"#, "", true),
        ("a > 0 and on (job) b unless c:d:e offset 1h", "a{} b{} c:d:e{}", "job", false),
        ("a + on (job) group_left () b", "a{} b{}", "job", false),
        ("histogram_quantile(0.95, sum by (le) (rate(a_bucket[5m])))", "a_bucket{}", "le", true),
    ] {
        assert_eq!(read(text), (metrics.to_owned(), grouped.to_owned(), aggregated), "{text}");
    }
}
