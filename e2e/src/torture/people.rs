//! What people ask for meanwhile: recharges, refunds, syncs; each repeated under its key until it is answered.

use std::sync::Arc;
use std::time::Duration;

use common::shutdown::Shutdown;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::field::Field;
use super::load::Organization;
use super::notes::Notes;
use super::verdict::Asked;
use crate::random::Random;

/// How often somebody asks for something.
const TICK: Duration = Duration::from_millis(400);
const ANSWER: Duration = Duration::from_secs(8);
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// How long it may take to find a recharge to be refunded.
const LOOK: Duration = Duration::from_secs(1);

/// People with the API at hand.
pub(super) struct People {
    pub(super) field: Arc<Field>,
    pub(super) notes: Arc<Notes>,
    /// Nobody asks for anything new after this; what was asked for is repeated until it is answered.
    pub(super) stop: Shutdown,
    /// Nothing is repeated any more after this.
    pub(super) give_up: Shutdown,
}

/// One call.
struct Call {
    path: String,
    body: Value,
    key: String,
    asked: Asked,
}

impl People {
    /// Asks until it is told to stop, and then until everything is answered.
    pub(super) async fn run(self: Arc<Self>, organizations: Vec<Organization>, seed: u64) {
        let mut random = Random::new(seed ^ 0x9E0);
        let mut calls = JoinSet::new();
        let paying: Vec<&Organization> = organizations.iter().filter(|organization| organization.pays).collect();
        let mut number = 0;
        while !self.stop.is_given() && !paying.is_empty() {
            tokio::time::sleep(TICK).await;
            while calls.try_join_next().is_some() {}
            number += 1;
            let organization = random.pick(&paying);
            let key = format!("{seed}-{number}");
            let call = match random.below(5) {
                0 | 1 => Some(Call {
                    path: format!("/api/organizations/{}/recharge", organization.id),
                    body: json!({ "amount": 50 }),
                    key,
                    asked: Asked::Recharge,
                }),
                2 | 3 => self.refund(&key, random.percent(50)).await,
                _ => Some(Call {
                    path: format!("/api/organizations/{}/sync", organization.id),
                    body: json!({}),
                    key,
                    asked: Asked::Sync,
                }),
            };
            if let Some(call) = call {
                calls.spawn(Arc::clone(&self).ask(call, number));
            }
        }
        while calls.join_next().await.is_some() {}
    }

    /// A refund of any recharge that has settled, if one is found: of some of it, or of all that is left.
    async fn refund(&self, key: &str, some: bool) -> Option<Call> {
        let sql = "SELECT recharge_id::text FROM recharge_records WHERE status = 'settled' ORDER BY md5(recharge_id::text || $1) LIMIT 1";
        let found = sqlx::query_scalar::<_, String>(sql).bind(key).fetch_optional(&self.field.pool);
        let recharge = tokio::time::timeout(LOOK, found).await.ok()?.ok()??;
        let body = if some { json!({ "reason": "torture", "amount": 25 }) } else { json!({ "reason": "torture" }) };
        Some(Call {
            path: format!("/api/recharges/{recharge}/refund"),
            body,
            key: key.to_owned(),
            asked: Asked::Refund,
        })
    }

    /// Asks under the same key, at either ingress, until there is an answer.
    async fn ask(self: Arc<Self>, call: Call, number: usize) {
        let doors = self.field.doors();
        let (mut door, mut last) = (number, String::new());
        while !self.give_up.is_given() {
            let Some(base) = doors.get(door % doors.len().max(1)) else { return };
            let request = self.field.client.http.post(format!("{base}{}", call.path)).json(&call.body);
            let request = request.header("idempotency-key", &call.key).timeout(ANSWER);
            self.notes.sent("API calls");
            match answer(request).await {
                Ok((status, answer)) => {
                    if self.understand(&call, status, &answer) {
                        return;
                    }
                    last = format!("{status} {answer}");
                }
                Err(error) => last = format!("{error:#}"),
            }
            door += 1;
            tokio::time::sleep(ASK_AGAIN).await;
        }
        self.notes.complain(format!("POST {} with key {} was not answered to the end: {last}", call.path, call.key));
    }

    /// Whether the call needs not be repeated.
    fn understand(&self, call: &Call, status: StatusCode, answer: &Value) -> bool {
        let event = answer["event_id"].as_str();
        match (status.as_u16(), event, answer["code"].as_str().unwrap_or_default()) {
            (202, _, _) if answer["state"] == "unconfirmed" => false,
            (429 | 500.., _, _) => false,
            (409, _, "idempotency_key_reuse") => {
                self.notes.complain(format!("key {} was new, and answered with {answer}", call.key));
                true
            }
            (200 | 202 | 409, Some(event), _) => {
                self.notes.sent(match call.asked {
                    Asked::Recharge => "recharges asked for",
                    Asked::Refund => "refunds asked for",
                    Asked::Sync | Asked::Webhook => "syncs asked for",
                });
                self.notes.accepted(event, call.asked, answer);
                true
            }
            // It was refunded meanwhile, or can't be given back so much of: nothing was accepted.
            (400 | 409, None, _) if call.asked == Asked::Refund => true,
            _ => {
                self.notes.complain(format!("POST {} was answered with {status} {answer}", call.path));
                true
            }
        }
    }
}

async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<(StatusCode, Value)> {
    let answer = request.send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
