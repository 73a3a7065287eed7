//! One recharge in test mode, from the call to the raised quota, and back: money, books and quota end as they began.

use std::time::Duration;

use common::doctor::Check;
use common::ids::OrganizationId;
use rust_decimal::Decimal;
use serde_json::{Value, json};

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
const POLL: Duration = Duration::from_millis(250);
/// Between two tries to give back what has not ended yet: each is written down there.
const AGAIN: Duration = Duration::from_secs(1);

/// Makes it, if Stripe is in test mode; refuses otherwise. Each of its steps may take as long as `patience`.
pub(super) async fn make(
    client: &Client,
    id: &OrganizationId,
    key: &str,
    patience: Duration,
    mode: Option<String>,
) -> Vec<Check> {
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
    let probe = Probe { client, id, key, patience };
    let ours = match probe.prepare().await {
        Ok(ours) => ours,
        Err(trouble) => return vec![trouble],
    };
    let (mut checks, is_left) = probe.there_and_back().await;
    if ours {
        checks.push(if is_left { probe.leave_open() } else { probe.close().await });
    }
    checks
}

struct Probe<'a> {
    client: &'a Client,
    id: &'a OrganizationId,
    key: &'a str,
    patience: Duration,
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

    /// Whatever was charged is given back, also when the first half did not come to its end. Returns whether something of it
    /// may be left.
    async fn there_and_back(&self) -> (Vec<Check>, bool) {
        let before = match self.quota().await {
            Ok((booked, _)) => booked,
            Err(failure) => return (vec![unanswered(NAME, "reading the balance", &failure)], false),
        };
        let (recharge, answer) = match self.charge().await {
            Ok(charged) => charged,
            Err((trouble, is_left)) => return (vec![trouble], is_left),
        };
        let there = match self.reached(&recharge, &["settled", "declined", "failed", "refunded"]).await {
            Ok(status) if status == "settled" => {
                Check::ok(NAME, format!("{AMOUNT} was charged, booked, and is in force as quota ({recharge})"))
            }
            Ok(status) => {
                let said = [text(&answer["reason"]), text(&answer["message"])].join(" ");
                let found = format!("the recharge {recharge} is {status}, and not settled {said}");
                return (vec![Check::failed(NAME, found.trim_end(), fix_of(&recharge))], false);
            }
            Err(last) => {
                let found = format!("the recharge {recharge} is not settled after {} s{last}", self.patience.as_secs());
                Check::failed(NAME, found, fix_of(&recharge))
            }
        };
        let back = self.give_back(&recharge, before).await;
        let is_left = back.is_err();
        (vec![there, back.unwrap_or_else(|trouble| trouble)], is_left)
    }

    /// Recharges, and waits until somebody has decided on it. Returns the recharge's id, and the answer.
    ///
    /// # Errors
    /// When there is no recharge: what is wrong, and whether there may be one all the same.
    async fn charge(&self) -> Result<(String, Value), (Check, bool)> {
        let call = Call::post(&[&"organizations", self.id, &"recharge"], show::outcome);
        let call = call.body(Body::new().with("amount", AMOUNT)).keyed(format!("{}-recharge", self.key));
        let answer = match self.client.make(&call).await {
            Ok(answer) => answer.body,
            Err(failure) if failure.leaves_open() => {
                let found = format!("recharging: {}; it may have been charged all the same", super::sentence(&failure));
                return Err((Check::failed(NAME, found, self.fix_unknown()), true));
            }
            Err(failure) => return Err((unanswered(NAME, "recharging", &failure), false)),
        };
        let event = text(&answer["event_id"]).to_owned();
        let look = async || {
            if answer["recharge_id"].is_string() || answer["success"] == false {
                return Ok(Some(answer.clone()));
            }
            Ok(Some(self.get(&[&"events", &event]).await?).filter(|event| event["decision"].is_string()))
        };
        match self.until(look).await {
            // What is skipped may name the recharge that was in its way: that one is somebody else's.
            Ok(decided)
                if decided["recharge_id"].is_null()
                    || [&decided["decision"], &decided["action"]].contains(&&json!("skipped")) =>
            {
                let said = [&decided["reason"], &decided["message"]].map(text).join(" ");
                let found = format!("it was not charged: {said}");
                Err((Check::failed(NAME, found, format!("See why with `bill events {}`.", self.id)), false))
            }
            Ok(decided) => Ok((text(&decided["recharge_id"]).to_owned(), answer)),
            Err(last) => {
                let found = format!(
                    "nobody decided on it within {} s{last}; {AMOUNT} will be charged when somebody does",
                    self.patience.as_secs()
                );
                let fix = format!("Run `recharger doctor` where it runs. {}", self.fix_unknown());
                Err((Check::failed(NAME, found, fix), true))
            }
        }
    }

    /// Gives it back, and waits until the money went back and the quota in force is what it was.
    async fn give_back(&self, recharge: &str, before: Decimal) -> Result<Check, Check> {
        self.ask_back(recharge).await?;
        if let Err(last) = self.reached(recharge, &["refunded"]).await {
            let found = format!("the recharge {recharge} is not refunded after {} s{last}", self.patience.as_secs());
            return Err(Check::failed(BACK, found, self.fix_left(recharge)));
        }
        let look = async || {
            Ok(Some(self.quota().await?).filter(|(booked, in_force)| *booked == before && *in_force == Some(before)))
        };
        self.until(look).await.map_err(|last| {
            let found = format!("the quota is not what it was before within {} s{last}", self.patience.as_secs());
            Check::failed(BACK, found, "See what waits with `bill pipeline`, and run `syncer doctor` where it runs.")
        })?;
        Ok(Check::ok(BACK, "the money went back, and the quota is what it was before"))
    }

    /// Asks for the refund, again and again while the recharge has not ended: until then it is refused.
    async fn ask_back(&self, recharge: &str) -> Result<(), Check> {
        let asking = async {
            for attempt in 0_u32.. {
                let call = Call::post(&[&"recharges", &recharge, &"refund"], show::outcome);
                let call = call.body(Body::new().with("reason", "bill doctor"));
                // A key is answered as it was at first.
                match self.client.make(&call.keyed(format!("{}-refund-{attempt}", self.key))).await {
                    Ok(answer) if answer.body["success"] == false => {
                        let answer = answer.body;
                        let said = [&answer["action"], &answer["reason"], &answer["message"]].map(text).join(" ");
                        return Err(Check::failed(BACK, said, self.fix_left(recharge)));
                    }
                    Ok(_) => return Ok(()),
                    Err(Failure::Refused(refusal)) if refusal.body["code"] == "recharge_in_flight" => {}
                    // Its deadline came first.
                    Err(Failure::Refused(refusal)) if refusal.body["code"] == "already_refunded" => return Ok(()),
                    Err(failure) => {
                        let found = format!("giving {recharge} back: {}", super::sentence(&failure));
                        return Err(Check::failed(BACK, found, self.fix_left(recharge)));
                    }
                }
                tokio::time::sleep(AGAIN).await;
            }
            Ok(())
        };
        tokio::time::timeout(self.patience, asking).await.unwrap_or_else(|_| {
            let found =
                format!("{AMOUNT} may be charged: the recharge {recharge} has not ended, and can't be given back yet");
            Err(Check::failed(BACK, found, self.fix_left(recharge)))
        })
    }

    /// Waits until the recharge stands at one of these, and says at which.
    async fn reached(&self, recharge: &str, wanted: &[&str]) -> Result<String, String> {
        self.until(async || {
            let status = text(&self.get(&[&"recharges", &recharge]).await?["status"]).to_owned();
            Ok(Some(status).filter(|status| wanted.contains(&status.as_str())))
        })
        .await
    }

    /// What to do about a recharge that was not given back.
    fn fix_left(&self, recharge: &str) -> String {
        format!(
            "See with `bill chain {recharge}` where it stands; at its deadlines it settles or is given back by itself. When it is \
             settled: `bill refund {recharge} --reason doctor`."
        )
    }

    /// What to do when nobody knows whether there is a recharge.
    fn fix_unknown(&self) -> String {
        format!(
            "Look at `bill history {}` once recharger runs; what is settled there since now: `bill refund RECHARGE_ID --reason doctor`.",
            self.id
        )
    }

    /// Who has a recharge that is to be given back must not be closed yet.
    fn leave_open(&self) -> Check {
        let found = format!("the organization {} is left open until its recharge is given back", self.id);
        Check::warning(CLEAN, found, format!("Then close it: `bill org close {}`.", self.id))
    }

    /// Looks again and again until there is something.
    ///
    /// # Errors
    /// When there was nothing in time: what went wrong last, in words that go on with a sentence; empty when nothing did.
    async fn until<T>(&self, look: impl AsyncFn() -> Result<Option<T>, Failure>) -> Result<T, String> {
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
        let found = tokio::time::timeout(self.patience, looking).await;
        found.map_err(|_| last)
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

fn fix_of(recharge: &str) -> String {
    format!("See where it stands with `bill chain {recharge}`, and what waits with `bill pipeline`.")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
