//! NATS: whether it can be reached with this user, is new enough, has JetStream, and has the streams and consumers that
//! `nats/` defines.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_nats::{Client, ConnectErrorKind, Event, jetstream};

use super::{Check, configuration, deepest};
use crate::broker::{BrokerAddress, Definitions};
use crate::config::{Env, Reader, items};
use crate::contract::streams;

const BROKER: &str = "broker";
pub(super) const STREAMS: &str = "streams";

/// The oldest nats-server that is supported.
const OLDEST: (u32, u32) = (2, 11);
/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long JetStream may take to answer: a subject that may not be asked is not answered at all.
const ANSWER: Duration = Duration::from_secs(3);

/// A connection, and what the broker refused on it.
pub(super) struct Connected {
    client: Client,
    jetstream: jetstream::Context,
    /// What is to be told about the server.
    pub(super) checks: Vec<Check>,
    refused: Arc<Mutex<Vec<String>>>,
}

/// Looks with the user of a service: at the consumers that it takes from or, as ingress, may ask about.
pub async fn of_service(env: &dyn Env, service: &str) -> Vec<Check> {
    let connected = match connect(env, service).await {
        Ok(connected) => connected,
        Err(trouble) => return without_broker(trouble, &[STREAMS]),
    };
    let definitions = Definitions::committed().map(|all| {
        // A service is not told how long the broker waits: `bill-setup` is.
        let all = all.with_ack_wait(Duration::ZERO);
        Definitions {
            streams: Vec::new(),
            consumers: all.consumers.into_iter().filter(|one| asks_about(service, one.name())).collect(),
        }
    });
    let mut checks = connected.checks.clone();
    checks.extend(connected.drift(definitions).await);
    if service == "ingress" {
        checks.extend(connected.has_stream(streams::DEAD_LETTERS).await);
    }
    connected.close().await;
    checks
}

fn asks_about(service: &str, consumer: &str) -> bool {
    service == "ingress" || service == consumer
}

/// What could not be looked at, after what is wrong.
pub(super) fn without_broker(trouble: Check, names: &[&str]) -> Vec<Check> {
    let rest = names.iter().map(|name| Check::skipped(name, "the broker can't be asked"));
    std::iter::once(trouble).chain(rest).collect()
}

/// Connects as `NATS_URL` says; `inbox` is the prefix that this user may listen to.
///
/// # Errors
/// What is wrong, as a check.
pub(super) async fn connect(env: &dyn Env, inbox: &str) -> Result<Connected, Check> {
    let mut reader = Reader::new(env);
    let address = BrokerAddress::read(&mut reader);
    let Ok((servers, options)) = address.resolve() else {
        return Err(configuration::unusable(BROKER, "NATS_URL or NATS_CA_FILE"));
    };
    let place = servers.iter().map(|server| server.as_url_str().to_owned()).collect::<Vec<_>>().join(", ");
    let user = user_of(&address);
    let refused = Arc::new(Mutex::new(Vec::new()));
    let told = refused.clone();
    let connecting = options
        .name("bill-doctor")
        .custom_inbox_prefix(format!("_INBOX_{inbox}"))
        .connection_timeout(CONNECT)
        .request_timeout(Some(ANSWER))
        .event_callback(move |event| {
            if let Event::ServerError(error) = event {
                told.lock().unwrap_or_else(PoisonError::into_inner).push(error.to_string());
            }
            std::future::ready(())
        })
        .connect(servers);
    let client = match tokio::time::timeout(CONNECT * 2, connecting).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return Err(unreachable(&error, &place, &user)),
        Err(_) => {
            let found = format!("no answer from {place}");
            return Err(Check::failed(BROKER, found, "Let this machine through to that address, or correct NATS_URL."));
        }
    };
    let checks = server(&client, &address, &place, &user);
    let mut jetstream = jetstream::new(client.clone());
    jetstream.set_timeout(ANSWER);
    Ok(Connected { client, jetstream, checks, refused })
}

/// As whom we connect.
fn user_of(address: &BrokerAddress) -> String {
    let url = items(&address.url).next().and_then(|url| reqwest::Url::parse(url).ok());
    let user = url.map(|url| url.username().to_owned()).filter(|user| !user.is_empty());
    user.unwrap_or_else(|| "nobody".to_owned())
}

