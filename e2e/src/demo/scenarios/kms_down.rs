//! The KMS goes away before its quota could be raised, and does not come back in time: all of it is undone.

use common::contract::SkipReason;
use serde_json::json;
use xtask::say;

use super::Ending;
use crate::demo::picks;
use crate::demo::stage::{Stage, answered};

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.set_up("pm_card_visa", &json!({})).await?;
    stage.part();

    say("4. The KMS goes away. The last that is heard of it: the quota is used up.");
    stage.faults(&stage.client.kms, &json!(["down:3600"])).await?;
    let answer = stage.exceed(520);
    let charged = stage.until("the charge", picks::charged).await?;
    let credited = stage.until("the booking", picks::credited).await?;
    let deadline = stage.settings.value("SYNC_DEADLINE").to_owned();
    say(format_args!(
        "   Charged, and booked; but the quota can't be raised. It is tried for SYNC_DEADLINE, {deadline}."
    ));
    let failed = stage.until("quotas.failed", picks::quota_failed).await?;

    say("5. The time is over, and nobody shall have paid for nothing: the charge goes back.");
    answered(answer).await?;
    let refunded = stage.until("the refund", picks::refunded).await?;
    let reversed = stage.until("the ledger's reversal", picks::reversed).await?;
    say(format_args!(
        "   {} are back on the card, and the ledger has a quota of {} again.",
        refunded.total_refunded, reversed.quota
    ));

    say("6. The KMS comes back.");
    stage.faults(&stage.client.kms, &json!([])).await?;
    let version = reversed.ledger_version;
    let in_force = |fact: &_| picks::in_force(fact).filter(|synced| synced.ledger_version >= version);
    stage.until("the quota of before to be in force", in_force).await?;
    say("   It has the quota of before. Little is left, which the sweep sees; but what has just failed rests.");
    let cooldown = |fact: &_| picks::skipped(fact).filter(|skipped| skipped.reason == SkipReason::Cooldown);
    stage.until("the rest after the undo", cooldown).await?;
    let until = stage.balance().await?["cooldown_until"].as_str().unwrap_or("?").to_owned();
    say(format_args!("   Automatic recharge rests until {until}."));

    let id = Some(charged.recharge_id);
    let same = [credited.recharge_id, failed.recharge_id, Some(refunded.recharge_id), reversed.recharge_id];
    let ending = Ending::new(&["refunded"], "It was undone: paid back, taken back, and no quota moved.");
    Ok(ending
        .charged(&charged)
        .refunded(&refunded)
        .row("rests until", until)
        .verdict(refunded.total_refunded == charged.total_charge, "the whole charge went back: nothing is left of it")
        .verdict(reversed.amount == charged.amount, "the ledger took back what it had booked")
        .verdict(
            same.into_iter().all(|other| other == id),
            "booking, failure, refund and reversal are of one recharge",
        ))
}
