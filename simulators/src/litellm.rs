//! LiteLLM's own team calls, and its budget alert.

mod activity;
mod shapes;
mod team;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::Method;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::shapes::{alert_body, detail, refused, unknown};
use self::team::Team;
use crate::config::merged;
use crate::faults::Fault;
use crate::http::{Call, Reply, lock};
use crate::number;
use crate::outbound::{client, post};
use crate::server::{Running, Service, Shared};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    master_key: Option<String>,
    webhook_url: Option<String>,
    /// For how long a team's alert is not repeated.
    alert_ttl_seconds: i64,
    /// How long spend takes until the management calls show it: a proxy writes it to its database in batches.
    spend_lag_seconds: i64,
    /// Whether this version tells the activity by day.
    activity_route: bool,
    /// Whether the proxy reaches its database.
    database: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            master_key: None,
            webhook_url: None,
            alert_ttl_seconds: 24 * 60 * 60,
            spend_lag_seconds: 0,
            activity_route: true,
            database: true,
        }
    }
}

#[derive(Debug, Default)]
struct State {
    config: Config,
    teams: BTreeMap<String, Team>,
}

/// The LiteLLM simulator.
#[derive(Debug)]
pub struct Litellm {
    shared: Shared,
    state: Mutex<State>,
    client: reqwest::Client,
}

/// What a proxy is told before it starts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxy {
    /// Its master key; without one any key will do.
    pub master_key: Option<String>,
    /// Where its alerts go.
    pub webhook_url: Option<String>,
}

impl Litellm {
    /// Serves a proxy without teams on `address` (port 0: any free port).
    ///
    /// # Errors
    /// When the address can't be bound; the error names it.
    pub async fn start(address: SocketAddr) -> anyhow::Result<Running> {
        Self::start_with(address, Proxy::default()).await
    }

    /// The same, configured from the start.
    ///
    /// # Errors
    /// When the address can't be bound; the error names it.
    pub async fn start_with(address: SocketAddr, proxy: Proxy) -> anyhow::Result<Running> {
        let mut state = State::default();
        state.config.master_key = proxy.master_key;
        state.config.webhook_url = proxy.webhook_url;
        let service = Self { shared: Shared::new(), state: Mutex::new(state), client: client()? };
        crate::server::start(address, Arc::new(service)).await
    }

    /// The refusal of a call whose key is missing or wrong.
    fn refusal(&self, call: &Call) -> Option<Reply> {
        let given = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        let Some(given) = given.filter(|given| !given.is_empty()) else {
            return Some(refused(401, "auth_error", "None", "Authentication Error, No api key passed in."));
        };
        let known = lock(&self.state).config.master_key.as_ref().is_none_or(|key| key == given);
        (!known).then(|| shapes::unknown_key(given))
    }

    fn dispatch(&self, call: &Call) -> Reply {
        let segments = call.segments();
        let database = lock(&self.state).config.database;
        match (call.method.as_str(), segments.as_slice()) {
            ("GET", ["health", "liveliness"]) => return Reply::json(200, &json!("I'm alive!")),
            ("GET", ["health", "readiness"]) => return shapes::readiness(database),
            _ => {}
        }
        if let Some(refusal) = self.refusal(call) {
            return refusal;
        }
        if !database {
            return Self::without_database(call);
        }
        match (call.method.as_str(), segments.as_slice()) {
            ("POST", ["team", "new"]) => self.create(call),
            ("POST", ["team", "update"]) => self.update(call),
            ("GET", ["team", "info"]) => self.info(call),
            ("GET", ["team", "daily", "activity"]) if lock(&self.state).config.activity_route => {
                let now = self.shared.clock.now();
                activity::page(call, &lock(&self.state).teams, now)
            }
            _ => Reply::json(404, &json!({ "detail": "Not Found" })),
        }
    }

    /// What a proxy answers that does not reach its database: it does not find what it can't look for.
    fn without_database(call: &Call) -> Reply {
        match (call.method.as_str(), call.segments().as_slice()) {
            ("GET", ["team", "info"]) => unknown(&call.query_value("team_id").unwrap_or_default()),
            _ => refused(500, "internal_server_error", "None", "Internal Server Error"),
        }
    }

    fn create(&self, call: &Call) -> Reply {
        let body = match call.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let id = body["team_id"].as_str().map_or_else(|| self.shared.ids.uuid(), str::to_owned);
        let now = self.shared.clock.rfc3339();
        let mut state = lock(&self.state);
        if state.teams.contains_key(&id) {
            let words = format!("{{'error': 'Team id = {id} already exists. Please use a different team id.'}}");
            return refused(400, "internal_server_error", "None", &words);
        }
        let budget = number::read(&body["max_budget"]);
        if let Some(negative) = budget.filter(Decimal::is_sign_negative) {
            let words = format!("{{'error': 'max_budget cannot be negative. Received: {negative}'}}");
            return refused(400, "internal_server_error", "None", &words);
        }
        let team = Team::new(&body, budget, now);
        let reply = Reply::json(200, &shapes::new_team(&id, &team));
        state.teams.insert(id, team);
        reply
    }

