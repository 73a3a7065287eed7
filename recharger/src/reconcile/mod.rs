//! Comparing Stripe's payments and refunds with the recharge records. What can be made right by reading Stripe again is;
//! what can't is reported, for a person to decide.

mod compare;

use std::collections::{BTreeMap, BTreeSet};

use common::clients::stripe::IntentSeen;
use common::clock::Timestamp;
use common::contract::{Event, Outgoing, ReconcileRequestedV1};
use common::failure::Failure;
use common::ids::RechargeId;
use common::reconciliation::{Finding, Part, Recorder};
use prometheus::Registry;

use crate::charge::retry;
use crate::disputes;
use crate::handlers::Recharger;
use crate::record::{self, Record};
use crate::refunds;
use compare::{Verdict, compare, compare_dispute, compare_refund, missing};

/// What a look at Stripe may take to become a record: younger things are on their way.
const GRACE: chrono::Duration = chrono::Duration::minutes(1);

/// The recorder of this part.
pub(crate) fn recorder(registry: &Registry) -> Recorder {
    Recorder::new(Part::Charges, registry)
}

impl Recharger {
    /// Compares what happened since then, once for each run.
    pub(crate) async fn reconcile(&self, event: Event<ReconcileRequestedV1>) -> Result<Vec<Outgoing>, Failure> {
        let ReconcileRequestedV1 { run_id, since, .. } = &event.data;
        if self.recorder.is_done(&self.pool, run_id).await? {
            return Ok(Vec::new());
        }
        let (mut said, mut findings, mut checked) = (Vec::new(), Vec::new(), 0_u64);
        let mut seen: BTreeMap<RechargeId, Vec<IntentSeen>> = BTreeMap::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.stripe.list_intents_since(*since, after.as_deref()).await.map_err(retry)?;
            for intent in page.0 {
                // Payments of somebody else, on the same account, are none of ours.
                let Some(id) = intent.recharge_id else { continue };
                seen.entry(id).or_default().push(intent);
            }
            match page.1 {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let settled_before = self.clock.now() - GRACE;
        for (id, intents) in &seen {
            checked += 1;
            let record = self.read(*id).await?;
            for verdict in compare(*id, record.as_ref(), intents, settled_before) {
                findings.push(self.act_on(verdict, record.as_ref(), &mut said).await?);
            }
        }
        for record in record::repo::charged_since(&self.pool, *since, settled_before).await? {
            if !seen.contains_key(&record.recharge_id) {
                checked += 1;
                findings.push(self.act_on(missing(&record), Some(&record), &mut said).await?);
            }
        }
        checked += self.compare_refunds(*since, &mut findings, &mut said).await?;
        checked += self.compare_disputes(*since, &mut findings, &mut said).await?;
        self.recorder.record(&self.pool, run_id, checked, &findings, self.clock.now()).await?;
        Ok(said)
    }

    /// Refunds of any age of charge that Stripe made since then.
    async fn compare_refunds(
        &self,
        since: Timestamp,
        findings: &mut Vec<Finding>,
        said: &mut Vec<Outgoing>,
    ) -> Result<u64, Failure> {
        let (mut checked, mut after): (u64, Option<String>) = (0, None);
        loop {
            let page = self.stripe.list_refunds_since(since, after.as_deref()).await.map_err(retry)?;
            for seen in &page.0 {
                let Some(record) = self.record_paid_by(seen.payment_intent_id.as_deref()).await? else { continue };
                checked += 1;
                let mut connection = self.pool.acquire().await?;
                let rows = refunds::repo::of_recharge(&mut connection, record.recharge_id).await?;
                drop(connection);
                if let Some(verdict) = compare_refund(&record, &rows, seen) {
                    findings.push(self.act_on(verdict, Some(&record), said).await?);
                }
            }
            match page.1 {
                Some(next) => after = Some(next),
                None => return Ok(checked),
            }
        }
    }

    /// Disputes that were opened since then, and those that are open by our books.
    async fn compare_disputes(
        &self,
        since: Timestamp,
        findings: &mut Vec<Finding>,
        said: &mut Vec<Outgoing>,
    ) -> Result<u64, Failure> {
        let mut disputed: BTreeSet<RechargeId> = disputes::repo::open(&self.pool).await?.into_iter().collect();
        let mut after: Option<String> = None;
        loop {
            let page = self.stripe.list_disputes_since(since, after.as_deref()).await.map_err(retry)?;
            for seen in &page.0 {
                let record = self.record_paid_by(seen.payment_intent_id.as_deref()).await?;
                disputed.extend(record.map(|record| record.recharge_id));
            }
            match page.1 {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        for id in &disputed {
            let Some(record) = self.read(*id).await? else { continue };
            let Some(intent) = record.payment_intent_id.as_deref() else { continue };
            let mut differ = Vec::new();
            for seen in self.stripe.list_disputes(intent).await.map_err(retry)? {
                let mut connection = self.pool.acquire().await?;
                let row = disputes::repo::find(&mut connection, &seen.dispute_id).await?;
                drop(connection);
                differ.extend(compare_dispute(&record, row.as_ref(), &seen));
            }
            if !differ.is_empty() {
                said.extend(self.match_disputes(&record).await?);
            }
            findings.extend(differ.into_iter().map(|verdict| Finding { repaired: true, ..verdict.finding }));
        }
        Ok(u64::try_from(disputed.len()).unwrap_or(u64::MAX))
    }

    async fn record_paid_by(&self, payment_intent_id: Option<&str>) -> Result<Option<Record>, Failure> {
        let Some(intent) = payment_intent_id else { return Ok(None) };
        let mut connection = self.pool.acquire().await?;
        Ok(record::repo::of_payment_intent(&mut connection, intent).await?)
    }

    /// Repairs by reading Stripe again, where that can repair it.
    async fn act_on(
        &self,
        verdict: Verdict,
        record: Option<&Record>,
        said: &mut Vec<Outgoing>,
    ) -> Result<Finding, Failure> {
        let mut finding = verdict.finding;
        if let (true, Some(record)) = (verdict.read_again, record) {
            let events = self.recheck(record).await?;
            let after = self.read(record.recharge_id).await?;
            finding.repaired =
                after.is_some_and(|after| (after.state, after.refunded_total) != (record.state, record.refunded_total));
            said.extend(events);
        }
        Ok(finding)
    }
}
