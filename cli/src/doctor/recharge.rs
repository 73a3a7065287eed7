//! One recharge in test mode, from the call to the raised quota, and back: money, books and quota end as they began.

use std::time::Duration;

use common::doctor::Check;
use common::ids::OrganizationId;
use rust_decimal::Decimal;
use serde_json::Value;

use super::unanswered;
use crate::call::{Body, Call};
use crate::client::Client;
use crate::failure::Failure;
use crate::show;

const NAME: &str = "recharge";
const BACK: &str = "refund";
const CLEAN: &str = "afterwards";

/// What is charged: more than the least that Stripe takes in usual currencies.
const AMOUNT: &str = "1.00";
/// Stripe's token of a test card that always works. In live mode it is no card.
const CARD: &str = "pm_card_visa";
/// How long each half may take; without trouble each takes a second or two.
const PATIENCE: Duration = Duration::from_secs(90);
const POLL: Duration = Duration::from_millis(250);

/// Makes it, if Stripe is in test mode; refuses otherwise.
pub(super) async fn make(client: &Client, id: &OrganizationId, key: &str, mode: Option<String>) -> Vec<Check> {
    match mode.as_deref() {
        Some("test") => {}
        Some(_) => {
            let found = "refused: Stripe is in live mode, where cards are really charged; nothing was done";
            return vec![Check::failed(
                NAME,
                found,
                "Leave out --recharge here, or run it where STRIPE_SECRET_KEY is a test key.",
            )];
        }
        None => return vec![Check::skipped(NAME, "whether Stripe is in test mode is not known; nothing was done")],
    }
    let probe = Probe { client, id, key };
    let ours = match probe.prepare().await {
        Ok(ours) => ours,
        Err(trouble) => return vec![trouble],
    };
    let mut checks = probe.there_and_back().await;
    if ours {
        checks.push(probe.close().await);
    }
    checks
}

struct Probe<'a> {
    client: &'a Client,
    id: &'a OrganizationId,
    key: &'a str,
}

