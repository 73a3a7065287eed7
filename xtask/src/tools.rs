//! Finding the servers and clients that development and tests need, or installing them.

mod apt;
mod axe;
mod chromium;
mod nats;
mod postgres;
mod prometheus;
mod python;
mod schemathesis;
mod stripe;
mod venv;
mod version;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

pub use version::Version;

use crate::{paths, say};

/// Names the nats-server to use.
pub const NATS_SERVER: &str = "BILL_NATS_SERVER";
/// Names the folder of PostgreSQL's programs to use.
pub const POSTGRES_BIN: &str = "BILL_POSTGRES_BIN";
/// Names the Python interpreter that has Stripe's SDK.
pub const STRIPE_PYTHON: &str = "BILL_STRIPE_PYTHON";
/// Names the Python interpreter that has schemathesis.
pub const SCHEMATHESIS: &str = "BILL_SCHEMATHESIS";
/// Names the Chromium that tests use the console with.
pub const CHROMIUM: &str = "BILL_CHROMIUM";
/// Names the chromedriver of the same version.
pub const CHROMEDRIVER: &str = "BILL_CHROMEDRIVER";
/// Names axe-core's script, `axe.min.js`.
pub const AXE: &str = "BILL_AXE";
/// Names the Prometheus that tests of the alerts start.
pub const PROMETHEUS: &str = "BILL_PROMETHEUS";
/// Names the promtool that checks rules and metrics.
pub const PROMTOOL: &str = "BILL_PROMTOOL";
/// Names the Alertmanager that tests of the alerts start.
pub const ALERTMANAGER: &str = "BILL_ALERTMANAGER";
/// Names the folder of the programs that `cargo xtask` has built.
pub const BIN_DIR: &str = "BILL_BIN_DIR";
/// Names the PostgreSQL that all tests share: the database `postgres`, as a superuser.
pub const TEST_DATABASE_URL: &str = "BILL_TEST_DATABASE_URL";

/// Where the parts are on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tools {
    /// nats-server, 2.11 or newer.
    pub nats_server: PathBuf,
    /// The folder with `initdb`, `pg_ctl` and `postgres`, 15 or newer.
    pub postgres_bin: PathBuf,
    /// A Python interpreter that has Stripe's SDK; only tests of the simulator need it.
    pub stripe_python: Option<PathBuf>,
    /// A Python interpreter that has schemathesis; only the test of the API's documentation needs it.
    pub schemathesis: Option<PathBuf>,
    /// Chromium; only tests and pictures of the console need it.
    pub chromium: Option<PathBuf>,
    /// The chromedriver of the same version.
    pub chromedriver: Option<PathBuf>,
    /// axe-core's script; only tests and pictures of the console need it.
    pub axe: Option<PathBuf>,
    /// Prometheus; only tests of the alerts need it.
    pub prometheus: Option<PathBuf>,
    /// promtool; only tests of the alerts and the metrics need it.
    pub promtool: Option<PathBuf>,
    /// Alertmanager; only tests of the alerts need it.
    pub alertmanager: Option<PathBuf>,
}

impl Tools {
    /// Finds nats-server and PostgreSQL, or installs them, saying on stdout what it does.
    pub fn find_or_install() -> Result<Self> {
        let _lock = lock()?;
        Ok(Self {
            nats_server: nats::find_or_install()?,
            postgres_bin: postgres::find_or_install()?,
            stripe_python: None,
            schemathesis: None,
            chromium: None,
            chromedriver: None,
            axe: None,
            prometheus: None,
            promtool: None,
            alertmanager: None,
        })
    }

    /// The same, and Stripe's Python SDK, schemathesis, Chromium, axe-core, Prometheus and Alertmanager.
    pub fn find_or_install_for_tests() -> Result<Self> {
        let tools = Self::find_or_install()?;
        let _lock = lock()?;
        let (stripe_python, schemathesis) = (stripe::find_or_install()?, schemathesis::find_or_install()?);
        let axe = Some(axe::find_or_install()?);
        let watching = prometheus::find_or_install()?;
        let tools = Self {
            stripe_python,
            schemathesis,
            axe,
            prometheus: Some(watching.prometheus),
            promtool: Some(watching.promtool),
            alertmanager: Some(watching.alertmanager),
            ..tools
        };
        Ok(tools.with(chromium::find_or_install()?))
    }

