//! What is there to be pictured besides what was seeded: organizations in every state, brought there by the API, with the
//! simulators' cards, so that what their pages offer can be pressed.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use common::ids::RechargeId;
use e2e::client::Client;
use e2e::{Stack, wait};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde_json::{Value, json};

use crate::fleet::Seeded;

/// The organization whose pages can be used.
const LIVE: &str = "aurora-labs";
/// How many pushes of a quota fail: more than there will be.
const FAILING_PUSHES: usize = 2_000;

/// Who looks at a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Person {
    Nobody,
    Operator,
    OrgAdmin,
    Viewer,
}

/// Everything that pages are about.
pub(super) struct Cast {
    /// What stands for `{name}` in a path.
    places: BTreeMap<&'static str, String>,
    tokens: BTreeMap<Person, String>,
}

impl Cast {
    /// Brings everything to where the pictures are taken.
    pub(super) async fn gather(stack: &Stack, seeded: &Seeded) -> anyhow::Result<Self> {
        let operator = stack.first_token("grace-hopper").await?;
        let mut stage = Stage::of(stack, &operator)?;
        stage.seeded(seeded);
        stage.organizations().await?;
        let org_admin = stage.token("ada-lovelace", "org_admin", Some(LIVE)).await?;
        let viewer = stage.token("alan-turing", "viewer", None).await?;
        stage.letters().await?;
        // From here on, the KMS takes no quota.
        stage.in_flight().await?;
        let tokens =
            BTreeMap::from([(Person::Operator, operator), (Person::OrgAdmin, org_admin), (Person::Viewer, viewer)]);
        Ok(Self { places: stage.places, tokens })
    }

    /// A path with what its places stand for.
    pub(super) fn path(&self, path: &str) -> String {
        self.places.iter().fold(path.to_owned(), |path, (name, value)| path.replace(&format!("{{{name}}}"), value))
    }

    /// What somebody signs in with; nobody has nothing.
    pub(super) fn token(&self, person: Person) -> Option<&str> {
        self.tokens.get(&person).map(String::as_str)
    }
}

/// Where the API is called from.
struct Stage {
    client: Client,
    places: BTreeMap<&'static str, String>,
}

