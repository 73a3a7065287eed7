//! Everything that the demo starts, and stops again.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use common::broker::{Broker, Definitions};
use serde_json::json;
use sqlx::PgPool;
use xtask::demo::{Options, Ports};
use xtask::nats::{self, NatsServer};
use xtask::postgres::{self, Cluster};
use xtask::processes;
use xtask::tools::Tools;

use super::enforcer::{self, Enforcer};
use super::home::Home;
use super::progress::{Progress, blocking};
use super::settings::Settings;
use crate::client::Client;
use crate::database::Database;
use crate::service::Service;
use crate::stack::{
    ALERT_TOKEN, PAY_LINK_SECRET, SERVICES, STRIPE_KEY, STRIPE_WEBHOOK_SECRET, WEBHOOK_SECRET, connect,
};
use crate::wait;

const SIMULATORS: &str = "simulators";
const DATABASE: &str = "bill_demo";
/// How long a service may take until it is ready.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How often is looked whether everything still runs.
const LOOK: Duration = Duration::from_millis(200);

/// The running system. Fields are dropped in their order: servers last.
pub(super) struct Parts {
    /// The simulators' process, and the services in the order of the chain.
    processes: Vec<Service>,
    /// For calling ingress and the simulators.
    pub(super) client: Client,
    /// For looking at the database.
    pub(super) pool: PgPool,
    /// For looking at the broker.
    pub(super) broker: Broker,
    database: Database,
    nats: NatsServer,
    ports: Ports,
    enforcer: Enforcer,
}

impl Parts {
    /// Starts everything, and waits until it is ready.
    pub(super) async fn start(
        options: &Options,
        home: &Home,
        settings: &Settings,
        enforcer: Enforcer,
        progress: &Progress,
    ) -> anyhow::Result<Self> {
        let ports = &options.ports;
        let tools = Tools::from_env().context("this program is started by `cargo xtask demo`")?;
        let (nats, cluster) = tokio::try_join!(
            progress.during("starting nats-server", start_nats(&tools, ports)),
            progress.during("starting PostgreSQL", start_postgres(&tools, ports, home)),
        )?;
        let database = progress.during("making a fresh database", Database::fresh_on(cluster, DATABASE)).await?;
        let broker = connect(&nats).await?;
        Definitions::committed()?.apply(broker.jetstream()).await.context("making the streams")?;
        let client = Client::new(&at(ports.ingress), &at(ports.stripe), &at(ports.kms))?;
        let pool = database.pool()?;
        let ports = ports.clone();
        let mut parts = Self { processes: Vec::new(), client, pool, broker, database, nats, ports, enforcer };
        parts.start_processes(home.logs(), settings)?;
        progress.during("starting simulators and services", parts.until_ready()).await?;
        parts.send_webhooks_of_stripe().await?;
        Ok(parts)
    }

    fn start_processes(&mut self, logs: &Path, settings: &Settings) -> anyhow::Result<()> {
        let simulators = self.environment_of_simulators();
        self.processes.push(Service::start_as(
            SIMULATORS,
            SIMULATORS.to_owned(),
            self.ports.stripe,
            logs,
            &simulators,
        )?);
        for name in SERVICES {
            // What is set last wins.
            let environment = [settings.variables(), self.environment(name)?].concat();
            let port = match name {
                "ingress" => self.ports.ingress,
                "recharger" => self.ports.recharger,
                "ledger" => self.ports.ledger,
                _ => self.ports.syncer,
            };
            self.processes.push(Service::start_as(name, name.to_owned(), port, logs, &environment)?);
        }
        Ok(())
    }

    /// What a service must be told; the rest of its environment is ours.
    fn environment(&self, service: &str) -> anyhow::Result<Vec<(String, String)>> {
        let mut variables = owned(&[
            ("NATS_URL", &self.nats.url_of(service)),
            ("DATABASE_URL", &self.database.url_of(service)?),
            ("STRIPE_URL", &self.client.stripe),
            ("STRIPE_SECRET_KEY", STRIPE_KEY),
            ("KMS_URL", &self.client.kms),
            ("PUBLIC_URL", &self.client.ingress),
            ("LITELLM_WEBHOOK_SECRET", WEBHOOK_SECRET),
            ("LITELLM_ALERT_TOKEN", ALERT_TOKEN),
            ("STRIPE_WEBHOOK_SECRET", STRIPE_WEBHOOK_SECRET),
            ("PAY_LINK_SECRET", PAY_LINK_SECRET),
            ("API_AUTH", "off"),
            ("DEV_ROUTES", "on"),
        ]);
        variables.extend(match self.enforcer.team() {
            None => owned(&[("QUOTA_BACKEND", "kms")]),
            Some(team) => {
                // The one service that needs the key.
                let key = if service == "syncer" { team.key.expose() } else { "" };
                owned(&[("QUOTA_BACKEND", "litellm"), ("LITELLM_URL", &team.url), ("LITELLM_MASTER_KEY", key)])
            }
        });
        Ok(variables)
    }

