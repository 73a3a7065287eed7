//! What a person, the KMS or LiteLLM would send to ingress, and what the simulators can be told.

use std::time::Duration;

use anyhow::Context;
use common::money::decimal_from_json;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::StatusCode;
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::stack::WEBHOOK_SECRET;

/// An HTTP client for one stack.
#[derive(Clone)]
pub struct Client {
    /// The plain client.
    pub http: reqwest::Client,
    /// Where ingress is.
    pub ingress: String,
    /// Where Stripe is.
    pub stripe: String,
    /// Where the KMS is.
    pub kms: String,
}

/// Signs a body as the KMS does.
#[must_use]
pub fn sign(body: &[u8], secret: &str) -> String {
    let mut mac = match Hmac::<Sha256>::new_from_slice(secret.as_bytes()) {
        Ok(mac) => mac,
        Err(_) => return String::new(),
    };
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// The body of a limit-exceeded webhook; `nonce` makes two of them different.
#[must_use]
pub fn limit_exceeded(team: &str, usage: &str, limit: &str, nonce: usize) -> Vec<u8> {
    format!(
        r#"{{"event_type":"limit_exceeded","team_id":"{team}","current_usage":{usage},"current_limit":{limit},"timestamp":"2025-07-17T10:00:00Z","nonce":{nonce}}}"#
    )
    .into_bytes()
}

impl Client {
    /// A client of these addresses.
    ///
    /// # Errors
    /// When the HTTP client can't be made.
    pub fn new(ingress: &str, stripe: &str, kms: &str) -> anyhow::Result<Self> {
        common::clients::install_tls();
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
        Ok(Self { http, ingress: ingress.to_owned(), stripe: stripe.to_owned(), kms: kms.to_owned() })
    }

    async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<(StatusCode, Value)> {
        let answer = request.send().await?;
        let status = answer.status();
        let body = answer.text().await?;
        Ok((status, serde_json::from_str(&body).unwrap_or(Value::String(body))))
    }

    async fn good(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let (status, body) = Self::answer(request).await?;
        anyhow::ensure!(status.is_success(), "{status}: {body}");
        Ok(body)
    }

    /// GET on ingress.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<(StatusCode, Value)> {
        Self::answer(self.http.get(format!("{}{path}", self.ingress))).await
    }

    /// POST on ingress.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<(StatusCode, Value)> {
        Self::answer(self.http.post(format!("{}{path}", self.ingress)).json(body)).await
    }

    /// Sends a signed limit-exceeded webhook.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn webhook(&self, ingress: &str, body: Vec<u8>) -> anyhow::Result<(StatusCode, Value)> {
        let signature = sign(&body, WEBHOOK_SECRET);
        let request = self
            .http
            .post(format!("{ingress}/webhooks/litellm/limit-exceeded"))
            .header("content-type", "application/json")
            .header("x-webhook-signature", signature)
            .body(body);
        Self::answer(request).await
    }

    /// Creates an organization with a card, and syncs it: ready for a first webhook. Returns its team.
    ///
    /// # Errors
    /// What was refused.
    pub async fn ready_organization(&self, organization: &str, card: &str, policy: Value) -> anyhow::Result<String> {
        let mut body = json!({ "c_organization_id": organization, "minimum_balance": 100, "target_balance": 500,
            "minimum_recharge_amount": 200, "auto_recharge_enabled": true, "max_daily_recharges": 100 });
        if let (Some(body), Some(policy)) = (body.as_object_mut(), policy.as_object()) {
            body.extend(policy.clone());
        }
        let base = format!("{}/api/organizations", self.ingress);
        Self::good(self.http.post(&base).json(&body)).await.context("creating")?;
        let method = json!({ "payment_method_id": card, "set_as_default": true });
        Self::good(self.http.post(format!("{base}/{organization}/payment-method")).json(&method))
            .await
            .context("card")?;
        self.synced(organization).await
    }

    /// Syncs an organization until it is in force at the KMS. Returns its team.
    ///
    /// # Errors
    /// When it was refused.
    pub async fn synced(&self, organization: &str) -> anyhow::Result<String> {
        crate::wait::until("the sync", || async {
            let url = format!("{}/api/organizations/{organization}/sync", self.ingress);
            let answer = Self::good(self.http.post(url)).await.context("sync")?;
            answer["litellm_team_id"].as_str().map(str::to_owned).with_context(|| format!("no team: {answer}"))
        })
        .await
    }

    /// An organization's recharges, newest first.
    ///
    /// # Errors
    /// What was refused.
    pub async fn history(&self, organization: &str) -> anyhow::Result<Vec<Value>> {
        let url = format!("{}/api/organizations/{organization}/recharge-history?limit=100", self.ingress);
        let answer = Self::good(self.http.get(url)).await?;
        Ok(answer["items"].as_array().cloned().unwrap_or_default())
    }

    /// Tells the Stripe simulator something.
    ///
    /// # Errors
    /// What it refused.
    pub async fn stripe_sim(&self, what: &str, body: &Value) -> anyhow::Result<Value> {
        Self::good(self.http.post(format!("{}/_sim/{what}", self.stripe)).json(body)).await
    }

    /// Tells the KMS simulator something.
    ///
    /// # Errors
    /// What it refused.
    pub async fn kms_sim(&self, what: &str, body: &Value) -> anyhow::Result<Value> {
        Self::good(self.http.post(format!("{}/_sim/{what}", self.kms)).json(body)).await
    }

    /// Ends every fault and outage of the KMS simulator.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn kms_heals(&self) -> anyhow::Result<()> {
        Self::good(self.http.delete(format!("{}/_sim/faults", self.kms))).await.map(drop)
    }

    /// The quota that the KMS enforces.
    ///
    /// # Errors
    /// When it does not know the organization.
    pub async fn kms_quota(&self, organization: &str) -> anyhow::Result<Decimal> {
        let books = self.kms_books().await?;
        let quota = &books["organizations"][organization]["quota"];
        decimal_from_json(quota).with_context(|| format!("the KMS does not know {organization}"))
    }

    /// The Stripe simulator's own books.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn stripe_books(&self) -> anyhow::Result<Value> {
        Self::good(self.http.get(format!("{}/_sim/books", self.stripe))).await
    }

    /// The KMS simulator's own books.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn kms_books(&self) -> anyhow::Result<Value> {
        Self::good(self.http.get(format!("{}/_sim/books", self.kms))).await
    }
}
