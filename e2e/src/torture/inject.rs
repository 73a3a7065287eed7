//! Does what the schedule says, each fault at its time and for as long as it lasts, several at once.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::fault::{Fault, Harm, Link, Replica};
use super::field::Field;
use super::notes::Notes;
use super::proxy::{Ending, Mode};
use super::schedule::Injection;
use crate::random::Random;
use crate::repeat;
use crate::service::Service;
use crate::wait;

/// Runs the whole schedule. What could not be done, and what a service did not take well, is noted.
pub(super) async fn run(field: &Arc<Field>, notes: &Arc<Notes>, schedule: Vec<Injection>, seed: u64) {
    let started = Instant::now();
    let mut faults = JoinSet::new();
    for (number, injection) in schedule.into_iter().enumerate() {
        let (field, notes) = (Arc::clone(field), Arc::clone(notes));
        faults.spawn(async move {
            tokio::time::sleep_until(started + injection.at).await;
            notes.begins(&injection);
            if let Err(error) = inject(&field, &notes, &injection, seed ^ number as u64).await {
                notes.complain(format!("{}: {error:#}", injection.fault));
            }
            notes.ends(&injection);
        });
    }
    while faults.join_next().await.is_some() {}
}

async fn inject(field: &Field, notes: &Notes, injection: &Injection, seed: u64) -> anyhow::Result<()> {
    let lasts = injection.lasts;
    match &injection.fault {
        Fault::Kill(replica) => {
            let mut service = running(field, notes, *replica).await?;
            service.kill9()?;
            tokio::time::sleep(lasts).await;
            service.start_again()
        }
        Fault::Storm(replica) => storm(field, notes, *replica, lasts, seed).await,
        Fault::Freeze(replica) => {
            let mut service = running(field, notes, *replica).await?;
            service.freeze()?;
            tokio::time::sleep(lasts).await;
            service.go_on()
        }
        Fault::FreezeAndKill(replica) => {
            let mut service = running(field, notes, *replica).await?;
            service.freeze()?;
            tokio::time::sleep(lasts).await;
            service.kill9()?;
            service.start_again()
        }
        Fault::Restart(replica) => {
            let mut service = running(field, notes, *replica).await?;
            until_alive(field, &service).await?;
            let stopped = service.stop();
            tokio::time::sleep(lasts).await;
            service.start_again()?;
            stopped
        }
        Fault::LedgerAway { frozen } => every_ledger_away(field, notes, *frozen, lasts).await,
        Fault::BrokerKilled | Fault::BrokerFrozen => broker(field, injection).await,
        Fault::DatabaseKilled | Fault::DatabaseFrozen => database(field, injection).await,
        Fault::Link(link, harm) => harm_link(field, link, *harm, lasts).await,
        Fault::Stripe { route, fault, times } => {
            let one = json!({ "fault": fault, "route": route });
            field.client.stripe_sim("faults", &repeated(one, *times)).await.map(drop)
        }
        Fault::RefundsRefused(times) => {
            field.client.stripe_sim("config", &json!({ "refunds_refuse_next": times })).await.map(drop)
        }
        Fault::Kms { fault, times } => field.client.kms_sim("faults", &repeated(json!(fault), *times)).await.map(drop),
        Fault::WebhooksLost => {
            field.lose_webhooks_of_stripe().await?;
            tokio::time::sleep(lasts).await;
            field.send_webhooks_of_stripe().await
        }
        Fault::StripeDown => field.client.stripe_sim("faults", &down(lasts)).await.map(drop),
        Fault::KmsDown | Fault::KmsAway => field.client.kms_sim("faults", &down(lasts)).await.map(drop),
        Fault::Repeat(count) => {
            repeat_some(field, notes, *count, seed).await;
            Ok(())
        }
    }
}

/// The process, which must run: one that ended by itself is noted, and started again.
async fn running<'a>(field: &'a Field, notes: &Notes, replica: Replica) -> anyhow::Result<MutexGuard<'a, Service>> {
    let service: &Mutex<Service> = field.processes.get(&replica).with_context(|| format!("there is no {replica}"))?;
    let mut service = service.lock().await;
    if let Err(error) = service.check_running() {
        notes.ended_by_itself(format!("{error:#}"));
        service.start_again()?;
    }
    Ok(service)
}

/// One that was started a moment ago can't be asked to stop: it does not listen for signals yet.
async fn until_alive(field: &Field, service: &Service) -> anyhow::Result<()> {
    let url = format!("{}/health/live", service.url);
    let ask = || async { Ok(field.client.http.get(&url).send().await?.error_for_status().map(drop)?) };
    wait::until(&format!("{} to be alive", service.label), ask).await
}

