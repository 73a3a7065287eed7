//! Stripe charges, and its answer is lost: the same key finds the charge again.

use common::contract::RechargeChargedV1;
use serde_json::{Value, json};
use xtask::say;

use super::Ending;
use crate::demo::picks;
use crate::demo::stage::{Stage, answered};

const CALL: &str = "POST /v1/payment_intents";
const LIST: &str = "GET /v1/payment_intents";

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.set_up("pm_card_visa", &json!({})).await?;
    say("   Stripe's own webhook is kept away as well: it would tell us of the charge.");
    let silent = json!({ "webhook_url": null });
    stage.client.stripe_sim("config", &silent).await?;

    say("4. Stripe charges, and the connection is cut before its answer is here (drop_after).");
    let first = lose(stage, "drop_after", 520).await?;
    say(
        "   Was it charged? Nobody guessed: the same call was made again, with the same key, and Stripe repeated its answer.",
    );
    let once = stage.client.stripe_books().await?;

    say("5. Stripe charges, and answers 500 (500_after). Under this key it will say 500 for ever.");
    let second = lose(stage, "500_after", 720).await?;
    say("   So the customer's payments were looked through for the one that names the recharge, and there it was.");
    let twice = stage.client.stripe_books().await?;

    let count = |books: &Value, call: &str| books["calls"][call].as_u64().unwrap_or(0);
    let moral = "Two answers were lost; there are two charges, and no third.";
    let replayed = count(&once, CALL) > 1 && once["idempotent_replays"].as_u64() > Some(0);
    Ok(Ending::new(&["settled", "settled"], moral)
        .charged(&first)
        .charged(&second)
        .row("calls to charge", format!("{} and {}", count(&once, CALL), count(&twice, CALL) - count(&once, CALL)))
        .verdict(replayed, "the first was asked for again, with the same key, and replayed")
        .verdict(once["charges_succeeded"] == 1, "after it there was one charge")
        .verdict(count(&twice, LIST) > count(&once, LIST), "the second was looked for")
        .verdict(twice["charges_succeeded"] == 2, "after it there were two charges"))
}

/// Uses up the quota with a fault on the charge. Returns the charge that settled.
async fn lose(stage: &mut Stage, fault: &str, usage: u32) -> anyhow::Result<RechargeChargedV1> {
    stage.part();
    stage.faults(&stage.client.stripe, &json!([{ "fault": fault, "route": CALL }])).await?;
    let answer = stage.exceed(usage);
    let charged = stage.until("the charge", picks::charged).await?;
    stage.until("the recharge to settle", picks::settled).await?;
    answered(answer).await?;
    Ok(charged)
}
