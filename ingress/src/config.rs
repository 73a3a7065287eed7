//! Configuration. What is dangerous anywhere but on one machine is refused anywhere else.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use common::clients::quota::kms::BaseUrl;
use common::config::{Base, ConfigError, Env, Reader, Secret};
use common::pay_link;

/// Secrets that stand in tutorials, and this project's own examples.
const WELL_KNOWN: [&str; 8] = [
    "test_secret",
    "secret",
    "changeme",
    "password",
    "whsec_test",
    "webhook_secret",
    "your_webhook_secret",
    "your-webhook-secret",
];
/// The shortest webhook secret and alert token: 16 characters of any kind.
const SHORTEST_SECRET: usize = 16;
/// The shortest API token: what 16 random bytes make in hex.
const SHORTEST_TOKEN: usize = 32;

/// One connection listens for changes for ever; the others do the work.
const SMALLEST_POOL: u32 = 3;

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
    /// `API_TOKENS`: the operators' tokens. `None`: `API_AUTH=off`.
    pub api_tokens: Option<Secret>,
    /// `DEV_ROUTES`: whether `/test/…` is there.
    pub dev_routes: bool,
    /// `STRIPE_URL`.
    pub stripe_url: String,
    /// `STRIPE_SECRET_KEY`.
    pub stripe_secret_key: Secret,
    /// `STRIPE_TIMEOUT`: per call.
    pub stripe_timeout: Duration,
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
        let bind = reader.parse::<IpAddr>("BIND", Ipv4Addr::LOCALHOST.into());
        let listen = SocketAddr::new(bind, reader.parse("PORT", 3000));
        let webhook_secrets = reader.secret("LITELLM_WEBHOOK_SECRET", "the secret that webhooks are signed with");
        let alert_tokens = Secret::new(reader.optional("LITELLM_ALERT_TOKEN").unwrap_or_default());
        let stripe_webhook_secrets = Secret::new(reader.optional("STRIPE_WEBHOOK_SECRET").unwrap_or_default());
        let pay_link_secret = pay_link::read_secret(&mut reader);
        let dev_routes = reader.switch("DEV_ROUTES", false);
        let api_tokens = api_tokens(&mut reader);
        if !bind.is_loopback() {
            check_exposed(&mut reader, dev_routes, api_tokens.is_none());
            let secrets = [
                ("LITELLM_WEBHOOK_SECRET", &webhook_secrets),
                ("LITELLM_ALERT_TOKEN", &alert_tokens),
                ("STRIPE_WEBHOOK_SECRET", &stripe_webhook_secrets),
            ];
            for (name, list) in secrets {
                check_strong(&mut reader, name, list);
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
            api_tokens,
            dev_routes,
            stripe_url: reader.optional("STRIPE_URL").unwrap_or_else(|| "https://api.stripe.com".to_owned()),
            stripe_secret_key: reader.secret("STRIPE_SECRET_KEY", "Stripe's secret key, sk_…"),
            stripe_timeout: reader.duration("STRIPE_TIMEOUT", Duration::from_secs(15)),
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

fn api_tokens(reader: &mut Reader<'_>) -> Option<Secret> {
    if !reader.switch("API_AUTH", true) {
        return None;
    }
    let tokens = reader
        .secret("API_TOKENS", "a list of operators' tokens with commas between them; or API_AUTH=off on one machine");
    if items(&tokens).any(|token| token.chars().count() < SHORTEST_TOKEN) {
        reader.problem(format!("API_TOKENS has a token of less than {SHORTEST_TOKEN} characters"));
    }
    Some(tokens)
}

/// Whoever can reach us can try to guess: nothing weak.
fn check_strong(reader: &mut Reader<'_>, name: &str, list: &Secret) {
    let weak = |secret: &str| secret.chars().count() < SHORTEST_SECRET || WELL_KNOWN.contains(&secret);
    if items(list).any(weak) {
        reader.problem(format!(
            "{name} is too weak for an address that others can reach: use at least {SHORTEST_SECRET} random characters, \
             or BIND=127.0.0.1"
        ));
    }
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

/// The items of a comma-separated list.
pub(crate) fn items(list: &Secret) -> impl Iterator<Item = &str> {
    list.expose().split(',').map(str::trim).filter(|item| !item.is_empty())
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
        assert!(config.dev_routes && config.api_tokens.is_none());
        assert_eq!(config.webhook_wait, Duration::from_secs(4));
        assert_eq!(read(&[("BIND", "::1"), ("PORT", "8080")]).unwrap().listen.to_string(), "[::1]:8080");
    }

    #[test]
    fn anywhere_else_nothing_weak_is_taken() {
        let open = [
            ("BIND", "0.0.0.0"),
            ("DEV_ROUTES", "on"),
            ("LITELLM_ALERT_TOKEN", "short"),
            ("STRIPE_WEBHOOK_SECRET", "whsec_test"),
        ];
        let weak = ["LITELLM_WEBHOOK_SECRET", "LITELLM_ALERT_TOKEN", "STRIPE_WEBHOOK_SECRET"];
        refused(&open, &[weak.as_slice(), &["DEV_ROUTES", "API_AUTH"]].concat());
        let token = "0123456789abcdef0123456789abcdef";
        let safe = [
            ("BIND", "0.0.0.0"),
            ("API_AUTH", "on"),
            ("API_TOKENS", token),
            ("LITELLM_WEBHOOK_SECRET", "Yk3sd92jdLkw02jd"),
        ];
        assert!(read(&safe).is_ok());
        refused(
            &[safe.as_slice(), &[("LITELLM_WEBHOOK_SECRET", "Yk3sd92jdLkw02jd,old")]].concat(),
            &["LITELLM_WEBHOOK_SECRET"],
        );
    }

    #[test]
    fn what_is_missing_is_named_at_once() {
        let nothing = BTreeMap::<String, String>::new();
        let error = Config::read(&nothing).unwrap_err().to_string();
        for name in ["DATABASE_URL", "LITELLM_WEBHOOK_SECRET", "STRIPE_SECRET_KEY", "PAY_LINK_SECRET", "API_TOKENS"] {
            assert!(error.contains(name), "{name} is not named: {error}");
        }
        refused(&[("API_AUTH", "on"), ("API_TOKENS", "short")], &["API_TOKENS"]);
        refused(&[("PAY_LINK_SECRET", "fifteen-chars-x")], &["PAY_LINK_SECRET"]);
        refused(
            &[("WEBHOOK_WAIT_MS", "600000"), ("PORT", "99999"), ("BIND", "here")],
            &["WEBHOOK_WAIT_MS", "PORT", "BIND"],
        );
    }
}
