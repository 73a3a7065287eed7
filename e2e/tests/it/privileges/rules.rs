//! `nats/nats-server.conf`, read as text, beside what the contract and `nats/*.json` say.

use std::collections::BTreeMap;

use anyhow::Context;
use common::broker::Definitions;
use common::contract::streams;
use serde_json::Value;

use super::SERVICES;

/// What a user may publish and subscribe to.
#[derive(Debug, Default)]
pub(super) struct Rules {
    pub(super) publish: Vec<String>,
    pub(super) subscribe: Vec<String>,
}

impl Rules {
    pub(super) fn may_publish(&self, subject: &str) -> bool {
        self.publish.iter().any(|pattern| covers(pattern, subject))
    }
}

/// Whether a pattern holds every subject that another pattern, or subject, does.
fn covers(pattern: &str, subject: &str) -> bool {
    let (mut pattern, mut subject) = (pattern.split('.'), subject.split('.'));
    loop {
        match (pattern.next(), subject.next()) {
            (Some(">"), Some(_)) | (None, None) => return true,
            (Some("*"), Some(token)) if token != ">" => {}
            (Some(want), Some(token)) if want == token => {}
            _ => return false,
        }
    }
}

pub(super) fn committed() -> anyhow::Result<String> {
    std::fs::read_to_string(xtask::paths::nats_config()).context("nats/nats-server.conf")
}

/// The users that have rules, by name.
pub(super) fn rules() -> anyhow::Result<BTreeMap<String, Rules>> {
    let text = committed()?;
    let code: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let code = code.join("\n");
    let users = code.split("{ user: ").skip(1).filter(|user| user.contains("permissions:"));
    Ok(users
        .map(|user| {
            let name = user.split(',').next().unwrap_or_default().to_owned();
            (name, Rules { publish: subjects(user, "publish:"), subscribe: subjects(user, "subscribe:") })
        })
        .collect())
}

fn subjects(user: &str, which: &str) -> Vec<String> {
    let list =
        user.split_once(which).and_then(|(_, rest)| rest.split_once('[')?.1.split_once(']')).unwrap_or_default().0;
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Every subject of the contract with who publishes it.
fn contract() -> anyhow::Result<Vec<(String, String)>> {
    let file = xtask::paths::root().join("nats").join("asyncapi.json");
    let document: Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
    let channels = document["channels"].as_object().context("no channels")?;
    channels
        .values()
        .map(|channel| {
            let address = channel["address"].as_str().context("a channel without an address")?;
            let publisher = channel["description"].as_str().and_then(|text| text.rsplit(' ').next());
            let publisher = publisher.context("a channel without a publisher")?.trim_end_matches('.');
            Ok((address.replace("{organization}", "acme"), publisher.to_owned()))
        })
        .collect()
}

#[test]
fn each_publishes_its_own_part_of_the_contract() -> anyhow::Result<()> {
    let code = committed()?;
    let granted = code.lines().find(|line| !line.trim_start().starts_with('#') && line.contains("allow_responses"));
    assert_eq!(granted, None, "an answer could be published on any subject that is named by who asks");
    let rules = rules()?;
    let names: Vec<&str> = rules.keys().map(String::as_str).collect();
    assert_eq!(names, ["ingress", "ledger", "recharger", "syncer", "viewer"]);
    let contract = contract()?;
    assert!(contract.len() > 20, "{contract:?}");
    for (subject, publisher) in &contract {
        for (user, rules) in &rules {
            assert_eq!(rules.may_publish(subject), user == publisher, "{user} on {subject}");
        }
    }
    // Whatever a stream takes: its owner all of it, the others nothing.
    for stream in Definitions::committed()?.streams {
        let owner = stream.metadata.get("owner").cloned().unwrap_or_default();
        for subject in &stream.subjects {
            for (user, rules) in &rules {
                let held: Vec<&String> = rules.publish.iter().filter(|pattern| covers(subject, pattern)).collect();
                let expected = match stream.name.as_str() {
                    streams::DEAD_LETTERS if user != "ingress" && user != "viewer" => vec![format!("dead.{user}.>")],
                    _ if *user == owner => vec![subject.clone()],
                    _ => Vec::new(),
                };
                assert_eq!(held, expected.iter().collect::<Vec<_>>(), "{user} on {subject}");
            }
        }
    }
    Ok(())
}

#[test]
fn each_reads_its_own_consumers() -> anyhow::Result<()> {
    let rules = rules()?;
    let definitions = Definitions::committed()?;
    let mut wanted: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for consumer in &definitions.consumers {
        let (stream, name) = (&consumer.stream, consumer.config.durable_name.as_deref().unwrap_or_default());
        let list = wanted.entry(name).or_default();
        list.push(format!("$JS.API.CONSUMER.INFO.{stream}.{name}"));
        list.push(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"));
        list.push(format!("$JS.ACK.{stream}.{name}.>"));
        list.push(format!("$JS.ACK.*.*.{stream}.{name}.>"));
        // What the net under the loop reads again; it has no net of its own.
        if stream != streams::ADVISORIES {
            list.push(format!("$JS.API.DIRECT.GET.{stream}"));
            list.push(format!("$JS.API.STREAM.MSG.GET.{stream}"));
        }
    }
    for service in SERVICES.into_iter().filter(|service| *service != "ingress") {
        let mut wanted = wanted.remove(service).context(service)?;
        wanted.sort_unstable();
        let mut granted: Vec<String> =
            rules[service].publish.iter().filter(|subject| subject.starts_with('$')).cloned().collect();
        granted.sort_unstable();
        assert_eq!(granted, wanted, "{service}");
    }
    assert!(wanted.is_empty(), "consumers of nobody: {wanted:?}");
    // Ingress has none, and tells how far everybody's are; and it looks after dead letters.
    let letters = ["DIRECT.GET", "STREAM.MSG.GET", "STREAM.MSG.DELETE", "STREAM.INFO"];
    let mut wanted: Vec<String> =
        letters.iter().map(|call| format!("$JS.API.{call}.{}", streams::DEAD_LETTERS)).collect();
    wanted.extend(definitions.consumers.iter().map(|consumer| {
        let name = consumer.config.durable_name.as_deref().unwrap_or_default();
        format!("$JS.API.CONSUMER.INFO.{}.{name}", consumer.stream)
    }));
    wanted.sort_unstable();
    let mut granted: Vec<String> =
        rules["ingress"].publish.iter().filter(|subject| subject.starts_with('$')).cloned().collect();
    granted.sort_unstable();
    assert_eq!(granted, wanted, "ingress");
    for (user, rules) in &rules {
        let inboxes: Vec<&String> = rules.subscribe.iter().filter(|subject| subject.starts_with("_INBOX_")).collect();
        assert_eq!(inboxes, [&format!("_INBOX_{user}.>")]);
    }
    Ok(())
}

#[test]
fn patterns() {
    for (pattern, subject, expected) in [
        ("a.>", "a.b.c", true),
        ("a.>", "a", false),
        ("a.>", "a.>", true),
        ("a.*", "a.b", true),
        ("a.*", "a.>", false),
        ("a.*", "a.b.c", false),
        ("a.b", "a.b", true),
        ("a.b.>", "a.>", false),
    ] {
        assert_eq!(covers(pattern, subject), expected, "{pattern} {subject}");
    }
}
