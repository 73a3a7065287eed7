//! Where this demo's quotas are enforced, and what people do there: the KMS, LiteLLM's simulator, or a LiteLLM that
//! somebody else has started.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use common::ids::{IdSource as _, RandomIds};
use common::money::decimal_from_json;
use reqwest::{Method, StatusCode};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use xtask::demo::{Backend, Key, Options};
use xtask::say;

use super::stage::{INITIAL_QUOTA, ORGANIZATION};
use crate::client::Client;
use crate::stack::ALERT_TOKEN;

/// The simulator's master key.
const SIMULATOR_KEY: &str = "sk-demo-0123456789abcdef";
/// What it has spent at each step, in total. Before the last, no sweep finds that too little is left.
const USAGE: [u32; 4] = [180, 350, 400, 520];
/// How long a foreign proxy may take to answer at all.
const FOREIGN_LIMIT: Duration = Duration::from_secs(10);

/// Where quotas are enforced.
#[derive(Clone)]
pub(super) enum Enforcer {
    /// In the KMS.
    Kms,
    /// In LiteLLM, on this team.
    Litellm(Team),
}

/// A team of a LiteLLM.
#[derive(Clone)]
pub(super) struct Team {
    /// Where the proxy is.
    pub(super) url: String,
    /// Its master key.
    pub(super) key: Key,
    /// The team's id.
    pub(super) id: String,
    /// Whether somebody else has started the proxy.
    pub(super) foreign: bool,
}

impl Enforcer {
    /// What was asked for.
    pub(super) fn of(options: &Options) -> Self {
        match &options.backend {
            Backend::Kms => Self::Kms,
            Backend::Litellm => Self::Litellm(Team {
                url: format!("http://127.0.0.1:{}", options.ports.litellm),
                key: Key::new(SIMULATOR_KEY),
                id: "demo-team".to_owned(),
                foreign: false,
            }),
            // A new team for each demo: the proxy remembers those of earlier ones.
            Backend::Proxy(proxy) => Self::Litellm(Team {
                url: proxy.url.clone(),
                key: proxy.key.clone(),
                id: format!("bill-demo-{}", RandomIds.fresh().simple()).chars().take(18).collect(),
                foreign: true,
            }),
        }
    }

    /// The team, where quotas are a LiteLLM's.
    pub(super) fn team(&self) -> Option<&Team> {
        match self {
            Self::Kms => None,
            Self::Litellm(team) => Some(team),
        }
    }

    /// Its name in a sentence.
    pub(super) fn title(&self) -> &'static str {
        match self {
            Self::Kms => "the KMS",
            Self::Litellm(_) => "LiteLLM",
        }
    }

    /// What has to be true of it in the end.
    pub(super) fn promise(&self) -> &'static str {
        match self {
            Self::Kms => "the KMS enforces the ledger's quota",
            Self::Litellm(_) => "the team's max_budget at LiteLLM is the ledger's quota",
        }
    }

    /// Makes the organization known there, with a quota, as it was before Bill-Service came.
    pub(super) async fn introduce(&self, client: &Client) -> anyhow::Result<()> {
        match self {
            Self::Kms => {
                say(format_args!("1. The KMS has an organization, {ORGANIZATION}, with a quota of {INITIAL_QUOTA}."));
                let body = json!({ "c_organization_id": ORGANIZATION, "quota": INITIAL_QUOTA });
                let made = client.http.post(format!("{}/organizations/", client.kms)).json(&body).send().await?;
                made.error_for_status().context("the KMS refused it")?;
            }
            Self::Litellm(team) => {
                let id = &team.id;
                say(format_args!("1. LiteLLM has a team, {id}, with a max_budget of {INITIAL_QUOTA}."));
                let body = json!({ "team_id": id, "team_alias": "Bill-Service demo", "max_budget": INITIAL_QUOTA });
                team.call(client, Method::POST, "/team/new", Some(&body)).await.context("making the team")?;
            }
        }
        Ok(())
    }

    /// What Bill-Service is told of it when the organization is created.
    pub(super) fn link(&self) -> Value {
        match self {
            Self::Kms => json!({}),
            Self::Litellm(team) => json!({ "litellm_team_id": team.id }),
        }
    }

    /// The quota that it enforces, in its own words.
    pub(super) async fn quota(&self, client: &Client) -> anyhow::Result<Decimal> {
        match self {
            Self::Kms => {
                let answer = client.http.get(format!("{}/organizations/{ORGANIZATION}", client.kms)).send().await?;
                let body: Value = answer.error_for_status()?.json().await?;
                Ok(decimal_from_json(&body["quota"])?)
            }
            Self::Litellm(team) if team.foreign => {
                let path = format!("/team/info?team_id={}", team.id);
                let info = team.call(client, Method::GET, &path, None).await?;
                decimal_from_json(&info["team_info"]["max_budget"]).context("the team's max_budget")
            }
            Self::Litellm(team) => {
                let books = team.call(client, Method::GET, "/_sim/books", None).await?;
                decimal_from_json(&books["teams"][&team.id]["max_budget"]).context("the team's max_budget")
            }
        }
    }

    /// What is about to be spent, in total, and a sentence about it.
    pub(super) fn plan(&self) -> (&'static [u32], &'static str) {
        match self {
            Self::Kms => (&USAGE, "It is used up, until the KMS sends its signed webhook."),
            Self::Litellm(team) if team.foreign => {
                (&USAGE[3..], "What your LiteLLM sends when it is used up is posted to ingress, word for word.")
            }
            Self::Litellm(_) => (&USAGE, "It is used up, until LiteLLM sends its own alert."),
        }
    }

    /// Has it spend. Returns what became of its webhook, if it was time for one.
    pub(super) async fn spend(&self, client: &Client, usage: u32) -> anyhow::Result<Value> {
        let report = match self {
            Self::Kms => {
                let body = json!({ "c_organization_id": ORGANIZATION, "usage": usage, "webhook": true });
                client.kms_sim("usage", &body).await?
            }
            Self::Litellm(team) if team.foreign => team.post_alert(client, usage).await?,
            Self::Litellm(team) => {
                let body = json!({ "team_id": team.id, "usage": usage, "webhook": true });
                team.call(client, Method::POST, "/_sim/usage", Some(&body)).await?
            }
        };
        ensure!(report["error"].is_null(), "{} could not send its webhook: {}", self.title(), report["error"]);
        Ok(report)
    }
}

