//! `cargo xtask torture`: a fault campaign against real processes, and a verdict by the simulators' own books.
//!
//! Between the parts stand proxies ([`proxy`]). A seed gives a schedule of faults ([`mod@schedule`]), which is carried out
//! while organizations use up their quota and people ask for recharges and refunds. In the end everything is healed, the
//! system comes to rest, and the books are judged ([`verdict`]).

pub mod fault;
mod field;
mod inject;
mod load;
mod logs;
mod notes;
mod people;
pub mod proxy;
mod read;
mod report;
mod rest;
pub mod schedule;
pub mod verdict;
#[cfg(test)]
mod verdict_tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use common::shutdown::Shutdown;
use tokio::task::JoinHandle;
use xtask::say;

use self::field::Field;
use self::load::{Organization, Sender};
use self::notes::Notes;
use self::people::People;
use self::schedule::{Plan, schedule};
use self::verdict::{Books, violations};
use crate::stack::Options;

/// How often a line tells of progress.
const PROGRESS: Duration = Duration::from_secs(10);
/// How often is looked whether a service has ended by itself.
const LOOK: Duration = Duration::from_millis(200);
/// How long what was sent may take to be accepted, once everything is healed.
const ACCEPTING: Duration = Duration::from_secs(60);

/// How a campaign is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// What the faults follow from.
    pub seed: u64,
    /// How long there are faults.
    pub length: Duration,
    /// How many organizations there are.
    pub organizations: usize,
    /// How many processes of each service.
    pub replicas: usize,
    /// `CREDIT_DEADLINE` and `SYNC_DEADLINE`.
    pub deadline: Duration,
    /// How long the system may take to come to rest.
    pub rest: Duration,
}

impl Settings {
    /// The usual campaign.
    #[must_use]
    pub const fn new(seed: u64, length: Duration, organizations: usize) -> Self {
        let (deadline, rest) = (Duration::from_secs(12), Duration::from_secs(180));
        Self { seed, length, organizations, replicas: 2, deadline, rest }
    }

    /// How long the broker waits for an acknowledgement: a frozen process is soon replaced.
    const fn ack_wait(&self) -> Duration {
        Duration::from_secs(2)
    }

    /// Where the logs are.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        xtask::paths::target_dir().join("torture").join(format!("seed-{}", self.seed))
    }

    /// The services' settings: everything is quick, and nothing is left to the hourly comparison.
    fn options(&self) -> Options {
        let deadline = format!("{}ms", self.deadline.as_millis());
        [
            ("CREDIT_DEADLINE", deadline.as_str()),
            ("SYNC_DEADLINE", &deadline),
            ("SWEEP_INTERVAL", "3s"),
            ("SWEEP_REPEAT", "10s"),
            ("STRIPE_TIMEOUT", "2s"),
            ("KMS_TIMEOUT", "1s"),
            ("REFUND_RETRY", "500ms"),
            ("PATROL_LEASE", "6s"),
            ("WEBHOOK_WAIT_MS", "1000"),
            ("API_WAIT_MS", "2000"),
            ("WEBHOOK_RATE_PER_SECOND", "0"),
            ("RETRY_CAP", "1s"),
            ("MAX_ATTEMPTS", "40"),
        ]
        .into_iter()
        .fold(Options::default(), |options, (name, value)| options.with(name, value))
    }
}

/// What a campaign came to.
#[derive(Debug, Clone)]
pub struct Report {
    /// How it was run.
    pub settings: Settings,
    /// How often what was injected.
    pub faults: BTreeMap<String, u64>,
    /// What the simulators, the proxies and the broker count.
    pub served: BTreeMap<String, u64>,
    /// What was sent and asked for, and what came of it.
    pub numbers: BTreeMap<String, u64>,
    /// Dead letters that were brought back.
    pub redriven: Vec<String>,
    /// Every way in which the promise was broken; none when the verdict is clean.
    pub violations: Vec<String>,
}

/// Runs a campaign to its verdict, and prints both. `shutdown` ends it before.
///
/// # Errors
/// When something could not be started or read, or the shutdown was given; what the verdict finds is no error.
pub async fn run(settings: &Settings, shutdown: &Shutdown) -> anyhow::Result<Report> {
    say(format_args!("seed: {}", settings.seed));
    // Dropping it ends every process, however this ends.
    let report = tokio::select! {
        report = campaign(settings) => report?,
        () = shutdown.wait() => bail!("stopped before the verdict; the seed was {}", settings.seed),
    };
    report::print(&report);
    Ok(report)
}

