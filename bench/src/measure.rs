//! Taking times.

use std::future::Future;
use std::time::{Duration, Instant};

/// How often something is done before it counts: connections are opened, caches filled.
pub const WARM_UP: usize = 3;

/// How long something took, each time.
#[derive(Debug, Clone)]
pub struct Times(Vec<Duration>);

impl Times {
    /// Of these, at least one.
    #[must_use]
    pub fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time that so many of a hundred don't exceed: one that was measured, never one in between.
    #[must_use]
    pub fn percentile(&self, of_a_hundred: usize) -> Duration {
        let rank = (self.0.len() * of_a_hundred).div_ceil(100).max(1);
        self.0.get(rank - 1).copied().unwrap_or_default()
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.percentile(100)
    }
}

/// Does something so many times, one at a time, after it was done a few times that don't count.
///
/// # Errors
/// The first that fails.
pub async fn one_at_a_time<F: Future<Output = anyhow::Result<()>>>(
    times: usize,
    mut act: impl FnMut() -> F,
) -> anyhow::Result<Times> {
    for _ in 0..WARM_UP {
        act().await?;
    }
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        taken.push(timed(act()).await?);
    }
    Ok(Times::of(taken))
}

/// Does something so many times, by so many at once.
///
/// # Errors
/// The first that fails.
pub async fn at_once<F: Future<Output = anyhow::Result<()>>>(
    times: usize,
    at_once: usize,
    act: impl Fn() -> F,
) -> anyhow::Result<Times> {
    let workers = (0..at_once).map(|worker| {
        let share = times / at_once + usize::from(worker < times % at_once);
        let act = &act;
        async move {
            let mut taken = Vec::with_capacity(share);
            for _ in 0..share {
                taken.push(timed(act()).await?);
            }
            anyhow::Ok(taken)
        }
    });
    let taken = futures_util::future::try_join_all(workers).await?;
    Ok(Times::of(taken.into_iter().flatten().collect()))
}

async fn timed(act: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<Duration> {
    let started = Instant::now();
    act.await?;
    Ok(started.elapsed())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let ms = |numbers: &[u64]| Times::of(numbers.iter().map(|ms| Duration::from_millis(*ms)).collect());
        let twenty: Vec<u64> = (1..=20).rev().collect();
        for (times, want) in [(ms(&[7]), (7, 7, 7)), (ms(&[9, 1, 2]), (2, 9, 9)), (ms(&twenty), (10, 19, 20))] {
            let (median, p95, max) = (times.percentile(50), times.percentile(95), times.max());
            assert_eq!(
                (median, p95, max),
                (Duration::from_millis(want.0), Duration::from_millis(want.1), Duration::from_millis(want.2))
            );
        }
    }

    #[tokio::test]
    async fn everything_is_done_as_often_as_was_asked() {
        let done = AtomicUsize::new(0);
        let act = || async {
            done.fetch_add(1, Ordering::Relaxed);
            Ok(())
        };
        assert_eq!(one_at_a_time(5, act).await.unwrap().0.len(), 5);
        assert_eq!(done.swap(0, Ordering::Relaxed), 5 + WARM_UP);
        assert_eq!(at_once(10, 4, act).await.unwrap().0.len(), 10);
        assert_eq!(done.load(Ordering::Relaxed), 10);
        assert!(one_at_a_time(1, || async { anyhow::bail!("no") }).await.is_err());
    }
}
