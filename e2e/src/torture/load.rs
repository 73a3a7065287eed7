//! The load: organizations whose usage grows and crosses their quota again and again, and a sender that tells of it as
//! senders do: until it is accepted, at times twice, late, or in the wrong order.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::shutdown::Shutdown;
use futures_util::{StreamExt, stream};
use reqwest::StatusCode;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::Settings;
use super::field::Field;
use super::notes::Notes;
use super::verdict::Asked;
use crate::client::limit_exceeded;
use crate::random::Random;

/// How often usage grows.
const TICK: Duration = Duration::from_millis(250);
/// So many organizations cross their quota in one tick at most.
const CROSSINGS: usize = 3;
/// After this a crossing is told again, in another message, if the quota was not raised.
const TELL_AGAIN: Duration = Duration::from_secs(8);
/// How long a sender waits for an answer, and how soon it sends again.
const ANSWER: Duration = Duration::from_secs(6);
const SEND_AGAIN: Duration = Duration::from_millis(300);
/// How many old messages are kept to be sent again much later.
const OLD: usize = 200;
/// Out of a hundred messages: sent twice at once, overtaken by others, and kept to be sent again much later.
const TWICE: u64 = 12;
const OVERTAKEN: u64 = 10;
const KEPT: u64 = 10;
/// Out of a hundred ticks: one in which an old message is sent again.
const LATE: u64 = 25;

/// So many organizations are created at the same time.
const SETUPS: usize = 24;

/// An organization as its KMS and its customer know it.
#[derive(Debug, Clone)]
pub(super) struct Organization {
    pub(super) id: String,
    pub(super) team: String,
    /// Whether its card works.
    pub(super) pays: bool,
}

/// Creates the organizations, with their cards, before there are faults.
pub(super) async fn organizations(field: &Field, settings: &Settings) -> anyhow::Result<Vec<Organization>> {
    let setups = (0..settings.organizations).map(|number| async move {
        let (id, card) = (format!("org{number}"), card(number));
        let policy = json!({ "max_daily_recharges": 1440, "cooldown_seconds": 10 });
        let team = field.client.ready_organization(&id, card, policy).await?;
        Ok(Organization { id, team, pays: card == "pm_card_visa" })
    });
    stream::iter(setups).buffered(SETUPS).collect::<Vec<_>>().await.into_iter().collect()
}

/// Most cards work.
fn card(number: usize) -> &'static str {
    match number % 20 {
        7 => "pm_card_chargeDeclined",
        13 => "pm_card_chargeDeclinedInsufficientFunds",
        19 if number % 40 == 19 => "pm_card_chargeDeclinedLostCard",
        _ => "pm_card_visa",
    }
}

/// Who sends webhooks.
pub(super) struct Sender {
    pub(super) field: Arc<Field>,
    pub(super) notes: Arc<Notes>,
    /// No new crossings after this; what was begun is sent until it is accepted.
    pub(super) stop: Shutdown,
    /// Nothing is sent any more after this.
    pub(super) give_up: Shutdown,
}

/// What was told of an organization last.
struct Told {
    limit: Option<Decimal>,
    at: Instant,
}

impl Sender {
    /// Sends until it is told to stop, and then until everything is accepted.
    pub(super) async fn run(self: Arc<Self>, organizations: Vec<Organization>, seed: u64) {
        let mut random = Random::new(seed ^ 0x5E4D);
        let mut told: Vec<Told> = organizations.iter().map(|_| Told { limit: None, at: Instant::now() }).collect();
        let (mut deliveries, mut old, mut number) = (JoinSet::new(), Vec::new(), 0);
        while !self.stop.is_given() {
            tokio::time::sleep(TICK).await;
            while deliveries.try_join_next().is_some() {}
            let Ok(books) = self.field.client.kms_books().await else { continue };
            let mut due: Vec<usize> = (0..organizations.len()).collect();
            random.shuffle(&mut due);
            let mut crossings = 0;
            for index in due {
                let (Some(organization), Some(told)) = (organizations.get(index), told.get_mut(index)) else {
                    continue;
                };
                let quota = &books["organizations"][&organization.id]["quota"];
                let Ok(quota) = common::money::decimal_from_json(quota) else { continue };
                if crossings == CROSSINGS || !told.is_due(quota) {
                    continue;
                }
                crossings += 1;
                number += 1;
                *told = Told { limit: Some(quota), at: Instant::now() };
                let body = self.cross(organization, quota, number, &mut random).await;
                self.send(body, &mut random, &mut deliveries, &mut old);
            }
            if !old.is_empty() && random.percent(LATE) {
                let body: &Vec<u8> = random.pick(&old);
                self.notes.sent("webhooks sent again much later");
                deliveries.spawn(Arc::clone(&self).deliver(body.clone(), random.below(2), Duration::ZERO));
            }
        }
        while deliveries.join_next().await.is_some() {}
    }

