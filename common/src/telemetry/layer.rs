//! From spans of `tracing` to spans of OpenTelemetry. The usual bridge draws every id itself; ours are those that events
//! carry, and a request learns only from its body which trace it is in. So a span is finished together with the whole work
//! that it is a part of: what is not known before its end is known then.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Debug;
use std::time::SystemTime;

use opentelemetry::trace::{Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue, Value};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Span, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::clock::{Clock, SystemClock};
use crate::contract::TraceContext;
use crate::ids::{IdSource, RandomIds};

/// The target of spans that no log shows: its lines are those of the work around them.
pub(super) const EXPORTED_ONLY: &str = "bill_exported_only";
/// So many spans within one work are kept; a work that never ends must not keep all of its own.
const MOST: usize = 256;
/// So many lines of the log are kept with a span.
const MOST_LINES: usize = 16;

/// Hands whole works to `export`.
pub(super) struct Spans<E> {
    pub(super) export: E,
}

/// A span, and what is known of its place.
pub(super) struct Active {
    data: SpanData,
    id: SpanId,
    /// Its trace, where that need not be the one of the span around it.
    trace: Option<TraceId>,
    /// What it follows from in that trace.
    parent: Option<SpanContext>,
    /// Who called, from a trace of its own.
    caller: Option<SpanContext>,
    /// The span around it.
    around: Option<SpanId>,
    /// What has ended within it: each after what was within that.
    ended: Vec<Self>,
}

fn now() -> SystemTime {
    SystemClock.now().into()
}

fn fresh_span() -> SpanId {
    let [a, b, c, d, e, f, g, h, ..] = *RandomIds.fresh().as_bytes();
    SpanId::from_bytes([a, b, c, d, e, f, g, h])
}

fn fresh_trace() -> TraceId {
    TraceId::from_bytes(*RandomIds.fresh().as_bytes())
}

fn remote(context: TraceContext) -> SpanContext {
    context_of(TraceId::from_bytes(context.trace()), SpanId::from_bytes(context.span()), true)
}

fn context_of(trace: TraceId, span: SpanId, remote: bool) -> SpanContext {
    SpanContext::new(trace, span, TraceFlags::SAMPLED, remote, TraceState::default())
}

impl Active {
    fn new(name: &'static str) -> Self {
        let data = SpanData {
            span_context: SpanContext::NONE,
            parent_span_id: SpanId::INVALID,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: Cow::Borrowed(name),
            start_time: now(),
            end_time: SystemTime::UNIX_EPOCH,
            attributes: Vec::new(),
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: InstrumentationScope::builder("bill-service").build(),
        };
        Self { data, id: fresh_span(), trace: None, parent: None, caller: None, around: None, ended: Vec::new() }
    }

    /// Changes a span that will be exported; any other one is left alone.
    pub(super) fn change(span: &Span, change: impl FnOnce(&mut Self)) {
        span.with_subscriber(|(id, dispatch)| {
            if let Some(span) = dispatch.downcast_ref::<Registry>().and_then(|registry| registry.span(id))
                && let Some(active) = span.extensions_mut().get_mut::<Self>()
            {
                change(active);
            }
        });
    }

    pub(super) fn kind(&mut self, kind: SpanKind) {
        self.data.span_kind = kind;
    }

    pub(super) fn name(&mut self, name: String) {
        self.data.name = Cow::Owned(name);
    }

    pub(super) fn attribute(&mut self, name: &'static str, value: impl Into<Value>) {
        self.data.attributes.push(KeyValue::new(name, value));
    }

    pub(super) fn failed(&mut self) {
        self.data.status = Status::error("");
    }

    /// It is in this trace, with all that is within it and says nothing else.
    pub(super) fn in_trace_of(&mut self, context: TraceContext) {
        self.trace = Some(TraceId::from_bytes(context.trace()));
    }

    /// It follows from this span, which is another process's, or of an earlier life of this one.
    pub(super) fn follows(&mut self, context: TraceContext) {
        self.in_trace_of(context);
        self.parent = Some(remote(context));
    }

    /// Who called, in a trace that is this one's, too, as long as it starts no chain.
    pub(super) fn called_by(&mut self, context: TraceContext) {
        self.caller = Some(remote(context));
    }

    /// It is the span that an event carries. Where nothing around it is in the event's trace, it follows from the chain's
    /// first event.
    pub(super) fn is(&mut self, context: TraceContext) {
        let beginning = context.beginning();
        self.in_trace_of(context);
        self.parent = (context != beginning).then(|| remote(beginning));
        self.id = SpanId::from_bytes(context.span());
    }

    /// It is not that span, after all.
    pub(super) fn is_another(&mut self) {
        self.id = fresh_span();
    }

