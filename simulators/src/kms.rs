//! The Key Management System: organizations with a quota, and what they have spent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::Method;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::config::merged;
use crate::faults::Fault;
use crate::http::{Call, Reply, lock};
use crate::number;
use crate::outbound::{body_signature, client, post_until_answered, standard_signature};
use crate::server::{Running, Service, Shared};

const WEBHOOK_ATTEMPTS: u32 = 5;

/// How quotas and spend are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Numbers {
    Number,
    String,
}

/// How the webhook is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WebhookStyle {
    BodyHmac,
    StandardWebhooks,
}

/// Which generation of the KMS is played.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    single_get: bool,
    spend_route: bool,
    numbers: Numbers,
    spend_unavailable: bool,
    webhook_url: Option<String>,
    webhook_secret: Option<String>,
    webhook_style: WebhookStyle,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            single_get: true,
            spend_route: true,
            numbers: Numbers::Number,
            spend_unavailable: false,
            webhook_url: None,
            webhook_secret: None,
            webhook_style: WebhookStyle::BodyHmac,
        }
    }
}

#[derive(Debug, Clone)]
struct Organization {
    id: String,
    team: String,
    quota: Decimal,
    usage: Decimal,
    created_at: String,
    updated_at: String,
    quota_writes: Vec<Decimal>,
}

#[derive(Debug, Default)]
struct State {
    config: Config,
    organizations: BTreeMap<String, Organization>,
}

/// The KMS simulator.
#[derive(Debug)]
pub struct Kms {
    shared: Shared,
    state: Mutex<State>,
    client: reqwest::Client,
}

/// Where the KMS sends its webhook, and how it signs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Webhook {
    /// The receiver's URL.
    pub url: Option<String>,
    /// The secret shared with the receiver.
    pub secret: Option<String>,
}

impl Kms {
    /// Serves a new, empty KMS on `address` (port 0: any free port).
    ///
    /// # Errors
    /// When the address can't be bound; the error names it.
    pub async fn start(address: SocketAddr) -> anyhow::Result<Running> {
        Self::start_with(address, Webhook::default()).await
    }

    /// The same, with a webhook configured from the start.
    ///
    /// # Errors
    /// When the address can't be bound; the error names it.
    pub async fn start_with(address: SocketAddr, webhook: Webhook) -> anyhow::Result<Running> {
        let mut state = State::default();
        state.config.webhook_url = webhook.url;
        state.config.webhook_secret = webhook.secret;
        let service = Self { shared: Shared::new(), state: Mutex::new(state), client: client()? };
        crate::server::start(address, Arc::new(service)).await
    }

    fn dispatch(&self, call: &Call) -> Reply {
        match (call.method.as_str(), call.segments().as_slice()) {
            ("GET", ["health"]) => Reply::json(200, &json!({ "status": "healthy" })),
            ("GET", ["organizations"]) => self.list(),
            ("POST", ["organizations"]) => self.create(call),
            ("GET", ["organizations", id]) => self.single(id),
            ("PUT", ["organizations", id, "quota"]) => self.put_quota(id, call),
            ("GET", ["spend", "org", id]) => self.spend(id),
            (_, ["health" | "organizations"] | ["organizations", _] | ["organizations", _, "quota"]) => {
                detail(405, "Method Not Allowed")
            }
            _ => detail(404, "Not Found"),
        }
    }

    fn list(&self) -> Reply {
        let state = lock(&self.state);
        let all: Value = state.organizations.iter().map(|(id, one)| shown(id, one, &state.config)).collect();
        Reply::json(200, &all)
    }

    fn create(&self, call: &Call) -> Reply {
        let body = match call.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let Some(id) = body["c_organization_id"].as_str().filter(|id| !id.is_empty()) else {
            return detail(422, "c_organization_id: field required");
        };
        let Some(quota) = number::read(&body["quota"]).filter(|quota| !quota.is_sign_negative()) else {
            return detail(422, "quota: a number that is not negative is required");
        };
        let mut state = lock(&self.state);
        if state.organizations.contains_key(id) {
            return detail(409, &format!("Organization {id} already exists"));
        }
        let now = self.shared.clock.rfc3339();
        let organization = Organization {
            id: self.shared.ids.uuid(),
            team: format!("team_{}", self.shared.ids.uuid()),
            quota,
            usage: Decimal::ZERO,
            created_at: now.clone(),
            updated_at: now,
            quota_writes: vec![quota],
        };
        let reply = Reply::json(201, &shown(id, &organization, &state.config));
        state.organizations.insert(id.to_owned(), organization);
        reply
    }

