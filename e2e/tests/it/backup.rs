//! Everything is lost but Stripe and the KMS: what the scripts of `ops/backup` saved is brought back into new servers, and the
//! books agree. What was charged after the backup is told, and nobody is charged twice.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, ensure};
use async_nats::jetstream::consumer::pull;
use common::contract::streams;
use e2e::client::limit_exceeded;
use e2e::database::Database;
use e2e::stack::STRIPE_KEY;
use e2e::{Options, Stack, service, wait};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::process::Command;
use xtask::nats::{self, NatsServer};
use xtask::tools::Tools;

/// Stripe forgets an idempotency key after a day.
const MORE_THAN_A_DAY: i64 = 25 * 3600;

/// Runs one of the scripts, as an operator does. Returns whether it worked, and what it said.
async fn script(name: &str, folder: &Path, database: &Database, nats: &NatsServer) -> anyhow::Result<(bool, String)> {
    let tools = Tools::from_env()?;
    let path = std::env::var("PATH").unwrap_or_default();
    let output = Command::new(xtask::paths::root().join("ops/backup").join(name))
        .arg(folder)
        .env("PATH", format!("{}:{path}", tools.postgres_bin.display()))
        .env("BILL_SETUP", service::program("bill-setup")?)
        .env("DATABASE_URL", database.url())
        .env("NATS_URL", nats.url())
        .output()
        .await?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for secret in [nats.password_of("setup"), database.url().split(['@', ':']).nth(2)].into_iter().flatten() {
        ensure!(!said.contains(secret), "{name} tells a password: {said}");
    }
    Ok((output.status.success(), said))
}

async fn exceed(stack: &Stack, team: &str, limit: &str, nonce: usize) -> anyhow::Result<Value> {
    let (status, answer) =
        stack.client.webhook(&stack.client.ingress, limit_exceeded(team, limit, limit, nonce)).await?;
    ensure!(status == 200 || status == 202, "{status} {answer}");
    Ok(answer)
}

/// Waits for the organization's newest recharge to be this.
async fn newest(stack: &Stack, organization: &str, status: &str) -> anyhow::Result<()> {
    wait::until(status, || async {
        let newest = stack.client.history(organization).await?.into_iter().next().context("no recharge")?;
        ensure!(newest["status"] == status, "{newest}");
        Ok(())
    })
    .await
}

/// Compares all books of all times. Returns the kind of each disagreement, and whose it is.
async fn reconcile(stack: &Stack) -> anyhow::Result<Vec<(String, String, String)>> {
    let since = json!({ "since": "1970-01-01T00:00:00Z" });
    let (status, run) = stack.client.post("/api/reconciliations", &since).await?;
    ensure!(status == 200 && run["finished"] == true && run["checked"] != 0, "{status} {run}");
    let sql = "SELECT kind, c_organization_id, COALESCE(reference, '') FROM reconciliation_findings WHERE run_id = $1 ORDER BY kind";
    Ok(sqlx::query_as(sql).bind(run["run_id"].as_str()).fetch_all(&stack.pool).await?)
}

async fn payments(stack: &Stack) -> anyhow::Result<Value> {
    Ok(stack.client.stripe_books().await?["payment_intents"]["succeeded"].clone())
}