async fn campaign(settings: &Settings) -> anyhow::Result<Report> {
    let field = Arc::new(Field::start(settings).await?);
    let notes = Arc::new(Notes::start(&settings.logs())?);
    let organizations = load::organizations(&field, settings).await?;
    say(format_args!("{:>4} s  {} organizations are ready", notes.elapsed().as_secs(), organizations.len()));
    let (load, watch) = (Load::start(&field, &notes, organizations, settings.seed), watch(&field, &notes));
    let plan =
        Plan { seed: settings.seed, length: settings.length, replicas: settings.replicas, deadline: settings.deadline };
    inject::run(&field, &notes, schedule(&plan), settings.seed).await;
    say(format_args!("{:>4} s  the faults stop", notes.elapsed().as_secs()));
    field.heal().await?;
    field.until_ready().await?;
    load.stop().await;
    let letters = rest::settle_down(&field, &notes, settings.rest).await?;
    say(format_args!("{:>4} s  the system is at rest", notes.elapsed().as_secs()));
    let mut books = read::books(&field).await?;
    let verified = ledger::verify::verify(&field.pool).await?;
    books.wrong.drifts = verified.drifts.iter().map(ToString::to_string).collect();
    // Only now: it repairs what it can.
    books.wrong.findings = rest::reconcile(&field).await?;
    let served = report::served(&field).await?;
    watch.abort();
    books.wrong.unfinished = letters.unfinished;
    books.wrong.letters = letters.returned;
    conclude(settings, &field, &notes, books, (served, letters.redriven)).await
}

/// Stops the services, reads their logs and the notes, and judges.
async fn conclude(
    settings: &Settings,
    field: &Field,
    notes: &Notes,
    mut books: Books,
    (served, redriven): (BTreeMap<String, u64>, Vec<String>),
) -> anyhow::Result<Report> {
    let unclean = field.stop().await;
    let written = notes.read();
    books.accepted.clone_from(&written.accepted);
    books.told_recharged.clone_from(&written.told_recharged);
    books.told_refunded.clone_from(&written.told_refunded);
    books.wrong.ended = [written.ended.clone(), unclean].concat();
    books.wrong.complaints.clone_from(&written.complaints);
    let found = logs::look_through(&field.logs, field.secrets())?;
    (books.wrong.panics, books.wrong.secrets) = (found.panics, found.secrets);
    let violations = violations(&books);
    violations.iter().for_each(|violation| notes.line(&format!("verdict {violation}")));
    Ok(Report {
        settings: settings.clone(),
        numbers: report::numbers(settings, &books, &written, redriven.len()),
        faults: written.faults,
        served,
        redriven,
        violations,
    })
}

/// Those who send and ask.
struct Load {
    tasks: [JoinHandle<()>; 2],
    stop: Shutdown,
    give_up: Shutdown,
}

impl Load {
    fn start(field: &Arc<Field>, notes: &Arc<Notes>, organizations: Vec<Organization>, seed: u64) -> Self {
        let (stop, give_up) = (Shutdown::new(), Shutdown::new());
        let sender =
            Sender { field: field.clone(), notes: notes.clone(), stop: stop.clone(), give_up: give_up.clone() };
        let people =
            People { field: field.clone(), notes: notes.clone(), stop: stop.clone(), give_up: give_up.clone() };
        let sending = tokio::spawn(Arc::new(sender).run(organizations.clone(), seed));
        let asking = tokio::spawn(Arc::new(people).run(organizations, seed));
        Self { tasks: [sending, asking], stop, give_up }
    }

    /// Nothing new; what was begun is repeated until it is accepted, or it is complained of.
    async fn stop(mut self) {
        self.stop.give();
        let done = async {
            for task in &mut self.tasks {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(ACCEPTING, done).await.is_err() {
            self.give_up.give();
            for task in &mut self.tasks {
                if !task.is_finished() {
                    let _ = task.await;
                }
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Tells of progress, and of services that end by themselves.
fn watch(field: &Arc<Field>, notes: &Arc<Notes>) -> Watch {
    let (field, notes) = (Arc::clone(field), Arc::clone(notes));
    Watch(tokio::spawn(async move {
        let mut next = PROGRESS;
        loop {
            tokio::time::sleep(LOOK).await;
            field.ended_by_themselves().into_iter().for_each(|what| notes.ended_by_itself(what));
            if notes.elapsed() >= next {
                next += PROGRESS;
                report::progress(&field, &notes.read(), notes.elapsed()).await;
            }
        }
    }))
}

/// Ends with who holds it.
struct Watch(JoinHandle<()>);

impl Watch {
    fn abort(&self) {
        self.0.abort();
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.abort();
    }
}
