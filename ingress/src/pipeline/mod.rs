//! How the chain is: what each part of it has left to do, and since when. What can't be told at the moment is null, and a
//! sentence says why; the broker's part is told without the database, and the database's without the broker.

mod repo;
pub(crate) mod view;

use std::sync::LazyLock;
use std::time::Duration;

use common::broker::{Broker, Definitions};
use common::clock::Timestamp;
use common::dead_letters::{DeadLetters, DeadLettersError};
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::app::App;
use crate::reconciliations;
use view::{ConsumerView, DeadLettersView, OutsideView, PipelineView, ReconciliationView, Unknown};

/// How long the broker, and the database, may take to tell their part: somebody looks at a page.
const PATIENCE: Duration = Duration::from_secs(3);
/// What the answer's parts from the database are called.
const OF_THE_DATABASE: [&str; 6] =
    ["recharges", "refunds", "quotas", "outside.stripe", "outside.quota_backend", "reconciliation"];

/// Every consumer of ours: its stream and its service. Nothing where the definitions can't be read, which a test rules out.
static CONSUMERS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
    let definitions = Definitions::committed().map(|definitions| definitions.consumers).unwrap_or_default();
    definitions.into_iter().filter_map(|consumer| Some((consumer.stream, consumer.config.durable_name?))).collect()
});

/// Looks at everything.
pub(crate) async fn look(app: &App) -> PipelineView {
    let now = app.clock.now();
    let broker = app.publisher.broker();
    let (consumers, dead_letters, stored) =
        tokio::join!(consumers(broker), dead_letters(&app.dead_letters), stored(app, now));
    let mut unknown = Vec::new();
    let mut told = |part: &'static str, reason: &str| unknown.push(Unknown { part, reason: reason.to_owned() });
    let consumers = consumers.map_err(|reason| told("consumers", reason)).ok();
    let dead_letters = dead_letters.map_err(|reason| told("dead_letters", &reason)).ok();
    let stored = stored.map_err(|reason| OF_THE_DATABASE.iter().for_each(|part| told(part, reason))).ok();
    let (facts, last) = stored.unzip();
    let (in_flight, refunds, quotas, stripe, quota_backend) =
        facts.map_or_else(Default::default, |facts| facts.view(app.config.stripe.mode()));
    PipelineView {
        at: now,
        consumers,
        dead_letters,
        recharges: in_flight,
        refunds,
        quotas,
        outside: OutsideView { stripe, quota_backend },
        reconciliation: last.map(|last| ReconciliationView { last }),
        unknown,
    }
}

async fn consumers(broker: &Broker) -> Result<Vec<ConsumerView>, &'static str> {
    if !broker.is_connected() {
        return Err("The message broker is not available");
    }
    let all = CONSUMERS.iter().map(|(stream, service)| async move {
        let progress = timeout(PATIENCE, broker.progress(stream, service)).await;
        ConsumerView::of(stream, service, progress.unwrap_or(Err(common::broker::Unknown::Away)))
    });
    Ok(join_all(all).await)
}

async fn dead_letters(letters: &DeadLetters) -> Result<DeadLettersView, String> {
    match timeout(PATIENCE, letters.parked()).await {
        Ok(Ok((count, oldest_at))) => Ok(DeadLettersView { count, oldest_at }),
        Ok(Err(DeadLettersError::Refused(reason))) => Err(format!("The message broker refused: {reason}")),
        Ok(Err(_)) | Err(_) => Err("The message broker is not available".to_owned()),
    }
}

/// What the tables tell, and the last comparison of the books.
async fn stored(
    app: &App,
    now: Timestamp,
) -> Result<(repo::Facts, Option<reconciliations::view::RunView>), &'static str> {
    const AWAY: &str = "The database is not available";
    if !app.directory.database_is_up() {
        return Err(AWAY);
    }
    let read = async {
        let facts = repo::facts(&app.pool).await?;
        let last = reconciliations::repo::list(&app.pool, None, 1).await?;
        Ok::<_, sqlx::Error>((facts, last.first().map(|run| run.view(now))))
    };
    match timeout(PATIENCE, read).await {
        Ok(Ok(told)) => Ok(told),
        Ok(Err(error)) => {
            tracing::warn!(%error, "the state of the pipeline could not be read: {error}");
            Err(AWAY)
        }
        Err(_) => Err("The database does not answer"),
    }
}
