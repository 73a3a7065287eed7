//! Configuration from the environment. A reader collects everything that is wrong, so that one message names it all.
//!
//! Every variable `NAME` may come from a file instead, whose path is in `NAME_FILE`: a secret that a platform mounts is
//! then in no list of variables.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use crate::broker::BrokerAddress;

/// Where variables come from: the process, or a map in a test.
pub trait Env {
    /// The variable's value; empty counts as absent.
    fn get(&self, name: &str) -> Option<String>;
}

/// The process's environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Env for ProcessEnv {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.trim().is_empty())
    }
}

impl Env for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).cloned().filter(|value| !value.trim().is_empty())
    }
}

/// A variable, or what the file says that `<name>_FILE` names, without the newline at its end.
///
/// # Errors
/// When both are set, or the file can't be read or has nothing in it; the message names the variable and the file, and has
/// no part of a value.
pub fn value(env: &dyn Env, name: &str) -> Result<Option<String>, String> {
    let by_file = format!("{name}_FILE");
    let (value, file) = (env.get(name), env.get(&by_file));
    let Some(file) = file else { return Ok(value) };
    if value.is_some() {
        return Err(format!("{name} and {by_file} are both set: keep one of them"));
    }
    let file = file.trim();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{by_file} can't be read: {file}: {error}"))?;
    let line = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if line.trim().is_empty() {
        return Err(format!("{by_file} is of no use: {file} is empty"));
    }
    Ok(Some(line.to_owned()))
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Hides a value.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself; for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Everything that is wrong with the configuration, one line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration is not usable:\n  - {}", .0.join("\n  - "))]
pub struct ConfigError(pub Vec<String>);

/// Secrets that stand in tutorials, and this project's own examples.
const WELL_KNOWN: [&str; 12] = [
    "test_secret",
    "secret",
    "changeme",
    "change-me",
    "password",
    "postgres",
    "admin",
    "whsec_test",
    "webhook_secret",
    "your_webhook_secret",
    "your-webhook-secret",
    "0123456789abcdef",
];

/// The shortest secret that is not weak, in characters.
pub const SHORTEST_SECRET: usize = 16;

/// Whether somebody could guess a secret: it is short, known, or one character over and over.
#[must_use]
pub fn is_weak(secret: &str) -> bool {
    let first = secret.chars().next();
    secret.chars().count() < SHORTEST_SECRET || is_well_known(secret) || secret.chars().all(|c| Some(c) == first)
}

fn is_well_known(secret: &str) -> bool {
    WELL_KNOWN.iter().any(|known| known.eq_ignore_ascii_case(secret))
}

/// The items of a comma-separated list.
pub fn items(list: &Secret) -> impl Iterator<Item = &str> {
    list.expose().split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Reads variables and collects what is wrong with them.
pub struct Reader<'a> {
    env: &'a dyn Env,
    problems: Vec<String>,
}

impl<'a> Reader<'a> {
    /// A reader of `env`.
    #[must_use]
    pub fn new(env: &'a dyn Env) -> Self {
        Self { env, problems: Vec::new() }
    }

    /// The variable, if it is set.
    pub fn optional(&mut self, name: &str) -> Option<String> {
        value(self.env, name).unwrap_or_else(|problem| {
            self.problem(problem);
            None
        })
    }

    /// The variable, which must be set; `hint` says to what.
    pub fn required(&mut self, name: &str, hint: &str) -> String {
        let value = value(self.env, name).unwrap_or_else(|problem| {
            self.problem(problem);
            // Named already, and with a better reason.
            Some(String::new())
        });
        value.unwrap_or_else(|| {
            self.problem(format!("{name} is not set: {hint}"));
            String::new()
        })
    }

    /// A secret which must be set; `hint` says to what.
    pub fn secret(&mut self, name: &str, hint: &str) -> Secret {
        Secret::new(self.required(name, hint))
    }

    /// A list of secrets of which none may be weak; `hint` says to what to set it.
    pub fn strong_secrets(&mut self, name: &str, hint: &str) -> Secret {
        let secrets = self.secret(name, hint);
        self.check_strong(name, &secrets);
        secrets
    }

    /// Notes when one of a list of secrets is weak.
    pub fn check_strong(&mut self, name: &str, secrets: &Secret) {
        if items(secrets).any(is_weak) || (!secrets.expose().trim().is_empty() && items(secrets).next().is_none()) {
            self.problem(format!("{name} is weak: use at least {SHORTEST_SECRET} random characters"));
        }
    }

    /// `DATABASE_URL`, checked.
    pub(crate) fn database_url(&mut self) -> Secret {
        const NAME: &str = "DATABASE_URL";
        let url = self.secret(NAME, "the PostgreSQL database, postgres://user:password@host/name");
        self.check_address(NAME, url.expose().trim(), &["postgres", "postgresql"]);
        url
    }

    /// An address that carries a user and a password, of one of these schemes. It is said to be wrong without being shown.
    pub(crate) fn check_address(&mut self, name: &str, address: &str, schemes: &[&str]) {
        match reqwest::Url::parse(address) {
            _ if address.is_empty() => {}
            Ok(url) if schemes.contains(&url.scheme()) => {
                if url.password().is_some_and(is_well_known) && !is_this_machine(&url) {
                    self.problem(format!("{name} has a password that everybody knows"));
                }
            }
            _ => {
                let scheme = schemes.first().unwrap_or(&"scheme");
                self.problem(format!("{name} is not valid: use {scheme}://user:password@host:port"));
            }
        }
    }

    /// The variable as a value, or the default.
    pub fn parse<T: FromStr<Err: fmt::Display>>(&mut self, name: &str, default: T) -> T {
        match self.optional(name).map(|text| text.trim().parse::<T>()) {
            None => default,
            Some(Ok(value)) => value,
            Some(Err(error)) => {
                self.problem(format!("{name} is not valid: {error}"));
                default
            }
        }
    }

    /// A switch: `on`/`off`, `true`/`false`, `1`/`0`.
    pub fn switch(&mut self, name: &str, default: bool) -> bool {
        match self.optional(name).as_deref().map(str::trim) {
            None => default,
            Some("on" | "true" | "1" | "yes") => true,
            Some("off" | "false" | "0" | "no") => false,
            Some(other) => {
                self.problem(format!("{name} is {other:?}: use on or off"));
                default
            }
        }
    }

    /// A span of time such as `500ms`, `30s`, `15m`, `24h`; a bare number is seconds.
    pub fn duration(&mut self, name: &str, default: Duration) -> Duration {
        match self.optional(name).map(|text| parse_duration(text.trim())) {
            None => default,
            Some(Some(value)) => value,
            Some(None) => {
                self.problem(format!("{name} is not a span of time: use for instance 500ms, 30s, 15m or 24h"));
                default
            }
        }
    }

    /// Where a service listens that has only health and metrics to show: `LISTEN`, an address with its port; without it,
    /// `BIND` (127.0.0.1 by default) and `PORT` (`port` by default). A platform that only says `PORT` opens nothing to others.
    pub fn listen(&mut self, port: u16) -> SocketAddr {
        let usual = self.bind_and_port(port);
        self.parse("LISTEN", usual)
    }

    /// `BIND` (127.0.0.1 by default) and `PORT` (`port` by default).
    pub fn bind_and_port(&mut self, port: u16) -> SocketAddr {
        let bind = self.parse::<IpAddr>("BIND", Ipv4Addr::LOCALHOST.into());
        SocketAddr::new(bind, self.parse("PORT", port))
    }

    /// Notes something else that is wrong. What was noted already is not said twice.
    pub fn problem(&mut self, problem: String) {
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// All that was wrong.
    pub fn finish<T>(self, config: T) -> Result<T, ConfigError> {
        if self.problems.is_empty() { Ok(config) } else { Err(ConfigError(self.problems)) }
    }
}

/// Whether an address is on this machine.
pub(crate) fn is_this_machine(url: &reqwest::Url) -> bool {
    matches!(url.host_str(), None | Some("" | "localhost" | "127.0.0.1" | "[::1]"))
}

/// Reads a span of time.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "" | "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        "d" => Some(Duration::from_secs(number.checked_mul(86_400)?)),
        _ => None,
    }
}

