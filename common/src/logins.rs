//! The services' logins in PostgreSQL. What a service may do is granted to its role (`bill_ledger`, …), by migrations; a
//! login is a member of one such role and has no rights of its own.

mod scram;

use anyhow::{Context, bail, ensure};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::config::{Reader, SHORTEST_SECRET, Secret};
use crate::ids::IdSource;

/// Who has a role, other than people who look.
pub(crate) const SERVICES: [&str; 4] = ["ingress", "recharger", "ledger", "syncer"];
/// Only one at a time changes a cluster's logins: PostgreSQL refuses two changes of one role at the same moment.
const LOCK: i64 = 0x6269_6c6c_726f_6c65;
/// How often it is tried again when somebody on another database of the cluster, whom the lock does not stop, came first.
const TRIES: u32 = 5;

/// A login that is to exist.
#[derive(Debug, Clone)]
pub struct Login {
    /// The role whose rights it has.
    pub role: String,
    /// Its name.
    pub name: String,
    /// Its password.
    pub password: Secret,
}

impl Login {
    /// The login of a service, or of `viewer`, under its usual name.
    #[must_use]
    pub fn of(service: &str, password: Secret) -> Self {
        Self { role: format!("bill_{service}"), name: usual_name(service), password }
    }

    /// Reads `BILL_<SERVICE>_DB_PASSWORD` for every service and `BILL_<SERVICE>_DB_USER` where a name is not the usual
    /// one; and the same of a viewer, if there is to be one.
    pub fn read_all(reader: &mut Reader<'_>) -> Vec<Self> {
        let mut logins: Vec<Self> = SERVICES.iter().map(|service| Self::read(reader, service)).collect();
        if reader.optional("BILL_VIEWER_DB_PASSWORD").is_some() {
            logins.push(Self::read(reader, "viewer"));
        }
        let mut names: Vec<&str> = logins.iter().map(|login| login.name.as_str()).collect();
        names.sort_unstable();
        for twice in names.windows(2).filter(|two| two[0] == two[1]) {
            reader.problem(format!(
                "two services are to have the login {}: BILL_…_DB_USER must name different ones",
                twice[0]
            ));
        }
        logins
    }

    fn read(reader: &mut Reader<'_>, service: &str) -> Self {
        let variable = format!("BILL_{}_DB_PASSWORD", service.to_uppercase());
        let password = reader.secret(&variable, "the password that this service's login is to have");
        let text = password.expose();
        if !text.is_empty() && (text.len() < SHORTEST_SECRET || !text.bytes().all(|byte| byte.is_ascii_graphic())) {
            reader.problem(format!("{variable} must have at least {SHORTEST_SECRET} characters, all visible ASCII"));
        }
        let name = name_of(reader, service);
        Self { name, ..Self::of(service, password) }
    }
}

/// The name of a service's login: `BILL_<SERVICE>_DB_USER`, or the usual one.
pub(crate) fn name_of(reader: &mut Reader<'_>, service: &str) -> String {
    let chosen = reader.optional(&format!("BILL_{}_DB_USER", service.to_uppercase()));
    chosen.map_or_else(|| usual_name(service), |name| name.trim().to_owned())
}

fn usual_name(service: &str) -> String {
    format!("bill_{service}_login")
}

/// Creates the logins, or gives those that exist this password and role. Safe to repeat, and to run at several places at once.
///
/// # Errors
/// When the roles are not there, when a login is one that nothing can hold back, or what the database says.
pub async fn apply(connection: &mut PgConnection, logins: &[Login], ids: &dyn IdSource) -> anyhow::Result<()> {
    for _ in 1..TRIES {
        match apply_once(connection, logins, ids).await {
            Err(error) if came_second(&error) => {}
            outcome => return outcome,
        }
    }
    apply_once(connection, logins, ids).await
}

async fn apply_once(connection: &mut PgConnection, logins: &[Login], ids: &dyn IdSource) -> anyhow::Result<()> {
    let mut tx = connection.begin().await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *tx).await?;
    for login in logins {
        apply_login(&mut tx, login, ids).await.with_context(|| format!("the login {}", login.name))?;
    }
    Ok(tx.commit().await?)
}

