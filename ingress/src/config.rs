//! Configuration. What is dangerous anywhere but on one machine is refused anywhere else.

use std::net::SocketAddr;
use std::time::Duration;

use common::clients::quota::kms::BaseUrl;
use common::clients::stripe::StripeConfig;
use common::config::{Base, ConfigError, Env, Reader, Secret};
use common::pay_link;

/// Two connections listen for changes for ever; the others do the work.
const SMALLEST_POOL: u32 = 4;

/// What ingress is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// What every service is told.
    pub base: Base,
    /// `BIND` and `PORT`. 127.0.0.1:3000 by default.
    pub listen: SocketAddr,
    /// `PUBLIC_URL`: what callers see us as, for `status_url`.
    pub public_url: String,
    /// `LITELLM_WEBHOOK_SECRET`: the secrets of signed webhooks, several during a rotation.
    pub webhook_secrets: Secret,
    /// `LITELLM_ALERT_TOKEN`: the path tokens of LiteLLM's alerts. None: the route answers 404.
    pub alert_tokens: Secret,
    /// `STRIPE_WEBHOOK_SECRET`: the secrets of Stripe's webhooks, several during a rotation. None: the route answers 404.
    pub stripe_webhook_secrets: Secret,
    /// `PAY_LINK_SECRET`: what the customers' confirmation links are signed with; the recharger has the same one.
    pub pay_link_secret: Secret,
    /// `RECONCILE_INTERVAL`: how often all books are compared; 0 is never.
    pub reconcile_interval: Duration,
    /// `WEBHOOK_WAIT_MS`: how long a webhook waits for its outcome; 0 is never.
    pub webhook_wait: Duration,
    /// `API_WAIT_MS`: how long a manual recharge or a sync waits for its outcome.
    pub api_wait: Duration,
    /// `WEBHOOK_RATE_PER_SECOND`: webhooks that one address may send each second on average; 0 is any number.
    pub webhook_rate: u32,
    /// `WEBHOOK_RATE_BURST`: how many may come at once.
    pub webhook_burst: u32,
    /// `PAY_RATE_PER_SECOND`: looks at customers' pages that one address may have each second on average; 0 is any number.
    pub pay_rate: u32,
    /// `PAY_RATE_BURST`: how many may come at once.
    pub pay_burst: u32,
    /// `DIRECTORY_TTL`: how often the directory of teams is read again in full.
    pub directory_ttl: Duration,
    /// `API_AUTH`: whether callers of the API need a token.
    pub api_auth: bool,
    /// `AUTH_FAILURES_PER_MINUTE`: wrong tokens that one address may show each minute; 0 is any number.
    pub auth_failures: u32,
    /// `DEV_ROUTES`: whether `/test/…` is there.
    pub dev_routes: bool,
    /// `STRIPE_URL`, `STRIPE_SECRET_KEY`, `STRIPE_TIMEOUT`.
    pub stripe: StripeConfig,
    /// `KMS_URL`: for the development routes.
    pub kms_url: Option<BaseUrl>,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn read(env: &dyn Env) -> Result<Self, ConfigError> {
        let mut reader = Reader::new(env);
        let base = Base::read(&mut reader);
        let listen = reader.bind_and_port(3000);
        let webhook_secrets = reader.secret("LITELLM_WEBHOOK_SECRET", "the secret that webhooks are signed with");
        let alert_tokens = Secret::new(reader.optional("LITELLM_ALERT_TOKEN").unwrap_or_default());
        let pay_link_secret = pay_link::read_secret(&mut reader);
        let (dev_routes, api_auth) = (reader.switch("DEV_ROUTES", false), reader.switch("API_AUTH", true));
        // Whoever asks for one of the two is developing, and may only do so where nobody else can reach it.
        let development = dev_routes || !api_auth;
        if !listen.ip().is_loopback() {
            check_exposed(&mut reader, dev_routes, !api_auth);
        }
        let stripe_webhook_secrets = stripe_webhook_secrets(&mut reader, development);
        if !development {
            let secrets = [
                ("LITELLM_WEBHOOK_SECRET", &webhook_secrets),
                ("LITELLM_ALERT_TOKEN", &alert_tokens),
                ("STRIPE_WEBHOOK_SECRET", &stripe_webhook_secrets),
            ];
            for (name, list) in secrets {
                reader.check_strong(name, list);
            }
        }
        if base.database_pool < SMALLEST_POOL {
            reader.problem(format!("DATABASE_POOL is {}: ingress needs at least {SMALLEST_POOL}", base.database_pool));
        }
        let public_url = reader.optional("PUBLIC_URL").unwrap_or_else(|| format!("http://{listen}"));
        let config = Self {
            listen,
            public_url: public_url.trim_end_matches('/').to_owned(),
            webhook_secrets,
            alert_tokens,
            stripe_webhook_secrets,
            pay_link_secret,
            reconcile_interval: reader.duration("RECONCILE_INTERVAL", Duration::from_secs(3600)),
            webhook_wait: milliseconds(&mut reader, "WEBHOOK_WAIT_MS", 4_000),
            api_wait: milliseconds(&mut reader, "API_WAIT_MS", 10_000),
            webhook_rate: reader.parse("WEBHOOK_RATE_PER_SECOND", 200),
            webhook_burst: reader.parse("WEBHOOK_RATE_BURST", 2_000),
            pay_rate: reader.parse("PAY_RATE_PER_SECOND", 50),
            pay_burst: reader.parse("PAY_RATE_BURST", 500),
            directory_ttl: reader.duration("DIRECTORY_TTL", Duration::from_secs(60)),
            api_auth,
            auth_failures: reader.parse("AUTH_FAILURES_PER_MINUTE", 30),
            dev_routes,
            stripe: StripeConfig::read(&mut reader, Duration::from_secs(15)),
            kms_url: kms_url(&mut reader),
            base,
        };
        reader.finish(config)
    }
}

