//! A Python of its own with exactly the packages that a committed file pins.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::python::Pip;
use super::{install_into, output_of, run, succeeds};
use crate::{paths, say};

const STAMP: &str = "requirements.txt";

/// What is installed.
pub(super) struct Venv {
    /// For people: `Stripe's Python SDK`.
    pub(super) name: &'static str,
    /// The folder below `target/tools`.
    pub(super) folder: &'static str,
    /// The module that must be there.
    pub(super) module: &'static str,
    /// The file that pins it and what it needs.
    pub(super) requirements: PathBuf,
}

impl Venv {
    /// The Python that has it; `None` where the checkout doesn't ask for it.
    pub(super) fn find_or_install(&self) -> Result<Option<PathBuf>> {
        let Ok(wanted) = fs::read_to_string(&self.requirements) else {
            return Ok(None);
        };
        let folder = paths::tools_dir().join(self.folder);
        let installed = fs::read_to_string(folder.join(STAMP));
        if installed.is_ok_and(|installed| installed == wanted) && self.works(&folder) {
            say(format_args!("{}: found in {}", self.name, folder.display()));
            return Ok(Some(python_in(&folder)));
        }
        say(format_args!("{}: installing the hash-pinned wheels into {} …", self.name, folder.display()));
        let folder = install_into(self.folder, |folder| install(folder, &wanted))?;
        Ok(Some(python_in(&folder)))
    }

    fn works(&self, folder: &Path) -> bool {
        succeeds(Command::new(python_in(folder)).args(["-c", &format!("import {}", self.module)]))
    }
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
