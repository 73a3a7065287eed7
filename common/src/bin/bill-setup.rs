//! Prepares a deployment: migrations and logins in PostgreSQL, streams and consumers on the broker. Safe to repeat. And asks
//! a service how it is, where there is no other program to ask.
#![forbid(unsafe_code)]

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use common::backup::{self, Saved};
use common::broker::{Broker, BrokerAddress, Definitions, Deployed};
use common::clock::{Clock, SystemClock};
use common::config::{ProcessEnv, Reader};
use common::health::Health;
use common::ids::RandomIds;
use common::logins::{self, Login};
use common::{db, service};
use sqlx::PgPool;

const USAGE: &str = "up [--logins] | migrate up | migrate down --to N [--lose-data] | migrate status | logins | streams | streams --check | streams backup|restore FOLDER | doctor [--json] | health [URL] | --version
  up               migrations and streams; with --logins also these, in between
  migrate up       apply every migration that is missing (DATABASE_URL of the tables' owner), with what was put aside when it was
                   taken back
  migrate down --to N [--lose-data]
                   take back every migration after N. What they hold is put aside; behind the oldest release nothing is, and it is
                   refused when there is data, unless it may be lost
  migrate status   which migrations are applied, and of which something is put aside
  logins           create or change the services' logins (DATABASE_URL of a login that may create roles;
                   BILL_INGRESS_DB_PASSWORD and the same of RECHARGER, LEDGER, SYNCER and, optional, VIEWER;
                   BILL_INGRESS_DB_USER … for other names than bill_ingress_login …)
  streams          create or change streams and consumers as nats/ defines them (NATS_URL of the user `setup`, NATS_CA_FILE,
                   NATS_REPLICAS, CONSUMER_ACK_WAIT)
  streams --check  only report what differs; fails when something does
  streams backup FOLDER
                   save every stream with its consumers in a new folder (NATS_URL of the user `setup`, NATS_CA_FILE)
  streams restore FOLDER
                   bring them back into a broker that has none, or empty ones (and NATS_REPLICAS)
  doctor [--json]  look at what only the operator sees: every migration, every login, every stream and consumer, and how the
                   broker stores (the variables of all of the above but passwords, and NATS_MONITOR_URL)
  health [URL]     ask URL, or the service that LISTEN, or BIND and PORT, tell where to listen, whether it is ready; fails
                   when it is not";

/// How long the broker or the database may take to answer at all.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a service may take to say how it is.
const HEALTH: Duration = Duration::from_secs(3);
/// Where ingress listens by default.
const PORT: u16 = 3000;

enum Command {
    Up { logins: bool },
    MigrateUp,
    MigrateDown { to: i64, lose_data: bool },
    MigrateStatus,
    Logins,
    Streams { check: bool },
    BackUp { folder: PathBuf },
    Restore { folder: PathBuf },
    Health { url: Option<String> },
}

/// How far back. What is no number is not understood.
fn down(to: &str, lose_data: bool) -> Option<Command> {
    to.parse().ok().map(|to| Command::MigrateDown { to, lose_data })
}

fn command(arguments: &[String]) -> Option<Command> {
    let command = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["up"] => Command::Up { logins: false },
        ["up", "--logins"] => Command::Up { logins: true },
        ["migrate", "up"] => Command::MigrateUp,
        ["migrate", "down", "--to", to] => down(to, false)?,
        ["migrate", "down", "--to", to, "--lose-data"] => down(to, true)?,
        ["migrate", "status"] => Command::MigrateStatus,
        ["logins"] => Command::Logins,
        ["streams"] => Command::Streams { check: false },
        ["streams", "--check"] => Command::Streams { check: true },
        ["streams", "backup", folder] => Command::BackUp { folder: folder.into() },
        ["streams", "restore", folder] => Command::Restore { folder: folder.into() },
        ["health"] => Command::Health { url: None },
        ["health", url] => Command::Health { url: Some((*url).to_owned()) },
        _ => return None,
    };
    Some(command)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("doctor", rest)) = arguments.split_first().map(|(word, rest)| (word.as_str(), rest)) {
        return common::doctor::main("bill-setup", rest, || common::doctor::setup::look(&ProcessEnv, &SystemClock));
    }
    let Some(command) = command(&arguments) else { return service::other("bill-setup", &arguments, USAGE) };
    service::main(
        |_| Ok(()),
        |(), _| async move {
            match command {
                Command::Up { logins } => {
                    migrate_up().await?;
                    if logins {
                        make_logins().await?;
                    }
                    streams(false).await
                }
                Command::MigrateUp => migrate_up().await,
                Command::MigrateDown { to, lose_data } => migrate_down(to, lose_data).await,
                Command::MigrateStatus => migrate_status().await,
                Command::Logins => make_logins().await,
                Command::Streams { check } => streams(check).await,
                Command::BackUp { folder } => back_up(&folder).await,
                Command::Restore { folder } => restore(&folder).await,
                Command::Health { url } => health(url).await,
            }
        },
    )
}

