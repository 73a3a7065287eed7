//! The sweep: every `SWEEP_INTERVAL` one replica looks at everybody. Webhooks are lossy hints; this is the trigger that can't
//! be lost, and the repair of whatever else went wrong at the backend.

mod repo;
mod tally;
mod turn;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::clients::quota::BackendQuota;
use common::ids::OrganizationId;
use common::periodic::{self, Publish};
use common::shutdown::Shutdown;
use prometheus::Registry;
use tokio::task::JoinSet;

use crate::look::{Asker, Looked, Looker, low};
use crate::trouble::Trouble;
pub(crate) use tally::AWAY;
use tally::Metrics;
use turn::Turn;

pub use tally::{Fate, Tally};

/// Looks at once.
const CONCURRENCY: usize = 4;
/// Looks are spread by up to this much, so that the backend does not get them in step.
const JITTER: Duration = Duration::from_millis(20);
/// How long snapshots and ended repairs are kept.
const KEPT: chrono::Duration = chrono::Duration::days(90);
/// So many are taken away in one sweep, or twice as many as were added, if that is more.
const PRUNED: i64 = 1_000;

/// One replica's sweep.
pub struct Sweep<P> {
    looker: Arc<Looker>,
    publisher: Arc<P>,
    turn: Turn,
    /// The backend was away at the last sweep: that was said.
    away: AtomicBool,
    metrics: Metrics,
}

impl<P: Publish> Sweep<P> {
    pub(crate) fn new(looker: Arc<Looker>, publisher: P, registry: &Registry) -> Self {
        let metrics = Metrics::new(registry);
        Self { looker, publisher: Arc::new(publisher), turn: Turn::default(), away: AtomicBool::new(false), metrics }
    }

    /// Sweeps every interval until the shutdown, whenever it is this replica's turn.
    pub async fn run(&self, shutdown: &Shutdown) {
        let interval = self.looker.policy.sweep_interval;
        periodic::every(interval, shutdown, || async {
            if let Err(error) = self.once(shutdown).await {
                tracing::warn!(%error, "the sweep did not come to its end: {error:#}");
            }
        })
        .await;
        self.turn.give_up().await;
    }

    /// Sweeps once, if it is this replica's turn.
    ///
    /// # Errors
    /// What the database says.
    pub async fn once(&self, shutdown: &Shutdown) -> anyhow::Result<Option<Tally>> {
        let pool = &self.looker.pusher.pool;
        if !self.turn.take(pool).await? {
            self.metrics.show_nothing();
            return Ok(None);
        }
        let timer = self.metrics.seconds.start_timer();
        let mut candidates = repo::candidates(pool).await?;
        low::most_urgent_first(&mut candidates);
        let queue = candidates.into_iter().map(|candidate| candidate.who).collect();
        let tally = self.look_at(queue, shutdown).await;
        self.say(&tally);
        let now = self.looker.pusher.clock.now();
        self.metrics.show(&tally, now);
        timer.observe_duration();
        let pruned = repo::prune(pool, now - KEPT, PRUNED.max(tally.all().saturating_mul(2))).await?;
        if pruned > 0 {
            tracing::debug!(pruned, "took away {pruned} old snapshots and repairs");
        }
        Ok(Some(tally))
    }

    async fn look_at(&self, queue: Vec<OrganizationId>, shutdown: &Shutdown) -> Tally {
        let mut tally = Tally::default();
        if queue.is_empty() {
            return tally;
        }
        let mut listing = self.looker.listing().await;
        let mut queue = queue.into_iter();
        let mut tasks = JoinSet::new();
        loop {
            while tasks.len() < CONCURRENCY && tally.away.is_none() && !shutdown.is_given() {
                let Some(organization) = queue.next() else { break };
                let listed = listing.remove(&organization);
                tasks.spawn(visit(Arc::clone(&self.looker), Arc::clone(&self.publisher), organization, listed));
            }
            match tasks.join_next().await {
                None => break,
                Some(Ok((fate, drifts, reason))) => {
                    tally.note(fate, reason.as_deref());
                    tally.drifting += i64::from(drifts);
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "a look at an organization did not come to its end");
                    tally.note(Fate::Failed, None);
                }
            }
        }
        tally.close(queue.len());
        tally
    }

    /// Logs a sweep. That the backend is away is said once, and once that it is back.
    fn say(&self, tally: &Tally) {
        let backend = self.looker.pusher.backend.name();
        match &tally.away {
            Some(reason) if !self.away.swap(true, Ordering::Relaxed) => tracing::warn!(
                backend,
                reason,
                left = tally.of(Fate::Left),
                "the sweep is given up until {backend} answers again: {reason}"
            ),
            Some(_) => {}
            None if self.away.swap(false, Ordering::Relaxed) => {
                tracing::info!(backend, "{backend} answers the sweep again");
            }
            None => {}
        }
        tracing::debug!(?tally, "looked at {} organizations", tally.all());
    }
}

/// Looks at one organization, publishes what follows, and then notes that it is published.
async fn visit<P: Publish>(
    looker: Arc<Looker>,
    publisher: Arc<P>,
    organization: OrganizationId,
    listed: Option<BackendQuota>,
) -> (Fate, bool, Option<String>) {
    tokio::time::sleep(jitter(&organization)).await;
    let (looked, outcome) = looker.look(&organization, listed.as_ref(), Asker::Sweep).await;
    let said = say_all(&looker, &*publisher, &organization, &looked).await;
    let trouble = match said.and(outcome) {
        Ok(outcome) => return (outcome.into(), looked.drifts, None),
        Err(trouble) => trouble,
    };
    let fate = Fate::from(&trouble);
    match fate {
        Fate::Failed => tracing::warn!(
            c_organization_id = %organization, error = %trouble, "the sweep's look at {organization} failed: {trouble}"
        ),
        _ => tracing::debug!(
            c_organization_id = %organization, error = %trouble, "the backend did not let {organization} be looked at"
        ),
    }
    (fate, looked.drifts, Some(trouble.to_string()))
}

async fn say_all<P: Publish>(
    looker: &Looker,
    publisher: &P,
    organization: &OrganizationId,
    looked: &Looked,
) -> Result<(), Trouble> {
    for event in &looked.events {
        publisher.publish(event).await?;
    }
    looker.settle(organization, looked).await
}

/// A delay that differs between organizations and is the same for each.
fn jitter(organization: &OrganizationId) -> Duration {
    let mixed =
        organization.as_str().bytes().fold(7_u32, |mixed, byte| mixed.wrapping_mul(31).wrapping_add(u32::from(byte)));
    JITTER.saturating_mul(mixed % 1_000) / 1_000
}
