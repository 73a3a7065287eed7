//! What PostgreSQL refuses, and that what it grants is what the services' SQL needs, no less and no more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::Context;
use common::doctor::{Rights, rights};
use e2e::database::Database;
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::SERVICES;

/// What each may not do.
const REFUSED: [(&str, &str); 32] = [
    ("ingress", "UPDATE ledger_transactions SET description = ''"),
    ("ingress", "INSERT INTO ledger_organizations VALUES ('acme', 'usd')"),
    ("ingress", "UPDATE recharge_records SET status = 'settled'"),
    ("ingress", "INSERT INTO webhook_events (event_id) VALUES ('evt')"),
    ("ingress", "UPDATE quota_targets SET target_quota = 1"),
    ("ingress", "UPDATE audit_log SET actor = 'somebody else'"),
    ("ingress", "DELETE FROM audit_log"),
    ("ingress", "TRUNCATE audit_log"),
    ("ingress", "DELETE FROM organization_balance_config"),
    ("recharger", "UPDATE ledger_entries SET amount_minor = 1"),
    ("recharger", "INSERT INTO ledger_entries (amount_minor) VALUES (1)"),
    ("recharger", "SELECT quota_minor FROM ledger_quotas"),
    ("recharger", "UPDATE organization_balance_config SET max_daily_amount = NULL"),
    ("recharger", "DELETE FROM recharge_records"),
    ("recharger", "UPDATE webhook_events SET decision = 'charge'"),
    ("recharger", "SELECT token_hash FROM api_tokens"),
    ("recharger", "INSERT INTO audit_log (actor) VALUES ('ledger')"),
    ("ledger", "UPDATE ledger_transactions SET description = ''"),
    ("ledger", "DELETE FROM ledger_transactions"),
    ("ledger", "UPDATE ledger_entries SET amount_minor = 1"),
    ("ledger", "DELETE FROM ledger_entries"),
    ("ledger", "TRUNCATE ledger_entries"),
    ("ledger", "UPDATE ledger_accounts SET balance_minor = 1"),
    ("ledger", "ALTER TABLE ledger_entries DISABLE TRIGGER ALL"),
    ("ledger", "UPDATE recharge_records SET status = 'settled'"),
    ("ledger", "SELECT payment_method_id FROM recharge_records"),
    ("syncer", "UPDATE organization_balance_config SET target_balance = 1"),
    ("syncer", "UPDATE quota_syncs SET quota = 1"),
    ("syncer", "INSERT INTO ledger_transactions (kind) VALUES ('opening')"),
    ("viewer", "SELECT token_hash FROM api_tokens"),
    ("viewer", "SELECT * FROM users"),
    ("viewer", "INSERT INTO api_tokens (name) VALUES ('mine')"),
];

/// And what they may, beside each other.
const ALLOWED: [(&str, &str); 5] = [
    ("syncer", "UPDATE organization_balance_config SET litellm_team_id = 'team' WHERE litellm_team_id IS NULL"),
    ("ingress", "INSERT INTO users (email) VALUES ('a@example.com')"),
    ("recharger", "INSERT INTO recharge_state (c_organization_id) VALUES ('acme')"),
    ("viewer", "SELECT name, role, last_used_at FROM api_tokens"),
    ("viewer", "SELECT * FROM ledger_quotas"),
];

/// Runs it in a transaction that is then rolled back.
async fn attempt(connection: &mut PgConnection, sql: &str) -> anyhow::Result<Result<(), String>> {
    let mut tx = connection.begin().await?;
    let outcome = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut *tx).await;
    tx.rollback().await?;
    Ok(outcome.map(drop).map_err(|error| error.to_string()))
}

