//! Which organization a team is, from memory: the webhook path asks no database. The database tells every replica what
//! changed (LISTEN/NOTIFY); reading it all again now and then is the net under that.

mod repo;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use common::health::Health;
use common::ids::{OrganizationId, TeamId};
use common::money::Currency;
use sqlx::PgPool;

use crate::console::live::Hints;
use crate::follow::Followed;

/// How long the database may take to answer for one unknown team, while a sender waits.
const LOOK: Duration = Duration::from_millis(1_500);

/// What is known of an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) organization: OrganizationId,
    pub(crate) team: Option<TeamId>,
    pub(crate) auto_recharge_enabled: bool,
    pub(crate) currency: Currency,
}

/// The answer to a question for one team or organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Found {
    Known(Arc<Known>),
    /// The database says that there is none.
    Nobody,
    /// It is not in memory, and the database can't be asked.
    Undecided,
}

/// The directory. Clones share it.
#[derive(Clone)]
pub(crate) struct Directory {
    pool: PgPool,
    health: Health,
    maps: Arc<RwLock<Maps>>,
    hints: Hints,
}

#[derive(Default)]
struct Maps {
    by_team: HashMap<TeamId, Arc<Known>>,
    by_organization: HashMap<OrganizationId, Arc<Known>>,
}

impl Maps {
    fn insert(&mut self, known: Known) {
        let known = Arc::new(known);
        if let Some(team) = &known.team {
            self.by_team.insert(team.clone(), known.clone());
        }
        self.by_organization.insert(known.organization.clone(), known);
    }

    fn remove(&mut self, organization: &OrganizationId) {
        let Some(known) = self.by_organization.remove(organization) else { return };
        let Some(team) = &known.team else { return };
        // The team may have gone to another organization in the meantime.
        if self.by_team.get(team).is_some_and(|other| other.organization == *organization) {
            self.by_team.remove(team);
        }
    }
}

impl Directory {
    /// `hints`: for pages of the console that are open.
    pub(crate) fn new(pool: PgPool, health: Health, hints: Hints) -> Self {
        Self { pool, health, maps: Arc::default(), hints }
    }

    fn read(&self) -> RwLockReadGuard<'_, Maps> {
        self.maps.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Maps> {
        self.maps.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the database answered when it was last asked, some seconds ago at most.
    pub(crate) fn database_is_up(&self) -> bool {
        self.health.is_up("database")
    }

    /// The organization of a team. Only when memory does not know it, the database is asked, once.
    pub(crate) async fn team(&self, team: &TeamId) -> Found {
        let known = self.read().by_team.get(team).cloned();
        match known {
            Some(known) => Found::Known(known),
            None => self.ask(repo::by_team(&self.pool, team)).await,
        }
    }

    /// An organization, the same way.
    pub(crate) async fn organization(&self, organization: &OrganizationId) -> Found {
        let known = self.read().by_organization.get(organization).cloned();
        match known {
            Some(known) => Found::Known(known),
            None => self.ask(repo::by_organization(&self.pool, organization)).await,
        }
    }

    async fn ask(&self, question: impl Future<Output = sqlx::Result<Option<Known>>>) -> Found {
        if !self.database_is_up() {
            return Found::Undecided;
        }
        match tokio::time::timeout(LOOK, question).await {
            Ok(Ok(Some(known))) => {
                self.write().insert(known.clone());
                Found::Known(Arc::new(known))
            }
            Ok(Ok(None)) => Found::Nobody,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the directory can't ask the database: {error}");
                Found::Undecided
            }
            Err(_) => Found::Undecided,
        }
    }

    /// Reads one organization again: after this replica changed it, or another said so.
    pub(crate) async fn refresh_one(&self, organization: &OrganizationId) -> sqlx::Result<()> {
        let known = repo::by_organization(&self.pool, organization).await?;
        let mut maps = self.write();
        maps.remove(organization);
        if let Some(known) = known {
            maps.insert(known);
        }
        drop(maps);
        self.hints.tell(Some(organization.as_str()));
        Ok(())
    }
}

impl Followed for Directory {
    const CHANNEL: &'static str = "organization_changed";

    async fn reload(&self) -> sqlx::Result<()> {
        let mut maps = Maps::default();
        for known in repo::all(&self.pool).await? {
            maps.insert(known);
        }
        *self.write() = maps;
        Ok(())
    }

    async fn refresh(&self, organization: &str) -> sqlx::Result<bool> {
        let Ok(organization) = OrganizationId::parse(organization) else { return Ok(false) };
        self.refresh_one(&organization).await.map(|()| true)
    }
}
