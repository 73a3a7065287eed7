//! A database as the services leave it after a year: organizations with recharges, their triggers, balanced books, pushed
//! quotas, usage and what people did. How much of it is an argument, and all of it follows from a seed.
//!
//! What is made here is made by the rules by which the services make it (the ledger's own functions book it), so that a
//! comparison of the books finds nothing. Nothing of it is due: services that run on it move no money by themselves.

mod books;
mod letters;
mod life;
mod office;
mod plan;
mod profile;
mod recharge;
pub(crate) mod rows;

use anyhow::{Context, ensure};
use common::clock::Timestamp;
use common::ids::{OrganizationId, RechargeId};
use common::money::FeePolicy;
use e2e::random::Random;
use sqlx::PgPool;
use uuid::Uuid;

pub use letters::park;

use self::life::Life;
use self::profile::Profile;
use self::rows::Rows;

/// What customers paid on top of the quota: 2.9 % and 30 minor units, as `FEE_BPS=290` and `FEE_FIXED=30` say.
pub const FEES: FeePolicy = FeePolicy { bps: 290, fixed: 30 };

/// How much there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// What all of it follows from.
    pub seed: u64,
    /// How many organizations.
    pub organizations: usize,
    /// How many recharges they have together.
    pub recharges: usize,
    /// How often their usage was looked at, together.
    pub snapshots: usize,
    /// How much of that is the first organization's alone.
    pub largest: Largest,
    /// How many lines the audit log has; more, where organizations, recharges and refunds bring more with them.
    pub audit_lines: usize,
    /// How many API tokens.
    pub tokens: usize,
    /// How many comparisons of the books were made.
    pub reconciliations: usize,
}

/// How much the first organization has: the page that is the hardest to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Largest {
    /// Its recharges.
    pub recharges: usize,
    /// How often its usage was looked at.
    pub snapshots: usize,
}

impl Fleet {
    /// What pages are measured with.
    #[must_use]
    pub const fn large(seed: u64) -> Self {
        Self {
            seed,
            organizations: 2_000,
            recharges: 10_000,
            snapshots: 100_000,
            largest: Largest { recharges: 5_000, snapshots: 20_000 },
            audit_lines: 20_000,
            tokens: 500,
            reconciliations: 200,
        }
    }

    /// Enough of everything to be looked at.
    #[must_use]
    pub const fn small(seed: u64) -> Self {
        Self {
            seed,
            organizations: 40,
            recharges: 300,
            snapshots: 8_000,
            largest: Largest { recharges: 60, snapshots: 2_000 },
            audit_lines: 400,
            tokens: 30,
            reconciliations: 12,
        }
    }
}

/// What there is now, for who wants to look at something.
#[derive(Debug, Clone)]
pub struct Seeded {
    /// Every organization. The first has the most of everything; the last recharge of the second waits for its customer's
    /// bank, the third is paused because of its card, and the fourth because of a dispute.
    pub organizations: Vec<OrganizationId>,
    /// One that has some of everything, as many have.
    pub typical: OrganizationId,
    /// A recharge of the first organization that was credited, and all of which went back on request.
    pub refunded: Option<RechargeId>,
    /// The newest recharge of the first organization.
    pub newest: Option<RechargeId>,
    /// The event that led to it.
    pub newest_event: Option<String>,
    /// The newest comparison of the books.
    pub reconciliation: Option<String>,
}

impl Seeded {
    /// The organization that has the most of everything.
    #[must_use]
    pub fn largest(&self) -> &OrganizationId {
        &self.organizations[0]
    }
}

/// Fills a migrated, empty database. It must be the tables' owner who does.
///
/// # Errors
/// When the numbers don't fit together, or the database refuses something.
pub async fn seed(pool: &PgPool, fleet: &Fleet, now: Timestamp) -> anyhow::Result<Seeded> {
    ensure!(fleet.organizations >= 2, "a fleet has at least two organizations");
    let Largest { recharges, snapshots } = fleet.largest;
    ensure!(recharges <= fleet.recharges && snapshots <= fleet.snapshots, "the largest has more than all have");
    let (rows, seeded) = make(fleet, now)?;
    crate::repo::insert(pool, &rows).await.context("filling the database")?;
    Ok(seeded)
}

fn make(fleet: &Fleet, now: Timestamp) -> anyhow::Result<(Rows, Seeded)> {
    let mut random = Random::new(fleet.seed);
    let mut rows = Rows::default();
    let recharges = deal_recharges(fleet, &mut random);
    let typical = typical(&recharges);
    let snapshots = deal_snapshots(fleet);
    let (mut organizations, mut first) = (Vec::new(), None);
    for (number, (recharges, snapshots)) in recharges.into_iter().zip(snapshots).enumerate() {
        let mut random = Random::new(fleet.seed ^ random.number());
        let profile = Profile::draw(number, recharges, now, &mut random)?;
        office::introduce(&mut rows, &profile, &mut random);
        let plan = plan::draw(&profile, number, recharges, now, &mut random);
        let lived = Life::new(&profile, &mut rows, random, now).live(plan, snapshots)?;
        first = first.or(Some(lived));
        organizations.push(profile.id);
    }
    let reconciliation = office::reconciliations(&mut rows, fleet.reconciliations, now);
    office::tokens(&mut rows, fleet.tokens, &organizations, now, &mut random);
    office::audits(&mut rows, fleet.audit_lines, &organizations, now, &mut random);
    rows.sort();
    let first = first.unwrap_or_default();
    let seeded = Seeded {
        typical: organizations[typical].clone(),
        organizations,
        refunded: first.refunded,
        newest: first.newest.as_ref().map(|(id, _)| *id),
        newest_event: first.newest.map(|(_, event)| event),
        reconciliation,
    };
    Ok((rows, seeded))
}

/// How many recharges each organization has: the first what it is to have, each of the next few at least one, because what
/// is peculiar about them is about their last one, and of the rest some much and many nothing.
fn deal_recharges(fleet: &Fleet, random: &mut Random) -> Vec<usize> {
    let others = fleet.organizations - 1;
    let mut dealt = vec![0; fleet.organizations];
    dealt[0] = fleet.largest.recharges;
    for number in 0..fleet.recharges - fleet.largest.recharges {
        let one =
            if number < others.min(plan::PECULIAR) { number } else { random.below(others).min(random.below(others)) };
        dealt[one + 1] += 1;
    }
    dealt
}

/// The organization that has as many recharges as those in the middle of all that have some.
fn typical(recharges: &[usize]) -> usize {
    let mut by_number: Vec<usize> = (0..recharges.len()).filter(|place| recharges[*place] > 0).collect();
    by_number.sort_by_key(|place| recharges[*place]);
    by_number.get(by_number.len() / 2).copied().unwrap_or_default()
}

fn deal_snapshots(fleet: &Fleet) -> Vec<usize> {
    let (others, rest) = (fleet.organizations - 1, fleet.snapshots - fleet.largest.snapshots);
    let each = |number: usize| rest / others + usize::from(number < rest % others);
    [fleet.largest.snapshots].into_iter().chain((0..others).map(each)).collect()
}

/// An identifier that follows from the seed.
fn drawn_id(random: &mut Random) -> Uuid {
    Uuid::from_u64_pair(random.number(), random.number())
}

/// A name as Stripe gives them.
fn drawn_name(prefix: &str, random: &mut Random) -> String {
    format!("{prefix}_{:016x}{:08x}", random.number(), random.number() >> 32)
}
