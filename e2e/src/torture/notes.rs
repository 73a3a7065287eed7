//! What was seen and done during a campaign: what the verdict and the report are made of, besides the books.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::Context;
use common::clock::{SharedClock, SystemClock};

use serde_json::Value;

use super::schedule::Injection;
use super::verdict::Asked;

/// The notes. Everybody writes into the same.
pub(super) struct Notes {
    started: Instant,
    clock: SharedClock,
    written: Mutex<Written>,
    /// What was done when, for who reads the services' logs beside it.
    timeline: Mutex<File>,
}

/// What is written down.
#[derive(Debug, Clone, Default)]
pub(super) struct Written {
    /// What was accepted, by its event.
    pub(super) accepted: BTreeMap<String, Asked>,
    /// Recharges of which somebody was told that they are in force.
    pub(super) told_recharged: BTreeSet<String>,
    /// Refunds at Stripe of which somebody was told that they were made.
    pub(super) told_refunded: BTreeSet<String>,
    /// How often what was injected.
    pub(super) faults: BTreeMap<String, u64>,
    /// How often what was sent, or asked for.
    pub(super) sent: BTreeMap<&'static str, u64>,
    /// What was not as it should be, other than the books.
    pub(super) complaints: Vec<String>,
    /// Services that ended by themselves.
    pub(super) ended: Vec<String>,
}

impl Notes {
    /// Empty notes; the timeline goes to a file in this folder.
    pub(super) fn start(folder: &Path) -> anyhow::Result<Self> {
        let path = folder.join("timeline.log");
        let timeline = File::create(&path).with_context(|| format!("making {}", path.display()))?;
        Ok(Self {
            started: Instant::now(),
            clock: SystemClock::shared(),
            written: Mutex::default(),
            timeline: Mutex::new(timeline),
        })
    }

    /// A fault begins.
    pub(super) fn begins(&self, injection: &Injection) {
        *self.lock().faults.entry(injection.fault.kind()).or_default() += 1;
        self.line(&format!("begins  {} (for {:?})", injection.fault, injection.lasts));
    }

    /// A fault has ended.
    pub(super) fn ends(&self, injection: &Injection) {
        if !injection.lasts.is_zero() {
            self.line(&format!("ended   {}", injection.fault));
        }
    }

    /// A line for the timeline.
    pub(super) fn line(&self, text: &str) {
        let at = self.clock.now().format("%H:%M:%S%.3f");
        let mut timeline = self.timeline.lock().unwrap_or_else(PoisonError::into_inner);
        // The timeline is a help for people; without it the campaign is the same.
        let _ = writeln!(timeline, "{at}  {text}");
    }

    /// Something was accepted, and this was the answer.
    pub(super) fn accepted(&self, event_id: &str, asked: Asked, answer: &Value) {
        let mut written = self.lock();
        written.accepted.entry(event_id.to_owned()).or_insert(asked);
        if answer["success"] != true {
            return;
        }
        match (answer["recharge_id"].as_str(), answer["refund_id"].as_str()) {
            (_, Some(refund)) => drop(written.told_refunded.insert(refund.to_owned())),
            (Some(recharge), None) => drop(written.told_recharged.insert(recharge.to_owned())),
            (None, None) => {}
        }
    }

    /// Something was sent, or asked for.
    pub(super) fn sent(&self, what: &'static str) {
        *self.lock().sent.entry(what).or_default() += 1;
    }

    /// Something is not as it should be.
    pub(super) fn complain(&self, what: String) {
        self.line(&format!("WRONG   {what}"));
        self.lock().complaints.push(what);
    }

    /// A service ended by itself.
    pub(super) fn ended_by_itself(&self, what: String) {
        self.line(&format!("WRONG   {what}"));
        self.lock().ended.push(what);
    }

    /// How long it has been going on.
    pub(super) fn elapsed(&self) -> std::time::Duration {
        self.started.elapsed()
    }

    /// Everything so far.
    pub(super) fn read(&self) -> Written {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
