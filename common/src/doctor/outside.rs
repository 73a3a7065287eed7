//! What is not ours: Stripe, the quota backend, and the address by which others know us.

use std::net::IpAddr;
use std::time::Duration;

use prometheus::Registry;
use reqwest::Url;

use super::{Check, configuration};
use crate::clients::quota::BackendError;
use crate::clients::stripe::{Mode, Stripe, StripeConfig, StripeFault};
use crate::config::{Env, Reader};

const STRIPE: &str = "Stripe";
const PUBLIC_URL: &str = "public URL";
const BACKEND: &str = "quota backend";

/// How long Stripe may take here: shorter than a service would wait.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks Stripe for something that is only read, with the key that a service has.
pub async fn stripe(env: &dyn Env) -> Vec<Check> {
    let mut reader = Reader::new(env);
    let config = StripeConfig::read(&mut reader, PATIENCE);
    let Ok(config) = reader.finish(config) else {
        return vec![configuration::unusable(STRIPE, "STRIPE_SECRET_KEY, STRIPE_URL or STRIPE_TIMEOUT")];
    };
    let config = StripeConfig { timeout: config.timeout.min(PATIENCE), ..config };
    let place = host_of(&config.url);
    let mode = config.mode();
    let asked = match Stripe::new(config, &Registry::new()) {
        Ok(stripe) => stripe.check_key().await,
        Err(error) => {
            let fix = "Install the system's CA certificates (package ca-certificates).";
            return vec![Check::failed(STRIPE, format!("no HTTP call can be made: {error:#}"), fix)];
        }
    };
    vec![judge_stripe(&place, mode, asked.err())]
}

fn judge_stripe(place: &str, mode: Mode, fault: Option<StripeFault>) -> Check {
    let Some(fault) = fault else {
        return Check::ok(STRIPE, format!("{place} accepts the key: {mode} mode"));
    };
    match fault.status {
        // Stripe's own sentence shows a part of the key.
        Some(401) => Check::failed(
            STRIPE,
            format!("{place} refuses STRIPE_SECRET_KEY: it is not one of its keys (401)"),
            "Copy the secret key from Stripe's dashboard (Developers, API keys) into STRIPE_SECRET_KEY.",
        ),
        Some(403) => Check::failed(
            STRIPE,
            format!("{place} accepts the key, which may not read payment intents (403)"),
            "Let the restricted key write customers, payment methods, payment and setup intents, Checkout Sessions and \
             refunds, and read charges, balance transactions and disputes.",
        ),
        Some(429) => Check::warning(STRIPE, format!("{place} is asked too often (429)"), "Try again in a minute."),
        Some(_) => {
            Check::failed(STRIPE, format!("{place}: {fault}"), "Look at https://status.stripe.com, and try again.")
        }
        None => Check::failed(
            STRIPE,
            format!("{place} can't be reached: {}", fault.message),
            "Let this machine through to Stripe (port 443), or correct STRIPE_URL.",
        ),
    }
}

/// The address that customers and callers are sent to.
#[must_use]
pub fn public_url(env: &dyn Env) -> Check {
    let mut reader = Reader::new(env);
    let url = reader.optional("PUBLIC_URL");
    let exposed = reader.optional("BIND").and_then(|bind| bind.trim().parse::<IpAddr>().ok());
    let exposed = exposed.is_some_and(|bind| !bind.is_loopback());
    let config = StripeConfig::read(&mut reader, PATIENCE);
    // Without a key that can be used nobody is charged.
    let live = reader.finish(config).is_ok_and(|config| config.mode() == Mode::Live);
    judge_public_url(url.as_deref().map(str::trim), live, exposed)
}