/// The longest that any caller is kept waiting: what asks for more than a minute is a mistake in the configuration.
const LONGEST_WAIT_MS: u64 = 60_000;

fn milliseconds(reader: &mut Reader<'_>, name: &str, default: u64) -> Duration {
    let wait = reader.parse(name, default);
    if wait > LONGEST_WAIT_MS {
        reader.problem(format!("{name} is {wait}: at most {LONGEST_WAIT_MS}"));
    }
    Duration::from_millis(wait)
}

fn kms_url(reader: &mut Reader<'_>) -> Option<BaseUrl> {
    let url = reader.optional("KMS_URL").unwrap_or_else(|| "http://localhost:8089".to_owned());
    url.trim().parse().map_err(|error| reader.problem(format!("KMS_URL is not valid: {error}"))).ok()
}

/// Without Stripe's webhooks disputes and refunds that the bank sends back are seen late or never: only a development
/// set-up goes without.
fn stripe_webhook_secrets(reader: &mut Reader<'_>, development: bool) -> Secret {
    if development {
        return Secret::new(reader.optional("STRIPE_WEBHOOK_SECRET").unwrap_or_default());
    }
    reader.secret("STRIPE_WEBHOOK_SECRET", "the signing secret of Stripe's webhook endpoint, whsec_…")
}

