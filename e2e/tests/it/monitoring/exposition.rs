//! What a service shows of itself, in Prometheus's text format.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, ensure};
use rust_decimal::Decimal;

/// A metric with its labels and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sample {
    /// With `_bucket`, `_sum` or `_count`, where it belongs to a histogram.
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    value: String,
}

/// All samples of one name.
#[derive(Debug, Default)]
pub(crate) struct Family {
    pub(crate) kind: String,
    pub(crate) help: String,
    pub(crate) samples: Vec<Sample>,
}

/// Everything that one process shows, by name.
#[derive(Debug, Default)]
pub(crate) struct Exposition(pub(crate) BTreeMap<String, Family>);

impl Exposition {
    pub(crate) fn read(text: &str) -> anyhow::Result<Self> {
        let mut families: BTreeMap<String, Family> = BTreeMap::new();
        let mut current = String::new();
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) {
                families.entry(name.to_owned()).or_default().help = help.to_owned();
            } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
                let family = families.entry(name.to_owned()).or_default();
                ensure!(family.kind.is_empty(), "{name} is there twice");
                family.kind = kind.to_owned();
                current = name.to_owned();
            } else {
                let sample = Sample::read(line).with_context(|| line.to_owned())?;
                let end = sample.name.strip_prefix(&current).context("a sample of another metric")?;
                ensure!(["", "_bucket", "_sum", "_count"].contains(&end), "{line} is in {current}");
                families.entry(current.clone()).or_default().samples.push(sample);
            }
        }
        Ok(Self(families))
    }

    /// The sum of all samples of that name which have these labels; none where there is no such sample.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<Decimal> {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| sample.labels.get(*label).map(String::as_str) == Some(*value))
        };
        let samples: Vec<Decimal> =
            self.0.values().flat_map(|family| &family.samples).filter(fits).filter_map(Sample::number).collect();
        (!samples.is_empty()).then(|| samples.into_iter().sum())
    }

    /// What may be asked for: each name of a sample, with its labels.
    pub(crate) fn names(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for sample in self.0.values().flat_map(|family| &family.samples) {
            names.entry(sample.name.clone()).or_default().extend(sample.labels.keys().cloned());
        }
        names
    }
}

impl Sample {
    fn read(line: &str) -> anyhow::Result<Self> {
        let (front, value) = line.rsplit_once(' ').context("no value")?;
        let (name, mut rest) = front.split_once('{').unwrap_or((front, ""));
        let mut labels = BTreeMap::new();
        while let Some((label, after)) = rest.split_once("=\"") {
            let end = after.match_indices('"').find(|(at, _)| !after[..*at].ends_with('\\')).context("no end")?.0;
            labels.insert(label.trim_start_matches(',').to_owned(), after[..end].to_owned());
            rest = &after[end + 1..];
        }
        Ok(Self { name: name.to_owned(), labels, value: value.to_owned() })
    }

    fn number(&self) -> Option<Decimal> {
        Decimal::from_scientific(&self.value).or_else(|_| self.value.parse()).ok()
    }
}

#[test]
fn samples_are_read() {
    let text = "# HELP a_total All of it.\n# TYPE a_total counter\na_total{b=\"c d\",e=\"f\\\"g\"} 3\na_total{b=\"h\",e=\"\"} 4\n\
        # HELP i Big.\n# TYPE i gauge\ni 1.5e3\n";
    let read = Exposition::read(text).unwrap();
    assert_eq!((read.0["a_total"].kind.as_str(), read.0["a_total"].help.as_str()), ("counter", "All of it."));
    assert_eq!(read.0["a_total"].samples[0].labels["e"], "f\\\"g");
    assert_eq!(read.sum("a_total", &[]), Some(Decimal::from(7)));
    assert_eq!(read.sum("a_total", &[("b", "h")]), Some(Decimal::from(4)));
    assert_eq!(read.sum("a_total", &[("b", "x")]), None);
    assert_eq!(read.sum("i", &[]), Some(Decimal::from(1500)));
    assert_eq!(read.names()["a_total"], BTreeSet::from(["b".to_owned(), "e".to_owned()]));
    assert!(Exposition::read("# TYPE a counter\nb 1\n").is_err());
}
