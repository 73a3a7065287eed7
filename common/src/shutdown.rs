//! A signal handed in by the caller: work in flight finishes, nothing new is begun.
//!
//! What does not finish is cut: whoever stops a process (Docker, Railway, systemd) kills it when it does not end, Docker after
//! ten seconds. Killed or cut is the same for what was in flight, which comes again; but a process that ends by itself gives
//! its messages back at once, closes its connections and says so.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long work in flight may go on after the signal. Longer than anything takes that is not stuck; a call of Stripe may be
/// (its timeout is 20 s), and its charge is found again by its key.
pub const FINISH: Duration = Duration::from_secs(6);
/// How long after the signal connections may take to close: one that a long query holds is not waited for.
pub const CLOSE: Duration = Duration::from_secs(8);
/// How long after the signal a process has ended, whatever is stuck: below Docker's ten seconds.
pub const END: Duration = Duration::from_secs(9);

/// The signal. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    token: CancellationToken,
    given_at: Arc<OnceLock<Instant>>,
}

impl Shutdown {
    /// A signal that nobody has given yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A signal that SIGTERM and SIGINT give.
    ///
    /// # Errors
    /// When the operating system does not let us listen.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let shutdown = Self::new();
        let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let given = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            tracing::info!("asked to stop: finishing what is in flight");
            given.give();
        });
        Ok(shutdown)
    }

    /// Gives the signal.
    pub fn give(&self) {
        self.given_at.get_or_init(Instant::now);
        self.token.cancel();
    }

    /// Whether it was given.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits for it.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.token.clone().cancelled_owned()
    }

    /// Waits until it was given so long ago.
    pub fn overdue(&self, after: Duration) -> impl Future<Output = ()> + Send + 'static + use<> {
        let shutdown = self.clone();
        async move {
            shutdown.wait().await;
            let given_at = *shutdown.given_at.get_or_init(Instant::now);
            tokio::time::sleep_until(given_at + after).await;
        }
    }

    /// Does `work`, but not beyond `after` the signal: then it is dropped where it is, and there is no result.
    pub async fn cut<T>(&self, after: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.overdue(after) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_is_stuck_is_cut_and_the_rest_is_not() {
        let shutdown = Shutdown::new();
        let begun = Instant::now();
        let long = tokio::time::sleep(END * 10);
        assert!(shutdown.cut(FINISH, long).await.is_some(), "without a signal nothing is cut");
        shutdown.give();
        let given = Instant::now();
        assert!(begun < given && shutdown.cut(FINISH, tokio::time::sleep(FINISH / 2)).await.is_some());
        // Given again, it is not given anew: the time counts from the first.
        shutdown.give();
        assert!(shutdown.cut(FINISH, std::future::pending::<()>()).await.is_none());
        assert_eq!(given.elapsed().as_secs(), FINISH.as_secs());
        assert!(shutdown.cut(END, std::future::pending::<()>()).await.is_none());
        assert_eq!(given.elapsed().as_secs(), END.as_secs());
    }
}
