//! Which span is what, in the words of our messages. Spans of work carry `trace_id` and `correlation_id` for the log; where
//! they stand in their trace is said here, and matters only while spans are exported (`export.rs`).
//!
//! ```text
//! request (ingress)                     the chain's trace, from when it starts a chain
//! └─ publish webhooks.…                 the span that the event carries: begins like the trace
//!    └─ handle webhooks.… (recharger)
//!       ├─ Stripe POST payment_intents
//!       └─ publish recharges.charged
//!          └─ handle recharges.charged (ledger) …
//! ```

use opentelemetry::trace::SpanKind;
use tracing::Span;
use tracing::field::{Empty, display};

use super::layer::{Active, EXPORTED_ONLY};
use crate::contract::{Outgoing, TraceContext, kind_of};
use crate::ids::EventId;

/// A request has come in, from somebody who may have a trace of its own.
pub fn serve(span: &Span, caller: Option<TraceContext>) {
    Active::change(span, |active| {
        active.kind(SpanKind::Server);
        if let Some(caller) = caller {
            active.called_by(caller);
        }
    });
}

/// The request is answered. The route is the pattern, never the path: a path may have a secret in it.
pub fn answered(span: &Span, method: &str, route: &str, status: u16) {
    Active::change(span, |active| {
        active.name(format!("{method} {route}"));
        active.attribute("http.request.method", method.to_owned());
        active.attribute("http.route", route.to_owned());
        active.attribute("http.response.status_code", i64::from(status));
        if status >= 500 {
            active.failed();
        }
    });
}

/// What the span stands for has failed.
pub(crate) fn failed(span: &Span) {
    Active::change(span, Active::failed);
}

/// The work has started a chain: from here on its lines, and its span with all that is in it, are in the chain's trace.
/// The span must have been made with the fields `trace_id` and `correlation_id`.
pub fn begin(span: &Span, correlation: &EventId) {
    let trace = record_chain(span, correlation);
    Active::change(span, |active| active.in_trace_of(trace));
}

/// The work goes on with a chain of which the database tells: as [`begin()`], below the chain's first event.
pub fn resume(span: &Span, correlation: &EventId) {
    let trace = record_chain(span, correlation);
    Active::change(span, |active| active.follows(trace));
}

fn record_chain(span: &Span, correlation: &EventId) -> TraceContext {
    let trace = TraceContext::of(correlation, correlation);
    span.record("trace_id", display(trace.trace_id()));
    span.record("correlation_id", display(correlation));
    trace
}

/// The work of a message that carries this context.
pub fn handle(span: &Span, subject: &str, carried: Option<TraceContext>) {
    Active::change(span, |active| {
        active.kind(SpanKind::Consumer);
        active.name(format!("handle {}", kind_of(subject)));
        if let Some(carried) = carried {
            active.follows(carried);
        }
    });
}

/// The publishing of an event: the span that its `traceparent` names.
pub(crate) fn publish(message: &Outgoing) -> Span {
    let span = tracing::info_span!(
        target: EXPORTED_ONLY,
        "publish",
        messaging.system = "nats",
        messaging.destination.name = message.subject,
        event_id = message.id.as_str(),
        duplicate = Empty,
    );
    Active::change(&span, |active| {
        active.kind(SpanKind::Producer);
        active.name(format!("publish {}", kind_of(&message.subject)));
        if let Some(own) = message.traceparent.as_deref().and_then(TraceContext::parse) {
            active.is(own);
        }
    });
    span
}

/// The broker had the event already: somebody's span has its id.
pub(crate) fn duplicate(span: &Span) {
    span.record("duplicate", true);
    Active::change(span, Active::is_another);
}

/// A call of an outside service; its `result` is to be recorded.
pub(crate) fn call(service: &str, name: &str) -> Span {
    let span = tracing::info_span!(target: EXPORTED_ONLY, "call", peer.service = service, call = name, result = Empty);
    Active::change(&span, |active| {
        active.kind(SpanKind::Client);
        active.name(format!("{service} {name}"));
    });
    span
}
