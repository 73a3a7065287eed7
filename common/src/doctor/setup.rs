//! What only the operator sees, with the login that migrates and the broker's user `setup`: every stream and consumer, how
//! the broker stores, every migration, every service's login.

use sqlx::{Connection, PgConnection};

use super::repo::LoginState;
use super::{Check, broker, configuration, database, monitor, repo, within};
use crate::broker::{BrokerAddress, Definitions, Deployed};
use crate::clock::Clock;
use crate::config::{ConfigError, Env, Reader};
use crate::logins::{self, SERVICES};

const LOGINS: &str = "logins";

/// Looks at everything.
pub async fn look(env: &dyn Env, clock: &dyn Clock) -> Vec<Check> {
    let wanted = read(env);
    let configuration = configuration::check("bill-setup", "`bill-setup help`", &wanted);
    // What is not readable is told above; the usual values do for the rest.
    let wanted = wanted.unwrap_or_default();
    let database = within(database::DATABASE, of_database(env, clock));
    let broker = within("broker", of_broker(env, wanted));
    let monitor = within("broker storage", monitor::look(env));
    let (database, broker, monitor) = futures_util::future::join3(database, broker, monitor).await;
    [configuration, database, broker, monitor].concat()
}

fn read(env: &dyn Env) -> Result<Deployed, ConfigError> {
    let mut reader = Reader::new(env);
    reader.database_url();
    BrokerAddress::read(&mut reader);
    let wanted = Deployed::read(&mut reader);
    reader.finish(wanted)
}

async fn of_database(env: &dyn Env, clock: &dyn Clock) -> Vec<Check> {
    let (mut connection, _, mut checks) = match database::connect(env).await {
        Ok(connected) => connected,
        Err(trouble) => return database::without_database(trouble, &["migrations", LOGINS, database::CLOCK]),
    };
    checks.extend(database::migrations(&mut connection).await);
    checks.extend(logins(&mut connection, env).await);
    checks.push(database::clocks(&mut connection, clock).await);
    drop(connection.close().await);
    checks
}

async fn of_broker(env: &dyn Env, wanted: Deployed) -> Vec<Check> {
    let connected = match broker::connect(env, "setup").await {
        Ok(connected) => connected,
        Err(trouble) => return broker::without_broker(trouble, &[broker::STREAMS]),
    };
    let definitions = Definitions::committed().map(|all| all.deployed(wanted));
    let mut checks = connected.checks.clone();
    checks.extend(connected.drift(definitions).await);
    connected.close().await;
    checks
}

/// Whether every service has a login with its role's rights and no others.
async fn logins(connection: &mut PgConnection, env: &dyn Env) -> Vec<Check> {
    let mut reader = Reader::new(env);
    let roles: Vec<String> = SERVICES.iter().map(|service| format!("bill_{service}")).collect();
    let names: Vec<String> = SERVICES.iter().map(|service| logins::name_of(&mut reader, service)).collect();
    match repo::logins(connection, &roles, &names).await {
        Ok(states) => {
            let troubles: Vec<Check> = states.iter().filter_map(trouble).collect();
            let fine = || vec![Check::ok(LOGINS, format!("{} have their roles", names.join(", ")))];
            if troubles.is_empty() { fine() } else { troubles }
        }
        Err(error) => vec![database::unanswered(LOGINS, &error)],
    }
}

fn trouble(state: &LoginState) -> Option<Check> {
    const MAKE: &str = "Run `bill-setup logins`, which makes it, or gives it its role.";
    let LoginState { role, login, role_exists, can_log_in, member, unbound } = state;
    if !role_exists {
        let fix = "Let an administrator run migrations/0013_roles.up.sql, then run `bill-setup logins`.";
        return Some(Check::failed(LOGINS, format!("there is no role {role}"), fix));
    }
    let found = match (can_log_in, member, unbound) {
        (None, ..) => format!("there is no login {login}"),
        (Some(false), ..) => format!("{login} may not log in"),
        (_, Some(false) | None, _) => format!("{login} does not have the role {role}"),
        (_, _, Some(true)) => {
            let found = format!("{login} is a superuser, or may make roles: no grant holds it back");
            let fix =
                format!("Choose another login for it (BILL_…_DB_USER), and run `bill-setup logins`: {role} is enough.");
            return Some(Check::failed(LOGINS, found, fix));
        }
        _ => return None,
    };
    Some(Check::failed(LOGINS, found, MAKE))
}
