//! PostgreSQL: whether it can be reached with this login, is new enough, has this build's migrations, and lets the login do
//! its work; and whether its clock shows what ours does.

use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};

use super::migrations::{Applied, Known, compare};
use super::repo::Facts;
use super::{Check, Service, configuration, deepest, repo};
use crate::clock::Clock;
use crate::config::{Env, Reader};
use crate::db;

pub(super) const DATABASE: &str = "database";
const MIGRATIONS: &str = "migrations";
const RIGHTS: &str = "database rights";
pub(super) const CLOCK: &str = "clock";

/// The oldest PostgreSQL that is supported.
const OLDEST: i32 = 15;
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How far clocks may be apart, in milliseconds: signatures and deadlines are judged by seconds.
const APART_MS: i64 = 2_000;

/// Looks with the login of a service.
pub async fn of_service(env: &dyn Env, service: Service, clock: &dyn Clock) -> Vec<Check> {
    let (mut connection, facts, mut checks) = match connect(env).await {
        Ok(connected) => connected,
        Err(trouble) => return without_database(trouble, &[MIGRATIONS, RIGHTS, CLOCK]),
    };
    checks.extend(migrations(&mut connection).await);
    checks.extend(rights(&mut connection, service, &facts).await);
    checks.push(clocks(&mut connection, clock).await);
    drop(connection.close().await);
    checks
}

/// What could not be looked at, after what is wrong.
pub(super) fn without_database(trouble: Check, names: &[&str]) -> Vec<Check> {
    let rest = names.iter().map(|name| Check::skipped(name, "the database can't be asked"));
    std::iter::once(trouble).chain(rest).collect()
}

/// A connection as `DATABASE_URL` says, with what is to be told about the server.
///
/// # Errors
/// What is wrong, as a check.
pub(super) async fn connect(env: &dyn Env) -> Result<(PgConnection, Facts, Vec<Check>), Check> {
    const VARIABLE: &str = "DATABASE_URL";
    let mut reader = Reader::new(env);
    let url = reader.database_url();
    // A password that everybody knows is told by the configuration, and opens the database all the same.
    let options = match PgConnectOptions::from_str(url.expose().trim()) {
        Ok(options) if !url.expose().is_empty() => options.application_name("bill-doctor"),
        _ => return Err(configuration::unusable(DATABASE, VARIABLE)),
    };
    let place = place(&options);
    let connected = tokio::time::timeout(CONNECT, PgConnection::connect_with(&options)).await;
    let mut connection = match connected {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) => return Err(unreachable(&error, &options, &place)),
        Err(_) => {
            let found = format!("no answer from {place} within {} s", CONNECT.as_secs());
            return Err(Check::failed(
                DATABASE,
                found,
                "Let this machine through to that address, or correct DATABASE_URL.",
            ));
        }
    };
    let facts = repo::facts(&mut connection).await.map_err(|error| unanswered(DATABASE, &error))?;
    if facts.version_number / 10_000 < OLDEST {
        let found = format!("PostgreSQL {} at {place}", facts.version);
        return Err(Check::failed(DATABASE, found, format!("Use PostgreSQL {OLDEST} or newer.")));
    }
    let encrypted = if facts.encrypted { "encrypted" } else { "not encrypted" };
    let found = format!("PostgreSQL {} at {place}, as {}, {encrypted}", facts.version, facts.login);
    Ok((connection, facts, vec![Check::ok(DATABASE, found)]))
}

/// Where it is, without user and password.
fn place(options: &PgConnectOptions) -> String {
    let host = options.get_socket().map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
    format!("{host}:{}/{}", options.get_port(), options.get_database().unwrap_or(options.get_username()))
}

fn unreachable(error: &sqlx::Error, options: &PgConnectOptions, place: &str) -> Check {
    let login = options.get_username();
    let told = error.as_database_error();
    let code = told.and_then(|told| told.code().map(|code| code.into_owned()));
    let said = told.map(|told| told.message().to_owned()).unwrap_or_default();
    let (found, fix) = match (code.as_deref(), error) {
        (Some("28P01"), _) => (
            format!("{place} refuses the password of {login}"),
            "Put the login's password into DATABASE_URL, or give the login that password with `bill-setup logins`.",
        ),
        (Some("28000"), _) => (
            format!("{place} does not let {login} in: {said}"),
            "Make the login with `bill-setup logins`, and let it in from this machine, as pg_hba.conf says.",
        ),
        (Some("3D000"), _) => (
            format!("there is no database {} at {place}", options.get_database().unwrap_or_default()),
            "Create it, or correct DATABASE_URL.",
        ),
        (Some(_), _) => (format!("{place}: {said}"), "Look at the database's log."),
        (None, sqlx::Error::Tls(_)) => (
            format!("{place} can't be trusted: {}", deepest(error)),
            "Name the file of the authority that vouches for it in DATABASE_URL (sslrootcert), or renew its certificate.",
        ),
        (None, _) => (
            format!("{place} can't be reached: {}", deepest(error)),
            "Start it, let this machine through to that address, or correct DATABASE_URL.",
        ),
    };
    Check::failed(DATABASE, found, fix)
}

