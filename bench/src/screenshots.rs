//! Pictures of every page of the console, of a system that has been in use for a year and is in use now: what was seeded
//! gives pages their past, and what is done by the API just before gives them what moves and what can be pressed.

mod camera;
mod cast;
mod gallery;
mod shots;

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use common::clock::{Clock, SystemClock};
use e2e::{Options as StackOptions, Stack};
use xtask::say;
use xtask::screenshots::{Language, Options};

use crate::fleet::{self, Fleet};
use camera::Camera;
use cast::Cast;
use shots::{Shot, shots};

/// What the seeded content follows from: always the same, so that pictures of two days can be compared.
const SEED: u64 = 1;
/// How many dead letters there are.
const LETTERS: usize = 24;

/// Takes the pictures, and tells what is wrong with the pages. Returns whether nothing is.
///
/// # Errors
/// When there is no such page, or the system can't be started or brought to where the pictures are taken.
pub async fn run(options: &Options) -> anyhow::Result<bool> {
    let shots = chosen(options)?;
    let started = Instant::now();
    let stack = Stack::start(settings()).await?;
    let now = SystemClock.now();
    let seeded = fleet::seed(&stack.pool, &Fleet::small(SEED), now).await?;
    fleet::park(&stack.broker, LETTERS, &seeded, now).await?;
    let cast = Cast::gather(&stack, &seeded).await?;
    say(format_args!("everything is there after {} s", started.elapsed().as_secs()));
    let folder = xtask::screenshots::folder();
    if options == &Options::default() {
        empty(&folder)?;
    }
    let mut camera = Camera::new(&stack.client.ingress, &cast, &folder);
    for language in Language::ALL.into_iter().filter(|one| options.language.is_none_or(|only| only == *one)) {
        let of_it: Vec<&Shot> = shots.iter().filter(|shot| shot.is_taken_in(language)).collect();
        camera.take_all(language, &of_it).await?;
    }
    let (taken, wrong) = camera.finish();
    stack.stop().await?;
    let index = gallery::write(&folder, &wrong)?;
    for one in &wrong {
        say(format_args!("WRONG: {one}"));
    }
    say(format_args!(
        "{taken} pictures after {} s, {} things wrong with the pages: look at {}",
        started.elapsed().as_secs(),
        wrong.len(),
        index.display()
    ));
    Ok(wrong.is_empty())
}

/// What is pictured, checked before anything is started.
fn chosen(options: &Options) -> anyhow::Result<Vec<Shot>> {
    let mut shots = shots();
    if let Some(only) = &options.only {
        let mut names: Vec<&str> = shots.iter().map(|shot| shot.page).collect();
        names.dedup();
        let names = names.join(", ");
        shots.retain(|shot| shot.page == only || shot.name() == *only);
        ensure!(!shots.is_empty(), "there is no page `{only}`, but there are {names}");
    }
    Ok(shots)
}

/// Services as they are run for real, but that nothing happens by itself while they are pictured, and that what is on its
/// way stays there.
fn settings() -> StackOptions {
    let own = StackOptions { own_postgres: true, ..StackOptions::default() };
    [
        ("API_AUTH", "on"),
        ("PATROL_INTERVAL", "1s"),
        ("SWEEP_INTERVAL", "24h"),
        ("VERIFY_INTERVAL", "24h"),
        ("SYNC_DEADLINE", "2h"),
        ("RETRY_CAP", "30s"),
        ("FEE_BPS", "290"),
        ("FEE_FIXED", "30"),
    ]
    .into_iter()
    .fold(own, |options, (name, value)| options.with(name, value))
}

/// No picture of a page that is no more.
fn empty(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", folder.display()))
        }
        _ => Ok(()),
    }
}
