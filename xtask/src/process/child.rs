//! A started child.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::Signal;

/// How long a dropped child may take to end by itself.
const GRACE: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// A child that is ended when dropped.
#[derive(Debug)]
pub struct ManagedChild {
    name: String,
    child: Child,
    log: Option<PathBuf>,
}

impl ManagedChild {
    pub(super) fn new(name: String, child: Child, log: Option<PathBuf>) -> Self {
        Self { name, child, log }
    }

    /// The program's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The file its output goes to, if it goes to one.
    pub fn log(&self) -> Option<&Path> {
        self.log.as_deref()
    }

    /// The last lines of its log, to go into an error message; empty without a log.
    pub fn log_tail(&self) -> String {
        let Some(log) = &self.log else {
            return String::new();
        };
        let text = fs::read(log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default();
        format!("; the end of its log:\n  {}", tail.join("\n  "))
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().with_context(|| format!("looking at {}", self.name))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits until it ends.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.child.wait().with_context(|| format!("waiting for {}", self.name))
    }

    /// Waits until it ends, or the time is over.
    pub fn wait_for(&mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let started = Instant::now();
        loop {
            match self.try_wait()? {
                None if started.elapsed() < limit => thread::sleep(POLL),
                outcome => return Ok(outcome),
            }
        }
    }

    /// Sends it a signal. One that has ended is left alone: its id may belong to somebody else by now.
    pub fn signal(&mut self, signal: Signal) -> Result<()> {
        if self.is_running() { signal.send(&[self.pid()]) } else { Ok(()) }
    }

    /// Asks it to end, and kills it if it hasn't by the end of the grace.
    pub fn terminate(&mut self, grace: Duration) -> Result<ExitStatus> {
        self.end_with(Signal::Terminate, grace)
    }

    /// Asks it to end by this signal, and kills it if it hasn't by the end of the grace.
    pub fn end_with(&mut self, signal: Signal, grace: Duration) -> Result<ExitStatus> {
        self.signal(signal)?;
        // One that is frozen couldn't hear.
        self.signal(Signal::Continue)?;
        match self.wait_for(grace)? {
            Some(status) => Ok(status),
            None => self.kill9(),
        }
    }

    /// Kills it, as a crash of the machine would.
    pub fn kill9(&mut self) -> Result<ExitStatus> {
        self.child.kill().with_context(|| format!("killing {}", self.name))?;
        self.wait()
    }

    /// Freezes it: connections stay open and nothing answers.
    pub fn pause(&mut self) -> Result<()> {
        self.signal(Signal::Stop)
    }

    /// Lets it go on.
    pub fn resume(&mut self) -> Result<()> {
        self.signal(Signal::Continue)
    }
}

impl Drop for ManagedChild {
    fn drop(&mut self) {
        if self.is_running() {
            // Nothing useful can be done about a failure here.
            let _ = self.terminate(GRACE);
        }
    }
}
