//! What became of an event, for a caller that waits for it.
//!
//! Every replica listens to what the other services publish, without a consumer of its own: a message that is missed
//! costs nothing but the wait, because the database knows the outcome too.

mod answers;
mod decode;
pub(crate) mod view;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use common::broker::Broker;
use common::clock::Timestamp;
use common::contract::organization_of;
use common::ids::{EventId, OrganizationId, RechargeId, TeamId};
use common::money::Money;
use common::shutdown::Shutdown;
use futures_util::StreamExt;
use futures_util::stream::select;
use rust_decimal::Decimal;
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::console::live::Hints;

pub(crate) use answers::{quota_number, recharge_answer, refund_answer, sync_answer, webhook_answer};

/// How many callers may wait at once. More get the 202 at once: memory is bounded, whatever is sent.
const WAITERS: usize = 10_000;
/// How many accepted events are remembered, for the status URL between "accepted" and "decided".
const REMEMBERED: usize = 5_000;

/// The end of a chain.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    Settled {
        recharge_id: RechargeId,
        amount: Money,
        fee: Money,
        total_charge: Money,
        new_quota: Option<Decimal>,
    },
    Declined {
        recharge_id: RechargeId,
        amount: Money,
        reason: String,
        message: String,
        class: Option<String>,
        paused: bool,
    },
    ActionRequired {
        recharge_id: RechargeId,
        amount: Money,
        message: String,
        confirmation_url: Option<String>,
        expires_at: Option<Timestamp>,
    },
    Skipped {
        reason: String,
        message: String,
        recharge_id: Option<RechargeId>,
    },
    Refunded {
        recharge_id: RechargeId,
        /// The quota that goes with it.
        amount: Money,
        /// What the customer got back.
        total: Money,
        refund_id: Option<String>,
        reason: String,
    },
    RefundFailed {
        recharge_id: RechargeId,
        total: Money,
        reason: String,
        attempts: u32,
    },
    Synced {
        quota: Decimal,
        ledger_version: i64,
        team: Option<TeamId>,
        changed: bool,
    },
    SyncFailed {
        quota: Decimal,
        ledger_version: i64,
        reason: String,
    },
}

/// What a caller waits for: a recharge's chain has syncs in it that are not its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    Recharge,
    /// A recharge that waits for its customer: that it does so is no news.
    Confirmation,
    Refund,
    Sync,
}

impl Interest {
    /// Whether this outcome is the end of what is waited for.
    fn ends_with(self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Settled { .. } | Outcome::Declined { .. } => matches!(self, Self::Recharge | Self::Confirmation),
            Outcome::ActionRequired { .. } => self == Self::Recharge,
            Outcome::Skipped { .. } => matches!(self, Self::Recharge | Self::Refund),
            Outcome::Refunded { .. } => self != Self::Sync,
            Outcome::RefundFailed { .. } => self == Self::Refund,
            Outcome::Synced { .. } | Outcome::SyncFailed { .. } => self == Self::Sync,
        }
    }
}

/// An event that this replica accepted.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) kind: &'static str,
    pub(crate) organization: Option<OrganizationId>,
    pub(crate) at: Timestamp,
    pub(crate) interest: Interest,
    pub(crate) outcome: Option<Outcome>,
}

/// Who waits for what. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Outcomes(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    waiters: HashMap<EventId, Vec<Waiter>>,
    waiting: usize,
    next: u64,
    accepted: HashMap<EventId, Accepted>,
    oldest_first: VecDeque<EventId>,
}

struct Waiter {
    serial: u64,
    interest: Interest,
    sender: oneshot::Sender<Outcome>,
}

/// One caller's place in the queue; dropping it leaves the queue.
pub(crate) struct Waiting {
    outcomes: Outcomes,
    id: EventId,
    serial: u64,
    receiver: oneshot::Receiver<Outcome>,
}