    /// Keeps what has ended within it, whole or not at all.
    fn keep(&mut self, mut within: Self) {
        let mut ended = std::mem::take(&mut within.ended);
        within.around = Some(self.id);
        if self.ended.len() + ended.len() < MOST {
            self.ended.append(&mut ended);
            self.ended.push(within);
        }
    }
}

/// The spans of a work that has ended: who is whose child, and in which trace.
fn placed(mut work: Active) -> Vec<SpanData> {
    let mut all = std::mem::take(&mut work.ended);
    all.push(work);
    let mut traces = HashMap::new();
    let mut placed = Vec::with_capacity(all.len());
    // From the outermost inwards.
    for Active { mut data, id, trace, parent, caller, around, .. } in all.into_iter().rev() {
        let around = around.and_then(|id| traces.get(&id).map(|trace| context_of(*trace, id, false)));
        let [within, called] = [&around, &caller].map(|context| context.as_ref().map(SpanContext::trace_id));
        let trace = trace.or(within).or(called).unwrap_or_else(fresh_trace);
        traces.insert(id, trace);
        let known = [around.clone(), parent, caller.clone()];
        if let Some(parent) = known.into_iter().flatten().find(|context| context.trace_id() == trace) {
            data.parent_span_id = parent.span_id();
            data.parent_span_is_remote = parent.is_remote();
        }
        let elsewhere = [around, caller].into_iter().flatten().filter(|context| context.trace_id() != trace);
        data.links.links.extend(elsewhere.map(Link::with_context));
        data.span_context = context_of(trace, id, false);
        placed.push(data);
    }
    placed
}

impl<S, E> Layer<S> for Spans<E>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    E: Fn(SpanData) + Send + Sync + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut active = Active::new(span.name());
        attributes.record(&mut Fields(&mut active.data.attributes));
        span.extensions_mut().replace(active);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(active) = span.extensions_mut().get_mut::<Active>() {
            values.record(&mut Fields(&mut active.data.attributes));
        }
    }

    /// What the log says of trouble is said with the span, too.
    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let level = *event.metadata().level();
        // Louder is less.
        if level > Level::WARN {
            return;
        }
        let Some(span) = context.event_span(event) else { return };
        let mut extensions = span.extensions_mut();
        let Some(active) = extensions.get_mut::<Active>() else { return };
        if level == Level::ERROR {
            active.failed();
        }
        if active.data.events.events.len() < MOST_LINES {
            let mut attributes = vec![KeyValue::new("level", level.as_str())];
            event.record(&mut Fields(&mut attributes));
            active.data.events.events.push(Event::new("log", now(), attributes, 0));
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else { return };
        let Some(mut active) = span.extensions_mut().remove::<Active>() else { return };
        active.data.end_time = now();
        if let Some(around) = span.parent()
            && let Some(around) = around.extensions_mut().get_mut::<Active>()
        {
            return around.keep(active);
        }
        placed(active).into_iter().for_each(&self.export);
    }
}

