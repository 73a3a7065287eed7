//! The comparison that nobody has to ask for: one in every interval, however many replicas there are. They agree because
//! the run's name is the interval's, and the database takes each name once.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use common::clock::Timestamp;
use common::periodic;
use common::shutdown::Shutdown;

use super::{OLDEST, publish, repo};
use crate::app::App;

/// What is compared: an event of Stripe's, or a correction there, may be a day late.
pub(crate) const LOOK_BACK: TimeDelta = TimeDelta::hours(48);
/// How often to see whether something is due.
const TICK: Duration = Duration::from_secs(3);
/// So long after it was begun, or asked for again, a run is asked for again.
const GRACE: TimeDelta = TimeDelta::minutes(1);
/// So long the broker surely drops a repeat (its dedupe window is ten minutes).
const REPEATABLE: TimeDelta = TimeDelta::minutes(8);
/// How far a comparison goes back behind the beginning of the last one that was finished.
const OVERLAP: TimeDelta = TimeDelta::hours(1);
/// Who asked.
const SCHEDULE: &str = "schedule";

/// An interval: the name of its run, and when it began.
#[derive(Debug, PartialEq, Eq)]
struct Slot {
    run_id: String,
    began: Timestamp,
}

/// The interval that `now` is in; none where there are no intervals. Of an hour: `hourly-2026-11-23T10`.
fn slot(now: Timestamp, interval: Duration) -> Option<Slot> {
    let length = i64::try_from(interval.as_secs()).ok().filter(|length| *length > 0)?;
    let number = now.timestamp().checked_div_euclid(length)?;
    let began = Timestamp::from_timestamp(number.checked_mul(length)?, 0)?;
    let run_id = match length {
        3600 => format!("hourly-{}", began.format("%Y-%m-%dT%H")),
        _ => format!("every-{length}s-{number}"),
    };
    Some(Slot { run_id, began })
}

/// From when on to compare: after an outage that was longer than the usual look back, from the last run on that got to an
/// end, so that nothing falls between the two.
fn since(slot: &Slot, last_finished: Option<Timestamp>) -> Timestamp {
    let usual = slot.began - LOOK_BACK;
    last_finished.map_or(usual, |last| usual.min(last - OVERLAP))
}

/// Begins what is due, until the shutdown. Whatever goes wrong is tried again at the next look.
pub(crate) async fn keep(app: Arc<App>, shutdown: Shutdown) {
    let interval = app.config.reconcile_interval;
    // An interval of less than a second would have no number.
    let interval = if interval.is_zero() { interval } else { interval.max(Duration::from_secs(1)) };
    let tick = if interval.is_zero() { TICK } else { TICK.min(interval / 2) };
    periodic::every(tick, &shutdown, || async {
        // Without a broker nothing is begun: a run is due until it is.
        if !app.directory.database_is_up() || !app.publisher.is_connected() {
            return;
        }
        if let Err(error) = look(&app, interval).await {
            tracing::warn!(%error, "the comparison of the books could not be begun: {error}; trying again");
        }
    })
    .await;
}

async fn look(app: &App, interval: Duration) -> sqlx::Result<()> {
    let now = app.clock.now();
    if let Some(slot) = slot(now, interval)
        && !repo::exists(&app.pool, &slot.run_id).await?
    {
        let since = since(&slot, repo::last_finished(&app.pool, SCHEDULE).await?);
        let mut connection = app.pool.acquire().await?;
        let new = repo::insert(&mut connection, &slot.run_id, since, SCHEDULE, now).await?;
        drop(connection);
        if new && let Some(run) = repo::find(&app.pool, &slot.run_id).await? {
            tracing::info!(run_id = run.run_id, "the books are to be compared ({})", run.run_id);
            // If it fails, the run is one that nobody answered.
            drop(publish(app, &run).await);
        }
    }
    for run in repo::take_unanswered(&app.pool, now, now - GRACE, now - REPEATABLE, now - OLDEST).await? {
        tracing::debug!(run_id = run.run_id, "asking again for {}, whose parts are missing", run.run_id);
        if publish(app, &run).await.is_err() {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn an_outage_is_caught_up() {
        let slot = slot(at("2026-11-23T10:00:00Z"), Duration::from_secs(3600)).unwrap();
        let usual = at("2026-11-21T10:00:00Z");
        for (last, want) in [
            (None, usual),
            (Some(at("2026-11-23T09:00:05Z")), usual),
            (Some(at("2026-11-21T11:00:00Z")), usual),
            (Some(at("2026-11-21T10:30:00Z")), at("2026-11-21T09:30:00Z")),
            (Some(at("2026-11-18T07:00:00Z")), at("2026-11-18T06:00:00Z")),
        ] {
            assert_eq!(since(&slot, last), want, "{last:?}");
        }
    }

    #[test]
    fn everybody_names_an_interval_alike() {
        let hour = Duration::from_secs(3600);
        let want = Slot { run_id: "hourly-2026-11-23T10".to_owned(), began: at("2026-11-23T10:00:00Z") };
        assert_eq!(slot(at("2026-11-23T10:00:00Z"), hour), Some(want));
        assert_eq!(slot(at("2026-11-23T10:59:59.999Z"), hour), slot(at("2026-11-23T10:00:00Z"), hour));
        assert_ne!(slot(at("2026-11-23T11:00:00Z"), hour), slot(at("2026-11-23T10:59:59Z"), hour));
        let quarter = slot(at("1970-01-01T00:31:00Z"), Duration::from_secs(900)).unwrap();
        assert_eq!(quarter, Slot { run_id: "every-900s-2".to_owned(), began: at("1970-01-01T00:30:00Z") });
        assert_eq!(slot(at("2026-11-23T10:00:00Z"), Duration::ZERO), None);
        assert_eq!(slot(at("2026-11-23T10:00:00Z"), Duration::from_secs(u64::MAX)), None);
    }
}
