//! LiteLLM's own team calls, and its budget alert.

mod shapes;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use hyper::Method;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::shapes::{alert_body, day_of, refused, shown, unknown};
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
}

impl Default for Config {
    fn default() -> Self {
        Self { master_key: None, webhook_url: None, alert_ttl_seconds: 24 * 60 * 60 }
    }
}

#[derive(Debug, Clone)]
struct Team {
    alias: Option<String>,
    organization: Value,
    metadata: Value,
    max_budget: Option<Decimal>,
    spend: Decimal,
    created_at: String,
    updated_at: String,
    daily: BTreeMap<String, Decimal>,
    budget_writes: Vec<Value>,
    alerted_at: Option<i64>,
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

impl Litellm {
    /// Serves a proxy without teams on `address` (port 0: any free port).
    ///
    /// # Errors
    /// When the address can't be bound; the error names it.
    pub async fn start(address: SocketAddr) -> anyhow::Result<Running> {
        let service = Self { shared: Shared::new(), state: Mutex::default(), client: client()? };
        crate::server::start(address, Arc::new(service)).await
    }

    fn authorized(&self, call: &Call) -> bool {
        let given = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match (&lock(&self.state).config.master_key, given) {
            (Some(expected), Some(given)) => expected == given,
            (None, Some(given)) => !given.is_empty(),
            (_, None) => false,
        }
    }

    fn dispatch(&self, call: &Call) -> Reply {
        let segments = call.segments();
        if let ("GET", ["health", "liveliness" | "readiness"]) = (call.method.as_str(), segments.as_slice()) {
            return Reply::json(200, &json!({ "status": "healthy" }));
        }
        if !self.authorized(call) {
            return refused(401, "auth_error", "Authentication Error, No api key passed in.");
        }
        match (call.method.as_str(), segments.as_slice()) {
            ("POST", ["team", "new"]) => self.create(call),
            ("POST", ["team", "update"]) => self.update(call),
            ("GET", ["team", "info"]) => self.info(call),
            ("GET", ["team", "daily", "activity"]) => self.activity(call),
            _ => Reply::json(404, &json!({ "detail": "Not Found" })),
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
            let words = format!("Team id = {id} already exists. Please use a different team id.");
            return refused(400, "bad_request_error", &words);
        }
        let budget = number::read(&body["max_budget"]);
        let team = Team {
            alias: body["team_alias"].as_str().map(str::to_owned),
            organization: body["organization_id"].clone(),
            metadata: if body["metadata"].is_object() { body["metadata"].clone() } else { json!({}) },
            max_budget: budget,
            spend: Decimal::ZERO,
            created_at: now.clone(),
            updated_at: now,
            daily: BTreeMap::new(),
            budget_writes: budget.map(number::write).into_iter().collect(),
            alerted_at: None,
        };
        let reply = Reply::json(200, &shown(&id, &team));
        state.teams.insert(id, team);
        reply
    }

    fn update(&self, call: &Call) -> Reply {
        let body = match call.json() {
            Ok(body) => body,
            Err(reply) => return reply,
        };
        let id = body["team_id"].as_str().unwrap_or_default();
        let mut state = lock(&self.state);
        let Some(team) = state.teams.get_mut(id) else { return unknown(id) };
        if let Some(budget) = body.get("max_budget") {
            team.max_budget = number::read(budget);
            team.budget_writes.push(team.max_budget.map_or(Value::Null, number::write));
        }
        if let Some(alias) = body["team_alias"].as_str() {
            team.alias = Some(alias.to_owned());
        }
        if body["metadata"].is_object() {
            team.metadata = body["metadata"].clone();
        }
        team.updated_at = self.shared.clock.rfc3339();
        Reply::json(200, &json!({ "team_id": id, "data": shown(id, team) }))
    }

    fn info(&self, call: &Call) -> Reply {
        let id = call.query_value("team_id").unwrap_or_default();
        let state = lock(&self.state);
        let Some(team) = state.teams.get(&id) else { return unknown(&id) };
        let body = json!({ "team_id": id, "team_info": shown(&id, team), "keys": [], "team_memberships": [] });
        Reply::json(200, &body)
    }

    fn activity(&self, call: &Call) -> Reply {
        let wanted = call.query_value("team_ids").unwrap_or_default();
        let from = call.query_value("start_date").unwrap_or_default();
        let to = call.query_value("end_date").unwrap_or_else(|| "9999-12-31".to_owned());
        let state = lock(&self.state);
        let mut days: BTreeMap<&str, BTreeMap<&str, Decimal>> = BTreeMap::new();
        for (id, team) in &state.teams {
            if !wanted.is_empty() && !wanted.split(',').any(|one| one == id) {
                continue;
            }
            for (day, spend) in &team.daily {
                if *day >= from && *day <= to {
                    days.entry(day).or_default().insert(id, *spend);
                }
            }
        }
        let total: Decimal = days.values().flat_map(BTreeMap::values).sum();
        let results: Vec<Value> = days.iter().rev().map(|(day, teams)| day_of(day, teams, &state.teams)).collect();
        let body = json!({
            "results": results,
            "metadata": {
                "total_spend": number::write(total),
                "total_prompt_tokens": 0,
                "total_completion_tokens": 0,
                "total_tokens": 0,
                "total_api_requests": 0,
                "total_successful_requests": 0,
                "total_failed_requests": 0,
                "total_cache_read_input_tokens": 0,
                "total_cache_creation_input_tokens": 0,
                "page": 1,
                "total_pages": 1,
                "has_more": false,
            },
        });
        Reply::json(200, &body)
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
        let day = self.shared.clock.day();
        let mut report = {
            let mut state = lock(&self.state);
            let Some(team) = state.teams.get_mut(&id) else { return unknown(&id) };
            *team.daily.entry(day).or_default() += usage - team.spend;
            team.spend = usage;
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
        if team.spend <= budget {
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
                    "spend": number::write(team.spend),
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
            _ => Reply::problem(404, "no such knob: see the README of the simulators"),
        }
    }

    fn trouble(&self, status: u16) -> Reply {
        if status == 429 {
            return refused(429, "throttling_error", "Too Many Requests");
        }
        refused(500, "internal_server_error", "Internal Server Error")
    }
}
