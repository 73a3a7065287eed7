//! What each service may do, at the broker and in the database, is what it needs; the rest is refused by them. That it
//! suffices is shown by every other test here, since all processes run under it.

mod broker;
mod database;
mod rules;

use std::net::SocketAddr;

use anyhow::ensure;
use e2e::database::Database;
use e2e::service::Service;
use e2e::stack::{self, Options};
use e2e::wait;
use xtask::nats::{self, NatsServer};
use xtask::tools::Tools;

/// The services.
const SERVICES: [&str; 4] = stack::SERVICES;

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_may_not_says_on_which_subject() -> anyhow::Result<()> {
    let tools = Tools::from_env()?;
    let nats = tokio::task::block_in_place(|| NatsServer::start(&tools.nats_server, nats::Options::default()))?;
    let database = Database::shared().await?;
    let nowhere = format!("http://{}", SocketAddr::from(([127, 0, 0, 1], 1)));
    let url = database.url_of("ledger")?;
    let logs = stack::log_folder()?;
    let environment = stack::environment(&Options::default(), &nats.url_of("syncer"), &url, &nowhere, &nowhere);
    let service = Service::start("ledger", 1, None, &logs, &environment)?;
    wait::until("the refusal", || async {
        let refused = r#"Permissions Violation for Publish to "$JS.API.CONSUMER.INFO.RECHARGES.ledger""#;
        ensure!(service.log().contains(refused), "{}", service.log());
        Ok(())
    })
    .await?;
    drop(service);
    std::fs::remove_dir_all(logs)?;
    database.remove().await
}