#[tokio::test]
async fn the_database_refuses_what_is_not_a_services_own() -> anyhow::Result<()> {
    let database = Database::shared().await?;
    let mut connections = BTreeMap::new();
    for user in SERVICES.into_iter().chain(["viewer"]) {
        connections.insert(user, PgConnection::connect(&database.url_of(user)?).await?);
    }
    for (user, connection) in &mut connections {
        for sql in ["CREATE TABLE mine (id int)", "SET ROLE postgres", "CREATE ROLE another", "DROP TABLE users"] {
            let refusal = attempt(connection, sql).await?.err().with_context(|| format!("{user} may {sql}"))?;
            assert!(
                refusal.contains("permission denied") || refusal.contains("must be owner"),
                "{user} {sql}: {refusal}"
            );
        }
    }
    for (user, sql) in REFUSED {
        let connection = connections.get_mut(user).context(user)?;
        let refusal = attempt(connection, sql).await?.err().with_context(|| format!("{user} may {sql}"))?;
        assert!(refusal.contains("permission denied") || refusal.contains("must be owner"), "{user} {sql}: {refusal}");
    }
    for (user, sql) in ALLOWED {
        let connection = connections.get_mut(user).context(user)?;
        attempt(connection, sql).await?.map_err(|error| anyhow::anyhow!("{user} may not {sql}: {error}"))?;
    }
    // Whom no grant holds back, triggers do.
    let mut owner = PgConnection::connect(database.url()).await?;
    for change in ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"] {
        let row = "INSERT INTO audit_log (at, actor, action) VALUES (now(), 'a', 'b')";
        let refusal = attempt(&mut owner, &format!("{row}; {change}")).await?.err().context(change)?;
        assert!(refusal.contains("append-only"), "{change}: {refusal}");
    }
    drop((connections, owner));
    database.remove().await
}

/// `right table` of everything that a service's SQL does, read from its `repo.rs` files.
fn needed(service: &str, tables: &BTreeSet<String>) -> anyhow::Result<BTreeSet<String>> {
    let mut files = vec![];
    repos(&xtask::paths::root().join(service).join("src"), &mut files)?;
    if service != "ingress" {
        files.push(xtask::paths::root().join("common/src/reconciliation/repo.rs"));
    }
    let mut needed = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(&file)?;
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
        let words: Vec<&str> =
            code.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).filter(|w| !w.is_empty()).collect();
        let (mut read, mut inserted) = (None, None);
        for trio in words.windows(3) {
            let [first, second, third] = trio else { continue };
            let right = match (*first, *second) {
                // An upsert, and a lock, which is a right to update.
                ("DO", "UPDATE") => inserted.map(|table| format!("UPDATE {table}")),
                ("FOR", "UPDATE" | "NO" | "SHARE") => read.map(|table| format!("UPDATE {table}")),
                ("DELETE", "FROM") if tables.contains(*third) => Some(format!("DELETE {third}")),
                ("UPDATE", table) if tables.contains(table) => Some(format!("UPDATE {table}")),
                ("INTO", table) if tables.contains(table) => {
                    inserted = Some(table);
                    Some(format!("INSERT {table}"))
                }
                ("FROM" | "JOIN", table) if tables.contains(table) => {
                    read = Some(table);
                    Some(format!("SELECT {table}"))
                }
                _ => None,
            };
            needed.extend(right);
        }
    }
    Ok(needed)
}

fn repos(folder: &Path, found: &mut Vec<PathBuf>) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            repos(&path, found)?;
        } else if path.file_name().is_some_and(|name| name == "repo.rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn rights_of(service: &str) -> &'static [Rights] {
    match service {
        "ingress" => rights::INGRESS,
        "recharger" => rights::RECHARGER,
        "ledger" => rights::LEDGER,
        "syncer" => rights::SYNCER,
        _ => &[],
    }
}