/// Writes fields as attributes; one that is recorded again is replaced. The trace's id is no attribute of a span.
struct Fields<'a>(&'a mut Vec<KeyValue>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        let name = field.name();
        if name != "trace_id" {
            self.0.retain(|known| known.key.as_str() != name);
            self.0.push(KeyValue::new(name, value));
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.put(field, value),
            Err(_) => self.put(field, value.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tracing::field::Empty;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;
    use crate::contract::Outgoing;
    use crate::ids::EventId;
    use crate::telemetry::spans;

    fn event(id: &str, correlation: &str) -> Outgoing {
        let [event, first] = [id, correlation].map(|id| EventId::parse(id).unwrap());
        let traceparent = Some(TraceContext::of(&first, &event).to_string());
        Outgoing { subject: "recharges.charged.acme".to_owned(), id: event, traceparent, body: "{}".into() }
    }

    fn exported(work: impl FnOnce()) -> Vec<SpanData> {
        let spans = Arc::new(Mutex::new(Vec::new()));
        let all = spans.clone();
        let subscriber =
            tracing_subscriber::registry().with(Spans { export: move |span| all.lock().unwrap().push(span) });
        tracing::subscriber::with_default(subscriber, work);
        let spans = spans.lock().unwrap().clone();
        assert!(spans.iter().all(|span| span.start_time <= span.end_time));
        spans
    }

    fn named<'a>(spans: &'a [SpanData], name: &str) -> &'a SpanData {
        spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:?}"))
    }

    fn place(span: &SpanData) -> (TraceId, SpanId) {
        (span.span_context.trace_id(), span.span_context.span_id())
    }

    fn carried(event: &Outgoing) -> (TraceId, SpanId) {
        let context = remote(TraceContext::parse(event.traceparent.as_deref().unwrap()).unwrap());
        (context.trace_id(), context.span_id())
    }

    fn chain_span() -> Span {
        tracing::info_span!("work", trace_id = Empty, correlation_id = Empty)
    }

    #[test]
    fn a_request_is_the_root_of_the_chain_that_it_starts_and_names_its_caller() {
        let caller = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        let first = event("evt_1", "evt_1");
        let spans = exported(|| {
            let request = chain_span();
            spans::serve(&request, Some(caller));
            let _within = request.enter();
            // Before anybody knows which chain it is.
            spans::call("Stripe", "GET customers").record("result", "ok");
            spans::begin(&request, &first.id);
            drop(spans::publish(&first));
            spans::duplicate(&spans::publish(&first));
            spans::answered(&request, "POST", "/webhooks", 503);
        });
        let request = named(&spans, "POST /webhooks");
        assert_eq!(place(request).0, carried(&first).0);
        assert_eq!((request.parent_span_id, &request.span_kind), (SpanId::INVALID, &SpanKind::Server));
        assert_eq!(request.links.links[0].span_context, remote(caller));
        assert!(matches!(request.status, Status::Error { .. }));
        assert_eq!(spans.len(), 4);
        for within in spans.iter().filter(|span| *span != request) {
            assert_eq!((place(within).0, within.parent_span_id), (place(request).0, place(request).1), "{within:?}");
            assert!(within.links.links.is_empty());
        }
        // The event's own span is one, however often it is sent.
        assert_eq!(spans.iter().filter(|span| place(span) == carried(&first)).count(), 1);
        assert!(named(&spans, "Stripe GET customers").attributes.contains(&KeyValue::new("result", "ok")));
    }

    #[test]
    fn a_request_that_starts_nothing_is_in_its_callers_trace_or_in_one_of_its_own() {
        let caller = TraceContext::parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").unwrap();
        for given in [Some(caller), None] {
            let spans = exported(|| spans::serve(&chain_span(), given));
            let expected = given.map(remote);
            assert_eq!(spans[0].parent_span_id, expected.as_ref().map_or(SpanId::INVALID, SpanContext::span_id));
            let trace = place(&spans[0]).0;
            assert!(expected.map_or(trace != TraceId::INVALID, |caller| caller.trace_id() == trace));
            assert!(spans[0].links.links.is_empty());
        }
    }

    #[test]
    fn what_follows_is_below_what_it_follows_from_in_the_trace_of_its_own_chain() {
        let (input, next) = (event("evt_2", "evt_1"), event("evt_3", "evt_1"));
        let (other, other_first) = (event("evt_9", "evt_8"), event("evt_8", "evt_8"));
        let spans = exported(|| {
            let work = chain_span();
            let carried = input.traceparent.as_deref().and_then(TraceContext::parse);
            spans::handle(&work, &input.subject, carried);
            let _within = work.enter();
            tracing::error!("it went wrong");
            [&next, &other].into_iter().for_each(|event| drop(spans::publish(event)));
        });
        let work = named(&spans, "handle recharges.charged");
        assert_eq!((place(work).0, work.parent_span_id), carried(&input));
        assert!(work.parent_span_is_remote && work.events.events.len() == 1);
        assert!(matches!(work.status, Status::Error { .. }));
        let find = |event: &Outgoing| spans.iter().find(|span| place(span) == carried(event)).unwrap();
        assert_eq!((find(&next).parent_span_id, find(&next).links.links.len()), (place(work).1, 0));
        // Stripe's event, say, moved a recharge: that is said in the recharge's trace, and the link tells why.
        assert_eq!(find(&other).parent_span_id, carried(&other_first).1);
        assert_eq!(find(&other).links.links[0].span_context.span_id(), place(work).1);

        // The patrol has nothing but the database.
        let looked = exported(|| {
            let look = chain_span();
            spans::resume(&look, &other_first.id);
            let _within = look.enter();
            drop(spans::publish(&other));
        });
        let look = named(&looked, "work");
        assert_eq!((place(look).0, look.parent_span_id), carried(&other_first));
        let said = looked.iter().find(|span| place(span) == carried(&other)).unwrap();
        assert_eq!((place(said), said.parent_span_id), (carried(&other), place(look).1));
    }

    #[test]
    fn a_work_without_end_does_not_keep_all_that_ever_ended_in_it() {
        let spans = exported(|| {
            let work = chain_span();
            let _within = work.enter();
            (0..2 * MOST).for_each(|_| drop(spans::call("KMS", "read")));
        });
        assert_eq!(spans.len(), MOST + 1);
    }
}
