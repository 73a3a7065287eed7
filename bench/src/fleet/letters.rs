//! Dead letters in the broker, as the services' loop parks them.

use anyhow::Context;
use async_nats::HeaderMap;
use common::broker::{Broker, MESSAGE_ID};
use common::clock::Timestamp;
use common::contract::{
    DeadLetterHeaders, Event, LedgerCreditedV1, LimitExceededV1, LimitSource, Outgoing, PostingKind, QuotaLowV1,
    dead_letter_id, dead_letter_subject, streams,
};
use common::ids::{EventId, OrganizationId, TeamId};
use common::money::{Currency, Money};
use serde_json::json;
use uuid::Uuid;

use super::Seeded;

/// Parks so many dead letters, of three kinds.
///
/// # Errors
/// When the broker does not confirm one.
pub async fn park(broker: &Broker, letters: usize, seeded: &Seeded, now: Timestamp) -> anyhow::Result<()> {
    for number in 0..letters {
        let organization = &seeded.organizations[number * 7 % seeded.organizations.len()];
        let letter = Letter::of(organization, number, now)?;
        let body = letter.message.body.clone();
        let confirmed = broker.publish_raw(&letter.subject(), letter.headers(), body).await;
        confirmed.with_context(|| format!("parking dead letter {number}"))?;
    }
    Ok(())
}

struct Letter {
    service: &'static str,
    reason: &'static str,
    error: &'static str,
    stream: &'static str,
    sequence: u64,
    message: Outgoing,
}

impl Letter {
    fn of(organization: &OrganizationId, number: usize, now: Timestamp) -> anyhow::Result<Self> {
        let sequence = u64::try_from(number)? + 1;
        let id = |prefix: &str| EventId::from_body(prefix, format!("letter {number}").as_bytes());
        let to = Some(organization.clone());
        Ok(match number % 3 {
            0 => Self {
                service: "recharger",
                reason: "exhausted",
                error: "asking Stripe: 503 Service Unavailable: error trying to connect",
                stream: streams::WEBHOOKS,
                sequence,
                message: Event::first(id("evt"), to, now, limit_exceeded(organization)).outgoing()?,
            },
            1 => Self {
                service: "syncer",
                reason: "exhausted",
                error: "the KMS answers 500 Internal Server Error",
                stream: streams::LEDGER,
                sequence,
                message: Event::following(
                    &Uuid::from_u128(number as u128),
                    organization,
                    now,
                    &id("evt"),
                    credited(number),
                )
                .outgoing()?,
            },
            _ => {
                let event = Event::first(id("low"), to, now, low());
                let mut message = event.outgoing()?;
                // Somebody else's idea of an amount.
                message.body =
                    String::from_utf8_lossy(&message.body).replace("\"100\"", "\"much\"").into_bytes().into();
                Self {
                    service: "recharger",
                    reason: "malformed",
                    error: "decoding quotas.low: invalid decimal",
                    stream: streams::QUOTAS,
                    sequence,
                    message,
                }
            }
        })
    }

    fn subject(&self) -> String {
        dead_letter_subject(self.service, &self.message.subject)
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let (sequence, id) = (self.sequence.to_string(), self.message.id.to_string());
        let parked = dead_letter_id(self.service, self.stream, self.sequence, &self.message.body);
        for (name, value) in [
            (MESSAGE_ID, parked.as_str()),
            (DeadLetterHeaders::REASON, self.reason),
            (DeadLetterHeaders::ERROR, self.error),
            (DeadLetterHeaders::STREAM, self.stream),
            (DeadLetterHeaders::CONSUMER, self.service),
            (DeadLetterHeaders::SEQUENCE, &sequence),
            (DeadLetterHeaders::ATTEMPTS, "12"),
            (DeadLetterHeaders::SUBJECT, &self.message.subject),
            (DeadLetterHeaders::MESSAGE_ID, &id),
        ] {
            headers.insert(name, value);
        }
        headers
    }
}

fn limit_exceeded(organization: &OrganizationId) -> LimitExceededV1 {
    let (usage, limit) = (Money::new(52_000, Currency::USD), Money::new(50_000, Currency::USD));
    LimitExceededV1 {
        source: LimitSource::LimitExceeded,
        event_type: "limit_exceeded".to_owned(),
        team_id: TeamId::from(organization),
        organization_id: Some(organization.clone()),
        current_usage: usage.to_decimal(),
        current_limit: limit.to_decimal(),
        exceeded_by: None,
        occurred_at: None,
        raw: json!({ "event_type": "limit_exceeded", "team_id": organization, "current_usage": 520, "current_limit": 500 }),
    }
}

fn credited(number: usize) -> LedgerCreditedV1 {
    LedgerCreditedV1 {
        transaction_id: Uuid::from_u128(number as u128),
        posting: PostingKind::Charge,
        recharge_id: None,
        amount: Money::new(10_000, Currency::USD),
        quota: Money::new(60_000, Currency::USD),
        ledger_version: 7,
    }
}

fn low() -> QuotaLowV1 {
    let dollars = |number: i64| Money::new(number * 100, Currency::USD).to_decimal().normalize();
    QuotaLowV1 { usage: dollars(450), quota: dollars(500), available: dollars(50), minimum_balance: dollars(100) }
}
