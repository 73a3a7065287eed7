//! nats-server's monitoring: what only the server itself tells of its settings.

use std::time::Duration;

use serde_json::Value;

use super::{Check, deepest};
use crate::clients::inside;
use crate::config::{Env, Reader};

const NAME: &str = "broker storage";
const VARIABLE: &str = "NATS_MONITOR_URL";
const DEFAULT: &str = "http://127.0.0.1:8222";
/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Looks at every server that `NATS_MONITOR_URL` names, one of each node of a cluster, separated by commas.
pub async fn look(env: &dyn Env) -> Vec<Check> {
    let mut reader = Reader::new(env);
    let urls = reader.optional(VARIABLE).unwrap_or_else(|| DEFAULT.to_owned());
    let client = match inside(!urls.contains("https://")).timeout(PATIENCE).build() {
        Ok(client) => client,
        Err(error) => {
            return vec![Check::failed(NAME, format!("no HTTP call can be made: {error}"), "Reinstall bill-setup.")];
        }
    };
    let urls = urls.split(',').map(str::trim).filter(|url| !url.is_empty());
    futures_util::future::join_all(urls.map(|url| look_at(&client, url))).await
}

async fn look_at(client: &reqwest::Client, url: &str) -> Check {
    let Some(address) = page(url) else {
        let fix = format!("Set {VARIABLE} to {DEFAULT} or the like.");
        return Check::failed(NAME, format!("{VARIABLE} is no address"), fix);
    };
    match ask(client, address.clone()).await {
        Ok(told) => judge(address.authority(), &told),
        Err(error) => {
            let found = format!(
                "{} does not answer, so nobody knows whether the broker syncs what it confirms: {error}",
                address.authority()
            );
            let fix =
                format!("Run this where nats-server's monitoring port (8222) can be reached, or correct {VARIABLE}.");
            Check::failed(NAME, found, fix)
        }
    }
}

/// The page that tells of JetStream.
fn page(url: &str) -> Option<reqwest::Url> {
    let mut address = reqwest::Url::parse(url).ok()?;
    // It has no authentication, so what stands there is a mistake, and not to be shown.
    address.set_username("").ok()?;
    address.set_password(None).ok()?;
    address.set_path("/jsz");
    Some(address)
}

async fn ask(client: &reqwest::Client, address: reqwest::Url) -> Result<Value, String> {
    let why = |error: reqwest::Error| deepest(&error.without_url());
    let answer = client.get(address).send().await.and_then(reqwest::Response::error_for_status).map_err(why)?;
    answer.json().await.map_err(why)
}

/// What `/jsz` says of how it stores.
fn judge(place: &str, told: &Value) -> Check {
    const CONFIGURATION: &str = "Start nats-server with nats/nats-server.conf, which has";
    let config = &told["config"];
    if told["disabled"] == true || !config.is_object() {
        let fix = format!("{CONFIGURATION} a `jetstream` section.");
        return Check::failed(NAME, format!("JetStream is off at {place}"), fix);
    }
    if config["sync_always"] != true {
        let found = format!("sync_interval is not `always` at {place}: a power cut loses messages that were confirmed");
        return Check::failed(NAME, found, format!("{CONFIGURATION} `sync_interval: always`."));
    }
    Check::ok(NAME, format!("sync_interval is `always` at {place}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Outcome;

    #[test]
    fn what_a_server_says() {
        for (told, outcome, word) in [
            (json!({ "config": { "sync_always": true } }), Outcome::Ok, "always"),
            (json!({ "config": { "sync_interval": 120_000_000_000_i64 } }), Outcome::Failed, "sync_interval"),
            (json!({ "config": { "sync_always": false } }), Outcome::Failed, "sync_interval"),
            (json!({ "disabled": true, "config": {} }), Outcome::Failed, "JetStream is off"),
            (json!({ "error": "?" }), Outcome::Failed, "JetStream is off"),
        ] {
            let check = judge("broker:8222", &told);
            assert!(check.outcome == outcome && check.found.contains(word), "{check:?}");
        }
    }
}
