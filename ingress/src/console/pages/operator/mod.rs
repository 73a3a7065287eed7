//! What operators look at: every organization, the pipeline, dead letters, comparisons of the books, tokens.

mod closing;
mod dead_letters;
mod finding;
mod health;
mod letter;
mod new_organization;
mod organizations;
mod pipeline;
mod reconciliations;
mod refusal;
mod run;
mod standing;
mod tokens;
mod verdict;

use crate::api::access::forbidden;
use crate::console::route::Route;
use crate::console::visit::Visit;
use crate::http::Problem;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    [
        organizations::routes(),
        new_organization::routes(),
        closing::routes(),
        pipeline::routes(),
        dead_letters::routes(),
        letter::routes(),
        reconciliations::routes(),
        run::routes(),
        tokens::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A word for how something is, and how it looks.
struct Badge {
    class: &'static str,
    says: String,
}

impl Badge {
    fn new(class: &'static str, says: impl Into<String>) -> Self {
        Self { class, says: says.into() }
    }
}

/// A page in between has no call of the API that would refuse whoever may not go on: he is refused here, by the same words.
fn operators_only(visit: &Visit) -> Result<(), Problem> {
    if visit.is_operator() { Ok(()) } else { Err(forbidden(&visit.viewer.caller.grant)) }
}