/// What every service is told.
#[derive(Debug, Clone)]
pub struct Base {
    /// `NATS_URL`, `NATS_CA_FILE`.
    pub broker: BrokerAddress,
    /// `DATABASE_URL`; with `?sslmode=verify-full&sslrootcert=FILE` for connections that must be encrypted.
    pub database_url: Secret,
    /// `DATABASE_POOL`: the most connections to PostgreSQL. 10 by default.
    pub database_pool: u32,
    /// `CONCURRENCY`: how many messages of one stream are handled at once. 8 by default.
    pub concurrency: usize,
    /// `MAX_ATTEMPTS`: after so many deliveries a message is parked. 40 by default: with delays that grow to a
    /// minute that is more than half an hour, longer than any restart of a broker or a database should take.
    pub max_attempts: u32,
    /// `RETRY_CAP`: the longest delay between two attempts. One minute by default.
    pub retry_cap: Duration,
}

impl Base {
    /// Reads the common variables.
    pub fn read(reader: &mut Reader<'_>) -> Self {
        let database_url = reader.database_url();
        Self {
            broker: BrokerAddress::read(reader),
            database_url,
            database_pool: reader.parse("DATABASE_POOL", 10),
            concurrency: reader.parse("CONCURRENCY", 8),
            max_attempts: reader.parse("MAX_ATTEMPTS", 40),
            retry_cap: reader.duration("RETRY_CAP", Duration::from_secs(60)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn one_message_names_all_that_is_wrong() {
        let env = env(&[("WAIT", "soon"), ("ON", "maybe"), ("COUNT", "x"), ("EMPTY", " ")]);
        let mut reader = Reader::new(&env);
        reader.duration("WAIT", Duration::ZERO);
        reader.switch("ON", false);
        reader.parse("COUNT", 1_u32);
        reader.required("EMPTY", "a text");
        let message = reader.finish(()).unwrap_err().to_string();
        for name in ["WAIT", "ON", "COUNT", "EMPTY"] {
            assert!(message.contains(name), "{message}");
        }
    }

    #[test]
    fn a_file_may_say_it() {
        let folder = std::env::temp_dir().join(format!("bill-config-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).unwrap();
            folder.join(name).display().to_string()
        };
        let (unix, windows, blank) = (file("unix", " s3\n\n"), file("windows", "12\r\n"), file("blank", "\n"));
        let gone = folder.join("gone").display().to_string();
        let env = env(&[
            ("UNIX_FILE", &unix),
            ("COUNT_FILE", &windows),
            ("BOTH", "hunter2"),
            ("BOTH_FILE", &unix),
            ("BLANK_FILE", &blank),
            ("GONE_FILE", &gone),
            ("EMPTY", " "),
            ("EMPTY_FILE", &unix),
            ("PLAIN", "x\n"),
        ]);
        let mut reader = Reader::new(&env);
        // One newline is the file's, the rest is the value's.
        assert_eq!(reader.secret("UNIX", "a text").expose(), " s3\n");
        assert_eq!(reader.parse("COUNT", 1), 12);
        assert_eq!(reader.optional("EMPTY").as_deref(), Some(" s3\n"));
        assert_eq!(reader.optional("PLAIN").as_deref(), Some("x\n"));
        assert_eq!(reader.optional("NEITHER"), None);
        for name in ["BOTH", "BLANK", "GONE"] {
            reader.required(name, "a text");
            assert_eq!(reader.optional(name), None);
        }
        let ConfigError(problems) = reader.finish(()).unwrap_err();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(problems.len(), 3, "each once: {problems:?}");
        for (problem, named) in
            problems.iter().zip([["BOTH", "BOTH_FILE"], ["BLANK_FILE", &blank], ["GONE_FILE", &gone]])
        {
            assert!(named.iter().all(|name| problem.contains(name)), "{problem}");
            assert!(!problem.contains("hunter2") && !problem.contains("s3"), "{problem}");
        }
    }

    #[test]
    fn where_to_listen() {
        for (pairs, want) in [
            (&[][..], "127.0.0.1:9102"),
            // A platform that says PORT does not say that others may come.
            (&[("PORT", "8080")], "127.0.0.1:8080"),
            (&[("PORT", "8080"), ("BIND", "0.0.0.0")], "0.0.0.0:8080"),
            (&[("BIND", "::")], "[::]:9102"),
            (&[("PORT", "8080"), ("BIND", "0.0.0.0"), ("LISTEN", "127.0.0.2:1")], "127.0.0.2:1"),
        ] {
            let env = env(pairs);
            let mut reader = Reader::new(&env);
            let address = reader.listen(9102);
            assert_eq!(reader.finish(address).unwrap().to_string(), want, "{pairs:?}");
        }
        let env = env(&[("PORT", "99999"), ("BIND", "here"), ("LISTEN", "everywhere")]);
        let mut reader = Reader::new(&env);
        reader.listen(9102);
        let message = reader.finish(()).unwrap_err().to_string();
        assert!(["PORT", "BIND", "LISTEN"].iter().all(|name| message.contains(name)), "{message}");
    }

    #[test]
    fn spans_of_time() {
        for (text, want) in [("500ms", 500), ("2", 2_000), ("3s", 3_000), ("1m", 60_000), ("1h", 3_600_000)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(want)), "{text}");
        }
        for bad in ["", "s", "1w", "-1s", "1.5s"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn weak_secrets() {
        for weak in ["", "short", "fifteen-chars-x", "aaaaaaaaaaaaaaaaaaaa", "0123456789ABCDEF", "Your-Webhook-Secret"]
        {
            assert!(is_weak(weak), "{weak}");
        }
        assert!(!is_weak("Yk3sd92jdLkw02jd"));
        let env =
            env(&[("ONE", "Yk3sd92jdLkw02jd,short"), ("TWO", " , "), ("THREE", "Yk3sd92jdLkw02jd, Zk3sd92jdLkw02jd")]);
        let mut reader = Reader::new(&env);
        for name in ["ONE", "TWO", "THREE", "FOUR"] {
            reader.strong_secrets(name, "a secret");
        }
        let message = reader.finish(()).unwrap_err().to_string();
        assert!(
            ["ONE is weak", "TWO is weak", "FOUR is not set"].into_iter().all(|line| message.contains(line)),
            "{message}"
        );
        assert!(!message.contains("THREE"), "{message}");
    }

    #[test]
    fn addresses_are_checked_and_not_shown() {
        for (name, address, wrong) in [
            ("DATABASE_URL", "postgres://bill:hunter2hunter2@db/bill", false),
            ("DATABASE_URL", "postgresql:///bill?host=/run/postgresql", false),
            ("DATABASE_URL", "postgres://bill:password@localhost/bill", false),
            ("DATABASE_URL", "postgres://bill:password@db/bill", true),
            ("DATABASE_URL", "mysql://bill:hunter2@db/bill", true),
            ("DATABASE_URL", "hunter2", true),
            ("NATS_URL", "nats://a:4222,tls://b:4222", false),
            ("NATS_URL", "http://a:hunter2@b", true),
        ] {
            let other = if name == "NATS_URL" { "DATABASE_URL" } else { "NATS_URL" };
            let fine = if name == "NATS_URL" { "postgres://x/y" } else { "nats://x" };
            let env = env(&[(name, address), (other, fine)]);
            let mut reader = Reader::new(&env);
            Base::read(&mut reader);
            let message = reader.finish(()).err().map(|error| error.to_string()).unwrap_or_default();
            assert_eq!(message.contains(name), wrong, "{address}: {message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "<secret>");
    }
}