/// How many messages a stream has, and how far its consumer is.
async fn position(stack: &Stack, stream: &str, consumer: &str) -> anyhow::Result<(u64, u64)> {
    let stream = stack.broker.jetstream().get_stream(stream).await?;
    let found: async_nats::jetstream::consumer::Consumer<pull::Config> =
        stream.get_consumer(consumer).await.map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok((stream.cached_info().state.messages, found.cached_info().ack_floor.stream_sequence))
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_wipe_restore_reconcile_equal() -> anyhow::Result<()> {
    let options =
        Options { own_postgres: true, ..Options::default() }.with("WEBHOOK_WAIT_MS", "0").with("API_WAIT_MS", "20000");
    let mut stack = Stack::start(options.clone()).await?;
    let folder = std::env::temp_dir().join(format!("bill-backup-{}", std::process::id()));
    let saved = folder.join("saved");
    let mut teams = Vec::new();
    for name in ["acme", "beta", "late"] {
        // What is bought is the same whether a webhook or the sweep asks first.
        let policy = json!({ "minimum_balance": 0, "target_balance": 200 });
        teams.push(stack.client.ready_organization(name, "pm_card_visa", policy).await?);
    }
    // One has settled; one is credited, and the KMS does not answer; one message is no message.
    exceed(&stack, &teams[0], "500", 1).await?;
    newest(&stack, "acme", "settled").await?;
    stack.client.kms_sim("faults", &json!(["down:3600"])).await?;
    exceed(&stack, &teams[1], "500", 1).await?;
    newest(&stack, "beta", "credited").await?;
    stack.broker.client().publish("requests.recharge.acme", "{}".into()).await?;
    wait::until("the dead letter", || async {
        ensure!(stack.dead_letters().await? == 1, "none");
        Ok(())
    })
    .await?;
    // And one was accepted, and nobody has looked at it: it is charged after the backup.
    stack.service("recharger", 1)?.stop()?;
    exceed(&stack, &teams[2], "500", 1).await?;

    let (worked, said) = script("backup.sh", &saved, &stack.database, &stack.nats).await?;
    ensure!(worked, "{said}");
    let before = position(&stack, streams::WEBHOOKS, "recharger").await?;
    only_the_owner_reads_streams(&stack, &folder.join("streams")).await?;

    // Stripe's clock is put back meanwhile: afterwards it has forgotten the key of this charge.
    stack.client.stripe_sim("clock", &json!({ "advance_seconds": -MORE_THAN_A_DAY })).await?;
    stack.service("recharger", 1)?.start_again()?;
    stack.client.kms_heals().await?;
    newest(&stack, "late", "settled").await?;
    newest(&stack, "beta", "settled").await?;
    stack.client.stripe_sim("clock", &json!({ "advance_seconds": MORE_THAN_A_DAY })).await?;
    assert_eq!(payments(&stack).await?, 3);

    // The fire. What is restored must be whole, and goes into empty servers only.
    for service in &mut stack.services {
        service.kill9()?;
    }
    let (worked, said) = script("restore.sh", &saved, &stack.database, &stack.nats).await?;
    ensure!(!worked && said.contains("restore into an empty one"), "{said}");
    let tools = Tools::from_env()?;
    let nats = tokio::task::block_in_place(|| NatsServer::start(&tools.nats_server, nats::Options::default()))?;
    let database = Database::empty(&tools).await?;
    incomplete_or_changed_is_refused(&saved, &database, &nats).await?;
    let (worked, said) = script("restore.sh", &saved, &database, &nats).await?;
    ensure!(worked, "{said}");
    database.make_logins().await?;

    // Quietly: nobody is charged until it is known what was charged, and no quota is lowered.
    let quiet = options.clone().with("MAX_RECHARGES_PER_MINUTE", "0").with("QUOTA_DRIFT", "report");
    stack.move_to(nats, database, &quiet).await?;
    newest(&stack, "beta", "settled").await?;
    let decision: String = wait::until("the webhook that waited to be decided", || async {
        let sql = "SELECT decision FROM webhook_events WHERE c_organization_id = 'late' AND source = 'litellm'";
        sqlx::query_scalar(sql).fetch_optional(&stack.pool).await?.context("nobody has looked at it")
    })
    .await?;
    assert_eq!(decision, "skipped");
    assert_eq!(payments(&stack).await?, 3, "nobody was charged twice");
    let after = position(&stack, streams::WEBHOOKS, "recharger").await?;
    assert_eq!((after.0, after.1 > before.1), (before.0, true), "the consumer goes on from where it was");
    assert_eq!(stack.dead_letters().await?, 1);

    // What the restored books don't know is told, and nothing else.
    let mut found = reconcile(&stack).await?;
    let words: Vec<(&str, &str)> = found.iter().map(|(kind, who, _)| (kind.as_str(), who.as_str())).collect();
    assert_eq!(words, [("charge_unknown", "late"), ("quota_drift", "late")]);
    let intent = found.swap_remove(0).2;
    let refund = stack.client.http.post(format!("{}/v1/refunds", stack.client.stripe)).bearer_auth(STRIPE_KEY);
    let refund = refund.header("content-type", "application/x-www-form-urlencoded");
    refund.body(format!("payment_intent={intent}")).send().await?.error_for_status()?;

    // As usual again: the quota of what was refunded goes, and what is needed is charged.
    for service in &mut stack.services {
        service.stop()?;
    }
    stack.start_anew(&options).await?;
    reconcile(&stack).await?;
    wait::until("the books to be equal", || async {
        let found = reconcile(&stack).await?;
        ensure!(found.is_empty(), "{found:?}");
        Ok(())
    })
    .await?;
    exceed(&stack, &teams[2], "100", 2).await?;
    newest(&stack, "late", "settled").await?;
    equal(&stack).await?;
    assert_eq!(payments(&stack).await?, 4);
    std::fs::remove_dir_all(&folder)?;
    stack.stop().await
}

/// Without the script, which sees to that by itself, and in a folder that somebody made before.
async fn only_the_owner_reads_streams(stack: &Stack, folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir(folder)?;
    std::fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    let command = format!("umask 000 && exec \"$0\" streams backup {}", folder.display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &command]).arg(service::program("bill-setup")?);
    let status = shell.env("NATS_URL", stack.nats.url()).env("DATABASE_URL", stack.database.url()).status().await?;
    ensure!(status.success(), "{status}");
    let mut paths = vec![folder.to_owned()];
    let mut seen = 0;
    while let Some(path) = paths.pop() {
        let found = std::fs::metadata(&path)?;
        let wanted = if found.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(found.permissions().mode() & 0o777, wanted, "{}", path.display());
        seen += 1;
        if found.is_dir() {
            for entry in std::fs::read_dir(&path)? {
                paths.push(entry?.path());
            }
        }
    }
    ensure!(seen > 20, "a folder, a manifest, and three of each of seven streams: {seen}");
    Ok(())
}

