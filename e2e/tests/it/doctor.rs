//! `doctor` finds a healthy system well, and names exactly what is wrong with a sick one.

use std::collections::BTreeMap;
use std::process::Stdio;

use anyhow::{Context, ensure};
use common::broker::Definitions;
use common::doctor::{Check, Outcome, Report};
use e2e::service::program;
use e2e::stack::{self, STRIPE_KEY};
use e2e::{Options, Stack, books, wait};
use serde_json::json;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::process::Command;
use xtask::nats::{self, NatsServer};
use xtask::{paths, ports};

/// Everything that a program needs which looks at the stack.
struct Patient {
    /// For all of them; those of `bill-setup` among them.
    shared: BTreeMap<String, String>,
    /// For a service alone.
    own: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// What may be in no output.
    secrets: Vec<String>,
}

impl Patient {
    async fn of(stack: &Stack) -> anyhow::Result<Self> {
        let options = Options::default().with("API_AUTH", "on");
        let (stripe, kms) = (stack.stripe.url(), stack.kms.url());
        let mut shared: BTreeMap<String, String> =
            stack::environment(&options, &stack.nats.url(), stack.database.url(), &stripe, &kms).into_iter().collect();
        let token = stack.first_token("doctor").await?;
        let mut secrets = vec![token.clone(), STRIPE_KEY.to_owned()];
        shared.extend(
            [
                ("BILL_URL", stack.client.ingress.clone()),
                ("BILL_TOKEN", token),
                ("NATS_MONITOR_URL", stack.nats.monitor_url()),
                ("CONSUMER_ACK_WAIT", format!("{}s", Options::default().ack_wait.as_secs())),
            ]
            .map(|(name, value)| (name.to_owned(), value)),
        );
        let mut own = BTreeMap::new();
        for service in stack::SERVICES {
            let (nats, database) = (stack.nats.url_of(service), stack.database.url_of(service)?);
            secrets.extend([nats.clone(), database.clone()].iter().filter_map(|url| password(url)));
            own.insert(service, BTreeMap::from([("NATS_URL".to_owned(), nats), ("DATABASE_URL".to_owned(), database)]));
        }
        Ok(Self { shared, own, secrets })
    }

    /// What a program finds when these variables are other than they should be, after a look at its output.
    async fn look(&self, name: &str, words: &str, changed: &[(&str, &str)]) -> anyhow::Result<Report> {
        let mut command = Command::new(program(name)?);
        command.args(words.split_whitespace()).envs(&self.shared).env("RUST_LOG", "debug").stdin(Stdio::null());
        command.envs(self.own.get(name).into_iter().flatten()).envs(changed.iter().copied());
        let output = command.kill_on_drop(true).output().await?;
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        ensure!(self.secrets.iter().all(|secret| !said.contains(secret)), "{name} tells a secret: {said}");
        let report: Report = serde_json::from_slice(&output.stdout).with_context(|| said.clone())?;
        ensure!(output.status.code() == Some(i32::from(report.exit_code())), "{:?}: {said}", output.status);
        Ok(report)
    }

    /// Whether a command works, and what it says.
    async fn ask(&self, name: &str, words: &str) -> anyhow::Result<(bool, String)> {
        let mut command = Command::new(program(name)?);
        let output = command.args(words.split_whitespace()).envs(&self.shared).stdin(Stdio::null()).output().await?;
        Ok((output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()))
    }

    async fn doctor(&self, name: &str, changed: &[(&str, &str)]) -> anyhow::Result<Report> {
        self.look(name, "doctor --json", changed).await
    }

    /// Exactly one thing is wrong: this check, which names this and says what to do.
    async fn names(&self, name: &str, changed: &[(&str, &str)], check: &str, what: &str) -> anyhow::Result<()> {
        only(&self.doctor(name, changed).await?, check, what)
    }
}

fn password(url: &str) -> Option<String> {
    url.split_once("://")?.1.split_once('@')?.0.split_once(':').map(|(_, password)| password.to_owned())
}

fn failed(report: &Report) -> Vec<&Check> {
    report.checks.iter().filter(|check| check.outcome == Outcome::Failed).collect()
}

