//! Settings of a scenario: deadlines of seconds, where the caller's environment says nothing else.

use std::env;
use std::time::Duration;

use common::config::parse_duration;
use xtask::demo::Scenario;
use xtask::say;

/// A variable, its value in this scenario, and its usual one.
type Default = (&'static str, &'static str, &'static str);

const RETRY_CAP: Default = ("RETRY_CAP", "2s", "1m");
const SYNC_DEADLINE: Default = ("SYNC_DEADLINE", "6s", "15m");
const CREDIT_DEADLINE: Default = ("CREDIT_DEADLINE", "6s", "10m");
const REFUND_RETRY: Default = ("REFUND_RETRY", "2s", "1m");
const SWEEP_INTERVAL: Default = ("SWEEP_INTERVAL", "2s", "1m");
const SWEEP_REPEAT: Default = ("SWEEP_REPEAT", "1s", "5m");

/// How long anything may take besides the deadlines.
const PATIENCE: Duration = Duration::from_secs(45);

/// What the services of a scenario are told.
pub(super) struct Settings {
    /// Variables that the caller does not name.
    own: Vec<Default>,
    /// Variables that the caller names, with their values.
    given: Vec<(&'static str, String)>,
}

fn defaults(scenario: Scenario) -> &'static [Default] {
    match scenario {
        Scenario::KmsDown => &[SYNC_DEADLINE, CREDIT_DEADLINE, REFUND_RETRY, SWEEP_INTERVAL, RETRY_CAP],
        Scenario::Declined => &[SWEEP_INTERVAL, SWEEP_REPEAT],
        Scenario::BankConfirmation => &[],
        Scenario::LostAnswer => &[RETRY_CAP],
        Scenario::NoWebhook => &[SWEEP_INTERVAL],
    }
}

impl Settings {
    /// The settings of a scenario; none without one.
    pub(super) fn of(scenario: Option<Scenario>) -> Self {
        Self::beside(scenario, |name| env::var(name).ok())
    }

    fn beside(scenario: Option<Scenario>, get: impl Fn(&str) -> Option<String>) -> Self {
        let (mut own, mut given) = (Vec::new(), Vec::new());
        for default in scenario.map(defaults).unwrap_or_default() {
            match get(default.0) {
                Some(value) => given.push((default.0, value)),
                None => own.push(*default),
            }
        }
        Self { own, given }
    }

    /// What the services are told besides the caller's environment.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        self.own.iter().map(|(name, value, _)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Says what applies.
    pub(super) fn print(&self) {
        if self.own.is_empty() && self.given.is_empty() {
            return;
        }
        let own = self.own.iter().map(|(name, value, usual)| format!("{name}={value} (usually {usual})"));
        let given = self.given.iter().map(|(name, value)| format!("{name}={value} (yours)"));
        let all: Vec<String> = own.chain(given).collect();
        say(format_args!("So that nobody waits long: {}", all.join(", ")));
    }

    /// A variable that this scenario sets, or that the caller does.
    pub(super) fn value(&self, name: &str) -> &str {
        let own = self.own.iter().find(|own| own.0 == name).map(|own| own.1);
        let given = || self.given.iter().find(|given| given.0 == name).map(|given| given.1.as_str());
        own.or_else(given).unwrap_or_default()
    }

    /// The same as a span of time.
    pub(super) fn duration(&self, name: &str) -> Duration {
        parse_duration(self.value(name)).unwrap_or_default()
    }

    /// How long to wait for anything: longer than all deadlines together.
    pub(super) fn patience(&self) -> Duration {
        let own = self.own.iter().map(|own| own.1);
        let all = own.chain(self.given.iter().map(|given| given.1.as_str()));
        all.filter_map(parse_duration).fold(PATIENCE, Duration::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_environment_wins() {
        let get = |name: &str| (name == "SYNC_DEADLINE").then(|| "20s".to_owned());
        let settings = Settings::beside(Some(Scenario::KmsDown), get);
        let names: Vec<String> = settings.variables().into_iter().map(|(name, _)| name).collect();
        assert!(!names.contains(&"SYNC_DEADLINE".to_owned()) && names.contains(&"CREDIT_DEADLINE".to_owned()));
        assert_eq!((settings.value("SYNC_DEADLINE"), settings.value("CREDIT_DEADLINE")), ("20s", "6s"));
        assert_eq!(settings.patience(), PATIENCE + Duration::from_secs(20 + 6 + 2 + 2 + 2));
    }

    #[test]
    fn without_a_scenario_nothing_is_set() {
        assert!(Settings::beside(None, |_| None).variables().is_empty());
        for scenario in Scenario::ALL {
            for (name, value, usual) in defaults(scenario) {
                assert!(parse_duration(value).is_some() && parse_duration(usual).is_some(), "{name}");
            }
        }
    }
}
