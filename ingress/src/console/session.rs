//! Who is signed in.

use std::sync::Arc;

use chrono::Duration;
use uuid::Uuid;

use super::cookie::{self, Cookie};
use super::guard::Csrf;
use super::repo;
use crate::api::auth::Caller;
use crate::app::App;
use crate::http::{Problem, Request};
use crate::tokens::{Digest, Token, digest};

/// The cookie with the session's secret.
const COOKIE: &str = "bill_session";
/// How long a session lasts at most; it never outlasts its token.
const LONGEST_HOURS: i64 = 12;

/// Somebody who looks at a page.
pub(crate) struct Viewer {
    pub(crate) caller: Caller,
    pub(crate) csrf: Csrf,
    /// What there is to sign out of; `None` where nobody signs in.
    pub(super) session: Option<Session>,
}

/// A session, by its digest and the token that it was begun with.
#[derive(Clone, Copy)]
pub(crate) struct Session {
    digest: Digest,
    token: Uuid,
}

/// Who sends a request, if somebody is signed in; with `API_AUTH=off` everybody is.
pub(crate) async fn viewer(app: &App, request: &Request, request_id: &str) -> Result<Option<Viewer>, Problem> {
    if app.auth.is_off() {
        let csrf = Csrf::of(app.console_key.bytes());
        return Ok(Some(Viewer { caller: Caller::anybody(request_id), csrf, session: None }));
    }
    let Some(secret) = cookie::find(&request.headers, COOKIE).filter(|secret| is_secret(secret)) else {
        return Ok(None);
    };
    let digest = digest(secret.as_bytes());
    let Some((token, session)) = find(app, digest).await? else {
        // Sessions end; but whoever has very many of them guesses.
        return app.auth.failed(request.peer).map(|()| None);
    };
    app.tokens.used(&token, app.clock.now());
    let (caller, csrf) = (Caller::with(&token, request_id), Csrf::of(secret.as_bytes()));
    Ok(Some(Viewer { caller, csrf, session: Some(session) }))
}

/// What has another shape is not looked for.
fn is_secret(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

async fn find(app: &App, digest: Digest) -> Result<Option<(Arc<Token>, Session)>, Problem> {
    if !app.directory.database_is_up() {
        return Err(Problem::no_database());
    }
    let now = app.clock.now();
    let Some(token) = repo::token(&app.pool, &digest, now).await? else { return Ok(None) };
    // A token that was revoked or is over takes its sessions along.
    let found = app.tokens.by_id(token, now).await?;
    Ok(found.map(|found| (found, Session { digest, token })))
}

/// Whether a session still is one; for pages that stay open. Where the database can't be asked, it is what it was.
pub(crate) async fn lasts(app: &App, session: Session) -> bool {
    match find(app, session.digest).await {
        Ok(found) => found.is_some_and(|(_, found)| found.token == session.token),
        Err(_) => true,
    }
}

/// Begins a session with a token; the cookie is all that knows its secret.
pub(crate) async fn begin(app: &App, token: &Token) -> Result<Cookie, Problem> {
    let now = app.clock.now();
    let longest = now + Duration::hours(LONGEST_HOURS);
    let until = token.expires_at.map_or(longest, |end| end.min(longest));
    let secret = format!("{}{}", app.ids.fresh().simple(), app.ids.fresh().simple());
    repo::begin(&app.pool, &digest(secret.as_bytes()), token.id, now, until).await?;
    tracing::info!(token_id = %token.id, actor = token.owner(), "{} signed in to the console", token.owner());
    Ok(Cookie { name: COOKIE, value: secret, seconds: (until - now).num_seconds() })
}

/// Ends a session, on every replica.
pub(crate) async fn end(app: &App, viewer: &Viewer) -> Result<Cookie, Problem> {
    if let Some(session) = viewer.session {
        repo::end(&app.pool, &session.digest).await?;
    }
    Ok(Cookie { name: COOKIE, value: String::new(), seconds: 0 })
}
