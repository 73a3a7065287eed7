//! A short fault campaign with a fixed seed: the same that `cargo xtask torture` runs for longer.

use std::time::Duration;

use common::shutdown::Shutdown;
use e2e::torture::{self, Settings};

const SEED: u64 = 4;
/// Fewer than `cargo xtask torture` has: to create them is what takes the time.
const ORGANIZATIONS: usize = 60;

#[tokio::test(flavor = "multi_thread")]
async fn a_short_fault_campaign_keeps_the_promise() -> anyhow::Result<()> {
    let settings = Settings {
        // Short enough for both outages that are longer than a deadline.
        deadline: Duration::from_secs(6),
        ..Settings::new(SEED, Duration::from_secs(26), ORGANIZATIONS)
    };
    let report = torture::run(&settings, &Shutdown::new()).await?;
    assert_eq!(report.violations, Vec::<String>::new(), "see {}", settings.logs().display());
    Ok(())
}