impl Stage {
    fn of(stack: &Stack, token: &str) -> anyhow::Result<Self> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {token}"))?;
        bearer.set_sensitive(true);
        let headers = HeaderMap::from_iter([(AUTHORIZATION, bearer)]);
        let http = reqwest::Client::builder().default_headers(headers).timeout(Duration::from_secs(60)).build()?;
        Ok(Self { client: Client { http, ..stack.client.clone() }, places: BTreeMap::new() })
    }

    fn place(&mut self, name: &'static str, value: impl ToString) {
        self.places.insert(name, value.to_string());
    }

    fn seeded(&mut self, seeded: &Seeded) {
        let recharge = |id: Option<RechargeId>| id.map(|id| id.to_string()).unwrap_or_default();
        self.place("largest", seeded.largest());
        self.place("asked_by_bank", &seeded.organizations[1]);
        self.place("card_lost", &seeded.organizations[2]);
        self.place("disputed_organization", &seeded.organizations[3]);
        self.place("going_back", &seeded.organizations[4]);
        self.place("refunded", recharge(seeded.refunded));
        self.place("newest", recharge(seeded.newest));
        self.place("run", seeded.reconciliation.clone().unwrap_or_default());
    }

    async fn organizations(&mut self) -> anyhow::Result<()> {
        self.live().await?;
        // What the bank says to each card.
        for (name, chain, organization, card) in [
            ("paused", "declined", "borealis-robotics", "pm_card_chargeDeclinedLostCard"),
            ("resting", "rests", "cirrus-foods", "pm_card_chargeDeclinedInsufficientFunds"),
            ("confirming", "to_confirm", "cobalt-health", "pm_card_authenticationRequired"),
            ("disputing", "disputed", "fable-energy", "pm_card_createDispute"),
        ] {
            self.ready(organization, card).await?;
            self.use_up(organization).await?;
            self.place(name, organization);
            let newest = self.newest(organization).await?;
            self.place(chain, newest);
        }
        self.call(Method::POST, "/api/organizations", Some(&json!({ "c_organization_id": "newcomer-games" }))).await?;
        self.place("empty", "newcomer-games");
        self.ready("dormant-design", "pm_card_mastercard").await?;
        self.call(Method::DELETE, "/api/organizations/dormant-design", None).await?;
        self.place("closed", "dormant-design");
        Ok(())
    }

    /// An organization that was recharged by a webhook and by a person, and got a part of it back.
    async fn live(&mut self) -> anyhow::Result<()> {
        let team = self.ready(LIVE, "pm_card_visa").await?;
        self.use_up(LIVE).await?;
        let path = format!("/api/organizations/{LIVE}/recharge");
        let made = self.call(Method::POST, &path, Some(&json!({ "amount": 75 }))).await?;
        let recharge = made["recharge_id"].as_str().context("a recharge by a person")?.to_owned();
        let refund = json!({ "amount": 25, "reason": hostile(400) });
        self.call(Method::POST, &format!("/api/recharges/{recharge}/refund"), Some(&refund)).await?;
        self.place("live", LIVE);
        self.place("partly_refunded", recharge);
        // What somebody sends who means no good.
        let mut body = json!({ "event_type": "limit_exceeded", "team_id": team, "current_usage": 1, "current_limit": 2_000,
            "timestamp": "2025-07-17T10:00:00Z" });
        body["note"] = json!(hostile(10_000));
        let (status, answer) = self.client.webhook(&self.client.ingress, serde_json::to_vec(&body)?).await?;
        ensure!(status.is_success(), "{status}: {answer}");
        Ok(())
    }

    /// A recharge that is charged and booked, and whose quota the KMS does not take.
    async fn in_flight(&mut self) -> anyhow::Result<()> {
        const ORGANIZATION: &str = "express-cloud";
        self.ready(ORGANIZATION, "pm_card_amex").await?;
        self.look_at(ORGANIZATION).await?;
        let fault = json!({ "fault": "500_before", "route": "PUT /organizations/:id/quota" });
        self.client.kms_sim("faults", &json!(vec![fault; FAILING_PUSHES])).await?;
        let url = format!("{}/api/organizations/{ORGANIZATION}/recharge", self.client.ingress);
        let request = self.client.http.post(url).header("prefer", "respond-async").json(&json!({ "amount": 120 }));
        request.send().await?.error_for_status().context("a recharge that stays on its way")?;
        wait::until("the recharge to be booked", || async {
            let history = self.client.history(ORGANIZATION).await?;
            ensure!(history.first().is_some_and(|one| one["status"] == "credited"), "{history:?}");
            Ok(())
        })
        .await?;
        let newest = self.newest(ORGANIZATION).await?;
        self.place("in_flight", ORGANIZATION);
        self.place("on_its_way", newest);
        Ok(())
    }

    /// The first dead letters of those that are there.
    async fn letters(&mut self) -> anyhow::Result<()> {
        let letters = self.call(Method::GET, "/api/dead-letters?limit=1", None).await?;
        let sequence = letters["items"][0]["sequence"].clone();
        ensure!(sequence.is_u64(), "a dead letter: {letters}");
        self.place("letter", sequence);
        Ok(())
    }

    /// Makes an organization that has a quota at the KMS, with a card, and syncs it.
    /// Returns its team.
    async fn ready(&self, organization: &str, card: &str) -> anyhow::Result<String> {
        let body = json!({ "c_organization_id": organization, "quota": 500 });
        let url = format!("{}/organizations/", self.client.kms);
        self.client.http.post(url).json(&body).send().await?.error_for_status()?;
        let policy = json!({ "max_daily_recharges": 5 });
        self.client.ready_organization(organization, card, policy).await.context(organization.to_owned())
    }

    /// Spends more than the quota, of which the KMS tells by its webhook, and waits until something has come of it.
    async fn use_up(&self, organization: &str) -> anyhow::Result<()> {
        let usage = json!({ "c_organization_id": organization, "usage": 512.5, "webhook": true });
        let told = self.client.kms_sim("usage", &usage).await?;
        ensure!(told["error"].is_null(), "the webhook of {organization}: {told}");
        wait::until("the recharge to come to something", || async {
            let history = self.client.history(organization).await?;
            let status = history.first().and_then(|one| one["status"].as_str()).unwrap_or_default();
            ensure!(
                ["settled", "declined", "action_required", "returning", "refunded"].contains(&status),
                "{history:?}"
            );
            Ok(())
        })
        .await?;
        self.look_at(organization).await
    }

    /// Has the usage looked at, as after every change of a policy.
    async fn look_at(&self, organization: &str) -> anyhow::Result<()> {
        let path = format!("/api/organizations/{organization}");
        let policy = json!({ "max_daily_recharges": 4 });
        self.call(Method::PATCH, &format!("{path}/config"), Some(&policy)).await?;
        wait::until("the usage to be looked at", || async {
            let balance = self.call(Method::GET, &format!("{path}/balance"), None).await?;
            ensure!(!balance["available"].is_null(), "{balance}");
            Ok(())
        })
        .await
    }

    async fn newest(&self, organization: &str) -> anyhow::Result<String> {
        let history = self.client.history(organization).await?;
        let id = history.first().and_then(|recharge| recharge["recharge_id"].as_str());
        id.map(str::to_owned).with_context(|| format!("a recharge of {organization}"))
    }

    async fn token(&self, name: &str, role: &str, organization: Option<&str>) -> anyhow::Result<String> {
        let mut body = json!({ "name": name, "role": role });
        if let Some(organization) = organization {
            body["c_organization_id"] = json!(organization);
        }
        let made = self.call(Method::POST, "/api/tokens", Some(&body)).await?;
        made["token"].as_str().map(str::to_owned).context("a token")
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = self.client.http.request(method.clone(), format!("{}{path}", self.client.ingress));
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        ensure!(status.is_success(), "{method} {path}: {status}: {body}");
        serde_json::from_str(&body).with_context(|| format!("{method} {path}: {body}"))
    }
}

/// A text that would like to break a page: markup, quotes, right-to-left, a word without end.
fn hostile(length: usize) -> String {
    let start = "<script>alert('x')</script> \"quoted\" & 'so' \u{202e}right to left\u{202c} مرحبا ";
    start.chars().chain(std::iter::repeat('W')).take(length).collect()
}