impl Probe<'_> {
    /// An organization that is open and has a card. Returns whether it is to be closed again.
    async fn prepare(&self) -> Result<bool, Check> {
        let failed = |what: &'static str| move |failure: Failure| unanswered(NAME, what, &failure);
        let id = self.id;
        let config = match self.get(&[&"organizations", id, &"config"]).await {
            Ok(config) => Some(config),
            Err(Failure::Refused(refusal)) if refusal.status == 404 => None,
            Err(failure) => return Err(failed("reading the organization")(failure)),
        };
        let ours = match &config {
            None => {
                let body = Body::new().with("c_organization_id", id.as_str()).with("auto_recharge_enabled", false);
                self.post(&[&"organizations"], body).await.map_err(failed("creating the organization"))?;
                true
            }
            Some(config) if !config["closed_at"].is_null() => {
                self.post(&[&"organizations", id, &"reopen"], Body::new())
                    .await
                    .map_err(failed("opening the organization"))?;
                true
            }
            Some(_) => false,
        };
        if config.is_none_or(|config| config["default_payment_method_id"].is_null()) {
            let body = Body::new().with("payment_method_id", CARD).with("set_as_default", true);
            let saved = self.post(&[&"organizations", id, &"payment-method"], body).await;
            saved.map_err(failed("saving Stripe's test card"))?;
        }
        Ok(ours)
    }

    async fn there_and_back(&self) -> Vec<Check> {
        let before = match self.quota().await {
            Ok((booked, _)) => booked,
            Err(failure) => return vec![unanswered(NAME, "reading the balance", &failure)],
        };
        let recharge = match self.charge().await {
            Ok(recharge) => recharge,
            Err(trouble) => return vec![trouble],
        };
        let settled = Check::ok(NAME, format!("{AMOUNT} was charged, booked, and is in force as quota ({recharge})"));
        let back = self.give_back(&recharge, before).await.unwrap_or_else(|trouble| trouble);
        vec![settled, back]
    }

    /// Recharges, and waits until the quota is in force. Returns the recharge's id.
    async fn charge(&self) -> Result<String, Check> {
        let call = Call::post(&[&"organizations", self.id, &"recharge"], show::outcome);
        let call = call.body(Body::new().with("amount", AMOUNT)).keyed(format!("{}-recharge", self.key));
        let answer = self.client.make(&call).await.map_err(|failure| unanswered(NAME, "recharging", &failure))?.body;
        if answer["success"] == false {
            let found =
                format!("{}: {} {}", text(&answer["action"]), text(&answer["reason"]), text(&answer["message"]));
            return Err(Check::failed(NAME, found, format!("See why with `bill events {}`.", self.id)));
        }
        let event = text(&answer["event_id"]).to_owned();
        let look = async || match answer["recharge_id"].as_str() {
            Some(recharge) => Ok(Some(recharge.to_owned())),
            None => Ok(self.get(&[&"events", &event]).await?["recharge_id"].as_str().map(str::to_owned)),
        };
        let recharge = until(look).await.map_err(|last| late(NAME, "nobody decided on it", &last, "recharger"))?;
        self.until_status(NAME, &recharge, "settled").await?;
        Ok(recharge)
    }

    /// Gives it back, and waits until the money went back and the quota in force is what it was.
    async fn give_back(&self, recharge: &str, before: Decimal) -> Result<Check, Check> {
        let call = Call::post(&[&"recharges", &recharge, &"refund"], show::outcome);
        let call = call.body(Body::new().with("reason", "bill doctor")).keyed(format!("{}-refund", self.key));
        let answer =
            self.client.make(&call).await.map_err(|failure| unanswered(BACK, "giving it back", &failure))?.body;
        if answer["success"] == false {
            let found =
                format!("{}: {} {}", text(&answer["action"]), text(&answer["reason"]), text(&answer["message"]));
            return Err(Check::failed(BACK, found, format!("See how it goes on with `bill chain {recharge}`.")));
        }
        self.until_status(BACK, recharge, "refunded").await?;
        let look = async || {
            Ok(Some(self.quota().await?).filter(|(booked, in_force)| *booked == before && *in_force == Some(before)))
        };
        until(look).await.map_err(|last| late(BACK, "the quota is not what it was before", &last, "syncer"))?;
        Ok(Check::ok(BACK, "the money went back, and the quota is what it was before"))
    }

    /// Waits until the recharge stands there, or where it can't come there any more.
    async fn until_status(&self, name: &str, recharge: &str, wanted: &str) -> Result<(), Check> {
        let over: &[&str] =
            if wanted == "settled" { &["declined", "failed", "refunded"] } else { &["declined", "failed"] };
        let seen = until(async || {
            let status = text(&self.get(&[&"recharges", &recharge]).await?["status"]).to_owned();
            Ok(Some(status).filter(|status| status == wanted || over.contains(&status.as_str())))
        });
        let found = match seen.await {
            Ok(status) if status == wanted => return Ok(()),
            Ok(status) => format!("the recharge {recharge} is {status}, and not {wanted}"),
            Err(last) => format!("the recharge {recharge} is not {wanted} after {} s{last}", PATIENCE.as_secs()),
        };
        Err(Check::failed(
            name,
            found,
            format!("See where it stands with `bill chain {recharge}`, and what waits with `bill pipeline`."),
        ))
    }

    async fn close(&self) -> Check {
        let call = Call::delete(&[&"organizations", self.id], show::outcome);
        match self.client.make(&call).await {
            Ok(_) => Check::ok(CLEAN, format!("the organization {} is closed again", self.id)),
            Err(failure) => {
                let found = format!("the organization {} is still open: {}", self.id, super::sentence(&failure));
                Check::warning(
                    CLEAN,
                    found,
                    format!("Close it with `bill org close {}` when its recharge has ended.", self.id),
                )
            }
        }
    }

    /// What is booked, and what is in force.
    async fn quota(&self) -> Result<(Decimal, Option<Decimal>), Failure> {
        let balance = self.get(&[&"organizations", self.id, &"balance"]).await?;
        let amount = |name: &str| balance[name].to_string().parse::<Decimal>().ok();
        Ok((amount("quota").unwrap_or_default(), amount("quota_in_force")))
    }

    async fn get(&self, path: &[&dyn std::fmt::Display]) -> Result<Value, Failure> {
        self.client.make(&Call::get(path, show::outcome)).await.map(|answer| answer.body)
    }

    async fn post(&self, path: &[&dyn std::fmt::Display], body: Body) -> Result<Value, Failure> {
        let call = Call::post(path, show::outcome);
        let call = if body.is_empty() { call } else { call.body(body) };
        self.client.make(&call).await.map(|answer| answer.body)
    }
}

/// Looks again and again until there is something.
///
/// # Errors
/// When there was nothing in time: what went wrong last, in words that go on with a sentence; empty when nothing did.
async fn until<T>(look: impl AsyncFn() -> Result<Option<T>, Failure>) -> Result<T, String> {
    let mut last = String::new();
    let looking = async {
        loop {
            match look().await {
                Ok(Some(found)) => return found,
                Ok(None) => last.clear(),
                Err(failure) => last = format!("; at last: {}", super::sentence(&failure)),
            }
            tokio::time::sleep(POLL).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, looking).await;
    found.map_err(|_| last)
}

fn late(name: &str, what: &str, last: &str, service: &str) -> Check {
    let found = format!("{what} within {} s{last}", PATIENCE.as_secs());
    Check::failed(
        name,
        found,
        format!("See what waits with `bill pipeline`, and run `{service} doctor` where it runs."),
    )
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