impl Team {
    /// Makes sure that a foreign proxy is there and takes the key, before anything else is started.
    pub(super) async fn check(&self, http: &reqwest::Client) -> anyhow::Result<()> {
        let url = format!("{}/team/info?team_id={}", self.url, self.id);
        let answer = http.get(url).bearer_auth(self.key.expose()).timeout(FOREIGN_LIMIT).send().await;
        let status = answer.map_err(reqwest::Error::without_url).with_context(|| self.not_there())?.status();
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                bail!("the LiteLLM at {} does not take this key", self.url)
            }
            // It is new: nobody can know it.
            StatusCode::NOT_FOUND | StatusCode::OK => Ok(()),
            other => bail!("{}: it answers {other}", self.not_there()),
        }
    }

    fn not_there(&self) -> String {
        format!("there is no LiteLLM with a database at {}", self.url)
    }

    /// What a person has to know to have that proxy's alerts come here.
    pub(super) fn say_where_alerts_go(&self, client: &Client) {
        say(format_args!(
            "\nYour LiteLLM sends its own alerts here once it is started with\n\n  \
             WEBHOOK_URL={}\n\n\
             and has `alerting: [\"webhook\"]` in the general_settings of its configuration. Versions from 1.80 until before\n\
             1.103 send no alerts of teams unless \"slack\" stands beside it: `alerting: [\"slack\", \"webhook\"]`. (From a\n\
             container or another machine, 127.0.0.1 is not this one.) The demo now makes a team there, {}, and leaves it.",
            alerts(client),
            self.id
        ));
    }

    /// Posts to ingress what a proxy posts when a team has crossed its budget.
    async fn post_alert(&self, client: &Client, usage: u32) -> anyhow::Result<Value> {
        let body = json!({
            "spend": usage, "max_budget": INITIAL_QUOTA, "soft_budget": null, "token": null, "customer_id": null,
            "user_id": null, "team_id": self.id, "team_alias": "Bill-Service demo", "organization_id": null,
            "user_email": null, "key_alias": null, "projected_exceeded_date": null, "projected_spend": null,
            "event_group": "team", "event": "budget_crossed",
            "event_message": format!("Team Budget: Budget Crossed\n Total Budget:`{INITIAL_QUOTA}.0`"),
        });
        let answer = client.http.post(alerts(client)).json(&body).send().await?;
        let (status, text) = (answer.status().as_u16(), answer.text().await?);
        let said: Value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(json!({ "sent": true, "status": status, "body": said }))
    }

    async fn call(&self, client: &Client, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = client.http.request(method, format!("{}{path}", self.url)).bearer_auth(self.key.expose());
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = request.send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "{path}: {status}: {text}");
        serde_json::from_str(&text).with_context(|| format!("{path} answered with something that is not JSON"))
    }
}

/// Where LiteLLM's own alerts go.
pub(super) fn alerts(client: &Client) -> String {
    format!("{}/webhooks/litellm/alerts/{ALERT_TOKEN}", client.ingress)
}