#[tokio::test]
async fn grants_are_what_the_services_sql_needs() -> anyhow::Result<()> {
    let database = Database::shared().await?;
    let pool = database.pool()?;
    // A column's right is a right, too.
    let rows: Vec<(String, String, String)> = sqlx::query_as(
        "SELECT r.rolname::text, p.privilege, c.relname::text
           FROM pg_class c, pg_roles r, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER']) AS p (privilege)
          WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'v') AND c.relname <> '_sqlx_migrations' AND r.rolname LIKE 'bill\\_%'
            AND (has_table_privilege(r.oid, c.oid, p.privilege)
                 OR (p.privilege IN ('SELECT', 'INSERT', 'UPDATE') AND has_any_column_privilege(r.oid, c.oid, p.privilege)))",
    )
    .fetch_all(&pool)
    .await?;
    let tables: Vec<(String,)> = sqlx::query_as(
        "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v') AND relname <> '_sqlx_migrations'",
    )
    .fetch_all(&pool)
    .await?;
    let tables: BTreeSet<String> = tables.into_iter().map(|(table,)| table).collect();
    let granted = |role: &str| -> BTreeSet<String> {
        let own = rows.iter().filter(|(owner, ..)| owner == role);
        own.map(|(_, right, table)| format!("{right} {table}")).collect()
    };
    let table_of = |line: &str| line.rsplit(' ').next().unwrap_or_default().to_owned();
    for service in SERVICES {
        let (needed, granted) = (needed(service, &tables)?, granted(&format!("bill_{service}")));
        let missing: Vec<&String> = needed.difference(&granted).collect();
        assert!(missing.is_empty(), "{service} needs {missing:?}");
        // Reading goes with everything else: a condition, a row that is returned.
        let touched: BTreeSet<String> = needed.iter().map(|line| table_of(line)).collect();
        // The ledger's own view, granted before there was anybody else.
        let view = (service == "ledger").then(|| "SELECT ledger_quotas".to_owned());
        let needless = granted.difference(&needed).filter(|line| Some(*line) != view.as_ref());
        let needless: Vec<&String> =
            needless.filter(|line| !line.starts_with("SELECT ") || !touched.contains(&table_of(line))).collect();
        assert!(needless.is_empty(), "{service} does not need {needless:?}");
        let asked: BTreeSet<String> =
            rights::pairs(rights_of(service)).map(|(right, table)| format!("{right} {table}")).collect();
        assert_eq!(asked, granted, "{service} doctor asks for what is granted");
    }
    let seen: BTreeSet<String> = granted("bill_viewer");
    assert_eq!(
        seen,
        tables.iter().map(|table| format!("SELECT {table}")).collect(),
        "the viewer reads all, and no more"
    );
    pool.close().await;
    database.remove().await
}

fn bill_setup(url: &str, variables: &[(String, String)]) -> anyhow::Result<Output> {
    let mut command = Command::new(e2e::service::program("bill-setup")?);
    command.arg("logins").env("DATABASE_URL", url).env("RUST_LOG", "debug");
    Ok(command.envs(variables.iter().cloned()).output()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_are_made_as_often_as_one_likes_and_told_what_is_missing() -> anyhow::Result<()> {
    let database = Database::shared().await?;
    let pool = database.pool()?;
    let name = |service: &str| format!("e2e_{service}_{}", std::process::id());
    let variable = |service: &str, what: &str| format!("BILL_{}_DB_{what}", service.to_uppercase());
    let password = "0123456789abcdefghij";

    let none = bill_setup(database.url(), &[])?;
    let said = String::from_utf8_lossy(&none.stderr).into_owned();
    assert!(!none.status.success(), "{said}");
    for service in SERVICES {
        assert!(said.contains(&variable(service, "PASSWORD")), "{said}");
    }

    let mut variables = Vec::new();
    for service in SERVICES {
        variables.push((variable(service, "USER"), name(service)));
        variables.push((variable(service, "PASSWORD"), password.to_owned()));
    }
    let (first, second) = (bill_setup(database.url(), &variables)?, bill_setup(database.url(), &variables)?);
    for done in [&first, &second] {
        let said = format!("{}{}", String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        assert!(done.status.success() && said.contains("may log in"), "{said}");
        assert!(!said.contains(password), "a password is in the log:\n{said}");
    }
    for service in SERVICES {
        let (member, secret): (bool, String) = sqlx::query_as(
            "SELECT pg_has_role($1, $2, 'USAGE'), rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin AND rolinherit",
        )
        .bind(name(service))
        .bind(format!("bill_{service}"))
        .fetch_one(&pool)
        .await?;
        assert!(member && secret.starts_with("SCRAM-SHA-256$4096:"), "{service} {member}");
    }

    // A login that no grant holds back is none for a service.
    let owner: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(&pool).await?;
    let unheld = [variables.as_slice(), &[(variable("syncer", "USER"), owner)]].concat();
    let refused = bill_setup(database.url(), &unheld)?;
    assert!(String::from_utf8_lossy(&refused.stderr).contains("superuser"), "{refused:?}");

    for service in SERVICES {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP ROLE {}", name(service)))).execute(&pool).await?;
    }
    pool.close().await;
    database.remove().await
}
