//! Keeping something in memory as the database has it: the database says what changed (LISTEN/NOTIFY), and reading it all
//! again now and then is the net under that.

use std::future::Future;
use std::time::Duration;

use common::shutdown::Shutdown;
use sqlx::PgPool;
use sqlx::postgres::PgListener;

/// How long to rest after the database could not be read.
const REST: Duration = Duration::from_secs(1);

/// What is kept in memory.
pub(crate) trait Followed: Send + Sync {
    /// The channel on which the database says what changed.
    const CHANNEL: &'static str;

    /// Reads everything again.
    fn reload(&self) -> impl Future<Output = sqlx::Result<()>> + Send;

    /// Reads what the notification names; false when it is not understood.
    fn refresh(&self, named: &str) -> impl Future<Output = sqlx::Result<bool>> + Send;
}

/// Keeps it fresh until the shutdown, whether or not the database is there.
pub(crate) async fn keep<T: Followed>(pool: PgPool, kept: T, ttl: Duration, shutdown: Shutdown) {
    while !shutdown.is_given() {
        tokio::select! {
            () = shutdown.wait() => return,
            result = follow(&pool, &kept, ttl) => {
                if let Err(error) = result {
                    tracing::warn!(%error, channel = T::CHANNEL, "can't follow the database: {error}; trying again");
                }
            }
        }
        tokio::select! {
            () = tokio::time::sleep(REST) => {}
            () = shutdown.wait() => return,
        }
    }
}

/// Listens first and reads then, so that no change falls between the two; one change after the other, so that what
/// is read later wins.
async fn follow<T: Followed>(pool: &PgPool, kept: &T, ttl: Duration) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(T::CHANNEL).await?;
    loop {
        kept.reload().await?;
        let again = tokio::time::sleep(ttl);
        tokio::pin!(again);
        loop {
            let notified = tokio::select! {
                () = &mut again => break,
                notified = listener.try_recv() => notified?,
            };
            let understood = match notified {
                Some(notification) => kept.refresh(notification.payload()).await?,
                // The connection was lost and is back: whatever was said meanwhile, nobody heard.
                None => false,
            };
            if !understood {
                break;
            }
        }
    }
}
