//! The simulators as a program: Stripe, the KMS, LiteLLM, each on an address of its own; `simulators post URL JSON` tells a
//! simulator something, where there is no other program to do so.

use std::env;
use std::io::Write as _;
use std::net::SocketAddr;

use anyhow::Context as _;
use simulators::Running;
use simulators::kms::{Kms, Webhook};
use simulators::litellm::{Litellm, Proxy};
use simulators::stripe::Stripe;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => serve().await,
        ["post", url, json] => Ok(writeln!(std::io::stdout(), "{}", simulators::post(url, json).await?)?),
        _ => anyhow::bail!("usage: simulators | simulators post URL JSON"),
    }
}

async fn serve() -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM can't be handled")?;
    let running = start_all().await?;
    anyhow::ensure!(!running.is_empty(), "nothing to do: every …_SIM_ADDR is empty");
    tokio::select! {
        outcome = tokio::signal::ctrl_c() => outcome.context("ctrl-c can't be handled")?,
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    for simulator in running {
        simulator.stop().await;
    }
    Ok(())
}

async fn start_all() -> anyhow::Result<Vec<Running>> {
    let mut running = Vec::new();
    if let Some(address) = address("STRIPE_SIM_ADDR", "127.0.0.1:12111")? {
        running.push(Stripe::start(address).await.context("STRIPE_SIM_ADDR")?);
    }
    if let Some(address) = address("KMS_SIM_ADDR", "127.0.0.1:8089")? {
        let webhook = Webhook {
            url: text("KMS_WEBHOOK_URL"),
            // Receivers accept several secrets, the newest first.
            secret: text("LITELLM_WEBHOOK_SECRET")
                .and_then(|list| list.split(',').next().map(|first| first.trim().to_owned())),
        };
        running.push(Kms::start_with(address, webhook).await.context("KMS_SIM_ADDR")?);
    }
    if let Some(address) = address("LITELLM_SIM_ADDR", "127.0.0.1:4000")? {
        // The proxy's own names for them.
        let proxy = Proxy { master_key: text("LITELLM_MASTER_KEY"), webhook_url: text("WEBHOOK_URL") };
        running.push(Litellm::start_with(address, proxy).await.context("LITELLM_SIM_ADDR")?);
    }
    Ok(running)
}

/// The address in a variable; an empty one means that the simulator is not wanted.
fn address(variable: &str, default: &str) -> anyhow::Result<Option<SocketAddr>> {
    let value = env::var(variable).unwrap_or_else(|_| default.to_owned());
    if value.is_empty() {
        return Ok(None);
    }
    let address: SocketAddr =
        value.parse().with_context(|| format!("{variable} must be an IP address and a port, not {value:?}"))?;
    let remote = env::var("SIM_ALLOW_REMOTE").is_ok_and(|allowed| allowed == "1");
    anyhow::ensure!(
        address.ip().is_loopback() || remote,
        "{variable}={value} can be reached from other machines: set SIM_ALLOW_REMOTE=1 if that is wanted"
    );
    Ok(Some(address))
}

fn text(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}
