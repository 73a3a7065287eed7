//! Whose turn it is to sweep: one replica at a time, by a lock of the database's session. When the process dies, the session
//! dies, and the lock is free; the next replica whose interval comes takes it.

use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::Mutex;

use super::repo;

/// The connection that holds the lock, while this replica has it.
#[derive(Default)]
pub(super) struct Turn {
    held: Mutex<Option<PgConnection>>,
}

impl Turn {
    /// Whether this replica sweeps. One that did goes on, as long as its session lives.
    pub(super) async fn take(&self, pool: &PgPool) -> sqlx::Result<bool> {
        let mut held = self.held.lock().await;
        if let Some(mut connection) = held.take() {
            if connection.ping().await.is_ok() {
                *held = Some(connection);
                return Ok(true);
            }
            tracing::warn!("the connection that held the sweep's lock is lost");
        }
        let mut connection = repo::connect(pool).await?;
        if repo::try_lock(&mut connection).await? {
            tracing::info!("this replica sweeps from now on");
            *held = Some(connection);
            return Ok(true);
        }
        connection.close().await?;
        Ok(false)
    }

    /// Lets another replica go on at once.
    pub(super) async fn give_up(&self) {
        if let Some(connection) = self.held.lock().await.take()
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the sweep's lock ends with its connection");
        }
    }
}
