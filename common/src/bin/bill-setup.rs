//! Prepares a deployment: migrations in PostgreSQL, streams and consumers on the broker. Safe to repeat.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use common::broker::{Broker, BrokerAddress, Definitions};
use common::clock::SystemClock;
use common::config::{ProcessEnv, Reader};
use common::health::Health;
use common::ids::RandomIds;
use common::logins::{self, Login};
use common::{db, service};

const USAGE: &str = "usage: bill-setup up | migrate up | migrate down | logins | streams | streams --check
  up               migrations and streams
  migrate up|down  apply, or take back, every migration (DATABASE_URL)
  logins           create or change the services' logins (DATABASE_URL of a login that may create roles;
                   BILL_INGRESS_DB_PASSWORD and the same of RECHARGER, LEDGER, SYNCER and, optional, VIEWER;
                   BILL_INGRESS_DB_USER … for other names than bill_ingress_login …)
  streams          create or change streams and consumers as nats/ defines them (NATS_URL of the user `setup`, NATS_CA_FILE,
                   NATS_REPLICAS, CONSUMER_ACK_WAIT)
  streams --check  only report what differs; fails when something does";

/// How long the broker or the database may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(30);

enum Command {
    Up,
    MigrateUp,
    MigrateDown,
    Logins,
    Streams { check: bool },
    Help,
}

fn command() -> Command {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["up"] => Command::Up,
        ["migrate", "up"] => Command::MigrateUp,
        ["migrate", "down"] => Command::MigrateDown,
        ["logins"] => Command::Logins,
        ["streams"] => Command::Streams { check: false },
        ["streams", "--check"] => Command::Streams { check: true },
        _ => Command::Help,
    }
}

fn main() -> ExitCode {
    let command = command();
    service::main(
        |_| Ok(()),
        |(), _| async move {
            match command {
                Command::Up => {
                    migrate(true).await?;
                    streams(false).await
                }
                Command::MigrateUp => migrate(true).await,
                Command::MigrateDown => migrate(false).await,
                Command::Logins => make_logins().await,
                Command::Streams { check } => streams(check).await,
                Command::Help => anyhow::bail!("{USAGE}"),
            }
        },
    )
}

async fn migrate(up: bool) -> anyhow::Result<()> {
    let mut reader = Reader::new(&ProcessEnv);
    let url = reader.secret("DATABASE_URL", "the PostgreSQL database, postgres://user:password@host/name");
    let url = reader.finish(url)?;
    let pool = db::pool(&url, "setup", 1)?;
    let work = async { if up { db::migrate_up(&pool).await } else { db::migrate_down(&pool).await } };
    tokio::time::timeout(PATIENCE * 10, work)
        .await
        .map_err(|_| anyhow::anyhow!("the database did not finish in time"))??;
    tracing::info!("migrations are {}", if up { "applied" } else { "taken back" });
    Ok(())
}

async fn make_logins() -> anyhow::Result<()> {
    let mut reader = Reader::new(&ProcessEnv);
    let url = reader.secret("DATABASE_URL", "the PostgreSQL database, with a login that may create roles");
    let logins = Login::read_all(&mut reader);
    let (url, logins) = reader.finish((url, logins))?;
    let pool = db::pool(&url, "setup", 1)?;
    let work = async { logins::apply(&mut *pool.acquire().await?, &logins, &RandomIds).await };
    tokio::time::timeout(PATIENCE, work)
        .await
        .map_err(|_| anyhow::anyhow!("the database did not finish in time"))??;
    for login in &logins {
        tracing::info!("{} may log in, with the rights of {}", login.name, login.role);
    }
    Ok(())
}

async fn streams(check: bool) -> anyhow::Result<()> {
    let mut reader = Reader::new(&ProcessEnv);
    let replicas = reader.parse("NATS_REPLICAS", 1_usize);
    let ack_wait = reader.duration("CONSUMER_ACK_WAIT", Duration::from_secs(30));
    let address = BrokerAddress::read(&mut reader);
    let (replicas, ack_wait, address) = reader.finish((replicas, ack_wait, address))?;
    let definitions = Definitions::committed()?.with_replicas(replicas).with_ack_wait(ack_wait);
    let health = Health::new("setup", SystemClock::shared());
    let broker = Broker::connect(&address, "setup", health).await?;
    let connected = async {
        while !broker.is_connected() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, connected)
        .await
        .map_err(|_| anyhow::anyhow!("the broker at NATS_URL does not answer"))?;
    let drift = if check {
        definitions.drift(broker.jetstream()).await?
    } else {
        definitions.apply(broker.jetstream()).await?
    };
    for line in &drift {
        tracing::info!("{} {line}", if check { "differs:" } else { "changed:" });
    }
    broker.close().await;
    anyhow::ensure!(!check || drift.is_empty(), "{} differences from nats/; run `bill-setup streams`", drift.len());
    tracing::info!("streams and consumers are as nats/ defines them");
    Ok(())
}
