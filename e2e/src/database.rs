//! A database of one's own: on the cluster that all tests share, or on a cluster that a test may stop.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use common::config::Secret;
use common::db;
use sqlx::{Connection, PgConnection, PgPool};
use xtask::postgres::{self, Cluster};
use xtask::tools::{TEST_DATABASE_URL, Tools};

/// A migrated database.
pub struct Database {
    name: String,
    admin_url: String,
    url: String,
    /// The cluster, where it is ours alone.
    pub cluster: Option<Cluster>,
}

fn fresh_name() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("e2e_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

impl Database {
    /// A database on the shared cluster.
    ///
    /// # Errors
    /// When there is no such cluster.
    pub async fn shared() -> anyhow::Result<Self> {
        let admin_url = std::env::var(TEST_DATABASE_URL)
            .with_context(|| format!("{TEST_DATABASE_URL} is not set: run this through `cargo xtask test`"))?;
        Self::create(admin_url, fresh_name(), None).await
    }

    /// A database on a cluster of its own, which may be stopped.
    ///
    /// # Errors
    /// When it can't be started.
    pub async fn own(tools: &Tools) -> anyhow::Result<Self> {
        let cluster =
            tokio::task::block_in_place(|| Cluster::start(&tools.postgres_bin, postgres::Options::default()))?;
        Self::create(cluster.url("postgres"), fresh_name(), Some(cluster)).await
    }

    /// A database of this name on a cluster that was started elsewhere; made anew.
    ///
    /// # Errors
    /// What the database says.
    pub async fn fresh_on(cluster: Cluster, name: &str) -> anyhow::Result<Self> {
        Self::create(cluster.url("postgres"), name.to_owned(), Some(cluster)).await
    }

    async fn create(admin_url: String, name: String, cluster: Option<Cluster>) -> anyhow::Result<Self> {
        let mut admin = PgConnection::connect(&admin_url).await.context("connecting to the cluster")?;
        for sql in [format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await?;
        }
        admin.close().await?;
        let (server, _) = admin_url.rsplit_once('/').context("the cluster's URL has no database")?;
        let url = format!("{server}/{name}");
        let database = Self { name, admin_url, url, cluster };
        let pool = database.pool()?;
        db::migrate_up(&pool).await?;
        pool.close().await;
        Ok(database)
    }

    /// Where services connect.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// A pool for looking at it.
    ///
    /// # Errors
    /// When the URL can't be understood.
    pub fn pool(&self) -> anyhow::Result<PgPool> {
        db::pool(&Secret::new(self.url.clone()), "e2e", 4)
    }

    /// Removes it from a shared cluster; a cluster of its own goes as a whole.
    ///
    /// # Errors
    /// What the database says.
    pub async fn remove(&self) -> anyhow::Result<()> {
        if self.cluster.is_none() {
            let mut admin = PgConnection::connect(&self.admin_url).await?;
            let sql = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await?;
        }
        Ok(())
    }
}