/// Nothing that is open on an address that others can reach.
fn check_exposed(reader: &mut Reader<'_>, dev_routes: bool, open: bool) {
    if dev_routes {
        reader.problem("DEV_ROUTES=on is for 127.0.0.1 only".to_owned());
    }
    if open {
        reader.problem("API_AUTH=off is for 127.0.0.1 only".to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, String> {
        let mut env: BTreeMap<String, String> = [
            ("DATABASE_URL", "postgres://localhost/bill"),
            ("LITELLM_WEBHOOK_SECRET", "test_secret"),
            ("STRIPE_SECRET_KEY", "sk_test_1"),
            ("PAY_LINK_SECRET", "a-secret-for-pay-links"),
            ("API_AUTH", "off"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        env.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        Config::read(&env).map_err(|error| error.to_string())
    }

    fn refused(pairs: &[(&str, &str)], names: &[&str]) {
        let error = read(pairs).unwrap_err();
        for name in names {
            assert!(error.contains(name), "{name} is not named: {error}");
        }
    }

    #[test]
    fn on_one_machine_a_development_set_up_is_fine() {
        let config = read(&[("DEV_ROUTES", "on")]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:3000");
        assert_eq!(config.public_url, "http://127.0.0.1:3000");
        assert!(config.dev_routes && !config.api_auth);
        assert_eq!(config.webhook_wait, Duration::from_secs(4));
        assert_eq!(read(&[("BIND", "::1"), ("PORT", "8080")]).unwrap().listen.to_string(), "[::1]:8080");
    }

    #[test]
    fn anywhere_else_nothing_is_open_and_nothing_weak_is_taken() {
        refused(&[("BIND", "0.0.0.0"), ("DEV_ROUTES", "on")], &["DEV_ROUTES", "API_AUTH"]);
        let strong = [
            ("API_AUTH", "on"),
            ("LITELLM_WEBHOOK_SECRET", "Yk3sd92jdLkw02jd,Zk3sd92jdLkw02jd"),
            ("STRIPE_WEBHOOK_SECRET", "whsec_Yk3sd92jdLkw02jd"),
        ];
        let beside = |more: &[(&'static str, &'static str)]| [strong.as_slice(), more].concat();
        assert!(read(&strong).is_ok() && read(&beside(&[("BIND", "0.0.0.0")])).is_ok());
        // On this machine, too: only a development set-up may be weak.
        refused(&beside(&[("LITELLM_WEBHOOK_SECRET", "test_secret")]), &["LITELLM_WEBHOOK_SECRET"]);
        refused(&beside(&[("LITELLM_WEBHOOK_SECRET", "Yk3sd92jdLkw02jd,old")]), &["LITELLM_WEBHOOK_SECRET"]);
        let weak = [("LITELLM_ALERT_TOKEN", "short"), ("STRIPE_WEBHOOK_SECRET", "whsec_test")];
        refused(&beside(&weak), &["LITELLM_ALERT_TOKEN", "STRIPE_WEBHOOK_SECRET"]);
        refused(&beside(&[("STRIPE_WEBHOOK_SECRET", "")]), &["STRIPE_WEBHOOK_SECRET is not set"]);
        refused(&beside(&[("STRIPE_SECRET_KEY", "pk_test_1")]), &["STRIPE_SECRET_KEY"]);
        refused(&beside(&[("STRIPE_URL", "http://stripe.example")]), &["STRIPE_URL"]);
        // A key that Stripe does not have may travel in the open, to a simulator.
        let simulator = [("STRIPE_URL", "http://simulators:12111"), ("STRIPE_SECRET_KEY", "sk_sim_12345")];
        assert!(read(&beside(&simulator)).is_ok());
    }

    #[test]
    fn what_is_missing_is_named_at_once() {
        let nothing = BTreeMap::<String, String>::new();
        let error = Config::read(&nothing).unwrap_err().to_string();
        for name in
            ["DATABASE_URL", "LITELLM_WEBHOOK_SECRET", "STRIPE_SECRET_KEY", "PAY_LINK_SECRET", "STRIPE_WEBHOOK_SECRET"]
        {
            assert!(error.contains(name), "{name} is not named: {error}");
        }
        refused(&[("PAY_LINK_SECRET", "fifteen-chars-x")], &["PAY_LINK_SECRET"]);
        refused(
            &[("WEBHOOK_WAIT_MS", "600000"), ("PORT", "99999"), ("BIND", "here")],
            &["WEBHOOK_WAIT_MS", "PORT", "BIND"],
        );
    }
}
