//! The KMS, played by the simulator.

use std::net::{Ipv4Addr, SocketAddr};

use reqwest::{Client, Method};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use simulators::Running;

use crate::world::decimal;

pub(crate) struct Kms {
    running: Running,
    http: Client,
}

/// Whether the deployed version is the one with numbers, a single GET and the spend.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Generation {
    New,
    Old,
}

pub(crate) const BOTH: [Generation; 2] = [Generation::New, Generation::Old];

impl Kms {
    pub(crate) async fn start(generation: Generation) -> Self {
        let running = simulators::kms::Kms::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
        let kms = Self { running, http: Client::builder().no_proxy().build().unwrap() };
        if let Generation::Old = generation {
            let old = json!({ "single_get": false, "spend_route": false, "numbers": "string" });
            kms.call(Method::POST, "/_sim/config", old).await;
        }
        kms
    }

    pub(crate) fn url(&self) -> String {
        self.running.url()
    }

    /// An organization that is there before us. Its creation counts as a write.
    pub(crate) async fn has(&self, organization: &str, quota: &str) {
        let body = json!({ "c_organization_id": organization, "quota": quota });
        self.call(Method::POST, "/organizations/", body).await;
    }

    /// Somebody changes a quota by hand.
    pub(crate) async fn drifts(&self, organization: &str, quota: &str) {
        let body = json!({ "c_organization_id": organization, "quota": quota });
        self.call(Method::POST, "/_sim/quota", body).await;
    }

    /// What an organization has spent in total.
    pub(crate) async fn spends(&self, organization: &str, usage: &str) {
        let body = json!({ "c_organization_id": organization, "usage": usage });
        self.call(Method::POST, "/_sim/usage", body).await;
    }

    /// Plays another version.
    pub(crate) async fn configure(&self, config: Value) {
        self.call(Method::POST, "/_sim/config", config).await;
    }

    /// What goes wrong with the next calls that change something.
    pub(crate) async fn faults(&self, faults: &[&str]) {
        self.call(Method::POST, "/_sim/faults", json!(faults)).await;
    }

    /// Takes the KMS away.
    pub(crate) async fn goes_away(&self) {
        self.faults(&["down:600"]).await;
    }

    /// Ends all faults.
    pub(crate) async fn is_well(&self) {
        self.call(Method::DELETE, "/_sim/faults", Value::Null).await;
    }

    pub(crate) async fn quota(&self, organization: &str) -> Option<Decimal> {
        self.book(organization).await.get("quota").map(number)
    }

    /// Every quota that was written, in order.
    pub(crate) async fn writes(&self, organization: &str) -> Vec<Decimal> {
        self.book(organization).await["quota_writes"].as_array().unwrap().iter().map(number).collect()
    }

    pub(crate) async fn team(&self, organization: &str) -> String {
        self.book(organization).await["l_team_id"].as_str().unwrap().to_owned()
    }

    /// How often a route was called, such as `POST /organizations`.
    pub(crate) async fn calls(&self, route: &str) -> u64 {
        self.call(Method::GET, "/_sim/books", Value::Null).await["calls"][route].as_u64().unwrap_or(0)
    }

    async fn book(&self, organization: &str) -> Value {
        self.call(Method::GET, "/_sim/books", Value::Null).await["organizations"][organization].take()
    }

    async fn call(&self, method: Method, path: &str, body: Value) -> Value {
        let request = self.http.request(method, format!("{}{path}", self.url()));
        let response = request.json(&body).send().await.unwrap();
        let status = response.status();
        let text = response.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }
}

fn number(value: &Value) -> Decimal {
    decimal(&value.to_string())
}
