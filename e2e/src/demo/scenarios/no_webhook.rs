//! The quota is used up, and nobody says so: the sweep sees it.

use common::contract::TriggerKind;
use serde_json::json;
use xtask::say;

use super::Ending;
use crate::demo::describe::plain;
use crate::demo::picks;
use crate::demo::stage::Stage;

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.set_up("pm_card_visa", &json!({})).await?;
    stage.part();

    say("4. The quota is used up, and the KMS's webhook is lost.");
    stage.spend(350).await?;
    stage.spend(520).await?;
    let interval = stage.settings.value("SWEEP_INTERVAL").to_owned();
    say(format_args!("   Every SWEEP_INTERVAL, {interval}, everybody's balance is read."));
    let low = stage.until("the sweep to see it", picks::low).await?;
    say("5. The sweep saw it, and its word goes the same way as a webhook.");
    let charged = stage.until("the charge", picks::charged).await?;
    let settled = stage.until("the recharge to settle", picks::settled).await?;

    let webhooks = stage.webhooks();
    Ok(Ending::new(&["settled"], "Nobody said a word, and the quota is raised all the same.")
        .charged(&charged)
        .row("seen by the sweep", format!("{} left of {}", plain(low.available), plain(low.quota)))
        .verdict(charged.triggered_by == TriggerKind::Sweep, "the sweep was what started it")
        .verdict(webhooks == 0, "there was no webhook")
        .verdict(settled.recharge_id == charged.recharge_id, "the recharge settled"))
}