fn only(report: &Report, check: &str, what: &str) -> anyhow::Result<()> {
    let failed = failed(report);
    ensure!(
        matches!(failed[..], [one] if one.name == check && one.found.contains(what) && one.fix.is_some()),
        "{check}, {what}: {}",
        report.to_table()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_system_is_found_well_and_each_sickness_is_named() -> anyhow::Result<()> {
    // A cluster of its own asks for passwords; the shared one may not.
    let stack = Stack::start(Options { own_postgres: true, ..Options::default() }.with("API_AUTH", "on")).await?;
    stack.client.stripe_sim("config", &json!({ "secret_key": STRIPE_KEY })).await?;
    let patient = Patient::of(&stack).await?;

    healthy(&patient, &stack).await?;
    database(&patient, &stack).await?;
    broker(&patient, &stack).await?;
    outside(&patient, &stack).await?;
    late(&patient, &stack).await?;
    configuration(&patient).await?;
    api(&patient).await?;
    // It is as it was, and the recharge left nothing behind.
    well(&patient).await?;
    let totals = books::quiet_and_balanced(&stack).await?;
    assert_eq!((totals.succeeded, totals.captured), (3, 0));
    stack.stop().await
}

/// Each by itself, and the recharge.
async fn healthy(patient: &Patient, stack: &Stack) -> anyhow::Result<()> {
    well(patient).await?;
    let report = patient.look("bill", "--json doctor --recharge", &[]).await?;
    ensure!(report.ok, "{}", report.to_table());
    for step in ["recharge", "refund", "afterwards"] {
        let check = report.checks.iter().find(|check| check.name == step).context(step)?;
        ensure!(check.outcome == Outcome::Ok, "{}", report.to_table());
    }
    let closed =
        "SELECT closed_at IS NOT NULL FROM organization_balance_config WHERE c_organization_id = 'doctor-check'";
    ensure!(sqlx::query_scalar::<_, bool>(closed).fetch_one(&stack.pool).await?, "it is still open");
    Ok(())
}

/// What all of them find when nothing is charged, as `cargo xtask doctor` asks them.
async fn well(patient: &Patient) -> anyhow::Result<()> {
    let own = patient.own.iter().flat_map(|(service, variables)| {
        variables.iter().map(move |(name, value)| (format!("{}_{name}", service.to_uppercase()), value.clone()))
    });
    let own: Vec<(String, String)> = own.collect();
    let own: Vec<(&str, &str)> = own.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let report = patient.look("doctor", "--json --no-recharge --environment", &own).await?;
    ensure!(report.ok, "{}", report.to_table());
    let parts: Vec<&str> = report.checks.iter().map(|check| check.part.as_str()).collect();
    for part in ["ingress", "recharger", "ledger", "syncer", "bill-setup", "bill"] {
        ensure!(parts.contains(&part), "{part}: {}", report.to_table());
    }
    let skipped = report.checks.iter().filter(|check| check.outcome == Outcome::Skipped).count();
    ensure!(skipped == 0, "{}", report.to_table());
    Ok(())
}

async fn database(patient: &Patient, stack: &Stack) -> anyhow::Result<()> {
    let right = stack.database.url_of("ledger")?;
    let wrong = right.replace(&password(&right).context("a password")?, "wrong");
    patient.names("ledger", &[("DATABASE_URL", &wrong)], "database", "the password of bill_ledger_login").await?;
    let nowhere = format!("postgres://bill@127.0.0.1:{}/bill", ports::free_port()?);
    patient.names("ledger", &[("DATABASE_URL", &nowhere)], "database", "can't be reached").await?;
    // Another service's login does not write the ledger's tables.
    let other = stack.database.url_of("syncer")?;
    patient.names("ledger", &[("DATABASE_URL", &other)], "database rights", "ledger_entries").await?;

    // Rights that somebody took away: to change, and to read what another service writes. Such as a service that has nothing
    // to do at the moment does not use: the stack's end looks whether one was refused something.
    for (service, right, table) in [("recharger", "UPDATE", "recharge_state"), ("ingress", "SELECT", "quota_targets")] {
        let change = |what: &str, role: &str| AssertSqlSafe(format!("{what} {right} ON {table} {role} bill_{service}"));
        sqlx::raw_sql(change("REVOKE", "FROM")).execute(&stack.pool).await?;
        let found = format!("bill_{service}_login lacks {right} on {table}");
        patient.names(service, &[], "database rights", &found).await?;
        sqlx::raw_sql(change("GRANT", "TO")).execute(&stack.pool).await?;
    }

    let last = forget_the_last_migration(&stack.pool).await?;
    let name = format!("not applied: {:04} ", last.0);
    for part in ["ledger", "bill-setup"] {
        patient.names(part, &[], "migrations", &name).await?;
    }
    remember(&stack.pool, last).await?;

    sqlx::raw_sql("ALTER ROLE bill_syncer_login NOLOGIN").execute(&stack.pool).await?;
    patient.names("bill-setup", &[], "logins", "bill_syncer_login may not log in").await?;
    sqlx::raw_sql("ALTER ROLE bill_syncer_login LOGIN").execute(&stack.pool).await?;
    Ok(())
}

/// A row of the table of applied migrations.
type Applied = (i64, String, bool, Vec<u8>, i64);

async fn forget_the_last_migration(pool: &PgPool) -> anyhow::Result<Applied> {
    let sql = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)
               RETURNING version, description, success, checksum, execution_time";
    Ok(sqlx::query_as(sql).fetch_one(pool).await?)
}

async fn remember(pool: &PgPool, (version, description, success, checksum, time): Applied) -> anyhow::Result<()> {
    let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
               VALUES ($1, $2, $3, $4, $5)";
    let insert = sqlx::query(sql).bind(version).bind(description).bind(success).bind(checksum).bind(time);
    insert.execute(pool).await?;
    Ok(())
}

async fn broker(patient: &Patient, stack: &Stack) -> anyhow::Result<()> {
    let wrong = format!("nats://ledger:wrong@127.0.0.1:{}", stack.nats.port());
    patient.names("ledger", &[("NATS_URL", &wrong)], "broker", "the password of ledger").await?;
    let nowhere = format!("nats://ledger:x@127.0.0.1:{}", ports::free_port()?);
    patient.names("ledger", &[("NATS_URL", &nowhere)], "broker", "can't be reached").await?;

    // Settings that somebody changed by hand: a stream's, which the operator sees, and a consumer's, which its service does.
    let definitions = Definitions::committed()?.with_ack_wait(Options::default().ack_wait);
    let mut stream = definitions.streams.iter().find(|one| one.name == "LEDGER").context("no LEDGER")?.clone();
    stream.max_age *= 2;
    stack.broker.jetstream().update_stream(&stream).await?;
    patient.names("bill-setup", &[], "streams", "stream LEDGER: max_age").await?;
    definitions.apply(stack.broker.jetstream()).await?;
    let consumer = definitions.consumers.iter().find(|one| one.stream == "RECHARGES").context("no consumer")?;
    let mut config = consumer.config.clone();
    config.max_ack_pending += 1;
    stack.broker.jetstream().create_consumer_on_stream(config, "RECHARGES").await?;
    patient.names("ledger", &[], "streams", "consumer ledger on RECHARGES: max_ack_pending").await?;
    definitions.apply(stack.broker.jetstream()).await?;

    loose_broker(patient, stack).await?;
    let nobody = format!("http://127.0.0.1:{}", ports::free_port()?);
    patient.names("bill-setup", &[("NATS_MONITOR_URL", &nobody)], "broker storage", "does not answer").await
}

/// A server with our configuration, but for the line that makes its confirmations durable.
async fn loose_broker(patient: &Patient, stack: &Stack) -> anyhow::Result<()> {
    let config = std::fs::read_to_string(paths::nats_config())?.replace("sync_interval: always", "sync_interval: 2m");
    let tools = xtask::tools::Tools::from_env()?;
    let options = nats::Options { config: Some(config), ..nats::Options::default() };
    let loose = tokio::task::block_in_place(|| NatsServer::start(&tools.nats_server, options))?;
    let broker = stack::connect(&loose).await?;
    Definitions::committed()?.with_ack_wait(Options::default().ack_wait).apply(broker.jetstream()).await?;
    let (url, monitor) = (loose.url(), loose.monitor_url());
    let changed = [("NATS_URL", url.as_str()), ("NATS_MONITOR_URL", &monitor), ("DATABASE_URL", stack.database.url())];
    patient.names("bill-setup", &changed, "broker storage", "sync_interval is not `always`").await?;
    broker.close().await;
    Ok(())
}

async fn outside(patient: &Patient, stack: &Stack) -> anyhow::Result<()> {
    for service in ["recharger", "ingress"] {
        let wrong = [("STRIPE_SECRET_KEY", "sk_test_somebody_elses_key")];
        patient.names(service, &wrong, "Stripe", "refuses STRIPE_SECRET_KEY").await?;
    }
    stack.client.kms_sim("faults", &json!(["down:600"])).await?;
    patient.names("syncer", &[], "quota backend", "the KMS at 127.0.0.1").await?;
    stack.client.kms_heals().await?;
    // A real card is never charged by a check, and links to this machine would be no use to its owner.
    let live = patient.doctor("recharger", &[("STRIPE_SECRET_KEY", "sk_live_somebody_elses_key")]).await?;
    let names: Vec<&str> = failed(&live).iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, ["Stripe", "public URL"], "{}", live.to_table());
    Ok(())
}

