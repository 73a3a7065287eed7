//! A service that is told something unusable says all that is wrong, at once, and does not start.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use e2e::service::program;

/// How long a service may take to end that should not have started.
const LONGEST: Duration = Duration::from_secs(20);

/// A variable, and a value that is no good.
type Bad = (&'static str, &'static str);

/// What a service needs, with values that will do, and how each may be wrong.
struct Needs {
    service: &'static str,
    needed: &'static [(&'static str, &'static str)],
    /// Values that are refused: weak secrets, and what is none of its kind.
    bad: &'static [Bad],
}

const DATABASE: (&str, &str) = ("DATABASE_URL", "postgres://bill:Yk3sd92jdLkw02jd@127.0.0.1:1/bill");
const STRIPE_KEY: (&str, &str) = ("STRIPE_SECRET_KEY", "sk_test_Yk3sd92jdLkw02jd");
const PAY_LINK: (&str, &str) = ("PAY_LINK_SECRET", "Pk3sd92jdLkw02jd");
const BAD_DATABASE: [Bad; 2] =
    [("DATABASE_URL", "hunter2"), ("DATABASE_URL", "postgres://bill:password@db.example/bill")];

const SERVICES: [Needs; 4] = [
    Needs {
        service: "ingress",
        needed: &[
            DATABASE,
            STRIPE_KEY,
            PAY_LINK,
            ("LITELLM_WEBHOOK_SECRET", "Lk3sd92jdLkw02jd"),
            ("STRIPE_WEBHOOK_SECRET", "whsec_Yk3sd92jdLkw02jd"),
        ],
        bad: &[
            BAD_DATABASE[0],
            BAD_DATABASE[1],
            ("STRIPE_SECRET_KEY", "pk_test_hunter2"),
            ("PAY_LINK_SECRET", "hunter2"),
            ("LITELLM_WEBHOOK_SECRET", "test_secret"),
            ("LITELLM_WEBHOOK_SECRET", "Lk3sd92jdLkw02jd,hunter2"),
            ("STRIPE_WEBHOOK_SECRET", "whsec_test"),
            ("LITELLM_ALERT_TOKEN", "hunter2"),
            ("STRIPE_URL", "http://stripe.example"),
            ("NATS_URL", "http://hunter2@127.0.0.1"),
            ("PORT", "99999"),
            ("BIND", "here"),
            ("API_AUTH", "maybe"),
            ("WEBHOOK_WAIT_MS", "600000"),
        ],
    },
    Needs {
        service: "recharger",
        needed: &[DATABASE, STRIPE_KEY, PAY_LINK],
        bad: &[
            BAD_DATABASE[0],
            BAD_DATABASE[1],
            ("STRIPE_SECRET_KEY", "hunter2"),
            ("PAY_LINK_SECRET", "aaaaaaaaaaaaaaaaaaaa"),
            ("STRIPE_URL", "stripe"),
            ("NATS_URL", "http://bill:hunter2@127.0.0.1"),
            ("LISTEN", "everywhere"),
            ("CREDIT_DEADLINE", "0s"),
            ("ON_SYNC_FAILURE", "pray"),
        ],
    },
    Needs {
        service: "ledger",
        needed: &[DATABASE],
        bad: &[
            BAD_DATABASE[0],
            BAD_DATABASE[1],
            ("NATS_URL", "http://bill:hunter2@127.0.0.1"),
            ("LISTEN", "everywhere"),
            ("VERIFY_INTERVAL", "0"),
        ],
    },
    Needs {
        service: "syncer",
        needed: &[DATABASE],
        bad: &[
            BAD_DATABASE[0],
            BAD_DATABASE[1],
            ("NATS_URL", "http://bill:hunter2@127.0.0.1"),
            ("LISTEN", "everywhere"),
            ("QUOTA_BACKEND", "paper"),
            ("KMS_URL", "localhost"),
            ("SYNC_DEADLINE", "8d"),
        ],
    },
];

