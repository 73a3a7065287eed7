//! A card without funds rests, a lost card pauses, and a new card goes on.

use std::time::Duration;

use common::contract::{DeclineClass, SkipReason};
use serde_json::json;
use xtask::say;

use super::Ending;
use crate::demo::picks;
use crate::demo::stage::{Stage, answered};

/// The organization's own rest; an hour where it has none.
const REST: Duration = Duration::from_secs(8);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Ending> {
    // So long that a sweep comes in the middle.
    let rest = REST.max(stage.settings.duration("SWEEP_INTERVAL").saturating_mul(3)).as_secs();
    let policy = json!({ "cooldown_seconds": rest });
    stage.set_up("pm_card_chargeDeclinedInsufficientFunds", &policy).await?;
    stage.part();

    say("4. The quota is used up, and there is no money on the card.");
    answered(stage.exceed(520)).await?;
    let soft = stage.until("the decline", picks::declined).await?;
    let until = stage.balance().await?["cooldown_until"].as_str().unwrap_or("?").to_owned();
    say(format_args!(
        "   It may work later, so automatic recharge rests: until {until}, {rest} seconds here, usually an hour."
    ));
    say("   Nothing was booked. The sweep still sees the low balance; the bank is not asked.");
    let skipped = |fact: &_| picks::skipped(fact).filter(|skipped| skipped.reason == SkipReason::Cooldown);
    stage.until("the rest after the decline", skipped).await?;

    say("5. Another card is saved, which was reported lost. It is charged when the rest is over and the sweep comes.");
    stage.part();
    stage.save_card("pm_card_chargeDeclinedLostCard").await?;
    let hard = stage.until("the second decline", picks::declined).await?;
    say(
        "   This card will never work: automatic recharge is paused until there is another one, or a person resumes it.",
    );
    let pause = |fact: &_| picks::skipped(fact).filter(|skipped| skipped.reason == SkipReason::Paused);
    stage.until("the pause", pause).await?;
    let balance = stage.balance().await?;
    say(format_args!("   The API says: paused {}, because of {}.", balance["paused"], balance["pause_reason"]));

    say("6. A good card is saved: that ends the pause, and the balance is looked at at once.");
    stage.part();
    stage.save_card("pm_card_visa").await?;
    let charged = stage.until("the charge", picks::charged).await?;
    let settled = stage.until("the recharge to settle", picks::settled).await?;
    let after = stage.balance().await?;

    let calls = stage.client.stripe_books().await?["calls"]["POST /v1/payment_intents"].clone();
    let moral = "Two declines changed nothing, and the bank was asked once for each card.";
    Ok(Ending::new(&["declined", "declined", "settled"], moral)
        .row("declined", format!("{} ({})", soft.message, soft.decline_code.clone().unwrap_or_default()))
        .row("declined", format!("{} ({})", hard.message, hard.decline_code.clone().unwrap_or_default()))
        .charged(&charged)
        .verdict(soft.class == DeclineClass::Soft && !soft.paused, "the first decline was soft: it rests")
        .verdict(hard.class == DeclineClass::Hard && hard.paused, "the second was hard: it pauses")
        .verdict(balance["paused"] == true && after["paused"] == false, "the new card lifted the pause")
        .verdict(settled.recharge_id == charged.recharge_id, "the charge on the new card settled")
        .verdict(calls == 3, "Stripe was asked for three charges, one on each card"))
}