fn unreachable(error: &async_nats::ConnectError, place: &str, user: &str) -> Check {
    let cause = deepest(error);
    // A connection that is encrypted only from its second line on is told without its kind.
    let untrusted = error.kind() == ConnectErrorKind::Tls || cause.contains("certificate");
    let (found, fix) = match error.kind() {
        ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => (
            format!("{place} refuses the password of {user}"),
            "Put the password that nats-server was started with (NATS_<USER>_PASSWORD) into NATS_URL.",
        ),
        _ if untrusted => (
            format!("{place} can't be trusted: {cause}"),
            "Name the file of the authority that vouches for it in NATS_CA_FILE, or renew its certificate.",
        ),
        ConnectErrorKind::Dns => (format!("the host of {place} is not known: {cause}"), "Correct NATS_URL."),
        _ => (
            format!("{place} can't be reached: {cause}"),
            "Start it, let this machine through to that address, or correct NATS_URL.",
        ),
    };
    Check::failed(BROKER, found, fix)
}

/// What the server says of itself when one connects.
fn server(client: &Client, address: &BrokerAddress, place: &str, user: &str) -> Vec<Check> {
    let info = client.server_info();
    let encrypted = info.tls_required || address.ca_file.is_some() || address.url.expose().contains("tls://");
    let encrypted = if encrypted { "encrypted" } else { "not encrypted" };
    let found = format!("nats-server {} at {place}, as {user}, {encrypted}", info.version);
    if version(&info.version).is_none_or(|version| version < OLDEST) {
        return vec![Check::failed(BROKER, found, format!("Use nats-server {}.{} or newer.", OLDEST.0, OLDEST.1))];
    }
    if !info.jetstream {
        let fix = "Start nats-server with nats/nats-server.conf, which turns JetStream on.";
        return vec![Check::failed(BROKER, format!("{found}: JetStream is off"), fix)];
    }
    vec![Check::ok(BROKER, found)]
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']).map_while(|number| number.parse().ok());
    Some((numbers.next()?, numbers.next()?))
}

impl Connected {
    /// A line for each setting that is not as it should be.
    pub(super) async fn drift(&self, definitions: anyhow::Result<Definitions>) -> Vec<Check> {
        const FIX: &str = "Run `bill-setup streams` of this build, which puts it right.";
        let compared = async {
            let definitions = definitions?;
            let drift = definitions.drift(&self.jetstream).await?;
            Ok::<_, anyhow::Error>((definitions, drift))
        };
        match compared.await {
            Ok((definitions, drift)) if drift.is_empty() => {
                let (streams, consumers) = (definitions.streams.len(), definitions.consumers.len());
                let streams = if streams == 0 { String::new() } else { format!("{streams} streams and ") };
                vec![Check::ok(STREAMS, format!("{streams}{consumers} consumers are as nats/ defines them"))]
            }
            Ok((_, drift)) => drift.into_iter().map(|line| Check::failed(STREAMS, line, FIX)).collect(),
            Err(error) => vec![self.unanswered(&format!("{error:#}"))],
        }
    }

    /// Whether there is such a stream.
    async fn has_stream(&self, name: &str) -> Option<Check> {
        let error = self.jetstream.get_stream(name).await.err()?;
        Some(self.unanswered(&format!("stream {name}: {error}")))
    }

    /// What was refused says more than that no answer came.
    fn unanswered(&self, error: &str) -> Check {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner).join("; ");
        if refused.is_empty() {
            return Check::failed(STREAMS, error, "Look at nats-server's log, and run `bill-setup streams`.");
        }
        let fix = "Start nats-server with nats/nats-server.conf of this build, which lists what each user may do.";
        Check::failed(STREAMS, format!("{error}: {refused}"), fix)
    }

    pub(super) async fn close(&self) {
        drop(self.client.drain().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, want) in [
            ("2.11.0", Some((2, 11))),
            ("2.15.3-beta.1", Some((2, 15))),
            ("3.0", Some((3, 0))),
            ("2", None),
            ("", None),
        ] {
            assert_eq!(version(text), want, "{text}");
        }
        assert!(version("2.9.10").unwrap() < OLDEST && version("3.0.0").unwrap() > OLDEST);
    }
}
