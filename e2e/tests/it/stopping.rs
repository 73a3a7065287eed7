//! A service runs as a container does: its address from `BIND` and `PORT`, a secret in a file, its health asked by
//! `bill-setup`. Asked to stop while Stripe does not answer and a client does not end its request, it ends by itself, and
//! what was in flight is done by whoever starts next, once.

use std::net::SocketAddr;
use std::process::ExitStatus;

use e2e::client::limit_exceeded;
use e2e::service::{Service, program};
use e2e::stack::{environment, log_folder};
use e2e::torture::proxy::{Mode, Proxy};
use e2e::{Options, Stack, books, wait};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// Where something is, from its URL.
fn address(url: &str) -> anyhow::Result<SocketAddr> {
    Ok(url.trim_start_matches("http://").parse()?)
}

/// A request that never ends.
async fn half_a_request(url: &str) -> anyhow::Result<TcpStream> {
    let mut connection = TcpStream::connect(address(url)?).await?;
    connection.write_all(b"GET /health/live HTTP/1.1\r\nhost: x\r\n").await?;
    Ok(connection)
}

/// Asks the service of this environment how it is, as an image's health check does.
async fn health(port: u16) -> anyhow::Result<ExitStatus> {
    let mut command = tokio::process::Command::new(program("bill-setup")?);
    command.arg("health").env("BIND", "0.0.0.0").env("PORT", port.to_string()).env_remove("LISTEN");
    Ok(command.output().await?.status)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_does_not_keep_a_service_from_stopping() -> anyhow::Result<()> {
    let mut stack = Stack::start(Options::default()).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    stack.service("recharger", 1)?.stop()?;

    // The same once more, as in a container, and with a Stripe that will not answer.
    let hole = Proxy::start(address(&stack.stripe.url())?).await?;
    let logs = log_folder()?;
    let secret = logs.join("database-url");
    std::fs::write(&secret, format!("{}\n", stack.database.url_of("recharger")?))?;
    let options = Options::default()
        .with("LISTEN", "")
        .with("DATABASE_URL", "")
        .with("DATABASE_URL_FILE", &secret.to_string_lossy())
        .with("STRIPE_TIMEOUT", "10m");
    let stripe = format!("http://{}", hole.address());
    let env = environment(&options, &stack.nats.url_of("recharger"), "", &stripe, &stack.kms.url());
    let mut contained = Service::start("recharger", 2, None, &logs, &env)?;
    contained.until_ready(&stack.client.http).await?;
    let port = address(&contained.url)?.port();
    assert!(health(port).await?.success(), "{}", contained.log());

    hole.set(Mode::BlackHole);
    let (status, answer) = stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "0", "0", 1)).await?;
    assert_eq!(status, 202, "{answer}");
    wait::until("the call of Stripe", || async {
        anyhow::ensure!(hole.passed().connections > 0, "none");
        Ok(())
    })
    .await?;
    let unending = (half_a_request(&contained.url).await?, half_a_request(&stack.services[0].url).await?);
    stack.service("ingress", 1)?.ask_to_stop()?;
    contained.stop()?;
    stack.service("ingress", 1)?.stop()?;
    drop(unending);
    assert!(contained.log().contains("is given back"), "{}", contained.log());
    assert!(contained.log().contains("recharger has stopped"), "{}", contained.log());
    assert!(!health(port).await?.success());

    // What was sent comes through late, beside the repeat.
    hole.set(Mode::Pass);
    for service in ["ingress", "recharger"] {
        stack.service(service, 1)?.start_again()?;
    }
    stack.wait_until_ready().await?;
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!(totals.settled, 1);
    stack.stop().await?;
    Ok(std::fs::remove_dir_all(&logs)?)
}
