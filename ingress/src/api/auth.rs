//! Who calls.

use common::clock::Timestamp;

use super::access::Grant;
use crate::http::{Problem, Request};
use crate::limits::SourceLimit;
use crate::tokens::{Shown, Tokens, digest};

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

impl Auth {
    /// `tokens` is `None` when nobody is asked.
    pub(crate) fn new(tokens: Option<Tokens>, failures_per_minute: u32) -> Self {
        Self { tokens, failures: SourceLimit::per_minute(failures_per_minute) }
    }

    /// The caller of a request.
    pub(crate) async fn caller(&self, request: &Request, request_id: &str, now: Timestamp) -> Result<Caller, Problem> {
        let request_id = request_id.to_owned();
        let Some(tokens) = &self.tokens else {
            return Ok(Caller { name: "anonymous".to_owned(), request_id, grant: Grant::OPERATOR, expires_at: None });
        };
        let given = digest(request.bearer().ok_or_else(Problem::unauthorized)?);
        let token = match tokens.remembered(&given, now) {
            Some(token) => token,
            None => {
                // Counted before it is looked up: guesses must not keep the database busy either.
                self.failures.check(request.peer).map_err(Problem::too_many_failures)?;
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
        Ok(Caller { name: token.owner(), request_id, grant: token.grant.clone(), expires_at: token.expires_at })
    }
}
