//! A database of one's own: on the cluster that all tests share, or on a cluster that a test may stop.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context;
use common::config::Secret;
use common::db;
use common::ids::RandomIds;
use common::logins::{self, Login};
use sha2::{Digest, Sha256};
use sqlx::{Connection, PgConnection, PgPool};
use xtask::postgres::{self, Cluster};
use xtask::tools::{TEST_DATABASE_URL, Tools};

use crate::stack::{SERVICES, Tls};

/// A migrated database.
pub struct Database {
    name: String,
    /// As the owner of everything, without a database.
    server: String,
    /// What a URL ends with: how to encrypt, and whom to believe.
    parameters: String,
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
    pub async fn own(tools: &Tools, tls: Option<&Tls>) -> anyhow::Result<Self> {
        let options = postgres::Options { tls: tls.map(|tls| tls.identity.clone()), ..postgres::Options::default() };
        let cluster = tokio::task::block_in_place(|| Cluster::start(&tools.postgres_bin, options))?;
        let mut url = cluster.url("postgres");
        if let Some(tls) = tls {
            url.push_str(&format!("?sslmode=verify-full&sslrootcert={}", tls.authority.display()));
        }
        Self::create(url, fresh_name(), Some(cluster)).await
    }

    /// A database of this name on a cluster that was started elsewhere; made anew.
    ///
    /// # Errors
    /// What the database says.
    pub async fn fresh_on(cluster: Cluster, name: &str) -> anyhow::Result<Self> {
        Self::create(cluster.url("postgres"), name.to_owned(), Some(cluster)).await
    }

    /// An empty database on a new cluster, which no role of ours was ever made in: for a restore.
    ///
    /// # Errors
    /// When it can't be started.
    pub async fn empty(tools: &Tools) -> anyhow::Result<Self> {
        let cluster =
            tokio::task::block_in_place(|| Cluster::start(&tools.postgres_bin, postgres::Options::default()))?;
        Self::create_empty(cluster.url("postgres"), fresh_name(), Some(cluster)).await
    }

    async fn create(admin_url: String, name: String, cluster: Option<Cluster>) -> anyhow::Result<Self> {
        let database = Self::create_empty(admin_url, name, cluster).await?;
        let pool = database.pool()?;
        db::migrate_up(&pool).await?;
        pool.close().await;
        database.make_logins().await?;
        Ok(database)
    }

    async fn create_empty(admin_url: String, name: String, cluster: Option<Cluster>) -> anyhow::Result<Self> {
        let mut admin = PgConnection::connect(&admin_url).await.context("connecting to the cluster")?;
        for sql in [format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"), format!("CREATE DATABASE {name}")] {
            sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut admin).await?;
        }
        admin.close().await?;
        let (place, parameters) = admin_url.split_once('?').unwrap_or((&admin_url, ""));
        let parameters = if parameters.is_empty() { String::new() } else { format!("?{parameters}") };
        let server = place.rsplit_once('/').context("the cluster's URL has no database")?.0.to_owned();
        let url = format!("{server}/{name}{parameters}");
        Ok(Self { name, server, parameters, admin_url, url, cluster })
    }

    /// Logins belong to the whole cluster, and several tests make them there at once. They do so from one database, where
    /// they wait for each other.
    ///
    /// # Errors
    /// What the database says.
    pub async fn make_logins(&self) -> anyhow::Result<()> {
        let users = SERVICES.iter().chain([&"viewer"]);
        let logins: Vec<Login> = users.map(|user| Login::of(user, Secret::new(self.password_of(user)))).collect();
        let mut admin = PgConnection::connect(&self.admin_url).await?;
        logins::apply(&mut admin, &logins, &RandomIds).await?;
        Ok(admin.close().await?)
    }

    /// Where the owner of the tables connects.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where a service, or `viewer`, connects: with a login of its own.
    ///
    /// # Errors
    /// When the cluster's URL is not one.
    pub fn url_of(&self, user: &str) -> anyhow::Result<String> {
        let (_, host) = self.server.split_once('@').context("the cluster's URL has no user")?;
        let (name, password) = (&self.name, self.password_of(user));
        Ok(format!("postgres://bill_{user}_login:{password}@{host}/{name}{}", self.parameters))
    }

    /// The same for every test on a cluster, and unknown to who does not know its own password.
    fn password_of(&self, user: &str) -> String {
        hex::encode(Sha256::digest(format!("{user} of {}", self.admin_url)))
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
