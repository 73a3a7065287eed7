//! Stripe's own Python SDK, against which the simulator has to hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::python::Pip;
use super::{install_into, output_of, run, succeeds};
use crate::{paths, say};

const FOLDER: &str = "stripe-python";
const STAMP: &str = "requirements.txt";

/// `None` where the checkout doesn't ask for it.
pub(super) fn find_or_install() -> Result<Option<PathBuf>> {
    let Ok(wanted) = fs::read_to_string(paths::stripe_requirements()) else {
        return Ok(None);
    };
    let folder = paths::tools_dir().join(FOLDER);
    let installed = fs::read_to_string(folder.join(STAMP));
    if installed.is_ok_and(|installed| installed == wanted) && works(&folder) {
        say(format_args!("Stripe's Python SDK: found in {}", folder.display()));
        return Ok(Some(python_in(&folder)));
    }
    say(format_args!("Stripe's Python SDK: installing the hash-pinned wheels into {} …", folder.display()));
    let folder = install_into(FOLDER, |folder| install(folder, &wanted))?;
    Ok(Some(python_in(&folder)))
}

fn install(folder: &Path, wanted: &str) -> Result<()> {
    let pip = Pip::find_or_install()?;
    let system = paths::on_path("python3").context("python3 is not on PATH")?;
    // Without pip of its own, which Debian's python3 couldn't give it.
    run(Command::new(system).args(["-m", "venv", "--without-pip"]).arg(folder))?;
    let packages = output_of(
        Command::new(python_in(folder)).args(["-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]),
    )
    .context("asking Python where its packages are")?;
    let stamp = folder.join(STAMP);
    fs::write(&stamp, wanted)?;
    pip.install(&stamp, Path::new(&packages))
}

fn python_in(folder: &Path) -> PathBuf {
    folder.join("bin").join("python")
}

fn works(folder: &Path) -> bool {
    succeeds(Command::new(python_in(folder)).args(["-c", "import stripe"]))
}
