//! `doctor`: looks at a deployment and says what is wrong, by name, with what to do about it. Each program looks at what it
//! can see itself: a service with its own variables, its own login and its own broker user; `bill-setup` with the
//! operator's; `bill` over the API.
//!
//! A check never hides another: each reads the variables that it needs by itself, and has a limit of time. Nothing is
//! changed, and no secret is told.

pub mod broker;
pub mod configuration;
pub mod database;
mod migrations;
pub mod monitor;
pub mod outside;
mod program;
mod repo;
pub mod report;
pub mod rights;
pub mod setup;

use std::future::Future;
use std::time::Duration;

use crate::clock::Clock;
use crate::config::Env;

pub use program::{Arguments, USAGE_CODE, main};
pub use report::{Check, Outcome, Report};
pub use rights::Rights;

/// How long one check may take: longer than any answer that is of use, and short enough for somebody who waits.
pub const LIMIT: Duration = Duration::from_secs(15);

/// What is to be looked at on behalf of a service.
#[derive(Debug, Clone, Copy)]
pub struct Service {
    /// Its name: its broker user, its consumers, its role in the database.
    pub name: &'static str,
    /// What its SQL needs: each is asked for.
    pub rights: &'static [Rights],
}

/// What is the same for every service: database, broker, clock.
pub async fn of_service(service: Service, env: &dyn Env, clock: &dyn Clock) -> Vec<Check> {
    let broker = within("broker", broker::of_service(env, service.name));
    let database = within("database", database::of_service(env, service, clock));
    let (broker, database) = futures_util::future::join(broker, database).await;
    [database, broker].concat()
}

/// The deepest cause says it: `Connection refused`, `UnknownIssuer`.
fn deepest(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The checks, or one that says that they did not end in time.
pub async fn within(name: &str, checks: impl Future<Output = Vec<Check>>) -> Vec<Check> {
    tokio::time::timeout(LIMIT, checks).await.unwrap_or_else(|_| {
        let found = format!("no answer within {} s", LIMIT.as_secs());
        vec![Check::failed(name, found, "See whether it is overloaded, or whether something on the way drops packets.")]
    })
}
