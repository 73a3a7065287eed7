//! Waiting for a condition, never for a while.

use std::future::Future;
use std::time::{Duration, Instant};

/// The longest a test waits: far more than anything should take, for a machine that is busy.
pub const LIMIT: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(25);

/// Asks until the answer is there.
///
/// # Errors
/// The last reason why not, after [`LIMIT`].
pub async fn until<T, F: Future<Output = anyhow::Result<T>>>(what: &str, ask: impl FnMut() -> F) -> anyhow::Result<T> {
    until_within(LIMIT, what, ask).await
}

/// As [`until`], with a limit of its own.
///
/// # Errors
/// The last reason why not, after `limit`.
pub async fn until_within<T, F: Future<Output = anyhow::Result<T>>>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) -> anyhow::Result<T> {
    let started = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if started.elapsed() > limit => {
                return Err(error.context(format!("waited {limit:?} for {what}")));
            }
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}