/// The database, as the tables' owner.
fn owner() -> anyhow::Result<PgPool> {
    let mut reader = Reader::new(&ProcessEnv);
    let url = reader.secret("DATABASE_URL", "the PostgreSQL database, postgres://user:password@host/name");
    let url = reader.finish(url)?;
    db::pool(&url, "setup", 1)
}

/// Changes the schema, and says what was done: data may be moved, which takes its time.
async fn migrate(work: impl Future<Output = anyhow::Result<Vec<String>>>) -> anyhow::Result<()> {
    let done = tokio::time::timeout(PATIENCE * 120, work);
    for line in done.await.map_err(|_| anyhow::anyhow!("the database did not finish in time"))?? {
        tracing::info!("{line}");
    }
    Ok(())
}

async fn migrate_up() -> anyhow::Result<()> {
    migrate(db::migrate_up(&owner()?)).await?;
    tracing::info!("migrations are applied");
    Ok(())
}

async fn migrate_down(to: i64, lose_data: bool) -> anyhow::Result<()> {
    migrate(db::migrate_down(&owner()?, to, lose_data)).await?;
    tracing::info!("migrations after {to:04} are taken back");
    Ok(())
}

async fn migrate_status() -> anyhow::Result<()> {
    for step in db::rollback::status(&db::MIGRATOR, &owner()?).await? {
        let state = match (step.applied, step.known) {
            (true, true) => "applied",
            (true, false) => "applied, and unknown to this release",
            (false, _) => "not applied",
        };
        let kept = if step.kept.is_empty() { String::new() } else { format!(", put aside: {}", step.kept.join(", ")) };
        tracing::info!("{:04} {}: {state}{kept}", step.version, step.description);
    }
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
    let deployed = Deployed::read(&mut reader);
    let address = BrokerAddress::read(&mut reader);
    let (deployed, address) = reader.finish((deployed, address))?;
    let definitions = Definitions::committed()?.deployed(deployed);
    let broker = connect(&address).await?;
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

async fn connect(address: &BrokerAddress) -> anyhow::Result<Broker> {
    let health = Health::new("setup", SystemClock::shared());
    let broker = Broker::connect(address, "setup", health).await?;
    let connected = async {
        while !broker.is_connected() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, connected)
        .await
        .map_err(|_| anyhow::anyhow!("the broker at NATS_URL does not answer"))?;
    Ok(broker)
}

async fn back_up(folder: &Path) -> anyhow::Result<()> {
    let mut reader = Reader::new(&ProcessEnv);
    let address = BrokerAddress::read(&mut reader);
    let broker = connect(&reader.finish(address)?).await?;
    for Saved { stream, messages, last_sequence, bytes } in backup::backup(&broker, folder, SystemClock.now()).await? {
        tracing::info!("saved {stream}: {messages} messages, the last is {last_sequence}, in {bytes} bytes");
    }
    broker.close().await;
    Ok(())
}

async fn restore(folder: &Path) -> anyhow::Result<()> {
    let mut reader = Reader::new(&ProcessEnv);
    let replicas = reader.parse("NATS_REPLICAS", 1_usize);
    let address = BrokerAddress::read(&mut reader);
    let (replicas, address) = reader.finish((replicas, address))?;
    let broker = connect(&address).await?;
    let (restored, differences) = backup::restore(&broker, folder, replicas).await?;
    for Saved { stream, messages, last_sequence, .. } in restored {
        tracing::info!("restored {stream}: {messages} messages, the last is {last_sequence}");
    }
    for line in differences {
        tracing::warn!("{line}");
    }
    broker.close().await;
    Ok(())
}

async fn health(url: Option<String>) -> anyhow::Result<()> {
    let url = match url {
        Some(url) => url,
        None => own_health()?,
    };
    let client = common::clients::inside(url.starts_with("http://")).timeout(HEALTH).build()?;
    let answer = client.get(&url).send().await?;
    let status = answer.status();
    let said = answer.text().await.unwrap_or_default();
    anyhow::ensure!(status.is_success(), "{url}: {status}: {said}");
    tracing::debug!("{url}: {status}: {said}");
    Ok(())
}

/// Where the service of this environment says whether it is ready.
fn own_health() -> anyhow::Result<String> {
    let mut reader = Reader::new(&ProcessEnv);
    let address = reader.listen(PORT);
    let mut address = reader.finish(address)?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Ok(format!("http://{address}/health/ready"))
}
