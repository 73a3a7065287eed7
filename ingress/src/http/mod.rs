//! Requests and answers, apart from what they are about.

mod answer;
mod place;
mod query;
mod request;

pub(crate) use answer::{Answer, Problem};
pub(crate) use place::{Found, Placed, find};
pub(crate) use query::{Query, is_json};
pub(crate) use request::{Request, incoming};
