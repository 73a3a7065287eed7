//! `/_sim/config` of the Stripe simulator.

use serde::{Deserialize, Serialize};

/// How refunds go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RefundMode {
    /// They succeed at once.
    #[default]
    Succeed,
    /// They stay pending until they are settled by hand.
    Pending,
    /// Stripe refuses them: the balance is too low.
    Refuse,
}

/// How webhooks are delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct WebhookMode {
    pub(super) duplicate: bool,
    pub(super) delay_ms: u64,
    pub(super) reorder: bool,
}

/// All switches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Config {
    /// The one key that is taken; without it any key is.
    pub(super) secret_key: Option<String>,
    pub(super) strict_attach: bool,
    pub(super) refunds: RefundMode,
    /// This many refunds are refused, whatever `refunds` says; then it counts again.
    pub(super) refunds_refuse_next: u32,
    /// Every call that changes something takes this long.
    pub(super) latency_ms: u64,
    pub(super) webhook_url: Option<String>,
    pub(super) webhook_secret: Option<String>,
    pub(super) webhook_mode: WebhookMode,
    pub(super) webhook_attempts: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            secret_key: None,
            strict_attach: false,
            refunds: RefundMode::default(),
            refunds_refuse_next: 0,
            latency_ms: 0,
            webhook_url: None,
            webhook_secret: None,
            webhook_mode: WebhookMode::default(),
            webhook_attempts: 12,
        }
    }
}
