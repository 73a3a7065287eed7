//! A signal handed in by the caller: work in flight finishes, nothing new is begun.

use std::future::Future;

use tokio_util::sync::CancellationToken;

/// The signal. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

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
        self.0.cancel();
    }

    /// Whether it was given.
    #[must_use]
    pub fn is_given(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits for it.
    pub fn wait(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        self.0.clone().cancelled_owned()
    }
}