    fn single(&self, id: &str) -> Reply {
        let state = lock(&self.state);
        if !state.config.single_get {
            return detail(405, "Method Not Allowed");
        }
        match state.organizations.get(id) {
            Some(organization) => Reply::json(200, &shown(id, organization, &state.config)),
            None => unknown(id),
        }
    }

    fn put_quota(&self, id: &str, call: &Call) -> Reply {
        let body = match call.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let Some(quota) = number::read(&body["new_quota"]).filter(|quota| !quota.is_sign_negative()) else {
            return detail(422, "new_quota: a number that is not negative is required");
        };
        let mut state = lock(&self.state);
        let config = state.config.clone();
        let Some(organization) = state.organizations.get_mut(id) else { return unknown(id) };
        organization.quota = quota;
        organization.quota_writes.push(quota);
        organization.updated_at = self.shared.clock.rfc3339();
        Reply::json(200, &shown(id, organization, &config))
    }

    fn spend(&self, id: &str) -> Reply {
        let state = lock(&self.state);
        if !state.config.spend_route {
            return detail(404, "Not Found");
        }
        let Some(one) = state.organizations.get(id) else { return unknown(id) };
        let spend = if state.config.spend_unavailable { json!("-1.0") } else { written(one.usage, &state.config) };
        let body = json!({
            "spend": spend,
            "quota": written(one.quota, &state.config),
            "remaining": written(one.quota - one.usage, &state.config),
        });
        Reply::json(200, &body)
    }

    fn books(&self) -> Reply {
        let state = lock(&self.state);
        let organizations: Value = state
            .organizations
            .iter()
            .map(|(id, one)| {
                let writes: Vec<Value> = one.quota_writes.iter().copied().map(number::write).collect();
                let entry = json!({
                    "quota": number::write(one.quota),
                    "usage": number::write(one.usage),
                    "l_team_id": one.team,
                    "quota_writes": writes,
                });
                (id.clone(), entry)
            })
            .collect();
        let body = json!({
            "organizations": organizations,
            "calls": self.shared.calls(),
            "tcp_connections": self.shared.connections(),
        });
        Reply::json(200, &body)
    }

    fn configure(&self, call: &Call) -> Reply {
        let patch = match call.json() {
            Ok(patch) => patch,
            Err(reply) => return reply,
        };
        let mut state = lock(&self.state);
        match merged(&state.config, &patch) {
            Ok(config) => {
                state.config = config;
                Reply::json(200, &json!(state.config))
            }
            Err(message) => Reply::problem(400, &message),
        }
    }

    /// Changes the quota behind the API's back.
    fn drift(&self, call: &Call) -> Reply {
        self.change(call, "quota", |organization, quota| organization.quota = quota)
            .map_or_else(|reply| reply, |(_, shown)| Reply::json(200, &shown))
    }

    async fn use_up(&self, call: &Call) -> Reply {
        let changed = self.change(call, "usage", |organization, usage| organization.usage = usage);
        let (id, mut report) = match changed {
            Ok(changed) => changed,
            Err(reply) => return reply,
        };
        let wanted = call.json().is_ok_and(|body| body["webhook"] == true);
        if wanted && let Some(fields) = report.as_object_mut() {
            let webhook = self.send_webhook(&id).await;
            fields.extend(webhook.as_object().cloned().unwrap_or_default());
        }
        Reply::json(200, &report)
    }

