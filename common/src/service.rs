//! What is the same in every service: starting and stopping.

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

use crate::config::{ConfigError, Env, ProcessEnv};
use crate::db;
use crate::health;
use crate::parts::Parts;
use crate::shutdown::{END, FINISH, Shutdown};
use crate::telemetry::{self, LogsTo, export};
use crate::worker::{self, Handler};

/// Runs a service whose work is to consume: health routes on `listen`, the loop and `background` until the shutdown, then
/// a clean end. `background` begins when the database is there, and must end by itself at the shutdown.
///
/// # Errors
/// When the address is taken, or the streams' definitions can't be read.
pub async fn consume<H: Handler>(
    parts: Parts,
    listen: SocketAddr,
    handler: H,
    background: impl Future<Output = ()> + Send + 'static,
    shutdown: Shutdown,
) -> anyhow::Result<()> {
    let listener = health::bind(listen).await?;
    tracing::info!(address = %listener.local_addr()?, "{} listens for health and metrics", parts.service);
    let http = tokio::spawn(health::serve(listener, parts.health.clone(), parts.registry.clone(), shutdown.clone()));
    if db::wait_until_ready(&parts.pool, &shutdown).await {
        // What it does is looked at again by whoever starts next.
        let stop = shutdown.clone();
        let background = tokio::spawn(async move { stop.cut(FINISH, background).await });
        let done = worker::run(&parts, handler, shutdown.clone()).await;
        if let Ok(None) = background.await {
            tracing::warn!("what was looked at did not end in time and is cut; it is looked at again");
        }
        done?;
    }
    parts.close(&shutdown).await;
    // A client that never finishes its request is not waited for.
    drop(shutdown.cut(FINISH, http).await);
    tracing::info!("{} has stopped", parts.service);
    Ok(())
}

/// The body of every service's `main`: logs, configuration, signals, run; a mistake in the configuration is said once,
/// whole. After a signal the process ends within [`END`], whatever is stuck.
pub fn main<C, F>(read: impl FnOnce(&dyn Env) -> Result<C, ConfigError>, run: impl FnOnce(C, Shutdown) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    start(LogsTo::Stdout, read, run)
}

/// As [`main`], for a tool that prints something: its logs go elsewhere.
pub fn tool<C, F>(read: impl FnOnce(&dyn Env) -> Result<C, ConfigError>, run: impl FnOnce(C, Shutdown) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    start(LogsTo::Stderr, read, run)
}

fn start<C, F>(
    logs: LogsTo,
    read: impl FnOnce(&dyn Env) -> Result<C, ConfigError>,
    run: impl FnOnce(C, Shutdown) -> F,
) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    let config = telemetry::init_logs(&ProcessEnv, logs).and_then(|()| read(&ProcessEnv));
    let config = match config {
        Ok(config) => config,
        Err(error) => return refuse(&error),
    };
    let outcome =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from).and_then(
            |runtime| {
                let outcome = runtime.block_on(async {
                    let shutdown = Shutdown::on_signals()?;
                    let done = shutdown.cut(END, run(config, shutdown.clone())).await;
                    done.unwrap_or_else(|| {
                        Err(anyhow::anyhow!("asked to stop, and not done in time: stopped where it was"))
                    })
                });
                // Looking up a name, for instance, can't be interrupted, and would be waited for.
                runtime.shutdown_background();
                export::finish();
                outcome
            },
        );
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => refuse(&error),
    }
}

/// What a program answers to arguments that are no command of its own: its version, how it is used, or that it does not
/// know them.
#[must_use]
pub fn other(program: &str, arguments: &[String], usage: &str) -> ExitCode {
    let said = match arguments.first().map(String::as_str) {
        Some("--version" | "-V") => writeln!(std::io::stdout(), "{program} {}", env!("CARGO_PKG_VERSION")),
        Some("--help" | "-h") => writeln!(std::io::stdout(), "usage: {program} {usage}"),
        _ => {
            drop(writeln!(std::io::stderr(), "usage: {program} {usage}"));
            return ExitCode::from(2);
        }
    };
    // Nobody reads: nothing is wrong with that.
    drop(said);
    ExitCode::SUCCESS
}

#[expect(
    clippy::print_stderr,
    reason = "the log may be filtered; whoever starts a service must see why it did not start"
)]
fn refuse(error: &dyn std::fmt::Display) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
