//! Lines about what is being done, with the time since the start.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::Context;

/// How often a long step says that it is still going on.
const REMIND: Duration = Duration::from_secs(3);

/// Tells a person how far it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Progress(Instant);

impl Progress {
    /// Counts from now.
    pub(super) fn start() -> Self {
        Self(Instant::now())
    }

    /// One line.
    pub(super) fn say(&self, line: impl Display) {
        let elapsed = self.0.elapsed();
        xtask::say(format_args!("[{:>3}.{} s] {line}", elapsed.as_secs(), elapsed.subsec_millis() / 100));
    }

    /// Waits for a step, and says every few seconds that it still is not done.
    pub(super) async fn during<T>(
        &self,
        what: &str,
        work: impl Future<Output = anyhow::Result<T>>,
    ) -> anyhow::Result<T> {
        self.say(format_args!("{what} …"));
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                outcome = &mut work => return outcome.with_context(|| what.to_owned()),
                () = tokio::time::sleep(REMIND) => self.say(format_args!("still {what} …")),
            }
        }
    }
}

/// Does what blocks where it blocks nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await.context("a blocking step panicked")?
}
