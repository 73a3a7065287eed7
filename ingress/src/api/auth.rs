//! Who calls.

use std::net::IpAddr;
use std::sync::Arc;

use common::clock::Timestamp;
use common::ids::OrganizationId;

use super::access::Grant;
use crate::http::{Problem, Request};
use crate::limits::SourceLimit;
use crate::organizations::repo::AuditEntry;
use crate::tokens::{Shown, Token, Tokens, digest};

/// Finds out who calls.
pub(crate) struct Auth {
    /// `None`: `API_AUTH=off`, everybody may do everything.
    tokens: Option<Tokens>,
    /// For tokens that this replica does not know. Who is known is never refused because of others at the same address.
    failures: SourceLimit,
}

/// Who called, for the audit log and for `requested_by`, and what he may do.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) name: String,
    pub(crate) request_id: String,
    pub(crate) grant: Grant,
    /// Until when he may call, if not for good.
    pub(crate) expires_at: Option<Timestamp>,
}

impl Caller {
    /// Whoever shows this token.
    pub(crate) fn with(token: &Token, request_id: &str) -> Self {
        let (grant, expires_at) = (token.grant.clone(), token.expires_at);
        Self { name: token.owner(), request_id: request_id.to_owned(), grant, expires_at }
    }

    /// Where nobody is asked.
    pub(crate) fn anybody(request_id: &str) -> Self {
        let (name, grant) = ("anonymous".to_owned(), Grant::OPERATOR);
        Self { name, request_id: request_id.to_owned(), grant, expires_at: None }
    }

    /// A line of the audit log about what he does; what was there before and what is there after is to be added.
    pub(crate) fn audits<'a>(
        &'a self,
        at: Timestamp,
        action: &'a str,
        organization: Option<&'a OrganizationId>,
    ) -> AuditEntry<'a> {
        let (actor, request_id) = (&self.name, &self.request_id);
        AuditEntry { at, actor, action, organization, request_id, before: None, after: None }
    }
}

impl Auth {
    /// `tokens` is `None` when nobody is asked.
    pub(crate) fn new(tokens: Option<Tokens>, failures_per_minute: u32) -> Self {
        Self { tokens, failures: SourceLimit::per_minute(failures_per_minute) }
    }

    /// Whether everybody may do everything.
    pub(crate) fn is_off(&self) -> bool {
        self.tokens.is_none()
    }

    /// The caller of a request.
    pub(crate) async fn caller(&self, request: &Request, request_id: &str, now: Timestamp) -> Result<Caller, Problem> {
        let Some(tokens) = &self.tokens else {
            return Ok(Caller::anybody(request_id));
        };
        let given = request.bearer().ok_or_else(Problem::unauthorized)?;
        let token = self.token(tokens, given, request.peer, now).await?;
        Ok(Caller::with(&token, request_id))
    }

    /// The token that somebody shows; `None` where nobody is asked for one.
    pub(crate) async fn shown(
        &self,
        given: &[u8],
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Option<Arc<Token>>, Problem> {
        match &self.tokens {
            Some(tokens) => self.token(tokens, given, peer, now).await.map(Some),
            None => Ok(None),
        }
    }

    /// Somebody showed what nobody has: too often, and he is told to wait.
    pub(crate) fn failed(&self, peer: Option<IpAddr>) -> Result<(), Problem> {
        self.failures.check(peer).map_err(Problem::too_many_failures)
    }

    async fn token(
        &self,
        tokens: &Tokens,
        given: &[u8],
        peer: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Arc<Token>, Problem> {
        let given = digest(given);
        let token = match tokens.remembered(&given, now) {
            Some(token) => token,
            None => {
                // Counted before it is looked up: guesses must not keep the database busy either.
                self.failed(peer)?;
                match tokens.look_up(&given, now).await {
                    Shown::Valid(token) => token,
                    Shown::Wrong => {
                        tracing::info!("a call with a token that is not valid was refused");
                        return Err(Problem::invalid_token());
                    }
                    Shown::Undecided => return Err(Problem::no_database()),
                }
            }
        };
        tokens.used(&token, now);
        Ok(token)
    }
}