    /// What pictures of the console need: the servers, Chromium, axe-core, and a font with Chinese characters.
    pub fn find_or_install_for_screenshots() -> Result<Self> {
        let tools = Self::find_or_install()?;
        let _lock = lock()?;
        chromium::find_or_install_chinese_fonts()?;
        let axe = Some(axe::find_or_install()?);
        Ok(Self { axe, ..tools }.with(chromium::find_or_install()?))
    }

    fn with(self, found: chromium::Chromium) -> Self {
        Self { chromium: Some(found.browser), chromedriver: Some(found.driver), ..self }
    }

    /// What `cargo xtask` found, as it tells the programs that it starts.
    pub fn from_env() -> Result<Self> {
        let nats_server = required(NATS_SERVER)?;
        let postgres_bin = required(POSTGRES_BIN)?;
        Ok(Self {
            nats_server,
            postgres_bin,
            stripe_python: optional(STRIPE_PYTHON),
            schemathesis: optional(SCHEMATHESIS),
            chromium: optional(CHROMIUM),
            chromedriver: optional(CHROMEDRIVER),
            axe: optional(AXE),
            prometheus: optional(PROMETHEUS),
            promtool: optional(PROMTOOL),
            alertmanager: optional(ALERTMANAGER),
        })
    }

    /// The variables from which [`Tools::from_env`] reads them.
    pub fn envs(&self) -> Vec<(&'static str, PathBuf)> {
        let always = [(NATS_SERVER, self.nats_server.clone()), (POSTGRES_BIN, self.postgres_bin.clone())];
        let tests = [
            (STRIPE_PYTHON, &self.stripe_python),
            (SCHEMATHESIS, &self.schemathesis),
            (CHROMIUM, &self.chromium),
            (CHROMEDRIVER, &self.chromedriver),
            (AXE, &self.axe),
            (PROMETHEUS, &self.prometheus),
            (PROMTOOL, &self.promtool),
            (ALERTMANAGER, &self.alertmanager),
        ];
        let tests = tests.into_iter().filter_map(|(variable, found)| Some((variable, found.clone()?)));
        always.into_iter().chain(tests).collect()
    }
}

fn required(variable: &str) -> Result<PathBuf> {
    optional(variable).with_context(|| format!("{variable} is not set: run this through `cargo xtask test`"))
}

fn optional(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Lets one `cargo xtask` install at a time. Freed with the process, however it ends.
fn lock() -> Result<File> {
    let tools = paths::tools_dir();
    fs::create_dir_all(&tools).with_context(|| format!("making {}", tools.display()))?;
    let lock = File::create(tools.join("lock")).context("opening the lock of the tools folder")?;
    if lock.try_lock().is_err() {
        say("waiting for another `cargo xtask` that is installing …");
        lock.lock().context("locking the tools folder")?;
    }
    Ok(lock)
}

/// Installs into `target/tools/NAME`: first beside it, so that what has the name is always complete.
fn install_into(name: &str, install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = paths::tools_dir().join(name);
    let unfinished = paths::tools_dir().join(format!("{name}.unfinished"));
    remove_dir(&unfinished)?;
    fs::create_dir_all(&unfinished)?;
    install(&unfinished)?;
    remove_dir(&folder)?;
    fs::rename(&unfinished, &folder).with_context(|| format!("renaming {}", unfinished.display()))?;
    Ok(folder)
}

fn remove_dir(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Runs a step of an installation with its own output in view.
fn run(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("running {command:?}"))?;
    if !status.success() {
        bail!("{command:?} failed ({status})");
    }
    Ok(())
}

/// Whether the command succeeds; what it says is of no interest.
fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// What the command says on stdout, if it succeeds.
fn output_of(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
