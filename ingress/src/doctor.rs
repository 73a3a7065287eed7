//! `ingress doctor`: what ingress needs, looked at from where it runs.

use common::clock::Clock;
use common::config::{self, Env, Reader};
use common::doctor::{self, Check, Service, configuration, outside, rights, within};
use futures_util::future::join;

use crate::Config;

const NAME: &str = "ingress";
const WEBHOOKS: &str = "webhooks";

/// Looks at everything that ingress needs.
pub async fn look(env: &dyn Env, clock: &dyn Clock) -> Vec<Check> {
    let service = Service { name: NAME, rights: rights::INGRESS };
    let stripe = within("Stripe", outside::stripe(env));
    let (common, stripe) = join(doctor::of_service(service, env, clock), stripe).await;
    let mut checks = configuration::check(NAME, "ingress/README.md", &Config::read(env));
    checks.extend(development(env));
    checks.extend(common);
    checks.extend(stripe);
    checks.push(webhooks(env));
    checks.push(outside::public_url(env));
    checks
}

/// That anybody on this machine may do everything: right for development, and never behind a proxy.
fn development(env: &dyn Env) -> Option<Check> {
    let mut reader = Reader::new(env);
    let (open, dev_routes) = (!reader.switch("API_AUTH", true), reader.switch("DEV_ROUTES", false));
    let on = [(open, "API_AUTH=off"), (dev_routes, "DEV_ROUTES=on")].into_iter().filter(|(on, _)| *on);
    let on: Vec<&str> = on.map(|(_, words)| words).collect();
    (!on.is_empty()).then(|| {
        let found = format!("a development set-up, in which weak secrets are taken: {}", on.join(", "));
        let fix = "Take both out wherever anybody else can reach this machine, through a proxy, too.";
        Check::warning(configuration::NAME, found, fix)
    })
}

/// Which webhooks are taken.
fn webhooks(env: &dyn Env) -> Check {
    let mut reader = Reader::new(env);
    let mut count = |name: &str| {
        let secrets = config::Secret::new(reader.optional(name).unwrap_or_default());
        config::items(&secrets).count()
    };
    let (signed, stripe, alerts) =
        (count("LITELLM_WEBHOOK_SECRET"), count("STRIPE_WEBHOOK_SECRET"), count("LITELLM_ALERT_TOKEN"));
    if stripe == 0 {
        return Check::warning(
            WEBHOOKS,
            "Stripe's webhooks are not taken: STRIPE_WEBHOOK_SECRET is not set",
            "Set it to the signing secret of the endpoint <PUBLIC_URL>/webhooks/stripe in Stripe's dashboard.",
        );
    }
    let alerts = if alerts == 0 { "not taken (no LITELLM_ALERT_TOKEN)".to_owned() } else { format!("{alerts} tokens") };
    Check::ok(
        WEBHOOKS,
        format!("signed ones: {signed} secrets; Stripe's: {stripe} secrets; LiteLLM's alerts: {alerts}"),
    )
}
