//! A KMS that answers as none should, for what the simulator is too polite to do: routes that are not found, refusals,
//! pages in place of JSON, a write that is ignored, an organization that comes and goes.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use common::shutdown::Shutdown;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use warp::http::{Method, Response};
use warp::{Filter as _, Reply as _};

use crate::world::decimal;

/// What a deployed version has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Generation {
    /// What the single GET answers: 200 for one that has it, else 404 or 405.
    pub(crate) single_get: u16,
    pub(crate) has_spend: bool,
    pub(crate) strings: bool,
}

pub(crate) const WHOLE: Generation = Generation { single_get: 200, has_spend: true, strings: false };
pub(crate) const OLD_404: Generation = Generation { single_get: 404, has_spend: false, strings: true };
pub(crate) const OLD_405: Generation = Generation { single_get: 405, has_spend: false, strings: true };

/// What goes wrong with one call that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// No effect, 500.
    Before,
    /// The effect, then 500: the caller can't know.
    After,
    /// The effect, then silence for longer than anybody waits.
    Silence,
    /// A proxy's page with status 200, no effect.
    Html,
    /// No effect, and this status.
    Status(u16),
    /// Says yes, and does nothing.
    Ignored,
}

#[derive(Debug, Clone)]
struct Organization {
    quota: Decimal,
    team: Option<String>,
    spend: Value,
}

#[derive(Debug, Default)]
struct State {
    organizations: BTreeMap<String, Organization>,
    faults: VecDeque<Fault>,
    /// Every quota that was written, in order.
    writes: Vec<(String, Decimal)>,
    calls: BTreeMap<String, u32>,
    down: Option<u16>,
    /// Appears right before the next create.
    appears: Option<(String, Decimal)>,
}

#[derive(Clone)]
pub(crate) struct OddKms {
    generation: Generation,
    state: Arc<Mutex<State>>,
    address: SocketAddr,
    shutdown: Shutdown,
}

impl OddKms {
    pub(crate) async fn start(generation: Generation) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
        let kms = Self { generation, state: Arc::default(), address, shutdown };
        let played = kms.clone();
        let routes = warp::method().and(warp::path::full()).and(warp::body::bytes()).and_then(
            move |method: Method, path: warp::path::FullPath, body: Bytes| {
                let kms = played.clone();
                async move { Ok::<_, Infallible>(kms.answer(&method, path.as_str(), &body).await) }
            },
        );
        tokio::spawn(warp::serve(routes).incoming(listener).graceful(kms.shutdown.wait()).run());
        kms
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// An organization that is there before us.
    pub(crate) fn has(&self, organization: &str, quota: &str, team: Option<&str>) {
        let known = Organization { quota: decimal(quota), team: team.map(str::to_owned), spend: json!("1.5") };
        self.lock().organizations.insert(organization.to_owned(), known);
    }

    /// Somebody else creates this organization right before we do.
    pub(crate) fn appears_before_the_create(&self, organization: &str, quota: &str) {
        self.lock().appears = Some((organization.to_owned(), decimal(quota)));
    }

    pub(crate) fn spends(&self, organization: &str, spend: Value) {
        self.lock().organizations.get_mut(organization).unwrap().spend = spend;
    }

    pub(crate) fn forget(&self, organization: &str) {
        self.lock().organizations.remove(organization);
    }

    /// What goes wrong with the next calls that change something.
    pub(crate) fn faults(&self, faults: &[Fault]) {
        self.lock().faults = faults.iter().copied().collect();
    }

    /// Answers everything with this status, until `None`.
    pub(crate) fn down(&self, status: Option<u16>) {
        self.lock().down = status;
    }

    pub(crate) fn quota(&self, organization: &str) -> Option<Decimal> {
        self.lock().organizations.get(organization).map(|known| known.quota)
    }

    pub(crate) fn writes(&self, organization: &str) -> Vec<Decimal> {
        self.lock().writes.iter().filter(|(name, _)| name == organization).map(|(_, quota)| *quota).collect()
    }