    fn change(
        &self,
        call: &Call,
        name: &str,
        set: impl FnOnce(&mut Organization, Decimal),
    ) -> Result<(String, Value), Reply> {
        let body = call.json()?;
        let id = body["c_organization_id"].as_str().unwrap_or_default().to_owned();
        let value =
            number::read(&body[name]).ok_or_else(|| Reply::problem(400, &format!("{name} must be a number")))?;
        let mut state = lock(&self.state);
        let organization = state.organizations.get_mut(&id).ok_or_else(|| unknown(&id))?;
        set(organization, value);
        let shown = json!({
            "c_organization_id": id,
            "l_team_id": organization.team,
            "usage": number::write(organization.usage),
            "quota": number::write(organization.quota),
        });
        Ok((id, shown))
    }

    /// Sends `limit_exceeded`, if the limit is reached.
    async fn send_webhook(&self, id: &str) -> Value {
        let (config, organization) = {
            let state = lock(&self.state);
            (state.config.clone(), state.organizations.get(id).cloned())
        };
        let Some(one) = organization else { return json!({ "sent": false }) };
        let Some(url) = config.webhook_url else {
            return json!({ "sent": false, "reason": "no webhook_url is configured" });
        };
        if one.usage < one.quota {
            return json!({ "sent": false, "reason": "usage is below the quota" });
        }
        let body = json!({
            "event_type": "limit_exceeded",
            "team_id": one.team,
            "current_usage": number::write(one.usage),
            "current_limit": number::write(one.quota),
            "exceeded_by": number::write(one.usage - one.quota),
            "timestamp": self.shared.clock.rfc3339(),
        })
        .to_string();
        let secret = config.webhook_secret.unwrap_or_default();
        let headers = match config.webhook_style {
            WebhookStyle::BodyHmac => vec![("x-webhook-signature", body_signature(&secret, &body))],
            WebhookStyle::StandardWebhooks => {
                let message = self.shared.ids.stripe("msg");
                let now = Clock::machine_now();
                vec![
                    ("webhook-signature", standard_signature(&secret, &message, now, &body)),
                    ("webhook-id", message),
                    ("webhook-timestamp", now.to_string()),
                ]
            }
        };
        post_until_answered(&self.client, &url, &headers, &body, WEBHOOK_ATTEMPTS).await
    }
}

impl Service for Kms {
    const NAME: &'static str = "kms";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn route(&self, call: &Call) -> String {
        let mut segments = call.segments();
        let place = if segments.first() == Some(&"spend") { 2 } else { 1 };
        if let Some(id) = segments.get_mut(place) {
            *id = ":id";
        }
        format!("{} /{}", call.method, segments.join("/"))
    }

    async fn handle(self: Arc<Self>, call: Call, fault: Fault) -> Reply {
        tokio::time::sleep(fault.delay()).await;
        let reply = self.dispatch(&call);
        if fault == Fault::ErrorAfter { self.trouble(500) } else { reply }
    }

    async fn sim(self: Arc<Self>, call: Call) -> Reply {
        match (call.method.clone(), call.segments().get(1..).unwrap_or_default()) {
            (Method::GET, ["books"]) => self.books(),
            (Method::GET, ["config"]) => Reply::json(200, &json!(lock(&self.state).config)),
            (Method::POST, ["config"]) => self.configure(&call),
            (Method::POST, ["usage"]) => self.use_up(&call).await,
            (Method::POST, ["quota"]) => self.drift(&call),
            _ => Reply::problem(404, "no such knob: see the README of the simulators"),
        }
    }

    fn trouble(&self, status: u16) -> Reply {
        detail(status, if status == 429 { "Too Many Requests" } else { "Internal Server Error" })
    }
}

fn shown(id: &str, organization: &Organization, config: &Config) -> Value {
    json!({
        "id": organization.id,
        "c_organization_id": id,
        "l_team_id": organization.team,
        "quota": written(organization.quota, config),
        "created_at": organization.created_at,
        "updated_at": organization.updated_at,
    })
}

fn written(value: Decimal, config: &Config) -> Value {
    match config.numbers {
        Numbers::Number => number::write(value),
        Numbers::String => json!(value.to_string()),
    }
}

fn detail(status: u16, words: &str) -> Reply {
    Reply::json(status, &json!({ "detail": words }))
}

fn unknown(id: &str) -> Reply {
    detail(404, &format!("Organization {id} not found"))
}