async fn apply_login(tx: &mut PgConnection, login: &Login, ids: &dyn IdSource) -> anyhow::Result<()> {
    let (role_exists,): (bool,) = sqlx::query_as("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)")
        .bind(&login.role)
        .fetch_one(&mut *tx)
        .await?;
    ensure!(
        role_exists,
        "there is no role {}: migrations/0013_roles.up.sql makes it, with its rights, when somebody runs it who may create roles",
        login.role
    );
    match known(tx, login).await? {
        None => run(tx, "SELECT format('CREATE ROLE %I', $1)", &login.name, "").await?,
        Some(Known { unbound: true, .. }) => {
            bail!("it is a superuser, or may make roles, whom no grant holds back: choose another name")
        }
        Some(Known { owner: true, .. }) => {
            bail!("it is the login that migrates, or may act as the owner of the tables: choose another name")
        }
        Some(Known { other: Some(other), .. }) => {
            bail!("it has the rights of {other}, too: choose another name, or REVOKE {other} FROM {}", login.name)
        }
        Some(Known { unbound: false, owner: false, other: None }) => {}
    }
    let verifier = scram::verifier(login.password.expose(), ids.fresh().as_bytes());
    run(tx, "SELECT format('ALTER ROLE %I LOGIN INHERIT PASSWORD %L', $1, $2)", &login.name, &verifier).await?;
    run(tx, "SELECT format('GRANT %I TO %I', $2, $1)", &login.name, &login.role).await
}

/// What an existing login can do besides.
#[derive(sqlx::FromRow)]
struct Known {
    /// Nothing holds it back.
    unbound: bool,
    /// It owns the tables, or may act as who does.
    owner: bool,
    /// Another service's role that it is a member of.
    other: Option<String>,
}

async fn known(tx: &mut PgConnection, login: &Login) -> sqlx::Result<Option<Known>> {
    sqlx::query_as(
        "SELECT r.rolsuper OR r.rolbypassrls OR r.rolcreaterole AS unbound,
                r.rolname = current_user OR EXISTS (SELECT FROM pg_class c WHERE c.oid = to_regclass('ledger_entries')
                    AND pg_has_role(r.oid, c.relowner, 'MEMBER')) AS owner,
                (SELECT min(g.rolname::text) FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                  WHERE m.member = r.oid AND g.rolname <> $2
                    AND g.rolname IN ('bill_ingress', 'bill_recharger', 'bill_ledger', 'bill_syncer', 'bill_viewer')) AS other
           FROM pg_roles r WHERE r.rolname = $1",
    )
    .bind(&login.name)
    .bind(&login.role)
    .fetch_optional(tx)
    .await
}

/// Runs a statement in which nothing can be bound; the database itself quotes what goes into it.
async fn run(tx: &mut PgConnection, quote: &'static str, name: &str, other: &str) -> anyhow::Result<()> {
    let statement: String = sqlx::query_scalar(quote).bind(name).bind(other).fetch_one(&mut *tx).await?;
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(tx).await?;
    Ok(())
}

/// Two that change one role at once: "tuple concurrently updated", or its name is taken meanwhile.
fn came_second(error: &anyhow::Error) -> bool {
    let code = error.chain().find_map(|cause| cause.downcast_ref::<sqlx::Error>()?.as_database_error()?.code());
    code.is_some_and(|code| matches!(code.as_ref(), "XX000" | "23505" | "42710"))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Vec<Login>, crate::config::ConfigError> {
        let env: BTreeMap<_, _> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let mut reader = Reader::new(&env);
        let logins = Login::read_all(&mut reader);
        reader.finish(logins)
    }

    #[test]
    fn every_service_has_a_login_and_a_viewer_may() {
        let long = "0123456789abcdef";
        let mut pairs = vec![
            ("BILL_INGRESS_DB_PASSWORD", long),
            ("BILL_RECHARGER_DB_PASSWORD", long),
            ("BILL_LEDGER_DB_PASSWORD", long),
            ("BILL_SYNCER_DB_PASSWORD", long),
            ("BILL_SYNCER_DB_USER", "app_sync"),
        ];
        let named =
            |logins: &[Login]| logins.iter().map(|login| format!("{}:{}", login.name, login.role)).collect::<Vec<_>>();
        let usual =
            ["bill_ingress_login:bill_ingress", "bill_recharger_login:bill_recharger", "bill_ledger_login:bill_ledger"];
        let logins = read(&pairs).unwrap();
        assert_eq!(named(&logins), [usual.as_slice(), &["app_sync:bill_syncer"]].concat());
        pairs.push(("BILL_VIEWER_DB_PASSWORD", long));
        assert_eq!(named(&read(&pairs).unwrap())[4], "bill_viewer_login:bill_viewer");
    }

    #[test]
    fn missing_and_weak_passwords_are_all_named() {
        let said = read(&[("BILL_LEDGER_DB_PASSWORD", "hunter2"), ("BILL_SYNCER_DB_PASSWORD", "passwörter sind lang")]);
        let said = said.unwrap_err().to_string();
        for name in ["INGRESS", "RECHARGER", "LEDGER", "SYNCER"] {
            assert!(said.contains(&format!("BILL_{name}_DB_PASSWORD")), "{said}");
        }
        assert!(!said.contains("hunter2"), "{said}");
    }
}
