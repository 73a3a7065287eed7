//! Everything that runs: broker, database, simulators, two processes of each service, and a proxy on every link.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use common::broker::{Broker, Definitions};
use serde_json::json;
use simulators::Running;
use simulators::kms::Kms;
use simulators::stripe::Stripe;
use sqlx::PgPool;
use tokio::sync::Mutex;
use xtask::nats::{self, NatsServer};
use xtask::postgres::Cluster;
use xtask::tools::Tools;

use super::Settings;
use super::fault::{Link, Peer, Replica};
use super::proxy::{Mode, Proxy};
use super::schedule::{links, replicas};
use crate::client::Client;
use crate::database::Database;
use crate::service::Service;
use crate::stack::{self, ALERT_TOKEN, PAY_LINK_SECRET, SERVICES, STRIPE_KEY, STRIPE_WEBHOOK_SECRET, WEBHOOK_SECRET};

/// The running system. Everything ends when it is dropped. A lock is held for as long as a fault lasts.
pub(super) struct Field {
    pub(super) processes: BTreeMap<Replica, Mutex<Service>>,
    pub(super) links: BTreeMap<Link, Proxy>,
    pub(super) nats: Mutex<NatsServer>,
    pub(super) cluster: Mutex<Cluster>,
    /// For looking at the database, past the proxies.
    pub(super) pool: PgPool,
    /// For looking at the broker, past the proxies.
    pub(super) broker: Broker,
    /// For calling the first ingress and the simulators, past the proxies.
    pub(super) client: Client,
    pub(super) logs: PathBuf,
    /// What no log may hold.
    secrets: Vec<String>,
    _simulators: [Running; 2],
}

/// Where the parts themselves are. Each service reaches the broker and the database as somebody else.
struct Addresses {
    logins: BTreeMap<&'static str, Login>,
    stripe: String,
    kms: String,
}

struct Login {
    nats: String,
    database: String,
}

impl Addresses {
    fn new(nats: &NatsServer, database: &Database, stripe: String, kms: String) -> anyhow::Result<Self> {
        let login = |service| anyhow::Ok(Login { nats: nats.url_of(service), database: database.url_of(service)? });
        let logins =
            SERVICES.into_iter().map(|service| Ok((service, login(service)?))).collect::<anyhow::Result<_>>()?;
        Ok(Self { logins, stripe, kms })
    }

    fn of(&self, replica: Replica, peer: Peer) -> anyhow::Result<&str> {
        let login = self.logins.get(replica.service).context("a service without logins")?;
        Ok(match peer {
            Peer::Broker => &login.nats,
            Peer::Database => &login.database,
            Peer::Stripe => &self.stripe,
            Peer::Kms => &self.kms,
        })
    }

    /// The address as this process has it: through its proxy, where there is one on the way.
    fn seen_by(&self, replica: Replica, peer: Peer, links: &BTreeMap<Link, Proxy>) -> anyhow::Result<String> {
        let address = self.of(replica, peer)?;
        match links.get(&Link::To(replica, peer)) {
            Some(proxy) => {
                let (from, to) = (socket(address)?.to_string(), proxy.address().to_string());
                Ok(address.replacen(&from, &to, 1))
            }
            None => Ok(address.to_owned()),
        }
    }

    /// What no log may hold.
    fn secrets(&self, owner: &str) -> Vec<String> {
        let known = [WEBHOOK_SECRET, ALERT_TOKEN, STRIPE_WEBHOOK_SECRET, PAY_LINK_SECRET, STRIPE_KEY];
        let logins = self.logins.values().flat_map(|login| [login.nats.as_str(), &login.database]);
        let passwords = logins.chain([owner]).filter_map(password);
        known.into_iter().chain(passwords).map(str::to_owned).collect()
    }
}

/// The `127.0.0.1:port` in a URL.
fn socket(url: &str) -> anyhow::Result<SocketAddr> {
    let (_, rest) = url.split_once("127.0.0.1:").with_context(|| "an address that is not on 127.0.0.1")?;
    let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Ok(SocketAddr::from(([127, 0, 0, 1], port.parse().context("an address without a port")?)))
}