/// Whoever's quota takes too long gets the money back all the same; where that is not possible yet, it is told how.
async fn late(patient: &Patient, stack: &Stack) -> anyhow::Result<()> {
    stack.client.kms_sim("faults", &json!(["down:600"])).await?;
    let report = patient.look("bill", "--json doctor --recharge --patience 1", &[]).await?;
    let check = |name: &str| report.checks.iter().find(|check| check.name == name);
    let (there, back) = (check("recharge").context("no recharge")?, check("refund").context("no refund")?);
    ensure!(
        there.found.contains("is not settled after 1 s") && back.outcome == Outcome::Failed,
        "{}",
        report.to_table()
    );
    let fix = back.fix.as_deref().unwrap_or_default();
    let refund = fix.split('`').find(|words| words.starts_with("bill refund ")).context("no way to finish it")?;
    let open = check("afterwards").context("nothing about the organization")?;
    ensure!(open.outcome == Outcome::Warning && open.found.contains("left open"), "{}", report.to_table());
    // As it says: the refund is possible when the recharge has settled.
    stack.client.kms_heals().await?;
    wait::until("the refund that it names", || async {
        let said = patient.ask("bill", &format!("{} --yes", refund.trim_start_matches("bill "))).await?;
        ensure!(said.0, "{}", said.1);
        Ok(())
    })
    .await?;
    let close = open.fix.as_deref().and_then(|fix| fix.split('`').nth(1)).context("no way to close it")?;
    let (worked, said) = patient.ask("bill", &format!("{} --yes", close.trim_start_matches("bill "))).await?;
    ensure!(worked, "{said}");

    // It settles while the refund is being asked for.
    let before = early_refunds(&stack.pool).await?;
    stack.client.kms_sim("faults", &json!(["down:600"])).await?;
    let look = patient.look("bill", "--json doctor --recharge --patience 8", &[]);
    let heal = async {
        wait::until("a refund that comes too early", || async {
            ensure!(early_refunds(&stack.pool).await? > before, "none");
            Ok(())
        })
        .await?;
        stack.client.kms_heals().await
    };
    let (report, healed) = tokio::join!(look, heal);
    healed?;
    let report = report?;
    only(&report, "recharge", "is not settled after 8 s")?;
    for step in ["refund", "afterwards"] {
        let check = report.checks.iter().find(|check| check.name == step).context(step)?;
        ensure!(check.outcome == Outcome::Ok, "{}", report.to_table());
    }
    Ok(())
}

