//! `GET /api/pipeline`: how the chain is.

use serde_json::json;
use warp::http::Method;

use super::access::Access;
use super::operation::Operation;
use crate::http::Answer;
use crate::pipeline;
use crate::pipeline::view::PipelineView;

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::known(Method::GET, "/api/pipeline", "show_pipeline", Access::ReadFleet, |app, _| {
            Box::pin(async move { Ok(Answer::ok(json!(pipeline::look(&app).await))) })
        })
        .without_database()
        .says(
            "Operations",
            "How the chain is: what each consumer has left to do, dead letters, what is in flight and since when, Stripe and the \
             quota backend as they were last seen, the last comparison of the books. A part that can't be told at the moment \
             is null.",
        )
        .answers::<PipelineView>(200, "The state of the chain."),
    ]
}