impl Outcomes {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to wait for the end of the chain that `id` starts. Call it before publishing: the end may come sooner than
    /// the broker's confirmation. `None` when too many wait already.
    pub(crate) fn expect(&self, id: &EventId, interest: Interest) -> Option<Waiting> {
        let (sender, receiver) = oneshot::channel();
        let mut state = self.state();
        if state.waiting >= WAITERS {
            return None;
        }
        let serial = state.next;
        state.next += 1;
        state.waiting += 1;
        state.waiters.entry(id.clone()).or_default().push(Waiter { serial, interest, sender });
        drop(state);
        Some(Waiting { outcomes: self.clone(), id: id.clone(), serial, receiver })
    }

    /// Remembers an event that the broker has.
    pub(crate) fn accepted(&self, id: &EventId, accepted: Accepted) {
        let mut state = self.state();
        if state.accepted.contains_key(id) {
            return;
        }
        state.accepted.insert(id.clone(), accepted);
        state.oldest_first.push_back(id.clone());
        if state.oldest_first.len() > REMEMBERED
            && let Some(oldest) = state.oldest_first.pop_front()
        {
            state.accepted.remove(&oldest);
        }
    }

    /// What this replica remembers of an event.
    pub(crate) fn recall(&self, id: &EventId) -> Option<Accepted> {
        self.state().accepted.get(id).cloned()
    }

    fn concerns(&self, id: &EventId) -> bool {
        let state = self.state();
        state.waiters.contains_key(id) || state.accepted.contains_key(id)
    }

    /// Tells everybody who waits for it.
    fn tell(&self, id: &EventId, outcome: &Outcome) {
        let mut state = self.state();
        if let Some(accepted) = state.accepted.get_mut(id).filter(|accepted| accepted.interest.ends_with(outcome)) {
            accepted.outcome = Some(outcome.clone());
        }
        let Some(waiters) = state.waiters.get_mut(id) else { return };
        let told = waiters.extract_if(.., |waiter| waiter.interest.ends_with(outcome)).collect::<Vec<_>>();
        if waiters.is_empty() {
            state.waiters.remove(id);
        }
        state.waiting = state.waiting.saturating_sub(told.len());
        drop(state);
        for waiter in told {
            // Whoever has left in the meantime does not mind.
            drop(waiter.sender.send(outcome.clone()));
        }
    }

    fn leave(&self, id: &EventId, serial: u64) {
        let mut state = self.state();
        let Some(waiters) = state.waiters.get_mut(id) else { return };
        let before = waiters.len();
        waiters.retain(|waiter| waiter.serial != serial);
        let left = before - waiters.len();
        if waiters.is_empty() {
            state.waiters.remove(id);
        }
        state.waiting = state.waiting.saturating_sub(left);
    }

    /// Listens until the shutdown, for ever anew.
    pub(crate) async fn listen(self, broker: Broker, hints: Hints, shutdown: Shutdown) {
        while !shutdown.is_given() {
            if let Err(error) = self.listen_once(&broker, &hints, &shutdown).await {
                tracing::warn!(%error, "can't listen for outcomes: {error}; trying again");
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = shutdown.wait() => return,
            }
        }
    }

    async fn listen_once(&self, broker: &Broker, hints: &Hints, shutdown: &Shutdown) -> anyhow::Result<()> {
        let recharges = broker.client().subscribe("recharges.>").await?;
        let quotas = broker.client().subscribe("quotas.>").await?;
        let mut messages = select(recharges, quotas);
        loop {
            tokio::select! {
                message = messages.next() => match message {
                    Some(message) => self.hear(&message.subject, &message.payload, hints),
                    None => anyhow::bail!("the subscription ended"),
                },
                () = shutdown.wait() => return Ok(()),
            }
        }
    }

