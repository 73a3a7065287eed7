//! The recharger on a real database and a played Stripe: claims, lost answers, repeats, and facts in any order.
#![forbid(unsafe_code)]

mod afterwards;
mod asking;
mod figures;
mod interleavings;
mod undo;
mod world;

use std::time::Duration;

use anyhow::Context;
use common::contract::{
    Event, LimitExceededV1, Outgoing, RechargeChargedV1, RechargeSettledV1, RechargeSkippedV1, SkipReason,
};
use common::failure::Failure;
use common::ids::EventId;
use common::worker::Handler;
use futures_util::future::join_all;
use rust_decimal::Decimal;
use serde_json::json;
use world::{World, booked, delivery, in_force, organization};

fn one(events: Result<Vec<Outgoing>, Failure>) -> anyhow::Result<Outgoing> {
    let mut events = events?;
    anyhow::ensure!(events.len() == 1, "{events:?}");
    events.pop().context("an event")
}

fn charged(out: &Outgoing) -> anyhow::Result<Event<RechargeChargedV1>> {
    Ok(Event::decode(&out.body)?)
}

fn skipped(out: &Outgoing) -> anyhow::Result<SkipReason> {
    Ok(Event::<RechargeSkippedV1>::decode(&out.body)?.data.reason)
}

/// What the ledger and the syncer would say of a charge.
fn follow_ups(charge: &Event<RechargeChargedV1>, version: i64, quota: i64) -> anyhow::Result<(Outgoing, Outgoing)> {
    let id = charge.data.recharge_id;
    let (credited, synced) = (booked(&charge.data, version, quota), in_force(version, quota));
    let (at, correlation) = (charge.time, &charge.correlationid);
    Ok((
        Event::following(&id, &organization(), at, correlation, credited).outgoing()?,
        Event::following(&format!("v{version}"), &organization(), at, correlation, synced).outgoing()?,
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_and_forty_triggers_at_once_make_one_charge() -> anyhow::Result<()> {
    let world = World::new("pm_card_visa").await?;
    let (a, b) = (world.recharger()?, world.recharger()?);
    let deliveries: Vec<_> = (0..40).map(|n| world.limit_exceeded(&format!("evt_{n}"), "500", 1)).collect();
    let replicas = [&a, &b];
    let handled = deliveries.iter().enumerate().map(|(n, delivery)| replicas[n % 2].handle(delivery));
    let mut charges = 0;
    for outcome in join_all(handled).await {
        let out = one(outcome)?;
        if out.subject == "recharges.charged.acme" {
            charges += 1;
        } else {
            assert_eq!(skipped(&out)?, SkipReason::InFlight);
        }
    }
    assert_eq!(charges, 1);
    assert_eq!(world.succeeded().await?, 1);
    world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_says_the_same_to_the_byte_at_every_step() -> anyhow::Result<()> {
    let world = World::new("pm_card_visa").await?;
    let recharger = world.recharger()?;
    let trigger = world.limit_exceeded("evt_1", "500", 1);
    let charge = one(recharger.handle(&trigger).await)?;
    assert_eq!(one(recharger.handle(&trigger).await)?, charge);
    let (credited, synced) = follow_ups(&charged(&charge)?, 1, 20_000)?;
    for _ in 0..2 {
        assert_eq!(recharger.handle(&delivery(&credited, 1)).await?, []);
    }
    let settled = one(recharger.handle(&delivery(&synced, 1)).await)?;
    assert_eq!(settled.subject, "recharges.settled.acme");
    assert_eq!(Event::<RechargeSettledV1>::decode(&settled.body)?.data.new_quota, Decimal::new(20_000, 2));
    assert_eq!(one(recharger.handle(&delivery(&synced, 2)).await)?, settled);
    // The trigger, late: what it led to is said, and nobody is charged.
    assert_eq!(one(recharger.handle(&trigger).await)?, settled);
    // A skip is decided once, and stays.
    let stale = world.limit_exceeded("evt_2", "500", 1);
    let skip = one(recharger.handle(&stale).await)?;
    assert_eq!(skipped(&skip)?, SkipReason::AlreadyRecharged);
    assert_eq!(one(recharger.handle(&stale).await)?, skip);
    assert_eq!(world.succeeded().await?, 1);
    world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledgers_and_the_syncers_word_may_come_in_either_order() -> anyhow::Result<()> {
    let world = World::new("pm_card_visa").await?;
    let recharger = world.recharger()?;
    let charge = one(recharger.handle(&world.limit_exceeded("evt_1", "500", 1)).await)?;
    let (credited, synced) = follow_ups(&charged(&charge)?, 1, 20_000)?;
    assert_eq!(recharger.handle(&delivery(&synced, 1)).await?, []);
    let settled = one(recharger.handle(&delivery(&credited, 1)).await)?;
    assert_eq!(settled.subject, "recharges.settled.acme");
    assert_eq!(one(recharger.handle(&delivery(&credited, 2)).await)?, settled);
    assert_eq!(recharger.handle(&delivery(&synced, 2)).await?, [], "only the event that settled it says so again");
    world.remove().await
}

/// Each fault, then repeats until something is certain: exactly one payment intent with money, and it is found.
#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_lost_is_found_again_with_the_same_key() -> anyhow::Result<()> {
    for fault in ["drop_before", "drop_after", "500_before", "500_after", "html502", "429", "slow:700"] {
        let world = World::new("pm_card_visa").await?;
        let recharger = world.recharger()?;
        world.faults(&json!([fault])).await?;
        let mut said = None;
        for attempt in 1..=10 {
            match recharger.handle(&world.limit_exceeded("evt_1", "500", attempt)).await {
                Ok(events) => {
                    said = events.into_iter().next();
                    break;
                }
                Err(Failure::Retry { .. }) => tokio::time::sleep(Duration::from_millis(100)).await,
                Err(other) => anyhow::bail!("{fault}: {other}"),
            }
        }
        let said = said.with_context(|| format!("{fault}: nothing became certain"))?;
        assert_eq!(said.subject, "recharges.charged.acme", "{fault}");
        assert_eq!(world.succeeded().await?, 1, "{fault}");
        world.remove().await?;
    }
    Ok(())
}

/// A key of ours that Stripe does not take says nothing about a card: nothing ends, nothing is paused.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_of_ours_is_no_decline() -> anyhow::Result<()> {
    let world = World::new("pm_card_visa").await?;
    let recharger = world.recharger_with_key("")?;
    let outcome = recharger.handle(&world.limit_exceeded("evt_1", "500", 1)).await;
    assert!(matches!(outcome, Err(Failure::Retry { .. })), "{outcome:?}");
    let charge = one(world.recharger()?.handle(&world.limit_exceeded("evt_1", "500", 2)).await)?;
    assert_eq!(charge.subject, "recharges.charged.acme");
    assert_eq!(world.succeeded().await?, 1);
    world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unresolved_team_is_resolved_later_or_skipped() -> anyhow::Result<()> {
    let world = World::new("pm_card_visa").await?;
    let recharger = world.recharger()?;
    let unresolved = |id: &str, team: &str| -> anyhow::Result<_> {
        let data = LimitExceededV1 { team_id: team.parse()?, ..world::exceeded("500") };
        let event = Event::first(EventId::parse(id)?, None, world::at(), data);
        Ok(delivery(&event.outgoing()?, 1))
    };
    let charge = one(recharger.handle(&unresolved("evt_1", "team_acme")?).await)?;
    assert_eq!(charge.subject, "recharges.charged.acme");
    let skip = one(recharger.handle(&unresolved("evt_2", "team_nobody")?).await)?;
    assert_eq!(skip.subject, "recharges.skipped.@unresolved");
    assert_eq!(skipped(&skip)?, SkipReason::UnknownOrganization);
    world.remove().await
}

#[tokio::test(flavor = "multi_thread")]
async fn caps_hold_whatever_comes_at_once() -> anyhow::Result<()> {
    let world = World::new("pm_card_visa").await?;
    world.policy("max_daily_amount = 500, minimum_recharge_amount = 200, max_daily_recharges = 100").await?;
    let recharger = world.recharger()?;
    let mut charged_in_all = 0;
    for round in 0_i64..5 {
        let limit = (round * 200 + 500).to_string();
        let deliveries: Vec<_> = (0..8).map(|n| world.limit_exceeded(&format!("evt_{round}_{n}"), &limit, 1)).collect();
        for outcome in join_all(deliveries.iter().map(|delivery| recharger.handle(delivery))).await {
            let out = one(outcome)?;
            let Ok(charge) = charged(&out) else { continue };
            charged_in_all += charge.data.amount.minor;
            let (credited, synced) = follow_ups(&charge, round + 1, charged_in_all)?;
            recharger.handle(&delivery(&credited, 1)).await?;
            recharger.handle(&delivery(&synced, 1)).await?;
        }
    }
    // 200 and 200; then the headroom is 100, less than the least that is bought.
    assert_eq!(charged_in_all, 40_000);
    assert_eq!(world.succeeded().await?, 2);
    world.remove().await
}
