//! `ingress token …`: makes an API token without the API, which asks for one: the first one, above all.

use common::clock::Timestamp;
use common::config::{ConfigError, Env, Reader, Secret};
use common::db;
use common::ids::{IdSource, OrganizationId};

use crate::api::access::{Grant, Role};
use crate::api::auth::Caller;
use crate::api::tokens::{Wanted, make};

/// How to call it.
const USAGE: &str = "usage: ingress token --name NAME [--role operator|org_admin|viewer] [--organization ID]
  makes an API token and prints it, once, on the standard output (DATABASE_URL)
  --name          whom or what it is given to
  --role          operator (the default): everything; org_admin: one organization; viewer: reading
  --organization  what it is limited to: needed for an org_admin";

/// What `ingress token` is told.
pub struct TokenCommand {
    database_url: Secret,
    wanted: Wanted,
}

impl TokenCommand {
    /// Reads the arguments after `ingress token`, and the environment.
    ///
    /// # Errors
    /// All that is wrong.
    pub fn read(arguments: &[String], env: &dyn Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let database_url = reader.secret("DATABASE_URL", "the PostgreSQL database, postgres://user:password@host/name");
        let (mut name, mut role, mut organization) = (None, Role::Operator, None);
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            let value = words.next().filter(|value| !value.is_empty());
            match (word.as_str(), value) {
                ("--name", Some(value)) => name = Some(value.clone()),
                ("--role", Some(value)) => match value.parse() {
                    Ok(given) => role = given,
                    Err(problem) => reader.problem(format!("--role {problem}")),
                },
                ("--organization", Some(value)) => match OrganizationId::parse(value.clone()) {
                    Ok(given) => organization = Some(given),
                    Err(error) => reader.problem(format!("--organization is not valid: {error}")),
                },
                _ => reader.problem(USAGE.to_owned()),
            }
        }
        let name = name.filter(|name| name.chars().count() <= 100 && !name.chars().any(char::is_control));
        if name.is_none() {
            reader.problem("--name is missing, or has more than 100 characters".to_owned());
        }
        let grant = Grant::new(role, organization).unwrap_or_else(|problem| {
            reader.problem(format!("--organization {problem}"));
            Grant::OPERATOR
        });
        let wanted = Wanted { name: name.unwrap_or_default(), grant, expires_at: None };
        reader.finish(Self { database_url, wanted })
    }
}

/// Makes the token and returns it.
///
/// # Errors
/// What the database says.
pub async fn make_token(command: TokenCommand, now: Timestamp, ids: &dyn IdSource) -> anyhow::Result<Secret> {
    let pool = db::pool(&command.database_url, "ingress-token", 1)?;
    let caller = Caller {
        name: "command line".to_owned(),
        request_id: ids.fresh().to_string(),
        grant: Grant::OPERATOR,
        expires_at: None,
    };
    let made = make(&pool, &command.wanted, [ids.fresh(), ids.fresh(), ids.fresh()], &caller, now).await?;
    pool.close().await;
    Ok(made.secret())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(arguments: &[&str]) -> Result<TokenCommand, String> {
        let env: BTreeMap<String, String> = [("DATABASE_URL".to_owned(), "postgres://x/y".to_owned())].into();
        let arguments: Vec<String> = arguments.iter().map(|&word| word.to_owned()).collect();
        TokenCommand::read(&arguments, &env).map_err(|error| error.to_string())
    }

    #[test]
    fn arguments() {
        let command = read(&["--name", "ann", "--role", "org_admin", "--organization", "acme"]).ok().unwrap();
        assert_eq!((command.wanted.name.as_str(), command.wanted.grant.role), ("ann", Role::OrgAdmin));
        assert_eq!(read(&["--name", "ann"]).ok().unwrap().wanted.grant, Grant::OPERATOR);
        for (arguments, word) in [
            (&["--role", "viewer"][..], "--name"),
            (&["--name"], "usage"),
            (&["--name", "x", "--role", "root"], "--role"),
            (&["--name", "x", "--role", "org_admin"], "--organization"),
            (&["--name", "x", "--organization", "acme"], "--organization"),
            (&["--name", "x", "--organization", "a b"], "--organization"),
        ] {
            let error = read(arguments).err().unwrap();
            assert!(error.contains(word), "{arguments:?}: {error}");
        }
    }
}
