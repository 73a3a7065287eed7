//! One trace from the webhook to the raised quota: in the logs of every service, in the events, and in the spans that a
//! collector gets; and a collector that is in trouble is nobody's trouble but its own.
#![expect(clippy::unwrap_used, reason = "helpers of tests: what is not there fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, ensure};
use common::contract::TraceContext;
use common::ids::EventId;
use e2e::client::{limit_exceeded, sign};
use e2e::repeat::STREAMS;
use e2e::secrets::leaks;
use e2e::stack::{SERVICES, WEBHOOK_SECRET};
use e2e::{Options, Stack, books, wait};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use warp::Filter as _;
use warp::http::StatusCode;
use warp::hyper::body::Bytes;

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// What a collector has got, with the service that sent it; and whether it takes no more.
#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<(String, Span)>>>, Arc<AtomicBool>);

impl Collected {
    /// A collector on a free port.
    async fn listen(&self) -> anyhow::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let all = self.clone();
        let route = warp::path!("v1" / "traces").and(warp::post()).and(warp::body::bytes()).map(move |body: Bytes| {
            if all.1.load(Ordering::Relaxed) {
                return StatusCode::FORBIDDEN;
            }
            all.take(ExportTraceServiceRequest::decode(body).unwrap());
            StatusCode::OK
        });
        tokio::spawn(warp::serve(route).incoming(listener).run());
        Ok(url)
    }

    fn take(&self, request: ExportTraceServiceRequest) {
        for of_service in request.resource_spans {
            let resource = format!("{:?}", of_service.resource);
            let service = SERVICES.into_iter().find(|name| resource.contains(&format!("StringValue(\"{name}\")")));
            assert!(service.is_some() && resource.contains("service.version"), "{resource}");
            let spans = of_service.scope_spans.into_iter().flat_map(|scope| scope.spans);
            let named = spans.map(|span| (service.unwrap().to_owned(), span));
            self.0.lock().unwrap().extend(named);
        }
    }

    /// The spans of one trace.
    fn of(&self, trace_id: &str) -> Vec<(String, Span)> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|(_, span)| hex::encode(&span.trace_id) == trace_id).cloned().collect()
    }
}

/// Every event in the broker: its subject, and where it stands in its trace.
async fn events(stack: &Stack) -> anyhow::Result<Vec<(String, Value, TraceContext)>> {
    let mut events = Vec::new();
    for name in STREAMS {
        let stream = stack.broker.jetstream().get_stream(name).await?;
        for sequence in 1..=stream.cached_info().state.last_sequence {
            let message = stream.get_raw_message(sequence).await?;
            let event: Value = serde_json::from_slice(&message.payload)?;
            let header = message.headers.get("traceparent").context("no traceparent")?.as_str().to_owned();
            ensure!(event["traceparent"] == header.as_str(), "{event}");
            events.push((message.subject.to_string(), event, TraceContext::parse(&header).context(header)?));
        }
    }
    Ok(events)
}

fn id(value: &Value) -> EventId {
    EventId::parse(value.as_str().unwrap()).unwrap()
}

