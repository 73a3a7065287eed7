//! pip, which fetches what comes as a wheel.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{apt, run, succeeds};
use crate::{paths, say};

/// A Python whose pip works.
pub(super) struct Pip {
    python: PathBuf,
}

impl Pip {
    /// The machine's pip; else one in a virtual environment; else Debian's.
    pub(super) fn find_or_install() -> Result<Self> {
        if let Some(pip) = Self::find() {
            return Ok(pip);
        }
        apt::install(&["python3", "python3-venv"], "Python 3 with pip or venv")?;
        Self::find().context("Python 3 is installed, but neither its pip nor its venv works")
    }

    fn find() -> Option<Self> {
        let python = paths::on_path("python3")?;
        if works(&python) {
            return Some(Self { python });
        }
        // Debian's python3 comes without pip, and with venv only if python3-venv is there.
        let venv = paths::tools_dir().join("pip");
        let inside = venv.join("bin").join("python");
        if !works(&inside) {
            say(format_args!("pip: making a virtual environment in {} …", venv.display()));
            succeeds(Command::new(&python).args(["-m", "venv", "--clear"]).arg(&venv));
        }
        works(&inside).then_some(Self { python: inside })
    }

    /// Installs exactly what the file pins, wheels only, into a folder of its own. With `--target`, pip
    /// leaves the system's Python alone, so a system that forbids changing that has nothing against it.
    pub(super) fn install(&self, requirements: &Path, folder: &Path) -> Result<()> {
        let mut pip = Command::new(&self.python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]);
        pip.args(["--require-hashes", "--only-binary=:all:", "--no-deps"]);
        // As an option, older versions of pip refuse it.
        pip.env("PIP_ROOT_USER_ACTION", "ignore");
        pip.arg("--target").arg(folder).arg("-r").arg(requirements);
        run(&mut pip).context("installing with pip")
    }
}

fn works(python: &Path) -> bool {
    succeeds(Command::new(python).args(["-m", "pip", "--version"]))
}
