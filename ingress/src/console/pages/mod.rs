//! The pages, a file for each group of them: what it asks the API for, and the forms that it takes.

pub(super) mod error;
mod history;
mod home;
mod operator;
mod organization;
pub(super) mod sign_in;
mod status;
mod wrong;

use super::route::Route;

/// Every page.
pub(super) fn routes() -> Vec<Route> {
    [home::routes(), sign_in::routes(), organization::routes(), history::routes(), operator::routes()]
        .into_iter()
        .flatten()
        .collect()
}