async fn early_refunds(pool: &PgPool) -> anyhow::Result<i64> {
    let sql = "SELECT count(*) FROM webhook_events WHERE event_type = 'refund_requested' AND decision = 'skipped' AND reason = 'in_flight'";
    Ok(sqlx::query_scalar(sql).fetch_one(pool).await?)
}

async fn configuration(patient: &Patient) -> anyhow::Result<()> {
    let strong = [
        ("API_AUTH", "on"),
        ("DEV_ROUTES", "off"),
        ("LITELLM_ALERT_TOKEN", "Yk3sd92jdLkw02jd"),
        ("STRIPE_WEBHOOK_SECRET", "whsec_Yk3sd92jdLkw02jd"),
    ];
    let with = |more: &[(&'static str, &'static str)]| [strong.as_slice(), more].concat();
    let weak = with(&[("LITELLM_WEBHOOK_SECRET", "test_secret")]);
    patient.names("ingress", &weak, "configuration", "LITELLM_WEBHOOK_SECRET is weak").await?;
    // Everything at once, and what can be looked at is looked at all the same.
    let much = with(&[("LITELLM_WEBHOOK_SECRET", "short"), ("PAY_LINK_SECRET", " "), ("PORT", "high")]);
    let report = patient.doctor("ingress", &much).await?;
    let named: Vec<&str> = failed(&report).iter().map(|check| check.found.as_str()).collect();
    for name in ["LITELLM_WEBHOOK_SECRET is weak", "PAY_LINK_SECRET is not set", "PORT is not valid"] {
        ensure!(named.iter().any(|found| found.starts_with(name)), "{name}: {}", report.to_table());
    }
    ensure!(named.len() == 3, "{}", report.to_table());
    let reached = |name: &str| report.checks.iter().any(|check| check.name == name && check.outcome == Outcome::Ok);
    ensure!(
        ["database", "migrations", "broker", "streams", "Stripe"].into_iter().all(reached),
        "{}",
        report.to_table()
    );
    Ok(())
}

async fn api(patient: &Patient) -> anyhow::Result<()> {
    let bill = async |changed: &[(&str, &str)]| patient.look("bill", "--json doctor --recharge", changed).await;
    let report = bill(&[("BILL_TOKEN", "bill_nobodys")]).await?;
    only(&report, "token", "invalid_token")?;
    let nowhere = format!("http://127.0.0.1:{}", ports::free_port()?);
    only(&bill(&[("BILL_URL", &nowhere)]).await?, "API", "no answer from")?;
    let words = Command::new(program("ledger")?).args(["doctor", "--yaml"]).output().await?;
    assert_eq!(words.status.code(), Some(2), "{words:?}");
    Ok(())
}