/// It is there, and did not answer a question.
pub(super) fn unanswered(name: &str, error: &sqlx::Error) -> Check {
    Check::failed(name, format!("the database did not answer: {error}"), "Look at the database's log.")
}

fn code_is(error: &sqlx::Error, wanted: &str) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == wanted)
}

/// This build's migrations beside those that are applied.
pub(super) async fn migrations(connection: &mut PgConnection) -> Vec<Check> {
    let applied = match repo::applied(connection).await {
        Ok(applied) => applied,
        // The table is made with the first one.
        Err(error) if code_is(&error, "42P01") => Vec::<Applied>::new(),
        Err(error) if code_is(&error, "42501") => {
            return vec![Check::warning(
                MIGRATIONS,
                "this login may not read which migrations are applied",
                "Run `bill-setup migrate up` of this build, which lets it, or ask `bill-setup doctor`.",
            )];
        }
        Err(error) => return vec![unanswered(MIGRATIONS, &error)],
    };
    let ups = db::MIGRATOR.iter().filter(|one| one.migration_type.is_up_migration());
    let known: Vec<Known> = ups
        .map(|one| Known { version: one.version, name: one.description.to_string(), checksum: one.checksum.to_vec() })
        .collect();
    compare(&known, &applied)
}

/// Whether the login has its service's role, and every right that its service's SQL needs.
async fn rights(connection: &mut PgConnection, service: Service, facts: &Facts) -> Vec<Check> {
    let role = format!("bill_{}", service.name);
    let asked = async {
        let member = repo::has_role(connection, &role).await?;
        Ok::<_, sqlx::Error>((member, repo::lacking(connection, service.rights).await?))
    };
    let (member, lacking) = match asked.await {
        Ok(told) => told,
        Err(error) => return vec![unanswered(RIGHTS, &error)],
    };
    let login = &facts.login;
    if facts.superuser {
        let found = format!("{login} is a superuser, whom no grant holds back");
        return vec![Check::warning(
            RIGHTS,
            found,
            format!("Give {} a login of its own with `bill-setup logins`.", service.name),
        )];
    }
    if !lacking.is_empty() {
        let lacking: Vec<String> =
            lacking.iter().map(|(right, tables)| format!("{right} on {}", tables.join(", "))).collect();
        let found = format!("{login} lacks {}", lacking.join("; "));
        let fix = match member {
            Some(true) => format!(
                "Run `bill-setup migrate up`. Where everything is applied, let an administrator grant that to {role}, in the words \
                 of migrations/0013_roles.up.sql."
            ),
            Some(false) => format!("Make the login a member of {role} with `bill-setup logins`."),
            None => "Let an administrator run migrations/0013_roles.up.sql, then `bill-setup logins`.".to_owned(),
        };
        return vec![Check::failed(RIGHTS, found, fix)];
    }
    match member {
        Some(true) => {
            vec![Check::ok(RIGHTS, format!("{login} has the role {role}, and all rights that its SQL needs"))]
        }
        Some(false) | None => vec![Check::warning(
            RIGHTS,
            format!("{login} has all rights that its SQL needs, but not by the role {role}: it may do more"),
            format!("Give {} a login of its own with `bill-setup logins`.", service.name),
        )],
    }
}

pub(super) async fn clocks(connection: &mut PgConnection, clock: &dyn Clock) -> Check {
    let before = clock.now();
    let theirs = match repo::now(connection).await {
        Ok(theirs) => theirs,
        Err(error) => return unanswered(CLOCK, &error),
    };
    let ours = before + (clock.now() - before) / 2;
    let apart = (theirs - ours).num_milliseconds();
    if apart.abs() <= APART_MS {
        return Check::ok(CLOCK, format!("{} ms from the database's", apart.abs()));
    }
    let side = if apart > 0 { "behind" } else { "before" };
    let found = format!("{} ms {side} the database's clock", apart.abs());
    Check::warning(CLOCK, found, "Let both machines keep their time by NTP: signatures and deadlines are judged by it.")
}