/// Starts a service with these variables and nothing else, and returns what it says when it ends by itself.
fn refusal(service: &str, variables: &BTreeMap<&str, &str>) -> anyhow::Result<(Option<i32>, String)> {
    let mut command = Command::new(program(service)?);
    command.env_clear().envs(variables).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    // One that does start would go on for ever.
    let begun = Instant::now();
    while child.try_wait()?.is_none() {
        if begun.elapsed() > LONGEST {
            child.kill()?;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    Ok((output.status.code(), said))
}

fn check(service: &str, variables: &BTreeMap<&str, &str>, named: &[&str]) -> anyhow::Result<()> {
    let (code, said) = refusal(service, variables)?;
    assert_eq!(code, Some(1), "{service}: {said}");
    assert_eq!(said.matches("the configuration is not usable").count(), 1, "{service}: one message: {said}");
    for name in named {
        assert!(said.contains(name), "{service}: {name} is not named: {said}");
    }
    assert!(!said.contains("hunter2") && !said.contains("Yk3sd92jdLkw02jd"), "{service} told a secret: {said}");
    assert!(!said.contains("listens"), "{service} half started: {said}");
    Ok(())
}

#[test]
fn each_variable_missing_empty_or_weak_is_named_and_nothing_starts() -> anyhow::Result<()> {
    for Needs { service, needed, bad } in SERVICES {
        let good: BTreeMap<&str, &str> = needed.iter().copied().collect();
        for (name, _) in needed {
            let mut without = good.clone();
            without.remove(name);
            check(service, &without, &[&format!("{name} is not set")])?;
            let empty: BTreeMap<_, _> = good.iter().map(|(n, v)| (*n, if n == name { " " } else { *v })).collect();
            check(service, &empty, &[&format!("{name} is not set")])?;
        }
        for (name, value) in bad {
            let mut wrong = good.clone();
            wrong.insert(name, value);
            check(service, &wrong, &[name])?;
        }
        // All at once: nothing is there, and what may be wrong is.
        let first: BTreeMap<&str, &str> = bad.iter().copied().collect();
        let all: Vec<&str> = first.keys().copied().chain(needed.iter().map(|(name, _)| *name)).collect();
        check(service, &first, &all)?;
    }
    Ok(())
}

#[test]
fn what_is_open_is_refused_where_others_can_reach_it() -> anyhow::Result<()> {
    let Needs { service, needed, .. } = &SERVICES[0];
    let mut open: BTreeMap<&str, &str> = needed.iter().copied().collect();
    open.extend([("BIND", "0.0.0.0"), ("API_AUTH", "off"), ("DEV_ROUTES", "on"), ("PORT", "0")]);
    check(service, &open, &["API_AUTH", "DEV_ROUTES"])
}

#[test]
fn litellm_as_backend_needs_its_own() -> anyhow::Result<()> {
    let Needs { service, needed, .. } = &SERVICES[3];
    let mut litellm: BTreeMap<&str, &str> = needed.iter().copied().collect();
    litellm.insert("QUOTA_BACKEND", "litellm");
    check(service, &litellm, &["LITELLM_MASTER_KEY"])?;
    litellm.extend([("LITELLM_URL", "https://litellm.example"), ("LITELLM_MASTER_KEY", "hunter2"), ("LISTEN", "here")]);
    check(service, &litellm, &["LITELLM_MASTER_KEY", "LISTEN"])
}

/// What stands in a README as a setting can be set in `.env`, but for what the compose file decides itself.
#[test]
fn the_compose_file_passes_every_setting_on() -> anyhow::Result<()> {
    let decided = ["LISTEN", "BIND", "API_AUTH", "DEV_ROUTES"];
    let root = xtask::paths::root();
    let compose = std::fs::read_to_string(root.join("docker-compose.yml"))?;
    let mut settings = 0;
    for service in ["ingress", "recharger", "ledger", "syncer"] {
        let page = std::fs::read_to_string(root.join(service).join("README.md"))?;
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        for name in rows.flat_map(|row| row.split(['`', ',', ' '])) {
            let is_setting = name.len() > 3 && name.chars().all(|c| c.is_ascii_uppercase() || c == '_');
            // Methods of routes have no underscore, and neither have three settings.
            if !is_setting || !(name.contains('_') || ["CONCURRENCY", "LISTEN", "BIND"].contains(&name)) {
                continue;
            }
            settings += 1;
            let passed = compose.contains(&format!(" {name}: ")) || decided.contains(&name);
            anyhow::ensure!(passed, "docker-compose.yml does not pass {name} on to {service}");
        }
    }
    anyhow::ensure!(settings > 40, "{settings} settings were found: is the test still reading the tables?");
    Ok(())
}
