//! What nats-server refuses, tried over its own protocol, which is text: there a refusal is a line, and not a timeout.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, ensure};
use async_nats::jetstream::consumer::pull;
use common::broker::{Broker, Definitions};
use common::contract::streams;
use e2e::stack;
use xtask::nats::{self, NatsServer, USERS};
use xtask::tools::Tools;

use super::{SERVICES, rules};

/// A client that was let in.
struct Client {
    lines: BufReader<TcpStream>,
}

impl Client {
    fn connect(server: &NatsServer, user: &str, password: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", server.port()))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        let mut client = Self { lines: BufReader::new(stream) };
        let login = format!(r#"{{"verbose":false,"headers":true,"user":"{user}","pass":"{password}"}}"#);
        let answer = client.send(&format!("CONNECT {login}\r\n"))?;
        ensure!(answer.is_empty(), "{answer:?}");
        Ok(client)
    }

    /// Sends, and returns what the server says to it: nothing, where it agrees.
    fn send(&mut self, text: &str) -> anyhow::Result<Vec<String>> {
        write!(self.lines.get_mut(), "{text}PING\r\n")?;
        let mut said = Vec::new();
        loop {
            let line = match self.line() {
                // It says why, and closes the connection.
                Err(_) if !said.is_empty() => return Ok(said),
                line => line?,
            };
            match line.split(' ').next().unwrap_or_default() {
                "PONG" => return Ok(said),
                "-ERR" => said.push(line),
                _ => {}
            }
        }
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        ensure!(self.lines.read_line(&mut line)? > 0, "the server closed the connection");
        Ok(line.trim_end().to_owned())
    }

    fn publish(&mut self, subject: &str) -> anyhow::Result<bool> {
        let said = self.send(&format!("PUB {subject} 2\r\n{{}}\r\n"))?;
        Self::understood(&said, subject)
    }

    fn subscribe(&mut self, subject: &str) -> anyhow::Result<bool> {
        let said = self.send(&format!("SUB {subject} 1\r\nUNSUB 1\r\n"))?;
        Self::understood(&said, subject)
    }

    /// Whether it was allowed; a refusal names the subject.
    fn understood(said: &[String], subject: &str) -> anyhow::Result<bool> {
        let Some(refusal) = said.first() else { return Ok(true) };
        ensure!(refusal.contains("Permissions Violation") && refusal.contains(subject), "{subject}: {said:?}");
        Ok(false)
    }

    /// Asks a consumer for one message, and waits until it comes.
    fn next(&mut self, inbox: &str, stream: &str, consumer: &str) -> anyhow::Result<String> {
        let ask = format!("PUB $JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer} {inbox} 1\r\n1\r\n");
        write!(self.lines.get_mut(), "SUB {inbox} 7\r\n{ask}")?;
        loop {
            let line = self.line()?;
            ensure!(!line.starts_with("-ERR"), "{line}");
            if line.starts_with("MSG ") || line.starts_with("HMSG ") {
                return Ok(line);
            }
        }
    }
}

/// The committed configuration with the user in it that the page beside it offers for copying.
fn with_the_user_of_the_readme(password: &str) -> anyhow::Result<String> {
    let page = std::fs::read_to_string(xtask::paths::root().join("nats").join("README.md"))?;
    let user = page.split("```").find(|block| block.trim_start().starts_with("{ user: reports")).context("no user")?;
    let marker = "# Users of other teams stand here";
    let text = rules::committed()?;
    ensure!(text.matches(marker).count() == 1, "nowhere to put it");
    let user = user.replace("$NATS_REPORTS_PASSWORD", password);
    Ok(text.replace(marker, &format!("{user}\n{marker}")))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_broker_refuses_what_is_not_a_users_own() -> anyhow::Result<()> {
    let tools = Tools::from_env()?;
    let options = nats::Options { config: Some(with_the_user_of_the_readme("p1")?), ..nats::Options::default() };
    let server = tokio::task::block_in_place(|| NatsServer::start(&tools.nats_server, options))?;
    let setup = stack::connect(&server).await?;
    let definitions = Definitions::committed()?;
    definitions.apply(setup.jetstream()).await?;
    let durable = pull::Config { durable_name: Some("reports".to_owned()), ..pull::Config::default() };
    setup.jetstream().create_consumer_on_stream(durable, streams::RECHARGES).await?;

    let before = state(&setup, &definitions).await?;
    tokio::task::block_in_place(|| {
        strangers(&server)?;
        for user in USERS.into_iter().filter(|user| !["setup", "sys"].contains(user)) {
            let password = server.password_of(user).context("a user without a password")?;
            refusals(&mut Client::connect(&server, user, password)?, user, &definitions)
                .with_context(|| format!("as {user}"))?;
        }
        refusals(&mut Client::connect(&server, "reports", "p1")?, "reports", &definitions).context("as reports")
    })?;
    assert_eq!(state(&setup, &definitions).await?, before, "something was changed all the same");

    // And what the page's user is for works.
    let published = setup.jetstream().publish("recharges.settled.acme", "1".into()).await?.await?;
    tokio::task::block_in_place(|| {
        let mut reports = Client::connect(&server, "reports", "p1")?;
        let message = reports.next("_INBOX_reports.one", streams::RECHARGES, "reports")?;
        let ack = message.split(' ').nth(3).context("a message without a reply subject")?.to_owned();
        ensure!(message.starts_with("MSG recharges.settled.acme 7 ") && reports.publish(&ack)?, "{message}");
        assert!(reports.subscribe("ledger.>")? && !reports.subscribe("requests.>")?);
        anyhow::Ok(())
    })?;
    assert_eq!(published.sequence, 1);
    setup.close().await;
    Ok(())
}

/// What must not change: each stream's messages and each consumer's progress.
async fn state(setup: &Broker, definitions: &Definitions) -> anyhow::Result<Vec<String>> {
    let mut lines = definitions.drift(setup.jetstream()).await?;
    for stream in &definitions.streams {
        let stream = setup.jetstream().get_stream(&stream.name).await?;
        let info = stream.cached_info();
        lines.push(format!("{} {} {}", info.config.name, info.state.last_sequence, info.state.consumer_count));
    }
    for consumer in &definitions.consumers {
        let name = consumer.config.durable_name.clone().unwrap_or_default();
        let consumer: async_nats::jetstream::consumer::PullConsumer =
            setup.jetstream().get_consumer_from_stream(&name, consumer.stream.as_str()).await?;
        let info = consumer.cached_info();
        lines.push(format!("{} {name} {}", info.stream_name, info.delivered.consumer_sequence));
    }
    Ok(lines)
}

fn strangers(server: &NatsServer) -> anyhow::Result<()> {
    let password = server.password_of("ledger").context("no password")?;
    for (user, password) in [("ledger", "wrong"), ("ledger", ""), ("nobody", password), ("", "")] {
        let refused = Client::connect(server, user, password).err().context("let in")?;
        assert!(refused.to_string().contains("Authorization Violation"), "{user}: {refused}");
    }
    Ok(())
}

/// Tries everything that is somebody else's, and that nobody but the operator may.
fn refusals(client: &mut Client, user: &str, definitions: &Definitions) -> anyhow::Result<()> {
    let own = match user {
        "ingress" => vec!["webhooks", "requests", "queries"],
        "recharger" => vec!["recharges"],
        "ledger" => vec!["ledger"],
        "syncer" => vec!["quotas"],
        _ => vec![],
    };
    for first in ["webhooks", "requests", "queries", "recharges", "ledger", "quotas"] {
        if !own.contains(&first) {
            let subject = format!("{first}.forged.acme");
            ensure!(!client.publish(&subject)?, "may publish {subject}");
        }
    }
    for other in SERVICES.into_iter().filter(|service| *service != user) {
        ensure!(!client.publish(&format!("dead.{other}.forged"))?, "may publish dead letters of {other}");
        // It answers what ingress asks.
        let answers = user == "recharger" && other == "ingress";
        ensure!(client.publish(&format!("_INBOX_{other}.answer"))? == answers, "{other}'s inbox");
        ensure!(!client.subscribe(&format!("_INBOX_{other}.>"))?, "may read the answers to {other}");
    }
    for subject in [">", "*.>", "$JS.ACK.>", "$SYS.>", "_INBOX_setup.>"] {
        ensure!(!client.subscribe(subject)?, "may subscribe to {subject}");
    }
    ensure!(!client.publish("$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.LEDGER.syncer")?, "may forge advisories");
    for consumer in &definitions.consumers {
        let (stream, name) = (&consumer.stream, consumer.config.durable_name.clone().unwrap_or_default());
        for call in ["CONSUMER.DELETE", "CONSUMER.PAUSE", "CONSUMER.DURABLE.CREATE", "CONSUMER.UNPIN"] {
            let subject = format!("$JS.API.{call}.{stream}.{name}");
            ensure!(!client.publish(&subject)?, "may publish {subject}");
        }
        if name != user {
            let next = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}");
            for subject in
                [next, format!("$JS.ACK.{stream}.{name}.1.1.1.1.1"), format!("$JS.ACK._.x.{stream}.{name}.1")]
            {
                ensure!(!client.publish(&subject)?, "may publish {subject}");
            }
        }
    }
    for stream in &definitions.streams {
        let name = &stream.name;
        let mut calls: Vec<String> = ["CREATE", "UPDATE", "DELETE", "PURGE", "SNAPSHOT", "RESTORE"]
            .map(|call| format!("$JS.API.STREAM.{call}.{name}"))
            .into();
        calls.push(format!("$JS.API.CONSUMER.CREATE.{name}"));
        calls.push(format!("$JS.API.CONSUMER.CREATE.{name}.mine.anything"));
        if user != "ingress" || name != streams::DEAD_LETTERS {
            calls.push(format!("$JS.API.STREAM.MSG.DELETE.{name}"));
        }
        for subject in calls {
            ensure!(!client.publish(&subject)?, "may publish {subject}");
        }
    }
    Ok(())
}