    fn environment_of_simulators(&self) -> Vec<(String, String)> {
        // What is not part of this demo has no address.
        let (kms, litellm, key) = match self.enforcer.team() {
            None => (format!("127.0.0.1:{}", self.ports.kms), String::new(), ""),
            Some(team) if team.foreign => (String::new(), String::new(), ""),
            Some(team) => (String::new(), format!("127.0.0.1:{}", self.ports.litellm), team.key.expose()),
        };
        owned(&[
            ("STRIPE_SIM_ADDR", &format!("127.0.0.1:{}", self.ports.stripe)),
            ("KMS_SIM_ADDR", &kms),
            ("LITELLM_SIM_ADDR", &litellm),
            ("LITELLM_MASTER_KEY", key),
            ("WEBHOOK_URL", &enforcer::alerts(&self.client)),
            ("KMS_WEBHOOK_URL", &format!("{}/webhooks/litellm/limit-exceeded", self.client.ingress)),
            ("LITELLM_WEBHOOK_SECRET", WEBHOOK_SECRET),
        ])
    }

    async fn until_ready(&mut self) -> anyhow::Result<()> {
        let backend = match self.enforcer.team() {
            None => Some(&self.client.kms),
            Some(team) => Some(&team.url).filter(|_| !team.foreign),
        };
        let simulators = [Some(&self.client.stripe), backend].into_iter().flatten();
        let mut asked: Vec<(usize, String)> = simulators.map(|url| (0, format!("{url}/_sim/health"))).collect();
        let services = self.processes.iter().enumerate().skip(1);
        asked.extend(services.map(|(index, service)| (index, format!("{}/health/ready", service.url))));
        let http = self.client.http.clone();
        for (index, url) in asked {
            let service = self.processes.get_mut(index).context("nothing was started")?;
            let label = service.label.clone();
            let service = tokio::sync::Mutex::new(service);
            // One that has ended by itself won't become ready.
            let ask = || async {
                if let Err(died) = service.lock().await.check_running() {
                    return Ok(Err(died));
                }
                Ok(Ok(http.get(&url).send().await?.error_for_status().map(drop)?))
            };
            wait::until_within(READY_LIMIT, &label, ask).await??;
        }
        Ok(())
    }

    /// Stripe tells ingress what becomes of payments.
    async fn send_webhooks_of_stripe(&self) -> anyhow::Result<()> {
        let url = format!("{}/webhooks/stripe", self.client.ingress);
        let config = json!({ "webhook_url": url, "webhook_secret": STRIPE_WEBHOOK_SECRET });
        self.client.stripe_sim("config", &config).await.context("telling Stripe where its webhooks go").map(drop)
    }

