//! Faults on demand: `/_sim/faults`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::http::lock;

const KNOWN: &str = "drop_before, drop_after, 500_before, 500_after, html502, 429, slow:MS, ok, down:SECONDS";

/// What goes wrong with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// The connection is cut before the effect.
    DropBefore,
    /// The effect takes place, then the connection is cut.
    DropAfter,
    /// 500, no effect.
    ErrorBefore,
    /// The effect takes place, the answer is 500.
    ErrorAfter,
    /// A proxy's page, no effect.
    BadGateway,
    /// Too many requests, no effect.
    TooMany,
    /// The effect and the answer come late.
    Slow(Duration),
}

impl Fault {
    fn name(self) -> String {
        match self {
            Self::None => "ok".into(),
            Self::DropBefore => "drop_before".into(),
            Self::DropAfter => "drop_after".into(),
            Self::ErrorBefore => "500_before".into(),
            Self::ErrorAfter => "500_after".into(),
            Self::BadGateway => "html502".into(),
            Self::TooMany => "429".into(),
            Self::Slow(delay) => format!("slow:{}", delay.as_millis()),
        }
    }

    /// How long the call waits before it takes effect.
    pub(crate) fn delay(self) -> Duration {
        match self {
            Self::Slow(delay) => delay,
            _ => Duration::ZERO,
        }
    }
}

#[derive(Debug, Clone)]
struct Queued {
    fault: Fault,
    /// Only for this route (`POST /v1/refunds`), when given.
    route: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Queued>,
    down_until: Option<Instant>,
    injected: BTreeMap<String, u64>,
}

/// The faults that are waiting for calls.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    state: Mutex<State>,
}

enum Order {
    Queue(Queued),
    Down(Duration),
}

impl Faults {
    /// Adds the list of a `POST /_sim/faults`: all of it, or nothing and the reason.
    pub(crate) fn add(&self, list: &Value) -> Result<(), String> {
        let items = list.as_array().ok_or("the body must be a JSON list of faults")?;
        let orders = items.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let mut state = lock(&self.state);
        for order in orders {
            match order {
                Order::Queue(queued) => state.queue.push_back(queued),
                Order::Down(length) => state.down_until = Some(Instant::now() + length),
            }
        }
        Ok(())
    }

    /// Forgets all faults and ends an outage.
    pub(crate) fn clear(&self) {
        let mut state = lock(&self.state);
        state.queue.clear();
        state.down_until = None;
    }

    /// Takes the fault for a call that changes something.
    pub(crate) fn take(&self, route: &str) -> Fault {
        let mut state = lock(&self.state);
        let position = state.queue.iter().position(|queued| queued.route.as_deref().is_none_or(|only| only == route));
        let Some(queued) = position.and_then(|index| state.queue.remove(index)) else {
            return Fault::None;
        };
        if queued.fault != Fault::None {
            let name = match queued.fault {
                Fault::Slow(_) => "slow".to_owned(),
                other => other.name(),
            };
            *state.injected.entry(name).or_default() += 1;
        }
        queued.fault
    }

    /// Whether the whole service is away.
    pub(crate) fn is_down(&self) -> bool {
        lock(&self.state).down_until.is_some_and(|until| Instant::now() < until)
    }

    /// Counts a call which met a service that is away.
    pub(crate) fn count_down(&self) {
        *lock(&self.state).injected.entry("down".into()).or_default() += 1;
    }

    /// What is left, and what was injected.
    pub(crate) fn show(&self) -> Value {
        let state = lock(&self.state);
        let left: Vec<Value> = state.queue.iter().map(show_queued).collect();
        let down_ms = state
            .down_until
            .map(|until| until.saturating_duration_since(Instant::now()).as_millis())
            .and_then(|millis| u64::try_from(millis).ok())
            .unwrap_or_default();
        json!({ "left": left, "injected": state.injected, "down": down_ms > 0, "down_for_ms": down_ms })
    }
}

fn show_queued(queued: &Queued) -> Value {
    match &queued.route {
        Some(route) => json!({ "fault": queued.fault.name(), "route": route }),
        None => json!(queued.fault.name()),
    }
}

fn parse(item: &Value) -> Result<Order, String> {
    let (name, route) = match item {
        Value::String(name) => (name.as_str(), None),
        Value::Object(fields) => (
            fields.get("fault").and_then(Value::as_str).unwrap_or_default(),
            fields.get("route").and_then(Value::as_str).map(str::to_owned),
        ),
        _ => return Err(unknown(item)),
    };
    let fault = match name {
        "" | "ok" => Fault::None,
        "drop_before" => Fault::DropBefore,
        "drop_after" => Fault::DropAfter,
        "500_before" => Fault::ErrorBefore,
        "500_after" => Fault::ErrorAfter,
        "html502" => Fault::BadGateway,
        "429" => Fault::TooMany,
        other => match other.split_once(':') {
            Some(("slow", millis)) => Fault::Slow(Duration::from_millis(millis.parse().map_err(|_| unknown(item))?)),
            Some(("down", seconds)) => return Ok(Order::Down(seconds_of(seconds, item)?)),
            _ => return Err(unknown(item)),
        },
    };
    Ok(Order::Queue(Queued { fault, route }))
}

/// Seconds, with up to three decimals (`down:0.5`).
fn seconds_of(text: &str, item: &Value) -> Result<Duration, String> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let seconds: u64 = whole.parse().map_err(|_| unknown(item))?;
    if part.len() > 3 {
        return Err(unknown(item));
    }
    let millis: u64 = format!("{part:0<3}").parse().map_err(|_| unknown(item))?;
    Ok(Duration::from_millis(seconds.saturating_mul(1000).saturating_add(millis)))
}

fn unknown(item: &Value) -> String {
    format!("unknown fault {item}; known are {KNOWN}")
}
