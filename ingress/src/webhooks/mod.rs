//! Webhooks: bytes that came from outside become verified events.

pub mod alert;
pub(crate) mod alerts;
mod card_update;
pub mod limit_exceeded;
pub(crate) mod litellm;
mod repo;
pub mod signature;
pub mod storable;
pub(crate) mod stripe;
pub mod stripe_event;
pub mod stripe_signature;

use std::future::Future;

use crate::app::App;
use crate::http::{Answer, Problem};

/// Times the handling of a webhook of this source, and counts its result: the handler's word, or the problem's code.
async fn counted<R: AsRef<str>>(
    app: &App,
    source: &str,
    handling: impl Future<Output = Result<(Answer, R), Problem>>,
) -> Answer {
    let timer = app.metrics.webhook_seconds.with_label_values(&[source]).start_timer();
    let handled = handling.await;
    timer.observe_duration();
    let result = handled.as_ref().map_or_else(Problem::code, |(_, result)| result.as_ref());
    app.metrics.webhooks.with_label_values(&[source, result]).inc();
    handled.map_or_else(Answer::from, |(answer, _)| answer)
}
