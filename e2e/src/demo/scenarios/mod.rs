//! Faults, played on the whole system with commentary: what happens, and that money and quota come out right.

mod bank_confirmation;
mod closing;
mod declined;
mod kms_down;
mod lost_answer;
mod no_webhook;

use anyhow::anyhow;
use xtask::demo::Scenario;
use xtask::say;

use self::closing::Ending;
use super::stage::Stage;

/// Plays one, and checks its end against the books of all who were part of it.
///
/// # Errors
/// When it did not come out as told.
pub(super) async fn play(scenario: Scenario, mut stage: Stage) -> anyhow::Result<()> {
    say(format_args!("Scenario {}: {}", scenario.name(), promise(scenario)));
    stage.settings.print();
    say("");
    // Some wait for several things, one after the other.
    let limit = stage.settings.patience().saturating_mul(4);
    let ending = tokio::time::timeout(limit, act(scenario, &mut stage)).await;
    let ending = ending.map_err(|_| anyhow!("the scenario has not ended after {limit:?}"))??;
    ending.check(&stage).await
}

async fn act(scenario: Scenario, stage: &mut Stage) -> anyhow::Result<Ending> {
    match scenario {
        Scenario::KmsDown => kms_down::play(stage).await,
        Scenario::Declined => declined::play(stage).await,
        Scenario::BankConfirmation => bank_confirmation::play(stage).await,
        Scenario::LostAnswer => lost_answer::play(stage).await,
        Scenario::NoWebhook => no_webhook::play(stage).await,
    }
}

fn promise(scenario: Scenario) -> &'static str {
    match scenario {
        Scenario::KmsDown => "a charge that can't take effect in time is given back, completely.",
        Scenario::Declined => "a declined card changes nothing, and is not tried again and again.",
        Scenario::BankConfirmation => "the bank wants the customer, who confirms the same payment, once.",
        Scenario::LostAnswer => "Stripe charges and its answer is lost; nothing is charged twice.",
        Scenario::NoWebhook => "webhooks only make it faster; the sweep sees every low balance.",
    }
}