impl Field {
    /// Starts everything and waits until every service is ready.
    pub(super) async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let tools = Tools::from_env()?;
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let nats = tokio::task::block_in_place(|| NatsServer::start(&tools.nats_server, nats::Options::default()))?;
        let mut database = Database::own(&tools, None).await?;
        let (stripe, kms) = (Stripe::start(any).await?, Kms::start(any).await?);
        let broker = stack::connect(&nats).await?;
        let definitions = Definitions::committed()?.with_ack_wait(settings.ack_wait());
        definitions.apply(broker.jetstream()).await?;
        let addresses = Addresses::new(&nats, &database, stripe.url(), kms.url())?;
        let logs = settings.logs();
        make_empty(&logs)?;
        let mut ways = BTreeMap::new();
        for link in links(settings.replicas) {
            if let Link::To(replica, peer) = link {
                ways.insert(link, Proxy::start(socket(addresses.of(replica, peer)?)?).await?);
            }
        }
        let processes = start_processes(settings, &addresses, &ways, &logs)?;
        let mut first = String::new();
        for (replica, service) in processes.iter().filter(|(replica, _)| replica.service == "ingress") {
            ways.insert(Link::Door(*replica), Proxy::start(socket(&service.url)?).await?);
            if first.is_empty() {
                first.clone_from(&service.url);
            }
        }
        let field = Self {
            client: Client::new(&first, &addresses.stripe, &addresses.kms)?,
            pool: database.pool()?,
            secrets: addresses.secrets(database.url()),
            cluster: Mutex::new(database.cluster.take().context("the database has no cluster of its own")?),
            processes: processes.into_iter().map(|(replica, service)| (replica, Mutex::new(service))).collect(),
            links: ways,
            nats: Mutex::new(nats),
            broker,
            logs,
            _simulators: [stripe, kms],
        };
        field.until_ready().await?;
        field.send_webhooks_of_stripe().await?;
        Ok(field)
    }

    /// Waits until every service says that it is ready.
    pub(super) async fn until_ready(&self) -> anyhow::Result<()> {
        for service in self.processes.values() {
            // One that has ended by itself is counted, and started again, by who looks after it; here it is the end.
            service.lock().await.until_ready(&self.client.http).await?;
        }
        Ok(())
    }

    /// Stripe's own webhooks come twice and in the wrong order, through a door that suffers like the others.
    pub(super) async fn send_webhooks_of_stripe(&self) -> anyhow::Result<()> {
        let Some(door) = self.doors().into_iter().next() else { return Ok(()) };
        let config = json!({
            "webhook_url": format!("{door}/webhooks/stripe"),
            "webhook_secret": STRIPE_WEBHOOK_SECRET,
            "webhook_mode": { "duplicate": true, "reorder": true },
        });
        self.client.stripe_sim("config", &config).await.map(drop)
    }

    /// What Stripe would tell from now on is told to nobody, not later either.
    pub(super) async fn lose_webhooks_of_stripe(&self) -> anyhow::Result<()> {
        self.client.stripe_sim("config", &json!({ "webhook_url": null })).await.map(drop)
    }

    /// Where senders reach each ingress: through its proxy.
    pub(super) fn doors(&self) -> Vec<String> {
        let doors = self.links.iter().filter(|(link, _)| matches!(link, Link::Door(_)));
        doors.map(|(_, proxy)| format!("http://{}", proxy.address())).collect()
    }

    /// Ends what the simulators and the proxies still have in store.
    pub(super) async fn heal(&self) -> anyhow::Result<()> {
        self.links.values().for_each(|proxy| proxy.set(Mode::Pass));
        for simulator in [&self.client.stripe, &self.client.kms] {
            let url = format!("{simulator}/_sim/faults");
            self.client.http.delete(url).send().await?.error_for_status()?;
        }
        self.client.stripe_sim("config", &json!({ "refunds_refuse_next": 0 })).await.map(drop)
    }

    /// Which services have ended by themselves since the last look; they are started again. Those that suffer a fault at
    /// the moment are left alone.
    pub(super) fn ended_by_themselves(&self) -> Vec<String> {
        let mut ended = Vec::new();
        for service in self.processes.values() {
            let Ok(mut service) = service.try_lock() else { continue };
            if let Err(error) = service.check_running() {
                ended.push(format!("{error:#}"));
                ended.extend(service.start_again().err().map(|error| format!("{error:#}")));
            }
        }
        ended
    }

    /// Stops every service as an operator would. Returns those that did not do so cleanly.
    pub(super) async fn stop(&self) -> Vec<String> {
        let mut unclean = Vec::new();
        for service in self.processes.values() {
            unclean.extend(service.lock().await.ask_to_stop().err().map(|error| format!("{error:#}")));
        }
        for service in self.processes.values() {
            unclean.extend(service.lock().await.stop().err().map(|error| format!("{error:#}")));
        }
        unclean
    }

    /// What no log may hold.
    pub(super) fn secrets(&self) -> &[String] {
        &self.secrets
    }
}

fn start_processes(
    settings: &Settings,
    addresses: &Addresses,
    ways: &BTreeMap<Link, Proxy>,
    logs: &Path,
) -> anyhow::Result<BTreeMap<Replica, Service>> {
    let options = settings.options();
    let mut processes = BTreeMap::new();
    for replica in replicas(settings.replicas) {
        let url = |peer| addresses.seen_by(replica, peer, ways);
        let (nats, database) = (url(Peer::Broker)?, url(Peer::Database)?);
        let environment = stack::environment(&options, &nats, &database, &url(Peer::Stripe)?, &url(Peer::Kms)?);
        let service = Service::start(replica.service, replica.number, None, logs, &environment)?;
        processes.insert(replica, service);
    }
    Ok(processes)
}

/// The password in a URL.
fn password(url: &str) -> Option<&str> {
    let (who, _) = url.split_once("://")?.1.split_once('@')?;
    Some(who.split_once(':')?.1)
}

/// Logs of an earlier campaign with the same seed are not this one's.
fn make_empty(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing {}", folder.display()));
        }
        _ => {}
    }
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_urls() {
        let url = "postgres://postgres:pw@127.0.0.1:15432/e2e_1_0";
        assert_eq!(socket(url).unwrap().port(), 15432);
        assert_eq!(socket("nats://127.0.0.1:4222").unwrap().port(), 4222);
        assert!(socket("http://example.com:80").is_err());
        assert_eq!(password(url), Some("pw"));
        assert_eq!(password("nats://127.0.0.1:4222"), None);
    }
}
