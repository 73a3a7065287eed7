//! Stripe: customers, payment methods, payment and setup intents, Checkout Sessions, refunds, disputes, events.

mod books;
mod cards;
mod charges;
mod checkout;
mod checkout_page;
mod config;
mod confirmation;
mod currency;
mod customers;
mod disputes;
mod error;
mod idempotency;
mod list;
mod params;
mod payment_intents;
mod payment_methods;
mod refunds;
mod routes;
mod setup_intents;
mod sim;
mod webhooks;
mod world;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use serde_json::Value;

use self::error::ApiError;
use self::idempotency::{Begin, Keys};
use self::params::Params;
use self::webhooks::Deliveries;
use self::world::{Request, World};
use crate::faults::Fault;
use crate::http::{Call, Reply, lock};
use crate::server::{Running, Service, Shared};

/// The version objects are shaped like, when the caller names none.
const API_VERSION: &str = "2026-09-30.endive";

/// The Stripe simulator.
#[derive(Debug)]
pub struct Stripe {
    shared: Arc<Shared>,
    world: Mutex<World>,
    keys: Arc<Keys>,
    deliveries: Arc<Deliveries>,
}

/// How a request ended, and whether its idempotency key keeps that.
struct Played {
    reply: Reply,
    kept: bool,
}

impl Stripe {
    /// Serves a new, empty account on `address` (port 0: any free port).
    ///
    /// # Errors
    /// When the address can't be bound; the error names it.
    pub async fn start(address: SocketAddr) -> anyhow::Result<Running> {
        let shared = Arc::new(Shared::new());
        let service = Self {
            world: Mutex::new(World::new(Arc::clone(&shared))),
            keys: Arc::default(),
            deliveries: Arc::new(Deliveries::new()?),
            shared,
        };
        crate::server::start(address, Arc::new(service)).await
    }

    /// Plays `action` on the account, then sends the events that came of it.
    fn with_world<T>(&self, request: Request, action: impl FnOnce(&mut World) -> T) -> T {
        let mut world = lock(&self.world);
        world.request = request;
        let result = action(&mut world);
        let events = std::mem::take(&mut world.outbox);
        let config = world.config.clone();
        drop(world);
        self.deliveries.send(&config, events);
        result
    }

    async fn answer(&self, call: &Call, fault: Fault, request: Request) -> Reply {
        let Some(api_key) = api_key(call) else { return ApiError::no_key().reply() };
        if lock(&self.world).config.secret_key.as_ref().is_some_and(|own| *own != api_key) {
            return ApiError::wrong_key(&api_key).reply();
        }
        let params = Params::of_call(&call.query, &call.body);
        let key = call.header("idempotency-key").filter(|_| call.method == Method::POST);
        let Some(key) = key else { return self.execute(call, fault, request, &params).await.reply };
        let endpoint = format!("{} {}", call.method, call.path);
        let now = self.shared.clock.now();
        let reply = match self.keys.begin(&api_key, key, &endpoint, &params, now) {
            Begin::Refused(error) => error.reply(),
            Begin::Replay(_) if fault == Fault::ErrorAfter => ApiError::internal().reply(),
            Begin::Replay(reply) => {
                tokio::time::sleep(fault.delay()).await;
                reply
            }
            Begin::Fresh(ticket) => {
                let original = request.id.clone().unwrap_or_default();
                let Played { reply, kept } = self.execute(call, fault, request, &params).await;
                let reply = reply.with("original-request", original);
                if kept {
                    ticket.keep(&reply);
                }
                reply
            }
        };
        reply.with("idempotency-key", key)
    }

    /// Waits as long as a fault or the configuration wants, then takes effect.
    async fn execute(&self, call: &Call, fault: Fault, request: Request, params: &Params) -> Played {
        let latency = lock(&self.world).config.latency_ms;
        let latency = if call.changes() { Duration::from_millis(latency) } else { Duration::ZERO };
        tokio::time::sleep(fault.delay() + latency).await;
        let outcome = self.with_world(request, |world| {
            let mut value = routes::dispatch(world, call, params)?;
            list::expand(world, &mut value, params)?;
            Ok::<Value, ApiError>(value)
        });
        match outcome {
            _ if fault == Fault::ErrorAfter => Played { reply: ApiError::internal().reply(), kept: true },
            Ok(value) => Played { reply: Reply::json(200, &value), kept: true },
            Err(error) => Played { reply: error.reply(), kept: error.is_kept() },
        }
    }

    fn request_of(&self, call: &Call) -> Request {
        Request {
            id: Some(self.shared.ids.stripe("req")),
            idempotency_key: call.header("idempotency-key").map(str::to_owned),
            api_version: call.header("stripe-version").map(str::to_owned),
            base_url: format!("http://{}", call.header("host").unwrap_or("localhost")),
        }
    }
}

impl Service for Stripe {
    const NAME: &'static str = "stripe";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn route(&self, call: &Call) -> String {
        let mut segments = call.segments();
        // Sessions are the only collection that has a word before it.
        let place = if segments.get(1) == Some(&"checkout") { 3 } else { 2 };
        if let Some(id) = segments.get_mut(place) {
            *id = ":id";
        }
        format!("{} /{}", call.method, segments.join("/"))
    }

    async fn handle(self: Arc<Self>, call: Call, fault: Fault) -> Reply {
        let request = self.request_of(&call);
        let id = request.id.clone().unwrap_or_default();
        let version = request.api_version.clone().unwrap_or_else(|| API_VERSION.to_owned());
        let reply = self.answer(&call, fault, request).await;
        reply.with("request-id", id).with("stripe-version", version)
    }

    async fn sim(self: Arc<Self>, call: Call) -> Reply {
        self.knob(&call).await
    }

    fn trouble(&self, status: u16) -> Reply {
        let error = if status == 429 { ApiError::rate_limited() } else { ApiError::internal() };
        error.reply().with("request-id", self.shared.ids.stripe("req"))
    }
}

/// The API key: as bearer token, or as the user of basic authentication.
fn api_key(call: &Call) -> Option<String> {
    let (scheme, value) = call.header("authorization")?.split_once(' ')?;
    let key = match scheme.to_ascii_lowercase().as_str() {
        "bearer" => value.trim().to_owned(),
        "basic" => {
            let decoded = STANDARD.decode(value.trim()).ok()?;
            let text = String::from_utf8(decoded).ok()?;
            text.split(':').next().unwrap_or_default().to_owned()
        }
        _ => return None,
    };
    (!key.is_empty()).then_some(key)
}