    fn update(&self, call: &Call) -> Reply {
        let body = match call.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let id = body["team_id"].as_str().unwrap_or_default();
        let now = self.shared.clock.now();
        let mut state = lock(&self.state);
        let Some(team) = state.teams.get_mut(id) else {
            return detail(404, &format!("Team not found, passed team_id={id}"));
        };
        if let Some(budget) = body.get("max_budget") {
            let budget = number::read(budget);
            if let Some(negative) = budget.filter(Decimal::is_sign_negative) {
                return detail(400, &format!("max_budget cannot be negative. Received: {negative}"));
            }
            team.max_budget = budget;
            team.budget_writes.push(budget.map_or(Value::Null, number::write));
        }
        if let Some(period) = body.get("budget_duration") {
            team.budget_duration = period.as_str().map(str::to_owned);
        }
        if let Some(alias) = body["team_alias"].as_str() {
            team.alias = Some(alias.to_owned());
        }
        if body["metadata"].is_object() {
            team.metadata = body["metadata"].clone();
        }
        team.updated_at = self.shared.clock.rfc3339();
        Reply::json(200, &json!({ "team_id": id, "data": shapes::updated_team(id, team, now) }))
    }

    fn info(&self, call: &Call) -> Reply {
        let id = call.query_value("team_id").unwrap_or_default();
        let now = self.shared.clock.now();
        let state = lock(&self.state);
        let Some(team) = state.teams.get(&id) else { return unknown(&id) };
        let team_info = shapes::team_info(&id, team, now);
        Reply::json(200, &json!({ "team_id": id, "team_info": team_info, "keys": [], "team_memberships": [] }))
    }

    /// Somebody changes a budget by hand.
    fn drift(&self, call: &Call) -> Reply {
        let body = match call.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let id = body["team_id"].as_str().unwrap_or_default();
        let Some(budget) = body.get("max_budget") else {
            return Reply::problem(400, "max_budget must be a number or null");
        };
        let mut state = lock(&self.state);
        let Some(team) = state.teams.get_mut(id) else { return unknown(id) };
        team.max_budget = number::read(budget);
        Reply::json(200, &json!({ "team_id": id, "max_budget": team.max_budget.map(number::write) }))
    }

    /// Somebody, or a lost database, takes a team away.
    fn forget(&self, call: &Call) -> Reply {
        let body = match call.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let id = body["team_id"].as_str().unwrap_or_default();
        match lock(&self.state).teams.remove(id) {
            Some(_) => Reply::json(200, &json!({ "team_id": id })),
            None => unknown(id),
        }
    }

    /// Sets a team's spend, and sends the alert when asked to.
    async fn use_up(&self, call: &Call) -> Reply {
        let body = match call.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let id = body["team_id"].as_str().unwrap_or_default().to_owned();
        let Some(usage) = number::read(&body["usage"]) else {
            return Reply::problem(400, "usage must be a number");
        };
        let (day, now) = (self.shared.clock.day(), self.shared.clock.now());
        let mut report = {
            let mut state = lock(&self.state);
            let lag = state.config.spend_lag_seconds;
            let Some(team) = state.teams.get_mut(&id) else { return unknown(&id) };
            team.spends(usage, day, now.saturating_add(lag));
            json!({ "team_id": id, "spend": number::write(usage) })
        };
        if body["webhook"] == true
            && let Some(fields) = report.as_object_mut()
        {
            let alert = self.send_alert(&id).await;
            fields.extend(alert.as_object().cloned().unwrap_or_default());
        }
        Reply::json(200, &report)
    }

    /// `budget_crossed`: only strictly above the budget, and once in 24 hours.
    async fn send_alert(&self, id: &str) -> Value {
        let (config, team) = {
            let state = lock(&self.state);
            (state.config.clone(), state.teams.get(id).cloned())
        };
        let not_sent = |reason: &str| json!({ "sent": false, "reason": reason });
        let Some(team) = team else { return not_sent("unknown team") };
        let Some(url) = config.webhook_url else { return not_sent("no webhook_url is configured") };
        let Some(budget) = team.max_budget else { return not_sent("the team has no budget") };
        if team.spent() <= budget {
            return not_sent("spend is not above the budget");
        }
        let now = self.shared.clock.now();
        if team.alerted_at.is_some_and(|at| now - at < config.alert_ttl_seconds) {
            return not_sent("this team's alert was sent within alert_ttl_seconds");
        }
        let body = alert_body(id, &team, budget).to_string();
        let headers = [("user-agent", "litellm/1.80.11".to_owned())];
        match post(&self.client, &url, &headers, &body).await {
            Ok((status, text)) => {
                if status < 300
                    && let Some(team) = lock(&self.state).teams.get_mut(id)
                {
                    team.alerted_at = Some(now);
                }
                let parsed = serde_json::from_str(&text).unwrap_or(Value::String(text));
                json!({ "sent": true, "status": status, "body": parsed })
            }
            Err(error) => json!({ "sent": false, "error": error }),
        }
    }

    fn books(&self) -> Reply {
        let state = lock(&self.state);
        let teams: Value = state
            .teams
            .iter()
            .map(|(id, team)| {
                let entry = json!({
                    "max_budget": team.max_budget.map(number::write),
                    "spend": number::write(team.spent()),
                    "budget_writes": team.budget_writes,
                });
                (id.clone(), entry)
            })
            .collect();
        let body = json!({
            "teams": teams,
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
}

impl Service for Litellm {
    const NAME: &'static str = "litellm";

    fn shared(&self) -> &Shared {
        &self.shared
    }

    fn route(&self, call: &Call) -> String {
        format!("{} /{}", call.method, call.segments().join("/"))
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
            (Method::POST, ["budget"]) => self.drift(&call),
            (Method::POST, ["forget"]) => self.forget(&call),
            _ => Reply::problem(404, "no such knob: see the README of the simulators"),
        }
    }

    fn trouble(&self, status: u16) -> Reply {
        if status == 429 {
            return refused(429, "throttling_error", "None", "Too Many Requests");
        }
        refused(500, "internal_server_error", "None", "Internal Server Error")
    }
}