    /// What other programs need to join in.
    pub(super) fn describe(&self) -> Vec<(String, String)> {
        let mut pairs = owned(&[
            ("INGRESS_URL", &self.client.ingress),
            ("STRIPE_URL", &self.client.stripe),
            ("STRIPE_SECRET_KEY", STRIPE_KEY),
            ("NATS_URL", &self.nats.url()),
            ("NATS_MONITOR_URL", &self.nats.monitor_url()),
            ("DATABASE_URL", self.database.url()),
            ("LITELLM_WEBHOOK_SECRET", WEBHOOK_SECRET),
            ("LITELLM_ALERT_TOKEN", ALERT_TOKEN),
            ("STRIPE_WEBHOOK_SECRET", STRIPE_WEBHOOK_SECRET),
            ("PAY_LINK_SECRET", PAY_LINK_SECRET),
            ("PUBLIC_URL", &self.client.ingress),
            ("API_AUTH", "off"),
            ("DEV_ROUTES", "on"),
        ]);
        pairs.extend(match self.enforcer.team() {
            None => owned(&[("QUOTA_BACKEND", "kms"), ("KMS_URL", &self.client.kms)]),
            Some(team) => {
                owned(&[("QUOTA_BACKEND", "litellm"), ("LITELLM_URL", &team.url), ("LITELLM_TEAM_ID", &team.id)])
            }
        });
        // Somebody else's key is not written down.
        if let Some(team) = self.enforcer.team().filter(|team| !team.foreign) {
            pairs.push(("LITELLM_MASTER_KEY".to_owned(), team.key.expose().to_owned()));
        }
        // The two above are of who sets everything up; a service has its own.
        for service in SERVICES {
            let name = service.to_uppercase();
            pairs.push((format!("{name}_NATS_URL"), self.nats.url_of(service)));
            pairs.extend(self.database.url_of(service).ok().map(|url| (format!("{name}_DATABASE_URL"), url)));
        }
        for process in &self.processes {
            let name = process.label.to_uppercase();
            if process.label != SIMULATORS {
                pairs.push((format!("{name}_METRICS_URL"), format!("{}/metrics", process.url)));
            }
            pairs.extend(process.pid().map(|pid| (format!("{name}_PID"), pid.to_string())));
        }
        let servers = [("NATS_PID", self.nats.pid()), ("POSTGRES_PID", self.postgres_pid())];
        pairs.extend(servers.into_iter().filter_map(|(name, pid)| Some((name.to_owned(), pid?.to_string()))));
        pairs.push(("DEMO_PID".to_owned(), std::process::id().to_string()));
        pairs
    }

    fn postgres_pid(&self) -> Option<u32> {
        self.database.cluster.as_ref().and_then(Cluster::pid)
    }

    /// Returns when something has ended by itself: which, and the end of its log.
    pub(super) async fn until_one_dies(&mut self) -> anyhow::Error {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(died) = self.processes.iter_mut().try_for_each(Service::check_running) {
                return died;
            }
            for (name, pid) in [("nats-server", self.nats.pid()), ("PostgreSQL", self.postgres_pid())] {
                if !pid.is_some_and(processes::is_running) {
                    return anyhow!("{name} ended by itself{}", self.log_of_server(name));
                }
            }
        }
    }

    fn log_of_server(&self, name: &str) -> String {
        let log = match &self.database.cluster {
            Some(cluster) if name == "PostgreSQL" => cluster.log(),
            _ => self.nats.log(),
        };
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default();
        format!("; the end of its log:\n  {}", tail.join("\n  "))
    }

    /// Stops everything in order.
    pub(super) async fn stop(mut self, progress: &Progress) -> anyhow::Result<()> {
        progress.say("stopping …");
        let stopped: Vec<anyhow::Result<()>> = tokio::task::block_in_place(|| {
            std::thread::scope(|scope| {
                let stopping: Vec<_> =
                    self.processes.iter_mut().map(|service| scope.spawn(|| service.stop())).collect();
                let joined = stopping.into_iter().map(|one| one.join());
                joined.map(|outcome| outcome.unwrap_or_else(|_| Err(anyhow!("stopping a service panicked")))).collect()
            })
        });
        self.pool.close().await;
        self.broker.close().await;
        let servers = tokio::task::block_in_place(|| {
            let nats = self.nats.stop();
            let postgres = self.database.cluster.as_mut().map_or(Ok(()), Cluster::stop);
            nats.and(postgres)
        });
        let left = processes::descendants(std::process::id());
        for pid in &left {
            progress.say(format_args!("still running: {pid} {}", processes::command_line(*pid)));
        }
        ensure!(left.is_empty(), "processes were left (see above)");
        progress.say("stopped; no process is left");
        stopped.into_iter().chain([servers]).collect()
    }
}

async fn start_nats(tools: &Tools, ports: &Ports) -> anyhow::Result<NatsServer> {
    let bin = tools.nats_server.clone();
    let (port, monitor_port) = (Some(ports.nats), Some(ports.nats_monitor));
    let options = nats::Options { port, monitor_port, ..nats::Options::default() };
    // Its store is new each time, and goes with it.
    blocking(move || NatsServer::start(&bin, options)).await
}

async fn start_postgres(tools: &Tools, ports: &Ports, home: &Home) -> anyhow::Result<Cluster> {
    let bin = tools.postgres_bin.clone();
    let options = postgres::Options { port: Some(ports.postgres), ..postgres::Options::default() };
    let Some(folder) = home.lasting_postgres().map(Path::to_path_buf) else {
        return blocking(move || Cluster::start(&bin, options)).await;
    };
    blocking(move || {
        super::home::wait_until_unused(&folder);
        Cluster::open_or_create(&bin, &folder, options)
    })
    .await
}

fn at(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
