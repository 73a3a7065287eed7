//! Prometheus with promtool, and Alertmanager, on which the alerts are tried: the machine's own, or Debian's packages.
//!
//! The packages are unpacked and not installed: installed, they would start services of the machine's own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result, bail};

use super::{ALERTMANAGER, PROMETHEUS, PROMTOOL, Version, apt, install_into};
use crate::{paths, say};

const PACKAGES: [&str; 2] = ["prometheus", "prometheus-alertmanager"];
/// Below `target/tools`.
const FOLDER: &str = "prometheus";
/// Debian's Alertmanager has these paths in it, and does not start without the files.
const TEMPLATES: [&str; 2] =
    ["/usr/share/prometheus/alertmanager/default.tmpl", "/usr/share/prometheus/alertmanager/email.tmpl"];

/// A program, what it may be called, how it begins to tell its version, and the oldest that will do: Debian 12's.
struct Wanted {
    variable: &'static str,
    names: &'static [&'static str],
    says: &'static str,
    oldest: (u32, u32),
}

const SERVER: Wanted =
    Wanted { variable: PROMETHEUS, names: &["prometheus"], says: "prometheus, version", oldest: (2, 42) };
const CHECKER: Wanted = Wanted { variable: PROMTOOL, names: &["promtool"], says: "promtool, version", oldest: (2, 42) };
const ALERTS: Wanted = Wanted {
    variable: ALERTMANAGER,
    // Debian gives it the longer name.
    names: &["alertmanager", "prometheus-alertmanager"],
    says: "alertmanager, version",
    oldest: (0, 25),
};

/// What watches, what checks its rules, and what sends its alerts on.
pub(super) struct Prometheus {
    pub(super) prometheus: PathBuf,
    pub(super) promtool: PathBuf,
    pub(super) alertmanager: PathBuf,
}

pub(super) fn find_or_install() -> Result<Prometheus> {
    if let Some(found) = find()? {
        return Ok(found);
    }
    install()?;
    find()?.context("Debian's packages were unpacked, but Prometheus and Alertmanager don't run on this machine")
}

fn find() -> Result<Option<Prometheus>> {
    let all = (SERVER.find()?, CHECKER.find()?, ALERTS.find()?);
    let (Some(prometheus), Some(promtool), Some(alertmanager)) = all else { return Ok(None) };
    let unpacked = paths::tools_dir().join(FOLDER);
    let missing = TEMPLATES.iter().filter(|_| alertmanager.0.starts_with(&unpacked)).map(Path::new);
    for template in missing.filter(|template| !template.exists()) {
        apt::put(&unpacked.join(template.strip_prefix("/")?), template)?;
    }
    let (at, sender) = (prometheus.0.display(), alertmanager.0.display());
    say(format_args!("Prometheus {}: found at {at}, Alertmanager {} at {sender}", prometheus.1, alertmanager.1));
    Ok(Some(Prometheus { prometheus: prometheus.0, promtool: promtool.0, alertmanager: alertmanager.0 }))
}

impl Wanted {
    /// The one that is named, else the one on `PATH`, else the one that was unpacked.
    fn find(&self) -> Result<Option<(PathBuf, Version)>> {
        if let Some(named) = env::var_os(self.variable).filter(|named| !named.is_empty()) {
            let named = PathBuf::from(named);
            let version = self.usable(&named).with_context(|| {
                let (major, minor) = self.oldest;
                format!(
                    "{} names {}, which is no {} {major}.{minor} or newer",
                    self.variable,
                    named.display(),
                    self.names[0]
                )
            })?;
            return Ok(Some((named, version)));
        }
        let unpacked = paths::tools_dir().join(FOLDER).join("usr/bin");
        let on_path = self.names.iter().filter_map(|name| paths::on_path(name));
        let mut candidates = on_path.chain(self.names.iter().map(|name| unpacked.join(name)));
        Ok(candidates.find_map(|program| self.usable(&program).map(|version| (program, version))))
    }

    fn usable(&self, program: &Path) -> Option<Version> {
        Version::of(program, self.says).filter(|version| version.is_at_least(self.oldest.0, self.oldest.1))
    }
}

fn install() -> Result<()> {
    let into = paths::tools_dir().join(FOLDER);
    say(format_args!("Prometheus and Alertmanager: unpacking Debian's packages into {} …", into.display()));
    install_into(FOLDER, |folder| {
        apt::download(&PACKAGES, folder, "Prometheus with promtool, and Alertmanager")?;
        for entry in fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()? {
            let package = entry.path();
            if package.extension().is_none_or(|extension| extension != "deb") {
                bail!("apt-get left {}, which is no package", package.display());
            }
            super::run(Command::new("dpkg").arg("-x").arg(&package).arg(folder)).context("unpacking with dpkg")?;
            fs::remove_file(&package)?;
        }
        Ok(())
    })
    .map(drop)
}
