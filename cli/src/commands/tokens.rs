//! `bill token` and `bill audit`.

use clap::{Args, Subcommand};
use common::ids::OrganizationId;
use serde_json::Value;
use uuid::Uuid;

use super::{Make, Many};
use crate::call::{Body, Call};
use crate::show::{As, Column, Show, details, list, plain, text_of};
use crate::values::{self, Moment};

const TOKENS: [Column; 7] = [
    Column("ID", "id", As::Whole),
    Column("NAME", "name", As::Text),
    Column("ROLE", "role", As::Text),
    Column("ORGANIZATION", "c_organization_id", As::Text),
    Column("LAST USED", "last_used_at", As::Whole),
    Column("EXPIRES", "expires_at", As::Whole),
    Column("REVOKED", "revoked_at", As::Whole),
];

const AUDIT: [Column; 6] = [
    Column("WHEN", "at", As::Whole),
    Column("WHO", "actor", As::Text),
    Column("WHAT", "action", As::Text),
    Column("ORGANIZATION", "c_organization_id", As::Text),
    Column("REQUEST", "request_id", As::Whole),
    Column("CHANGE", "change", As::Text),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Tokens {
    /// Tokens, newest first, revoked ones included
    List(Many),
    /// Make a token, and show it this once
    Create(Create),
    /// Revoke a token, at once and for good
    Revoke {
        /// The token's id, as `bill token list` tells it
        id: Uuid,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Whom or what it is given to
    #[arg(long)]
    name: String,
    /// What its owner may do: everything, all about one organization, or reading
    #[arg(long, value_parser = ["operator", "org_admin", "viewer"])]
    role: String,
    /// What it is limited to: needed for an org_admin
    #[arg(long, value_name = "ID", value_parser = values::organization)]
    organization: Option<OrganizationId>,
    /// Until when it is valid: 2027-01-01, 2027-01-01T10:00:00Z, or a time from now such as 90d
    #[arg(long, value_name = "WHEN")]
    expires: Option<Moment>,
}

#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Only what is about this organization
    #[arg(value_parser = values::organization)]
    id: Option<OrganizationId>,
    #[command(flatten)]
    many: Many,
}

impl Tokens {
    pub(super) fn call(self, make: &Make) -> Result<Call, String> {
        const ALL: &str = "tokens";
        Ok(match self {
            Self::List(many) => {
                Call::get(&[&ALL], |body, show| list(body, &TOKENS, show)).pages("before", many.limit())
            }
            Self::Create(Create { name, role, organization, expires }) => {
                let after = |moment: Moment| moment.after(make.now).ok_or("--expires is too far away");
                let expires = expires.map(after).transpose()?;
                let body = Body::new()
                    .with("name", name)
                    .with("role", role)
                    .maybe("c_organization_id", organization.map(|id| id.to_string()))
                    .maybe("expires_at", expires.map(|at| at.to_rfc3339()));
                Call::post(&[&ALL], created).body(body)
            }
            Self::Revoke { id } => {
                Call::delete(&[&ALL, &id], |body, show| details(body, &["id", "name", "role"], show))
            }
        })
    }
}

impl Audit {
    pub(super) fn call(self) -> Call {
        Call::get(&[&"audit-log"], audit).query("c_organization_id", self.id).pages("before", self.many.limit())
    }
}

/// The new token, and that it is not told again.
fn created(body: &Value, show: &Show) -> String {
    details(body, &["token", "id", "name", "role"], show) + "\nKeep the token now: it can't be told again.\n"
}

/// The lines of the log, each with what is different since.
fn audit(body: &Value, show: &Show) -> String {
    let mut body = body.clone();
    for line in body["items"].as_array_mut().into_iter().flatten() {
        let change = change(line, show);
        line["change"] = change.into();
    }
    list(&body, &AUDIT, show)
}

/// Which fields are different since, where something was there before.
fn change(line: &Value, show: &Show) -> Option<String> {
    let (before, after) = (line["before"].as_object()?, line["after"].as_object()?);
    let differs = after.iter().filter(|(name, value)| before.get(*name) != Some(value) && *name != "updated_at");
    let text = |name: &str, value: &Value| text_of(name, value, None, show);
    let told = differs.map(|(name, value)| {
        format!("{}: {} → {}", plain(name), text(name, before.get(name).unwrap_or(&Value::Null)), text(name, value))
    });
    Some(told.collect::<Vec<_>>().join(", ")).filter(|told| !told.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_log_tells_what_changed() {
        let body = json!({ "next_cursor": null, "items": [
            { "at": "2026-11-23T10:00:00Z", "actor": "ops", "action": "organization.changed", "c_organization_id": "acme",
              "request_id": "r1", "before": { "target_balance": 5, "updated_at": 1 },
              "after": { "target_balance": 7, "updated_at": 2 } },
            { "at": "2026-11-23T10:00:00Z", "actor": "ops", "action": "token.created", "before": null, "after": {} },
        ] });
        assert_eq!(
            audit(&body, &Show::plain_utc()),
            "WHEN                 WHO  WHAT                  ORGANIZATION  REQUEST  CHANGE\n\
             2026-11-23 10:00:00  ops  organization.changed  acme          r1       target_balance: 5 → 7\n\
             2026-11-23 10:00:00  ops  token.created         -             -        -\n"
        );
    }

    #[test]
    fn a_token_is_told_with_a_warning() {
        let text = created(&json!({ "token": "t", "id": "1" }), &Show::plain_utc());
        assert_eq!(text, "token  t\nid     1\n\nKeep the token now: it can't be told again.\n");
    }
}
