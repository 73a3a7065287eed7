//! The bank wants the customer, who gets a link, confirms at the bank, and comes back.

use std::time::Duration;

use anyhow::{Context, ensure};
use common::contract::RechargeSettledV1;
use reqwest::header::LOCATION;
use reqwest::{StatusCode, Url, redirect};
use serde_json::json;
use xtask::say;

use super::Ending;
use crate::demo::html::{Form, heading};
use crate::demo::picks;
use crate::demo::stage::{Stage, answered};

/// How long a person has to click.
const PERSON: Duration = Duration::from_secs(90);

pub(super) async fn play(stage: &mut Stage) -> anyhow::Result<Ending> {
    stage.set_up("pm_card_authenticationRequired", &json!({})).await?;
    stage.part();

    say("4. The quota is used up. The bank does not let the card be charged without its holder.");
    let answer = stage.exceed(520);
    let asked = stage.until("the bank's wish", picks::action_required).await?;
    answered(answer).await?;
    let link = asked.confirmation_url.context("recharges.action_required has no confirmation_url")?;
    say("   Nothing was charged. Whoever runs the account gets a link, which works once:");
    say(format_args!("   {link}"));

    say("5. The customer opens it.");
    let browser = Browser::new()?;
    let settled = match by_a_person(stage).await? {
        Some(settled) => settled,
        None => {
            browser.confirm(&link).await?;
            stage.until("the recharge to settle", picks::settled).await?
        }
    };
    let charged = stage.until("the charge", picks::charged).await?;

    say("6. The link once more.");
    let (again, _, page) = browser.open(&link).await?;
    say(format_args!("   GET answers {again}: {}", heading(&page)));
    let pressed = browser.http.post(&link).send().await?.status();
    say(format_args!("   POST answers {pressed}."));

    let intent = asked.payment_intent_id.unwrap_or_default();
    Ok(Ending::new(&["settled"], "The customer confirmed the same payment, and it took effect once.")
        .charged(&charged)
        .verdict(charged.payment_intent_id == intent, "what was confirmed is the payment that the bank had stopped")
        .verdict(settled.recharge_id == asked.recharge_id, "the recharge that waited has settled")
        .verdict(again == StatusCode::GONE && pressed == StatusCode::GONE, "a used link is gone (410)"))
}

/// Waits for a person to do it, if one may be there.
async fn by_a_person(stage: &mut Stage) -> anyhow::Result<Option<RechargeSettledV1>> {
    if stage.alone {
        return Ok(None);
    }
    let seconds = PERSON.as_secs();
    say(format_args!("   Open it in your browser and press the buttons. After {seconds} s the demo does it for you."));
    match stage.hear(PERSON, picks::settled).await? {
        Some(settled) => {
            say("   You did.");
            Ok(Some(settled))
        }
        None => {
            say("   Nobody did: the demo plays the customer.");
            Ok(None)
        }
    }
}

/// A browser without a screen.
struct Browser {
    http: reqwest::Client,
}

impl Browser {
    fn new() -> anyhow::Result<Self> {
        let http = reqwest::Client::builder().redirect(redirect::Policy::none()).timeout(Duration::from_secs(30));
        Ok(Self { http: http.build()? })
    }

    /// Presses every button that there is, from page to page, until none is left.
    async fn confirm(&self, link: &str) -> anyhow::Result<()> {
        let mut at = link.to_owned();
        for _ in 0..4 {
            let (status, url, page) = self.open(&at).await?;
            say(format_args!("   GET {} answers {status}: {}", short(url.path()), heading(&page)));
            ensure!(status.is_success(), "the page could not be opened: {status}");
            let Some(form) = Form::first(&page) else { return Ok(()) };
            at = self.press(&url, &form).await?;
        }
        anyhow::bail!("there are buttons without end")
    }

    async fn open(&self, address: &str) -> anyhow::Result<(StatusCode, Url, String)> {
        let answer = self.http.get(address).send().await?;
        Ok((answer.status(), answer.url().clone(), answer.text().await?))
    }

    /// Presses a form's button. Returns where that leads.
    async fn press(&self, page: &Url, form: &Form) -> anyhow::Result<String> {
        let target = page.join(&form.action)?;
        let request = self.http.post(target.clone()).header("content-type", "application/x-www-form-urlencoded");
        let answer = request.body(form.body()).send().await?;
        let status = answer.status();
        let location = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()).map(str::to_owned);
        say(format_args!("   The button \"{}\" answers {status}.", form.button));
        let location = location.with_context(|| format!("it leads nowhere: {status}"))?;
        Ok(target.join(&location)?.to_string())
    }
}

/// A path whose longest parts are left out.
fn short(path: &str) -> String {
    let part = |part: &str| match part.get(..40) {
        Some(_) => part.chars().take(8).chain(['…']).collect(),
        None => part.to_owned(),
    };
    path.split('/').map(part).collect::<Vec<String>>().join("/")
}
