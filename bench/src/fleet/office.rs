//! What people did: organizations made, users, tokens, requests, comparisons of the books, and the audit log of it. Pure.

use chrono::Duration;
use common::clock::Timestamp;
use common::ids::{EventId, OrganizationId};
use e2e::random::Random;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::drawn_id;
use super::profile::{Profile, drawn};
use super::rows::Rows;

const PEOPLE: [&str; 5] = ["ann", "billing-bot", "chen", "dora", "ops-console"];

/// Who did something: a token's name, and the beginning of its id.
pub(super) fn person(random: &mut Random) -> String {
    let name = *random.pick(&PEOPLE);
    let digest = hex::encode(Sha256::digest(name));
    format!("{name}#{}", &digest[..8])
}

/// How an organization came to be, with its users.
pub(super) fn introduce(rows: &mut Rows, who: &Profile, random: &mut Random) {
    let (by, at) = (person(random), who.created_at);
    let created = json!({
        "c_organization_id": who.id, "currency": who.currency, "minimum_balance": who.minimum_balance.to_number(),
        "target_balance": who.target.to_number(), "target_basis": "available", "auto_recharge_enabled": who.enabled,
    });
    audited(rows, Some(&who.id), at, &by, "organization.created", created);
    let customer = json!({ "stripe_customer_id": who.customer });
    audited(rows, Some(&who.id), at + Duration::seconds(61), &by, "stripe_customer.created", customer);
    let card = json!({ "default_payment_method_id": who.card.id });
    audited(rows, Some(&who.id), at + Duration::minutes(2), &by, "payment_method.set", card);
    for number in 0..random.below(4) {
        rows.users.push(json!({
            "id": drawn_id(random), "email": format!("user{number}@{}.example", who.id), "c_organization_id": who.id,
            "litellm_team_id": who.team, "created_at": at,
        }));
    }
}

/// Somebody asked for the quota to be pushed.
pub(super) fn sync_requested(rows: &mut Rows, who: &Profile, event: &EventId, at: Timestamp) {
    let person = person(&mut Random::new(0));
    requested(rows, who, event, "POST /sync", at);
    audited(rows, Some(&who.id), at, &person, "sync.requested", json!({ "event_id": event }));
}

/// What an event id stands for.
pub(super) fn requested(rows: &mut Rows, who: &Profile, event: &EventId, asked: &str, at: Timestamp) {
    rows.api_requests.push(json!({ "event_id": event, "c_organization_id": who.id, "asked": asked, "created_at": at }));
}

/// A line of the audit log.
pub(super) fn audited(
    rows: &mut Rows,
    organization: Option<&OrganizationId>,
    at: Timestamp,
    actor: &str,
    action: &str,
    after: Value,
) {
    let row = json!({ "at": at, "actor": actor, "action": action, "c_organization_id": organization,
                      "request_id": format!("req-{:x}", at.timestamp_micros()), "after": after });
    rows.audit_log.push((at, row));
}

/// Fills the audit log up with changes of policies.
pub(super) fn audits(
    rows: &mut Rows,
    lines: usize,
    organizations: &[OrganizationId],
    now: Timestamp,
    random: &mut Random,
) {
    while rows.audit_log.len() < lines {
        let at = now - Duration::minutes(drawn(random, 1, 30 * 24 * 60));
        let (by, balance) = (person(random), drawn(random, 1, 9) * 10);
        // Of the first one people look at everything.
        let one = if random.percent(20) { &organizations[0] } else { random.pick(organizations) };
        audited(rows, Some(one), at, &by, "organization.changed", json!({ "minimum_balance": balance }));
        if let Some((_, row)) = rows.audit_log.last_mut() {
            row["before"] = json!({ "minimum_balance": balance + 10 });
        }
    }
}

/// Tokens that nobody has: operators', and organizations' own.
pub(super) fn tokens(
    rows: &mut Rows,
    count: usize,
    organizations: &[OrganizationId],
    now: Timestamp,
    random: &mut Random,
) {
    for number in 0..count {
        let (role, organization) = match random.below(10) {
            0 => ("operator", None),
            1..3 => ("viewer", None),
            _ => ("org_admin", Some(random.pick(organizations))),
        };
        let created = now - Duration::hours(drawn(random, 1, 9_000));
        let revoked = random.percent(20).then(|| created + Duration::minutes(30));
        let digest = Sha256::new().chain_update(random.number().to_le_bytes()).chain_update(b"nobody's").finalize();
        rows.tokens.push(json!({
            "id": drawn_id(random), "name": format!("{}-{number}", random.pick(&PEOPLE)),
            "token_hash": format!("\\x{}", hex::encode(digest)), "role": role, "c_organization_id": organization,
            "created_at": created, "created_by": person(random), "last_used_at": created + Duration::minutes(20),
            "revoked_at": revoked, "revoked_by": revoked.map(|_| PEOPLE[0]),
        }));
    }
}

/// Hourly comparisons of the books, some of which found something. Returns the newest.
pub(super) fn reconciliations(rows: &mut Rows, count: usize, now: Timestamp) -> Option<String> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let mut newest = None;
    for hours in (1..=count).rev() {
        let at = now - Duration::hours(hours);
        let id = format!("schedule-{}", at.format("%Y%m%dT%H%M"));
        rows.runs.push(json!({
            "run_id": id, "since": at - Duration::hours(2), "requested_by": "schedule", "requested_at": at,
            "published_at": at,
        }));
        for (seconds, part) in (1..).zip(["charges", "bookings", "quotas"]) {
            rows.parts.push(json!({
                "run_id": id, "part": part, "checked": 40 + hours % 17, "finished_at": at + Duration::seconds(seconds),
            }));
        }
        if hours % 9 == 1 {
            rows.findings.push(json!({
                "run_id": id, "part": "quotas", "kind": "quota_drift", "c_organization_id": "northwind-trading",
                "expected": "500.00", "found": "450.00", "action": "repaired",
                "detail": "the KMS had another quota than was left there", "found_at": at + Duration::seconds(3),
            }));
        }
        newest = Some(id);
    }
    newest
}
