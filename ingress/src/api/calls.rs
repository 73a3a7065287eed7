//! Calls by somebody who is known: over HTTP with a token, or from a page of the console in this process. Both are asked
//! the same questions before anything is done.

use std::sync::Arc;

use super::access::{Verdict, forbidden};
use super::auth::Caller;
use super::operation::{Call, Handling, Operation, Run};
use super::table;
use super::{organization_id, unknown_organization};
use crate::app::App;
use crate::http::{Answer, Found, Problem, Request};

/// Whether the caller may, whether it can be done at the moment, and then does it.
pub(crate) async fn perform(
    app: &Arc<App>,
    operation: &Operation,
    run: fn(Arc<App>, Call) -> Handling,
    call: Call,
) -> Result<Answer, Problem> {
    let about = operation.params().next().map(|_| call.param(0));
    match operation.access.verdict(&call.caller.grant, about) {
        Verdict::Allowed => {}
        Verdict::Forbidden => return Err(forbidden(&call.caller.grant)),
        Verdict::Unknown => {
            let organization = organization_id(about.unwrap_or_default())?;
            return Err(unknown_organization(&organization));
        }
    }
    // Said at once, not after waiting for a connection. The status URL knows something without the database, and dead
    // letters are in the broker: when the database is down is when somebody looks at them.
    if !operation.without_database && !app.directory.database_is_up() {
        return Err(Problem::no_database());
    }
    run(app.clone(), call).await
}

/// A call of the API that is made in this process, as `caller`. Only what asks for a caller can be called so.
pub(crate) async fn perform_here(app: &Arc<App>, caller: Caller, request: Request) -> Result<Answer, Problem> {
    match table::find(&request.method, &request.path) {
        Found::Route(operation, params) => match operation.run {
            Run::Known(run) => perform(app, operation, run, Call::new(request, caller, params)).await,
            Run::Open(_) | Run::Before => Err(Problem::no_route()),
        },
        Found::Methods(allowed) => Err(Problem::method(&allowed)),
        Found::Nothing => Err(Problem::no_route()),
    }
    .and_then(Problem::unless_done)
}