    pub(crate) fn calls(&self, call: &str) -> u32 {
        self.lock().calls.get(call).copied().unwrap_or(0)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, method: &Method, path: &str, body: &[u8]) -> warp::reply::Response {
        let fault = self.next_fault(*method == Method::GET);
        let (status, answer) = match fault {
            Fault::Before => (500, json!({ "detail": "before" })),
            Fault::Status(status) => (status, json!({ "detail": "on demand" })),
            Fault::Html => return Response::builder().status(200).body("<html>hello</html>").unwrap().into_response(),
            Fault::Ignored => (200, json!({})),
            Fault::None | Fault::After | Fault::Silence => self.play(method, path, body),
        };
        match fault {
            Fault::After => return reply(500, &json!({ "detail": "after" })),
            Fault::Silence => tokio::time::sleep(Duration::from_secs(30)).await,
            _ => {}
        }
        reply(status, &answer)
    }

    fn next_fault(&self, only_reads: bool) -> Fault {
        let mut state = self.lock();
        match state.down {
            Some(status) => Fault::Status(status),
            None if only_reads => Fault::None,
            None => state.faults.pop_front().unwrap_or(Fault::None),
        }
    }

    fn play(&self, method: &Method, path: &str, body: &[u8]) -> (u16, Value) {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut state = self.lock();
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (call, answer) = match (method.as_str(), parts.as_slice()) {
            ("GET", ["organizations"]) => ("list", self.list(&state)),
            ("GET", ["organizations", _]) if self.generation.single_get != 200 => {
                ("single", (self.generation.single_get, json!({})))
            }
            ("GET", ["organizations", id]) => ("single", self.show(&state, id)),
            ("POST", ["organizations"]) => ("create", self.create(&mut state, &body)),
            ("PUT", ["organizations", id, "quota"]) => ("set", self.set(&mut state, id, &body)),
            ("GET", ["spend", "org", id]) if self.generation.has_spend => ("spend", self.spend(&state, id)),
            _ => ("unknown", (404, json!({ "detail": "Not Found" }))),
        };
        *state.calls.entry(call.to_owned()).or_default() += 1;
        answer
    }

    fn number(&self, decimal: Decimal) -> Value {
        if self.generation.strings {
            json!(decimal.to_string())
        } else {
            json!(common::money::decimal_to_number(decimal))
        }
    }

    fn describe(&self, id: &str, known: &Organization) -> Value {
        json!({ "id": 1, "c_organization_id": id, "l_team_id": known.team, "quota": self.number(known.quota) })
    }

    fn list(&self, state: &State) -> (u16, Value) {
        (200, state.organizations.iter().map(|(id, known)| self.describe(id, known)).collect())
    }

    fn show(&self, state: &State, id: &str) -> (u16, Value) {
        let missing = (404, json!({ "detail": "Organization not found" }));
        state.organizations.get(id).map_or(missing, |known| (200, self.describe(id, known)))
    }

    fn create(&self, state: &mut State, body: &Value) -> (u16, Value) {
        if let Some((id, quota)) = state.appears.take() {
            state.organizations.insert(id, Organization { quota, team: None, spend: json!("-1.0") });
        }
        let id = body["c_organization_id"].as_str().unwrap().to_owned();
        if state.organizations.contains_key(&id) {
            return (400, json!({ "detail": "Organization already exists" }));
        }
        let quota = common::money::decimal_from_json(&body["quota"]).unwrap();
        state.writes.push((id.clone(), quota));
        let team = Some(format!("team_{id}"));
        state.organizations.insert(id.clone(), Organization { quota, team, spend: json!("-1.0") });
        self.show(state, &id)
    }

    fn set(&self, state: &mut State, id: &str, body: &Value) -> (u16, Value) {
        let quota = common::money::decimal_from_json(&body["new_quota"]).unwrap();
        let Some(known) = state.organizations.get_mut(id) else {
            return (404, json!({ "detail": "Organization not found" }));
        };
        known.quota = quota;
        state.writes.push((id.to_owned(), quota));
        self.show(state, id)
    }

    fn spend(&self, state: &State, id: &str) -> (u16, Value) {
        let missing = (404, json!({ "detail": "Organization not found" }));
        state
            .organizations
            .get(id)
            .map_or(missing, |known| (200, json!({ "spend": known.spend, "quota": self.number(known.quota) })))
    }
}

fn reply(status: u16, body: &Value) -> warp::reply::Response {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(body.to_string())
        .unwrap()
        .into_response()
}