/// A backup without its last file, or with a byte of another, is refused before anything is written.
async fn incomplete_or_changed_is_refused(saved: &Path, database: &Database, nats: &NatsServer) -> anyhow::Result<()> {
    let stream = saved.join("streams/WEBHOOKS/stream.tar.s2");
    let whole = std::fs::read(&stream)?;
    for (file, word) in [
        (saved.join("checksums"), "no complete backup"),
        (saved.join("streams/manifest.json"), "is not what was saved"),
        (stream.clone(), "its checksum differs"),
    ] {
        let kept = std::fs::read(&file)?;
        if file == stream {
            std::fs::write(&file, whole.iter().rev().copied().collect::<Vec<_>>())?;
        } else {
            std::fs::remove_file(&file)?;
        }
        let (worked, said) = script("restore.sh", saved, database, nats).await?;
        ensure!(!worked && said.contains(word), "{word}: {said}");
        std::fs::write(&file, kept)?;
    }
    let broker = e2e::stack::connect(nats).await?;
    ensure!(broker.jetstream().get_stream(streams::WEBHOOKS).await.is_err(), "something was restored");
    broker.close().await;
    Ok(())
}

/// Stripe, the records, the ledger and the KMS agree, each by its own books.
async fn equal(stack: &Stack) -> anyhow::Result<()> {
    let found = reconcile(stack).await?;
    ensure!(found.is_empty(), "{found:?}");
    let report = ledger::verify::verify(&stack.pool).await?;
    ensure!(report.drifts.is_empty() && report.transactions > 0, "{:?}", report.drifts);
    let stripe = stack.client.stripe_books().await?;
    let minor = |field: &str| stripe[field]["usd"].as_i64().unwrap_or(0);
    let sql = "SELECT sum(quota_minor)::bigint FROM ledger_quotas";
    let quotas: i64 = sqlx::query_scalar(sql).fetch_one(&stack.pool).await?;
    assert_eq!((minor("captured") - minor("refunded"), quotas), (60_000, 60_000));
    for organization in ["acme", "beta", "late"] {
        assert_eq!(stack.client.kms_quota(organization).await?, Decimal::from(200), "{organization}");
    }
    Ok(())
}