/// Sends the webhook as somebody who has a trace of its own; returns the id of the event.
async fn crossing(stack: &Stack, team: &str, nonce: usize) -> anyhow::Result<String> {
    let body = limit_exceeded(team, "520", "500", nonce);
    let url = format!("{}/webhooks/litellm/limit-exceeded", stack.client.ingress);
    let request = stack.client.http.post(url).header("content-type", "application/json").header("traceparent", CALLER);
    let answer = request.header("x-webhook-signature", sign(&body, WEBHOOK_SECRET)).body(body).send().await?;
    let answer: Value = serde_json::from_str(&answer.text().await?)?;
    ensure!(answer["action"] == "auto_recharged", "{answer}");
    Ok(answer["event_id"].as_str().context("no event")?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_and_all_that_follows_from_it_are_one_trace() -> anyhow::Result<()> {
    let collected = Collected::default();
    let collector = collected.listen().await?;
    let options = Options::default()
        .with("LOG_FORMAT", "json")
        .with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector)
        .with("OTEL_BSP_SCHEDULE_DELAY", "50");
    let stack = Stack::start(options).await?;
    let team = stack.client.ready_organization("acme", "pm_card_visa", json!({})).await?;
    let event_id = crossing(&stack, &team, 0).await?;
    let recharge = stack.client.history("acme").await?[0]["recharge_id"].as_str().context("no recharge")?.to_owned();
    let refund = json!({ "amount": 50, "reason": "asked for" });
    let (status, answer) = stack.client.post(&format!("/api/recharges/{recharge}/refund"), &refund).await?;
    ensure!(status.is_success(), "{answer}");
    books::quiet_and_balanced(&stack).await?;

    // Whatever is said, on the way there and on the way back, says its chain's trace.
    let events = events(&stack).await?;
    for (subject, event, carried) in &events {
        let derived = TraceContext::of(&id(&event["correlationid"]), &id(&event["id"]));
        assert_eq!(*carried, derived, "{subject}: {event}");
    }
    let first = EventId::parse(event_id.as_str())?;
    let trace_id = TraceContext::of(&first, &first).trace_id();
    in_every_log(&stack, &trace_id, &event_id);
    let spans = wait::until("every event's span", || async {
        for (subject, _, carried) in &events {
            let spans = collected.of(&carried.trace_id());
            let has = spans.iter().any(|(_, span)| carried.to_string().contains(&hex::encode(&span.span_id)));
            ensure!(has, "{subject} has no span");
        }
        let spans = collected.of(&trace_id);
        let root = spans.iter().any(|(_, span)| span.parent_span_id.is_empty());
        let settled = spans.iter().any(|(_, span)| span.name == "publish recharges.settled");
        let told = spans.iter().any(|(service, span)| service == "syncer" && span.name == "handle ledger.credited");
        ensure!(root && settled && told && unknown_parents(&spans).is_empty(), "not all yet: {spans:?}");
        Ok(spans)
    })
    .await?;
    is_one_tree(&spans);

    // Whoever collects may have trouble of its own.
    collected.1.store(true, Ordering::Relaxed);
    let team = stack.client.ready_organization("bank", "pm_card_visa", json!({})).await?;
    crossing(&stack, &team, 1).await?;
    books::quiet_and_balanced(&stack).await?;
    wait::until("the exporters' word", || async {
        for service in &stack.services {
            let said = service.log().matches("spans can't be exported").count();
            ensure!(said == 1, "{} said it {said} times", service.label);
        }
        Ok(())
    })
    .await?;
    let all = format!("{:?}", collected.0.lock().unwrap());
    assert!(all.contains("acme") && leaks(&all, &[]).is_empty(), "{:?}", leaks(&all, &[]));
    stack.stop().await
}

/// Every service has lines of the trace, and who called is named by ingress.
fn in_every_log(stack: &Stack, trace_id: &str, correlation_id: &str) {
    for service in &stack.services {
        let log = service.log();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let own: Vec<_> = lines.iter().filter(|line| line["span"]["trace_id"] == trace_id).collect();
        assert!(!own.is_empty(), "{} has no line of {trace_id}:\n{log}", service.label);
        assert!(own.iter().all(|line| line["span"]["correlation_id"] == correlation_id), "{own:?}");
        if service.label.starts_with("ingress") {
            assert!(
                own.iter().any(|line| CALLER.contains(line["span"]["caller_trace_id"].as_str().unwrap())),
                "{own:?}"
            );
        }
    }
}

/// The spans that some span is said to be below, and that are not there.
fn unknown_parents(spans: &[(String, Span)]) -> BTreeSet<Vec<u8>> {
    let known: BTreeSet<_> = spans.iter().map(|(_, span)| span.span_id.clone()).chain([Vec::new()]).collect();
    spans.iter().map(|(_, span)| span.parent_span_id.clone()).filter(|parent| !known.contains(parent)).collect()
}

/// One root, which is the request, and every service in it; no span twice.
fn is_one_tree(spans: &[(String, Span)]) {
    let by_id: BTreeMap<_, _> = spans.iter().map(|(service, span)| (&span.span_id, (service, span))).collect();
    assert_eq!(by_id.len(), spans.len(), "a span is there twice: {spans:?}");
    let roots: Vec<_> = spans.iter().filter(|(_, span)| span.parent_span_id.is_empty()).collect();
    assert_eq!(roots.len(), 1, "{roots:?}");
    let (service, root) = roots[0];
    assert_eq!((service.as_str(), root.name.as_str()), ("ingress", "POST /webhooks/litellm/limit-exceeded"));
    assert!(CALLER.contains(&hex::encode(&root.links[0].trace_id)), "{root:?}");
    let services: BTreeSet<_> = spans.iter().map(|(service, _)| service.as_str()).collect();
    assert_eq!(services, SERVICES.into_iter().collect());
    let charge = spans.iter().find(|(_, span)| span.name == "Stripe POST payment_intents").unwrap();
    let (_, handling) = by_id[&charge.1.parent_span_id];
    assert_eq!((charge.0.as_str(), handling.name.as_str()), ("recharger", "handle webhooks.litellm.limit_exceeded"));
    for step in ["handle recharges.charged", "handle ledger.credited", "handle quotas.synced"] {
        let (_, handled) = spans.iter().find(|(_, span)| span.name == step).unwrap();
        let (_, published) = by_id[&handled.parent_span_id];
        assert_eq!(published.name, step.replace("handle", "publish"), "{handled:?}");
    }
}
