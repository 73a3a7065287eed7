//! Work that is due again and again, beside the messages.

use std::future::Future;
use std::time::Duration;

use crate::broker::Broker;
use crate::contract::Outgoing;
use crate::failure::Failure;
use crate::shutdown::Shutdown;

/// Where what follows from such work is published; what follows from a message is published by the consumer loop.
pub trait Publish: Send + Sync + 'static {
    /// Publishes, and waits until it is confirmed.
    ///
    /// # Errors
    /// When it is not.
    fn publish(&self, event: &Outgoing) -> impl Future<Output = Result<(), Failure>> + Send;
}

impl Publish for Broker {
    async fn publish(&self, event: &Outgoing) -> Result<(), Failure> {
        Self::publish(self, event).await.map(drop).map_err(Failure::retry)
    }
}

/// Does `work` every `interval`, the first time at once, until the shutdown. A run that takes longer than the interval is
/// followed by the next without a pause in between; what goes wrong is for `work` to log.
pub async fn every<F: Future<Output = ()>>(interval: Duration, shutdown: &Shutdown, mut work: impl FnMut() -> F) {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = shutdown.wait() => return,
        }
        if shutdown.is_given() {
            return;
        }
        work().await;
    }
}
