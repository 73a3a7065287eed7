//! The certificates that a service was told to trust, and when they end: a connection that can't be made again after a
//! restart should be known weeks before.

use std::path::{Path, PathBuf};

use anyhow::Context;
use prometheus::Registry;
use x509_cert::Certificate;

use crate::clock::Timestamp;
use crate::config::Base;
use crate::telemetry;

/// The files that a service was told to trust, by the name of what names them.
#[must_use]
pub fn files(base: &Base) -> Vec<(&'static str, PathBuf)> {
    let broker = base.broker.ca_file.clone().map(|file| ("NATS_CA_FILE", file));
    let database = parameter(base.database_url.expose(), "sslrootcert").map(|file| ("sslrootcert", file.into()));
    broker.into_iter().chain(database).collect()
}

fn parameter(url: &str, name: &str) -> Option<String> {
    let url = reqwest::Url::parse(url.trim()).ok()?;
    url.query_pairs().find_map(|(key, value)| (key == name).then(|| value.into_owned()))
}

/// When the first of a file's certificates ends.
///
/// # Errors
/// When the file can't be read, or holds no certificate.
pub fn end_of(file: &Path) -> anyhow::Result<Timestamp> {
    let pem = std::fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    let chain = Certificate::load_pem_chain(&pem)
        .map_err(|error| anyhow::anyhow!("{} holds no certificate that can be read: {error}", file.display()))?;
    let ends = chain.iter().map(|one| one.tbs_certificate().validity().not_after.to_unix_duration().as_secs());
    let first = ends.min().with_context(|| format!("{} holds no certificate", file.display()))?;
    i64::try_from(first)
        .ok()
        .and_then(|seconds| Timestamp::from_timestamp(seconds, 0))
        .with_context(|| format!("{} ends at no time that can be told", file.display()))
}

/// Shows when they end among the metrics; read again each time, since files are exchanged while services run.
pub fn show_in(registry: &Registry, base: &Base) {
    let files = files(base);
    let help = "When the first certificate of a file ends, in seconds since 1970; 0 when it can't be read.";
    telemetry::gauge_at_scrape(registry, "bill_certificate_end_seconds", help, &["file"], move |gauges| {
        for (name, file) in &files {
            let end = end_of(file).map_or(0, |end| end.timestamp());
            gauges.with_label_values(&[name]).set(end);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_end_counts() {
        let day = |year| rcgen::date_time_ymd(year, 3, 1);
        let pem = |year| {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut params = rcgen::CertificateParams::new(vec!["broker.internal".to_owned()]).unwrap();
            params.not_after = day(year);
            params.self_signed(&key).unwrap().pem()
        };
        let folder = std::env::temp_dir().join(format!("bill-certificates-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (two, none) = (folder.join("two.pem"), folder.join("none.pem"));
        std::fs::write(&two, pem(2041) + &pem(2039)).unwrap();
        std::fs::write(&none, "nothing").unwrap();
        assert_eq!(end_of(&two).unwrap().to_rfc3339(), "2039-03-01T00:00:00+00:00");
        for bad in [&none, &folder.join("away.pem")] {
            let said = format!("{:#}", end_of(bad).unwrap_err());
            assert!(said.contains(bad.to_str().unwrap()), "{said}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_databases_file_stands_in_its_address() {
        let named = |url: &str| parameter(url, "sslrootcert");
        assert_eq!(named("postgres://u:p@h/d?sslmode=verify-full&sslrootcert=/a%20b.pem").as_deref(), Some("/a b.pem"));
        assert_eq!(named("postgres://u:p@h/d?sslmode=disable"), None);
        assert_eq!(named("nonsense"), None);
    }
}
