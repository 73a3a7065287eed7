//! One service as a real process, which can be killed and started again.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use xtask::ports;
use xtask::process::{ManagedChild, Output, Program, Signal};
use xtask::tools;

use crate::wait;

/// How long a service may take to stop when asked to.
const GRACE: Duration = Duration::from_secs(15);

/// A service's process.
pub struct Service {
    /// Its name with its number: `recharger-1`.
    pub label: String,
    /// Where its health and metrics are, and ingress's API.
    pub url: String,
    program: Program,
    child: Option<ManagedChild>,
    log: PathBuf,
}

/// Where a program of ours is that `cargo xtask` has built.
///
/// # Errors
/// When nobody says where.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let folder = std::env::var_os(tools::BIN_DIR)
        .with_context(|| format!("{} is not set: run this through `cargo xtask`", tools::BIN_DIR))?;
    Ok(PathBuf::from(folder).join(name))
}

impl Service {
    /// Starts a service. Its log goes to `folder`.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start(
        name: &str,
        number: usize,
        port: Option<u16>,
        folder: &Path,
        env: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let port = match port {
            Some(port) => port,
            None => ports::free_port()?,
        };
        Self::start_as(name, format!("{name}-{number}"), port, folder, env)
    }

    /// Starts a service under a label of its own.
    ///
    /// # Errors
    /// When there is no such program.
    pub fn start_as(
        name: &str,
        label: String,
        port: u16,
        folder: &Path,
        env: &[(String, String)],
    ) -> anyhow::Result<Self> {
        let log = folder.join(format!("{label}.log"));
        let address = format!("127.0.0.1:{port}");
        let mut program = Program::new(program(name)?)
            .env("LISTEN", &address)
            .env("BIND", "127.0.0.1")
            .env("PORT", port.to_string())
            .own_group()
            .output(Output::File(log.clone()));
        for (variable, value) in env {
            program = program.env(variable, value);
        }
        let mut service = Self { label, url: format!("http://{address}"), program, child: None, log };
        service.start_again()?;
        Ok(service)
    }

    /// The process's id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(ManagedChild::pid)
    }

    /// What it logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Where it logs.
    #[must_use]
    pub fn log_file(&self) -> &Path {
        &self.log
    }

    /// Kills it at whatever instruction it is.
    ///
    /// # Errors
    /// When it can't be killed.
    pub fn kill9(&mut self) -> anyhow::Result<()> {
        match self.child.take() {
            Some(mut child) => tokio::task::block_in_place(|| child.kill9()).map(drop),
            None => Ok(()),
        }
    }

    /// Asks it to stop, and does not wait.
    ///
    /// # Errors
    /// When it can't be asked.
    pub fn ask_to_stop(&mut self) -> anyhow::Result<()> {
        self.child.as_mut().map_or(Ok(()), |child| tokio::task::block_in_place(|| child.signal(Signal::Terminate)))
    }

    /// Asks it to stop, and waits until it did.
    ///
    /// # Errors
    /// When it had to be killed, or failed.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let status = tokio::task::block_in_place(|| child.terminate(GRACE))?;
        anyhow::ensure!(status.success(), "{} ended with {status}", self.label);
        Ok(())
    }

    /// Freezes it (SIGSTOP): its connections stay open and nothing answers.
    ///
    /// # Errors
    /// When it can't be told.
    pub fn freeze(&mut self) -> anyhow::Result<()> {
        self.child.as_mut().map_or(Ok(()), |child| tokio::task::block_in_place(|| child.pause()))
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it can't be told.
    pub fn go_on(&mut self) -> anyhow::Result<()> {
        self.child.as_mut().map_or(Ok(()), |child| tokio::task::block_in_place(|| child.resume()))
    }

    /// Starts it, on the same port.
    ///
    /// # Errors
    /// When it can't be started.
    pub fn start_again(&mut self) -> anyhow::Result<()> {
        let program = self.program.clone();
        self.child = Some(tokio::task::block_in_place(|| program.spawn())?);
        Ok(())
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it does not come to that, or ends by itself, with the end of its log.
    pub async fn until_ready(&mut self, http: &reqwest::Client) -> anyhow::Result<()> {
        let what = format!("{} to be ready", self.label);
        let url = format!("{}/health/ready", self.url);
        let service = tokio::sync::Mutex::new(self);
        wait::until(&what, || async {
            service.lock().await.check_running()?;
            http.get(&url).send().await?.error_for_status()?;
            Ok(())
        })
        .await
    }

    /// Fails, with the end of its log, when it has ended by itself.
    ///
    /// # Errors
    /// That.
    pub fn check_running(&mut self) -> anyhow::Result<()> {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait()?
        {
            anyhow::bail!("{} ended by itself ({status}){}", self.label, child.log_tail());
        }
        Ok(())
    }
}