/// Killed again and again, at whatever it has just begun: at its start, or at the messages that came back to it.
async fn storm(field: &Field, notes: &Notes, replica: Replica, lasts: Duration, seed: u64) -> anyhow::Result<()> {
    let (mut random, over) = (Random::new(seed), Instant::now() + lasts);
    let mut service = running(field, notes, replica).await?;
    while Instant::now() < over {
        service.kill9()?;
        notes.sent("processes killed in a storm");
        service.start_again()?;
        tokio::time::sleep(Duration::from_millis(random.between(100, 900))).await;
    }
    Ok(())
}

async fn every_ledger_away(field: &Field, notes: &Notes, frozen: bool, lasts: Duration) -> anyhow::Result<()> {
    let mut ledgers = Vec::new();
    for replica in field.processes.keys().filter(|replica| replica.service == "ledger") {
        ledgers.push(running(field, notes, *replica).await?);
    }
    for ledger in &mut ledgers {
        if frozen { ledger.freeze()? } else { ledger.kill9()? }
    }
    tokio::time::sleep(lasts).await;
    for ledger in &mut ledgers {
        if frozen { ledger.go_on()? } else { ledger.start_again()? }
    }
    Ok(())
}

async fn broker(field: &Field, injection: &Injection) -> anyhow::Result<()> {
    let mut nats = field.nats.lock().await;
    let killed = injection.fault == Fault::BrokerKilled;
    tokio::task::block_in_place(|| if killed { nats.kill() } else { nats.pause() })?;
    tokio::time::sleep(injection.lasts).await;
    tokio::task::block_in_place(|| if killed { nats.start_again() } else { nats.resume() })
}

async fn database(field: &Field, injection: &Injection) -> anyhow::Result<()> {
    let mut cluster = field.cluster.lock().await;
    let killed = injection.fault == Fault::DatabaseKilled;
    tokio::task::block_in_place(|| if killed { cluster.kill() } else { cluster.pause() })?;
    tokio::time::sleep(injection.lasts).await;
    tokio::task::block_in_place(|| if killed { cluster.start_again() } else { cluster.resume() })
}

async fn harm_link(field: &Field, link: &Link, harm: Harm, lasts: Duration) -> anyhow::Result<()> {
    let proxy = field.links.get(link).with_context(|| format!("there is no {link}"))?;
    let mode = match harm {
        Harm::Reset => {
            proxy.cut(Ending::Reset);
            return Ok(());
        }
        Harm::Close => {
            proxy.cut(Ending::Close);
            return Ok(());
        }
        Harm::Refuse => Mode::Refuse,
        Harm::Delay(delay) => Mode::Delay(delay),
        Harm::BlackHole { .. } => Mode::BlackHole,
        Harm::CutAnswers => Mode::CutAnswers,
    };
    proxy.set(mode);
    if harm == Harm::Refuse {
        // Who keeps its connection would never notice.
        proxy.cut(Ending::Reset);
    }
    tokio::time::sleep(lasts).await;
    if harm == (Harm::BlackHole { cut: true }) {
        proxy.cut(Ending::Reset);
    }
    proxy.set(Mode::Pass);
    Ok(())
}

fn repeated(one: Value, times: u32) -> Value {
    (0..times).map(|_| one.clone()).collect()
}

/// The simulators end an outage by themselves.
fn down(lasts: Duration) -> Value {
    json!([format!("down:{}.{:03}", lasts.as_secs(), lasts.subsec_millis())])
}

/// Publishes a few messages of the streams again, under another id, as if the broker had forgotten that it has them.
async fn repeat_some(field: &Field, notes: &Notes, count: u32, seed: u64) {
    let mut random = Random::new(seed);
    for _ in 0..count {
        let name = *random.pick(&repeat::STREAMS);
        let number = random.number();
        // The broker may be away at the moment: then this one is not repeated.
        match repeat_one(field, name, number).await {
            Ok(()) => notes.sent("messages published again"),
            Err(error) => notes.line(&format!("a message of {name} was not published again: {error:#}")),
        }
    }
}

async fn repeat_one(field: &Field, name: &str, number: u64) -> anyhow::Result<()> {
    let mut stream = field.broker.jetstream().get_stream(name).await?;
    let last = stream.info().await?.state.last_sequence;
    repeat::again(&field.broker, &stream, number % last.max(1) + 1, &number.to_string()).await
}