fn judge_public_url(url: Option<&str>, live: bool, exposed: bool) -> Check {
    const FIX: &str =
        "Set PUBLIC_URL to the https address that ingress has from outside, the same for ingress and recharger.";
    let Some(url) = url else {
        let found = "PUBLIC_URL is not set: links to customers lead to this machine";
        return match (live, exposed) {
            (true, _) => Check::failed(PUBLIC_URL, found, FIX),
            (false, true) => Check::warning(PUBLIC_URL, found, FIX),
            (false, false) => Check::ok(PUBLIC_URL, "not set: this machine, which is fine in test mode"),
        };
    };
    match Url::parse(url) {
        Ok(parsed) if matches!(parsed.scheme(), "http" | "https") && parsed.has_host() => {
            let place = host_of(url);
            if live && (parsed.scheme() == "http" || crate::config::is_this_machine(&parsed)) {
                return Check::failed(
                    PUBLIC_URL,
                    format!("PUBLIC_URL ({place}) is not https, and real cards are charged"),
                    FIX,
                );
            }
            Check::ok(PUBLIC_URL, format!("links lead to {}://{place}", parsed.scheme()))
        }
        _ => Check::failed(PUBLIC_URL, "PUBLIC_URL is no http or https address", FIX),
    }
}

/// What asking the quota backend came to; `title` is `the KMS` or `LiteLLM`, `place` its host, `key` the variable with its key.
#[must_use]
pub fn backend(title: &str, place: &str, variable: &str, key: Option<&str>, asked: Result<(), BackendError>) -> Check {
    let key_word = key.unwrap_or("the key");
    match asked {
        Ok(()) => Check::ok(BACKEND, format!("{title} at {place} answers")),
        Err(BackendError::Refused { status: status @ (401 | 403), .. }) => Check::failed(
            BACKEND,
            format!("{title} at {place} refuses {key_word} ({status})"),
            format!("Set {key_word} to the one that {title} has."),
        ),
        Err(BackendError::Refused { status, reason }) => Check::failed(
            BACKEND,
            format!("{title} at {place} answers {status}: {reason}"),
            format!("See whether {variable} leads to {title}, and not to something else."),
        ),
        Err(BackendError::Unavailable { reason, .. }) => Check::failed(
            BACKEND,
            format!("{title} at {place} is not available: {reason}"),
            format!("Start it, let this machine through to it, or correct {variable}."),
        ),
    }
}

/// The host and the port, without user, password and path.
#[must_use]
pub fn host_of(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "its address".to_owned() };
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Outcome;

    fn fault(status: Option<u16>) -> StripeFault {
        StripeFault::unknown(status, "Invalid API Key provided: sk_test_***hunter2")
    }

    #[test]
    fn what_stripe_says() {
        for (fault, outcome, word) in [
            (None, Outcome::Ok, "test mode"),
            (Some(fault(Some(401))), Outcome::Failed, "STRIPE_SECRET_KEY"),
            (Some(fault(Some(403))), Outcome::Failed, "may not read"),
            (Some(fault(Some(429))), Outcome::Warning, "429"),
            (Some(fault(None)), Outcome::Failed, "can't be reached"),
        ] {
            let check = judge_stripe("stripe:443", Mode::Test, fault);
            assert!(check.outcome == outcome && check.found.contains(word), "{check:?}");
            assert!(check.found.contains("hunter2") == (word == "can't be reached"), "{check:?}");
        }
    }

    #[test]
    fn links_lead_somewhere() {
        for (url, live, exposed, outcome) in [
            (None, false, false, Outcome::Ok),
            (None, false, true, Outcome::Warning),
            (None, true, false, Outcome::Failed),
            (Some("http://127.0.0.1:3000"), false, false, Outcome::Ok),
            (Some("http://pay.example"), true, true, Outcome::Failed),
            (Some("https://localhost"), true, true, Outcome::Failed),
            (Some("https://pay.example"), true, true, Outcome::Ok),
            (Some("pay.example"), false, false, Outcome::Failed),
        ] {
            assert_eq!(judge_public_url(url, live, exposed).outcome, outcome, "{url:?} {live} {exposed}");
        }
    }

    #[test]
    fn hosts() {
        assert_eq!(host_of("https://api.stripe.com"), "api.stripe.com");
        assert_eq!(host_of("http://me:hunter2@kms:8089/x"), "kms:8089");
    }
}
