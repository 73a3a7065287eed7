//! LiteLLM, played by the simulator.

use std::net::{Ipv4Addr, SocketAddr};

use common::clock::Timestamp;
use reqwest::{Client, Method};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use simulators::Running;
use simulators::litellm::Proxy;

use crate::world::{World, decimal};

pub(crate) const KEY: &str = "sk-of-the-tests-0123456789";

pub(crate) struct Litellm {
    running: Running,
    http: Client,
}

impl Litellm {
    /// A proxy, and a world in which it enforces the quotas.
    pub(crate) async fn start() -> (Self, World) {
        let litellm = Self::alone().await;
        let world = World::on_litellm(litellm.url(), KEY).await;
        (litellm, world)
    }

    /// A proxy that nobody uses yet.
    pub(crate) async fn alone() -> Self {
        let proxy = Proxy { master_key: Some(KEY.to_owned()), webhook_url: None };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let running = simulators::litellm::Litellm::start_with(address, proxy).await.unwrap();
        Self { running, http: Client::builder().no_proxy().build().unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        self.running.url()
    }

    /// A team that is there before us. Its budget counts as a write, if it has one.
    pub(crate) async fn has(&self, team: &str, max_budget: Value) {
        self.call(Method::POST, "/team/new", json!({ "team_id": team, "max_budget": max_budget })).await;
    }

    /// Somebody changes a budget by hand.
    pub(crate) async fn drifts(&self, team: &str, max_budget: Value) {
        self.call(Method::POST, "/_sim/budget", json!({ "team_id": team, "max_budget": max_budget })).await;
    }

    /// Somebody has its spend zeroed every `period`, or not any more.
    pub(crate) async fn resets(&self, team: &str, period: Value) {
        self.call(Method::POST, "/team/update", json!({ "team_id": team, "budget_duration": period })).await;
    }

    /// A team is lost.
    pub(crate) async fn forgets(&self, team: &str) {
        self.call(Method::POST, "/_sim/forget", json!({ "team_id": team })).await;
    }

    /// What a team has spent in total.
    pub(crate) async fn spends(&self, team: &str, usage: &str) {
        self.call(Method::POST, "/_sim/usage", json!({ "team_id": team, "usage": usage })).await;
    }

    pub(crate) async fn configure(&self, config: Value) {
        self.call(Method::POST, "/_sim/config", config).await;
    }

    /// What goes wrong with the next calls that change something.
    pub(crate) async fn faults(&self, faults: &[&str]) {
        self.call(Method::POST, "/_sim/faults", json!(faults)).await;
    }

    /// Ends all faults.
    pub(crate) async fn is_well(&self) {
        self.call(Method::DELETE, "/_sim/faults", Value::Null).await;
    }

    /// Sets the proxy's clock.
    pub(crate) async fn is_at(&self, time: Timestamp) {
        let clock = self.call(Method::POST, "/_sim/clock", json!({ "advance_seconds": 0 })).await;
        let seconds = time.timestamp() - clock["now"].as_i64().unwrap();
        self.call(Method::POST, "/_sim/clock", json!({ "advance_seconds": seconds })).await;
    }

    pub(crate) async fn budget(&self, team: &str) -> Option<Decimal> {
        let budget = self.book(team).await["max_budget"].take();
        (!budget.is_null()).then(|| decimal(&budget.to_string()))
    }

    /// Every budget that was written, in order.
    pub(crate) async fn writes(&self, team: &str) -> Vec<Decimal> {
        let book = self.book(team).await;
        book["budget_writes"].as_array().unwrap().iter().map(|value| decimal(&value.to_string())).collect()
    }

    /// What a team looks like to whoever asks the proxy.
    pub(crate) async fn info(&self, team: &str) -> Value {
        self.call(Method::GET, &format!("/team/info?team_id={team}"), Value::Null).await
    }

    /// How often a route was called, such as `POST /team/update`.
    pub(crate) async fn calls(&self, route: &str) -> u64 {
        self.call(Method::GET, "/_sim/books", Value::Null).await["calls"][route].as_u64().unwrap_or(0)
    }

    async fn book(&self, team: &str) -> Value {
        self.call(Method::GET, "/_sim/books", Value::Null).await["teams"][team].take()
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let request = self.http.request(method, format!("{}{path}", self.url())).bearer_auth(KEY);
        let response = request.json(&body).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }
}
