//! The ledger's part of a comparison of all books (`requests.reconcile`): recharge records and refunds against what is
//! booked, and the books against themselves. Everything that is found is reported; a person decides.

mod compare;
mod repo;

use std::collections::HashMap;
use std::time::Duration;

use common::clock::Timestamp;
use common::contract::ReconcileRequestedV1;
use common::ids::{OrganizationId, RechargeId};
use common::reconciliation::{Finding, Kind, Recorder};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::verify::{Drift, verify};
use compare::StoredPosting;
use repo::{Unknown, Window};

/// What changed more recently is in flight: the other side may not have heard of it.
const GRACE: Duration = Duration::from_secs(60);
/// How many rows are held in memory at once.
const PAGE: i64 = 500;

/// Compares, and records what was found: once for each run, whoever repeats it.
///
/// # Errors
/// What the database says; nothing is recorded then.
pub async fn run(
    pool: &PgPool,
    recorder: &Recorder,
    request: &ReconcileRequestedV1,
    now: Timestamp,
) -> Result<(), sqlx::Error> {
    let run_id = &request.run_id;
    if recorder.is_done(pool, run_id).await? {
        tracing::info!(run_id, "the bookings of this run were compared before");
        return Ok(());
    }
    let mut found = Vec::new();
    let mut tx = repo::snapshot(pool).await?;
    let window = Window { since: request.since, until: now - GRACE };
    let mut checked = records(&mut tx, window, &mut found).await?;
    checked += refunds(&mut tx, window, &mut found).await?;
    found.extend(repo::unknown(&mut tx, window).await?.into_iter().map(booked_unknown));
    tx.rollback().await?;
    let report = verify(pool).await?;
    found.extend(report.drifts.iter().map(ledger_drift));
    recorder.record(pool, run_id, checked.saturating_add(report.transactions), &found, now).await
}

/// Returns how many were compared.
async fn records(tx: &mut PgConnection, window: Window, found: &mut Vec<Finding>) -> Result<u64, sqlx::Error> {
    let (mut checked, mut after) = (0, Uuid::nil());
    loop {
        let page = repo::records(tx, window, after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(checked) };
        after = last.recharge_id.0;
        let booked = repo::postings(tx, &page.iter().map(|record| record.recharge_id.0).collect::<Vec<_>>()).await?;
        let booked = by_recharge(&booked);
        found.extend(page.iter().filter_map(|record| compare::record(record, of(&booked, record.recharge_id))));
        checked += count(page.len());
    }
}

/// Returns how many were compared.
async fn refunds(tx: &mut PgConnection, window: Window, found: &mut Vec<Finding>) -> Result<u64, sqlx::Error> {
    let (mut checked, mut after) = (0, String::new());
    loop {
        let page = repo::refunds(tx, window, &after, PAGE).await?;
        let Some(last) = page.last() else { return Ok(checked) };
        after.clone_from(&last.refund_key);
        let booked = repo::postings(tx, &page.iter().map(|refund| refund.recharge_id.0).collect::<Vec<_>>()).await?;
        let booked = by_recharge(&booked);
        found.extend(page.iter().filter_map(|refund| compare::refund(refund, of(&booked, refund.recharge_id))));
        checked += count(page.len());
    }
}

type ByRecharge<'a> = HashMap<RechargeId, Vec<&'a StoredPosting>>;

fn by_recharge(postings: &[StoredPosting]) -> ByRecharge<'_> {
    let mut all = ByRecharge::new();
    for posting in postings {
        all.entry(posting.recharge_id).or_default().push(posting);
    }
    all
}

fn of<'a, 'b>(booked: &'b ByRecharge<'a>, recharge: RechargeId) -> &'b [&'a StoredPosting] {
    booked.get(&recharge).map_or(&[], Vec::as_slice)
}

fn booked_unknown(unknown: Unknown) -> Finding {
    let Unknown { id, business_key, c_organization_id, recharge_id } = unknown;
    Finding {
        kind: Kind::BookedUnknown,
        organization: OrganizationId::parse(c_organization_id).ok(),
        recharge_id: recharge_id.map(RechargeId),
        reference: Some(id.to_string()),
        expected: None,
        found: Some(business_key.clone()),
        repaired: false,
        detail: format!("{business_key} is in the books, but no record tells of it"),
    }
}

fn ledger_drift(drift: &Drift) -> Finding {
    Finding {
        kind: Kind::LedgerDrift,
        organization: OrganizationId::parse(drift.organization.as_str()).ok(),
        recharge_id: None,
        reference: drift.transaction_id.map(|id| id.to_string()),
        expected: None,
        found: None,
        repaired: false,
        detail: drift.to_string(),
    }
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}
