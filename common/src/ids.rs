//! Identifiers as types, so that one kind can't be taken for another, and the sources they come from.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Why a text is not a valid identifier; the message says which kind and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must match {pattern}")]
pub struct InvalidId {
    /// The kind of identifier.
    pub what: &'static str,
    /// The pattern that a valid one matches.
    pub pattern: &'static str,
}

macro_rules! text_id {
    ($(#[$meta:meta])* $name:ident, $what:literal, $pattern:literal, $max:literal, $allowed:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The pattern that a valid identifier of this kind matches.
            pub const PATTERN: &'static str = $pattern;

            /// Checks the text.
            ///
            /// # Errors
            /// [`InvalidId`] when it does not match [`Self::PATTERN`].
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                let allowed: fn(char) -> bool = $allowed;
                if text.is_empty() || text.chars().count() > $max || !text.chars().all(allowed) {
                    return Err(InvalidId { what: $what, pattern: $pattern });
                }
                Ok(Self(text))
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }
        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

text_id!(
    /// `c_organization_id`: chosen by the customer; safe as a subject token and in a path.
    OrganizationId,
    "c_organization_id",
    "^[A-Za-z0-9_-]{1,64}$",
    64,
    |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
);
text_id!(
    /// The organization's team in LiteLLM: `l_team_id` in the KMS, `litellm_team_id` in our tables.
    TeamId,
    "team_id",
    "^[!-~]{1,128}$",
    128,
    |c| c.is_ascii_graphic()
);
text_id!(
    /// The id of an event. Follow-ups derive theirs from what caused them, so that a repeat has the same one.
    EventId,
    "event id",
    "^[A-Za-z0-9_.:-]{1,200}$",
    200,
    |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-')
);

impl From<&OrganizationId> for TeamId {
    /// What makes an organization's id makes a team's id too: a team that nobody has named is called like its organization.
    fn from(organization: &OrganizationId) -> Self {
        Self(organization.0.clone())
    }
}

impl EventId {
    /// The id of an event whose sender gave none: a hash of its raw bytes, so that the same body twice is one event.
    #[must_use]
    pub fn from_body(prefix: &str, body: &[u8]) -> Self {
        let digest = hex::encode(Sha256::digest(body));
        Self(format!("{prefix}_{}", &digest[..40]))
    }

    /// The id of an event that follows from another fact, for instance `recharges.charged:<recharge id>`.
    #[must_use]
    pub fn following(kind: &str, cause: &impl fmt::Display) -> Self {
        Self(format!("{kind}:{cause}"))
    }
}

/// The namespace of recharge ids (a fixed random value).
const RECHARGES: Uuid = Uuid::from_u128(0x6f1d_5c0a_9b0e_4a53_8c1e_2f3b_7a64_d911);

/// One attempt to buy quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct RechargeId(pub Uuid);

impl RechargeId {
    /// The recharge that a trigger leads to. It is derived, not drawn, so that every repeat of the trigger names the
    /// same recharge, and with it the same Stripe idempotency key.
    #[must_use]
    pub fn for_trigger(trigger: &EventId) -> Self {
        Self(Uuid::new_v5(&RECHARGES, trigger.as_str().as_bytes()))
    }
}

impl fmt::Display for RechargeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for RechargeId {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, uuid::Error> {
        Uuid::parse_str(text).map(Self)
    }
}

/// Where random identifiers come from.
pub trait IdSource: Send + Sync + 'static {
    /// An identifier that nobody else has.
    fn fresh(&self) -> Uuid;
}

/// The operating system's randomness.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomIds;

impl IdSource for RandomIds {
    #[expect(clippy::disallowed_methods, reason = "the one place that draws random identifiers")]
    fn fresh(&self) -> Uuid {
        Uuid::new_v4()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn organization_ids_are_safe_subject_tokens() {
        for good in ["a", "org_1", "ORG-2", &"x".repeat(64)] {
            let id = OrganizationId::parse(good).unwrap();
            assert_eq!(TeamId::parse(good).unwrap(), TeamId::from(&id));
        }
        for bad in ["", "a.b", "a b", "*", ">", "ü", "a/b", &"x".repeat(65)] {
            assert!(OrganizationId::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_same_trigger_names_the_same_recharge() {
        let one = EventId::from_body("evt", b"{}");
        assert_eq!(one, EventId::from_body("evt", b"{}"));
        assert_eq!(RechargeId::for_trigger(&one), RechargeId::for_trigger(&one));
        assert_ne!(RechargeId::for_trigger(&one), RechargeId::for_trigger(&EventId::from_body("evt", b"{ }")));
    }
}
