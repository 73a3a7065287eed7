//! `bill doctor`: what can be seen of a deployment over its API: whether it answers, who the token is, how the chain is,
//! whether the monitoring looks, and, where it is wanted, whether a recharge comes to its end.

mod api;
mod monitoring;
mod recharge;

use std::time::Duration;

use clap::Args;
use common::doctor::{Check, Report};
use common::ids::OrganizationId;

use crate::client::Client;
use crate::failure::Failure;
use crate::values;

/// What `bill doctor` is told.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Make one recharge of 1.00, and give it back, by a test card. It is refused where real cards are charged
    #[arg(long)]
    pub(crate) recharge: bool,
    /// Whose recharge it is. One that is not there is created, and closed in the end
    #[arg(long, default_value = "doctor-check", value_parser = values::organization, value_name = "ID")]
    organization: OrganizationId,
    /// How long each step of the recharge may take; without trouble it is a second or two
    #[arg(long, default_value_t = 90, value_parser = clap::value_parser!(u64).range(1..=3600), value_name = "SECONDS")]
    patience: u64,
    /// Where Prometheus is: are its targets up, our rules loaded, and which alerts fire?
    #[arg(long, env = "PROMETHEUS_URL", value_name = "URL")]
    prometheus: Option<String>,
}

/// Looks at everything. `key` begins the Idempotency-Keys of what is done.
pub(crate) async fn look(client: &Client, options: &Doctor, key: &str) -> Report {
    let mut checks = Vec::new();
    let mode = api::look(client, &mut checks).await;
    if let Some(url) = &options.prometheus {
        checks.extend(monitoring::look(url).await);
    }
    if options.recharge {
        let patience = Duration::from_secs(options.patience);
        checks.extend(recharge::make(client, &options.organization, key, patience, mode).await);
    }
    Report::of("bill", checks)
}

/// What went wrong, in the API's own words.
fn sentence(failure: &Failure) -> String {
    let body = failure.to_json();
    let code = body["code"].as_str().map(|code| format!(" ({code})")).unwrap_or_default();
    format!("{}{code}", body["error"].as_str().unwrap_or("there was no answer"))
}

/// What to do when a call does not work; `what` is what the call was for.
fn unanswered(name: &str, what: &str, failure: &Failure) -> Check {
    let fix = match failure {
        Failure::Refused(refusal) if refusal.status == 401 => {
            "Put a token of this deployment into BILL_TOKEN; `ingress token --name NAME` makes the first one."
                .to_owned()
        }
        Failure::Refused(refusal) if refusal.status == 403 => {
            "Use the token of an operator: `ingress token --name NAME` makes one.".to_owned()
        }
        Failure::NotReachable(_) => "Start ingress, or correct BILL_URL.".to_owned(),
        _ => "Run `ingress doctor` where ingress runs: it names what it lacks.".to_owned(),
    };
    Check::failed(name, format!("{what}: {}", sentence(failure)), fix)
}
