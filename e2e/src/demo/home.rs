//! Where the demo keeps its files: `target/demo` for what a person reads, and a lasting folder for PostgreSQL's data,
//! which only one demo at a time can have.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use xtask::demo::Ports;
use xtask::{folder, paths, processes, user};

/// How long a PostgreSQL whose demo was killed may take to end.
const LEAVE_LIMIT: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(50);

/// The demo's files.
pub(super) struct Home {
    demo: PathBuf,
    logs: PathBuf,
    postgres: PathBuf,
    /// Locked for as long as this demo lives; none if another demo of this checkout has it.
    lock: Option<File>,
}

impl Home {
    /// Makes the folders, and removes what an earlier demo left in them.
    pub(super) fn open(ports: &Ports) -> anyhow::Result<Self> {
        let demo = paths::target_dir().join("demo");
        let postgres = folder::lasting("demo-postgres");
        folder::ensure(&postgres, user::unprivileged()?.as_ref())?;
        let lock = File::create(postgres.join("lock")).context("opening the lock of the demo's PostgreSQL")?;
        let lock = lock.try_lock().is_ok().then_some(lock);
        let logs = match &lock {
            Some(_) => demo.join("logs"),
            None => demo.join(format!("logs-{}", ports.ingress)),
        };
        fs::create_dir_all(&logs).with_context(|| format!("making {}", logs.display()))?;
        let home = Self { demo, logs, postgres, lock };
        home.remove_leftovers()?;
        Ok(home)
    }

    /// The file for other programs.
    pub(super) fn env_file(&self) -> PathBuf {
        self.demo.join("env")
    }

    /// The services' logs.
    pub(super) fn logs(&self) -> &Path {
        &self.logs
    }

    /// The folder of a PostgreSQL cluster that stays from demo to demo, unless another demo uses it now.
    pub(super) fn lasting_postgres(&self) -> Option<&Path> {
        self.lock.as_ref().map(|_| self.postgres.as_path())
    }

    fn remove_leftovers(&self) -> anyhow::Result<()> {
        // Even another living demo's: that it is there means that the demo started last is ready.
        if self.env_file().exists() {
            fs::remove_file(self.env_file()).context("removing the stale target/demo/env")?;
        }
        for entry in fs::read_dir(&self.logs)?.flatten() {
            if entry.path().extension().is_some_and(|extension| extension == "log") {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// Waits until no PostgreSQL uses this folder: one whose demo was killed takes a moment to end.
pub(super) fn wait_until_unused(postgres: &Path) {
    let pid_file = postgres.join("data").join("postmaster.pid");
    let started = Instant::now();
    while started.elapsed() < LEAVE_LIMIT && runs_postgres(&pid_file) {
        thread::sleep(POLL);
    }
}

/// Whether the process that this file names in its first line is a PostgreSQL.
fn runs_postgres(pid_file: &Path) -> bool {
    let text = fs::read_to_string(pid_file).unwrap_or_default();
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    pid.is_some_and(|pid| processes::is_running(pid) && processes::command_line(pid).contains("postgres"))
}