    /// Usage reaches the quota, or goes a little beyond it.
    async fn cross(&self, organization: &Organization, quota: Decimal, number: usize, random: &mut Random) -> Vec<u8> {
        let usage = quota + Decimal::from(random.below(30));
        let body = json!({ "c_organization_id": organization.id, "usage": usage.to_string() });
        if let Err(error) = self.field.client.kms_sim("usage", &body).await {
            self.notes.complain(format!("the KMS simulator did not take the usage: {error:#}"));
        }
        self.notes.sent("crossings");
        limit_exceeded(&organization.team, &usage.to_string(), &quota.to_string(), number)
    }

    fn send(
        self: &Arc<Self>,
        body: Vec<u8>,
        random: &mut Random,
        deliveries: &mut JoinSet<()>,
        old: &mut Vec<Vec<u8>>,
    ) {
        if random.percent(KEPT) && old.len() < OLD {
            old.push(body.clone());
        }
        let door = random.below(2);
        if random.percent(TWICE) {
            self.notes.sent("webhooks sent twice at once");
            deliveries.spawn(Arc::clone(self).deliver(body.clone(), door + 1, Duration::ZERO));
        }
        let mut later = Duration::ZERO;
        if random.percent(OVERTAKEN) {
            self.notes.sent("webhooks overtaken by others");
            later = Duration::from_millis(random.between(1_000, 6_000));
        }
        deliveries.spawn(Arc::clone(self).deliver(body, door, later));
    }

    /// Sends one message until it is accepted.
    async fn deliver(self: Arc<Self>, body: Vec<u8>, mut door: usize, later: Duration) {
        tokio::time::sleep(later).await;
        let doors = self.field.doors();
        let mut last = String::from("nothing was sent");
        while !self.give_up.is_given() {
            let Some(url) = doors.get(door % doors.len().max(1)) else { return };
            self.notes.sent("webhook calls");
            match tokio::time::timeout(ANSWER, self.field.client.webhook(url, body.clone())).await {
                Ok(Ok((status, answer))) => match self.understand(status, &answer) {
                    Some(()) => return,
                    None => last = format!("{status} {answer}"),
                },
                Ok(Err(error)) => last = format!("{error:#}"),
                Err(_) => last = format!("no answer in {ANSWER:?}"),
            }
            door += 1;
            tokio::time::sleep(SEND_AGAIN).await;
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        self.notes.complain(format!("a webhook was not accepted to the end: {last}: {body}"));
    }

    /// Whether the message needs not be sent again.
    fn understand(&self, status: StatusCode, answer: &Value) -> Option<()> {
        match (status.as_u16(), answer["event_id"].as_str()) {
            (200 | 202, Some(event)) => {
                self.notes.sent("webhooks accepted");
                self.notes.accepted(event, Asked::Webhook, answer);
                Some(())
            }
            (429 | 500.., _) => None,
            _ => {
                self.notes.complain(format!("a right webhook was answered with {status} {answer}"));
                Some(())
            }
        }
    }
}

impl Told {
    /// A quota that was raised, or lowered, is crossed again soon; one that was not is told again after a while.
    fn is_due(&self, quota: Decimal) -> bool {
        self.limit != Some(quota) || self.at.elapsed() > TELL_AGAIN
    }
}