    /// Looks at a message: whose it is, for the pages that are open, and whether it ends a chain that somebody waits for.
    /// Most are about chains that nobody here waits for, so their payload is not read.
    fn hear(&self, subject: &str, body: &[u8], hints: &Hints) {
        #[derive(Deserialize)]
        struct Head {
            correlationid: EventId,
        }
        let Ok(head) = serde_json::from_slice::<Head>(body) else { return };
        hints.tell(organization_of(subject).as_ref().map(OrganizationId::as_str));
        if self.concerns(&head.correlationid)
            && let Some(outcome) = decode::outcome(subject, body)
        {
            self.tell(&head.correlationid, &outcome);
        }
    }
}

impl Waiting {
    /// Waits for the outcome, at most so long.
    pub(crate) async fn until(&mut self, wait: Duration, shutdown: &Shutdown) -> Option<Outcome> {
        tokio::select! {
            outcome = &mut self.receiver => outcome.ok(),
            () = tokio::time::sleep(wait) => None,
            // Whoever waits gets the 202, so that a restart keeps nobody.
            () = shutdown.wait() => None,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.outcomes.leave(&self.id, self.serial);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> EventId {
        EventId::parse(text).unwrap()
    }

    fn skipped() -> Outcome {
        Outcome::Skipped { reason: "cooldown".to_owned(), message: String::new(), recharge_id: None }
    }

    fn synced() -> Outcome {
        Outcome::Synced { quota: Decimal::ONE, ledger_version: 1, team: None, changed: true }
    }

    #[tokio::test]
    async fn everybody_who_waits_for_an_event_is_told_and_nobody_else() {
        let outcomes = Outcomes::default();
        let wait = |name: &str, interest| outcomes.expect(&id(name), interest).unwrap();
        let (mut one, mut two) = (wait("a", Interest::Recharge), wait("a", Interest::Recharge));
        let (mut sync, mut other) = (wait("a", Interest::Sync), wait("b", Interest::Recharge));
        outcomes.tell(&id("a"), &synced());
        outcomes.tell(&id("a"), &skipped());
        let (soon, never) = (Duration::from_secs(5), Duration::from_millis(20));
        let shutdown = Shutdown::new();
        assert_eq!(one.until(soon, &shutdown).await, Some(skipped()));
        assert_eq!(two.until(soon, &shutdown).await, Some(skipped()));
        assert_eq!(sync.until(soon, &shutdown).await, Some(synced()));
        assert_eq!(other.until(never, &shutdown).await, None);
        drop((one, two, sync, other));
        let state = outcomes.state();
        assert!(state.waiters.is_empty() && state.waiting == 0, "{} are left", state.waiting);
    }

    #[tokio::test]
    async fn there_is_an_end_to_waiting_and_to_remembering() {
        let outcomes = Outcomes::default();
        let all: Vec<_> = (0..WAITERS).map(|_| outcomes.expect(&id("a"), Interest::Recharge).unwrap()).collect();
        assert!(outcomes.expect(&id("b"), Interest::Recharge).is_none());
        drop(all);
        assert!(outcomes.expect(&id("b"), Interest::Recharge).is_some());
        for number in 0..=REMEMBERED {
            let accepted = Accepted {
                kind: "k",
                organization: None,
                at: Timestamp::UNIX_EPOCH,
                interest: Interest::Recharge,
                outcome: None,
            };
            outcomes.accepted(&id(&format!("e{number}")), accepted);
        }
        assert!(outcomes.recall(&id("e0")).is_none());
        outcomes.tell(&id("e1"), &synced());
        assert!(outcomes.recall(&id("e1")).unwrap().outcome.is_none());
        outcomes.tell(&id("e1"), &skipped());
        assert_eq!(outcomes.recall(&id("e1")).unwrap().outcome, Some(skipped()));
    }

    #[tokio::test]
    async fn a_shutdown_keeps_nobody_waiting() {
        let outcomes = Outcomes::default();
        let shutdown = Shutdown::new();
        shutdown.give();
        let mut waiting = outcomes.expect(&id("a"), Interest::Sync).unwrap();
        assert_eq!(waiting.until(Duration::from_secs(60), &shutdown).await, None);
    }
}
