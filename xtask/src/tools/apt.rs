//! Installing Debian's packages, where we may.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{run, succeeds};
use crate::{paths, say, user};

const CREATE_CLUSTER: &str = "/etc/postgresql-common/createcluster.conf";

/// Installs packages with apt-get, saying so. `purpose` ends the sentence "… is needed".
pub(super) fn install(packages: &[&str], purpose: &str) -> Result<()> {
    let names = packages.join(" ");
    let Some(become_root) = way_to_root() else {
        bail!(
            "{purpose} is needed and isn't here. Install it (Debian and Ubuntu: `apt-get install {names}`) and try again"
        );
    };
    say(format_args!("{purpose}: installing Debian's {names} with apt-get …"));
    run(apt_get(become_root).args(["-qq", "update"])).context("updating apt's lists")?;
    run(apt_get(become_root).args(["-q", "install", "-y", "--no-install-recommends"]).args(packages))
        .with_context(|| format!("installing {names}"))
}

/// Fetches packages into a folder without installing them, which needs root only where apt has no lists yet.
pub(super) fn download(packages: &[&str], into: &Path, purpose: &str) -> Result<()> {
    let names = packages.join(" ");
    if paths::on_path("apt-get").is_none() || paths::on_path("dpkg").is_none() {
        bail!("{purpose} is needed and isn't here. Install it (Debian and Ubuntu: {names}) and try again");
    }
    say(format_args!("{purpose}: fetching Debian's {names} with apt-get …"));
    let download = || {
        let mut command = apt_get(&[]);
        // As root apt would give up its rights for it, and the folder is ours.
        command.args(["-q", "-o", "APT::Sandbox::User=root", "download"]).args(packages).current_dir(into);
        command
    };
    if succeeds(&mut download()) {
        return Ok(());
    }
    if let Some(become_root) = way_to_root() {
        run(apt_get(become_root).args(["-qq", "update"])).context("updating apt's lists")?;
    }
    run(&mut download()).with_context(|| format!("fetching {names}"))
}

/// Puts a file of a package that was not installed where its programs look for it.
pub(super) fn put(file: &Path, at: &Path) -> Result<()> {
    let Some(become_root) = way_to_root() else {
        bail!("{} is needed and isn't there: put {} there, or install its package", at.display(), file.display());
    };
    say(format_args!("copying {} to {}, where its program looks for it", file.display(), at.display()));
    run(rooted(become_root, "install").args(["-D", "-m", "644"]).arg(file).arg(at))
}

/// Keeps the package `postgresql` from making and starting a server of the machine's own. A choice
/// that stands in the file already is left alone.
pub(super) fn forbid_main_cluster() -> Result<()> {
    let file = Path::new(CREATE_CLUSTER);
    let Some(become_root) = way_to_root() else {
        return Ok(());
    };
    if file.exists() {
        return Ok(());
    }
    say(format_args!("writing {CREATE_CLUSTER}, so that the package starts no server of its own"));
    let script = r#"mkdir -p "$(dirname "$0")" && echo "create_main_cluster = false" > "$0""#;
    run(rooted(become_root, "sh").args(["-c", script, CREATE_CLUSTER])).context("keeping Debian's own cluster away")
}

/// The words before a command that make it run as root; `None` where there's no way, or no apt-get.
fn way_to_root() -> Option<&'static [&'static str]> {
    paths::on_path("apt-get")?;
    if user::is_root() {
        return Some(&[]);
    }
    succeeds(Command::new("sudo").args(["-n", "true"])).then_some(&["sudo", "-n"])
}

fn rooted(become_root: &[&str], program: &str) -> Command {
    // `env` sets the variables on the far side of sudo.
    let words = [become_root, &["env", "DEBIAN_FRONTEND=noninteractive", "UCF_FORCE_CONFFOLD=1", program]].concat();
    let mut command = Command::new(words.first().copied().unwrap_or(program));
    command.args(words.get(1..).unwrap_or_default());
    command
}

fn apt_get(become_root: &[&str]) -> Command {
    rooted(become_root, "apt-get")
}
