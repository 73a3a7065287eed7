//! Who may do what: one table of rules for the whole API. Pure.

use std::str::FromStr;

use common::ids::OrganizationId;
use schemars::JsonSchema;
use serde::Serialize;

use crate::http::Problem;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    /// Everything.
    Operator,
    /// Reads and changes what is its organization's, and nothing else.
    OrgAdmin,
    /// Reads: what is its organization's or, without one, everything.
    Viewer,
}

impl Role {
    pub(crate) const ALL: [Self; 3] = [Self::Operator, Self::OrgAdmin, Self::Viewer];

    /// The word for it in the database and the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::OrgAdmin => "org_admin",
            Self::Viewer => "viewer",
        }
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == text);
        found.ok_or_else(|| "must be operator, org_admin or viewer".to_owned())
    }
}

/// A role, and the organization that it is limited to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) role: Role,
    pub(crate) organization: Option<OrganizationId>,
}

impl Grant {
    /// May do everything.
    pub(crate) const OPERATOR: Self = Self { role: Role::Operator, organization: None };

    /// A role with what it is limited to: an admin needs an organization, and an operator has none.
    pub(crate) fn new(role: Role, organization: Option<OrganizationId>) -> Result<Self, &'static str> {
        match (role, &organization) {
            (Role::Operator, Some(_)) => Err("must be absent: an operator is limited to no organization"),
            (Role::OrgAdmin, None) => Err("is missing: an org_admin has one"),
            _ => Ok(Self { role, organization }),
        }
    }

    /// Whether what belongs to this organization exists for the caller; what belongs to nobody is for those who see all.
    pub(crate) fn sees(&self, organization: Option<&str>) -> bool {
        match &self.organization {
            None => true,
            Some(own) => organization == Some(own.as_str()),
        }
    }

    /// Whether the caller may give away this grant: nobody more than he has himself.
    pub(crate) fn may_give(&self, other: &Self) -> bool {
        match self.role {
            Role::Operator => true,
            Role::OrgAdmin => other.role != Role::Operator && other.organization == self.organization,
            Role::Viewer => false,
        }
    }
}

/// What a route asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// No token: the route has a check of its own (a signature, a path token), or nothing to hide.
    Open,
    /// Reads something of the organization that the path names first.
    ReadOrganization,
    /// Changes something of the organization that the path names first.
    ChangeOrganization,
    /// As [`Self::ChangeOrganization`], where it is about money or about what the organization is trusted with: operators only.
    OperateOrganization,
    /// Reads what is the caller's; the handler finds out whose a thing is.
    ReadOwn,
    /// Changes what is the caller's; the handler finds out whose a thing is.
    ChangeOwn,
    /// Changes a thing of which the handler finds out whose it is: operators only.
    OperateOwn,
    /// Reads what is nobody's in particular: operators, and viewers of everything.
    ReadFleet,
    /// Changes what is nobody's in particular: operators.
    OperateFleet,
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed,
    /// The role is not enough.
    Forbidden,
    /// There is no such organization, as far as the caller is told.
    Unknown,
}

impl Access {
    /// Whether a caller with this grant may call a route about `organization`, if the path names one.
    pub(crate) fn verdict(self, grant: &Grant, organization: Option<&str>) -> Verdict {
        let about_one = matches!(self, Self::ReadOrganization | Self::ChangeOrganization | Self::OperateOrganization);
        if about_one && !grant.sees(organization) {
            return Verdict::Unknown;
        }
        let allowed = match self {
            Self::Open | Self::ReadOrganization | Self::ReadOwn => true,
            Self::ChangeOrganization | Self::ChangeOwn => grant.role != Role::Viewer,
            Self::OperateOrganization | Self::OperateOwn | Self::OperateFleet => grant.role == Role::Operator,
            Self::ReadFleet => grant.organization.is_none(),
        };
        if allowed { Verdict::Allowed } else { Verdict::Forbidden }
    }

    /// The sentence of the documentation.
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Open => "No token is needed.",
            Self::ReadOrganization | Self::ReadOwn => {
                "Any token; one that is limited to an organization sees only what is its own."
            }
            Self::ChangeOrganization | Self::ChangeOwn => {
                "Tokens of operators, and of org_admins for their own organization."
            }
            Self::OperateOrganization | Self::OperateOwn | Self::OperateFleet => "Tokens of operators.",
            Self::ReadFleet => "Tokens of operators, and of viewers who are limited to no organization.",
        }
    }

    /// Whether some valid token is not enough.
    pub(crate) fn may_forbid(self) -> bool {
        !matches!(self, Self::Open | Self::ReadOrganization | Self::ReadOwn)
    }
}

/// What a caller is told whose role is not enough.
pub(crate) fn forbidden(grant: &Grant) -> Problem {
    let error = format!("A token of role {} may not do this", grant.role.as_str());
    Problem::new(warp::http::StatusCode::FORBIDDEN, "forbidden", error).and("role", grant.role.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(role: Role, organization: Option<&str>) -> Grant {
        Grant { role, organization: organization.map(|id| OrganizationId::parse(id).unwrap()) }
    }

    #[test]
    fn each_role_at_each_kind_of_route() {
        use Access::{
            ChangeOrganization, ChangeOwn, Open, OperateFleet, OperateOrganization, OperateOwn, ReadFleet,
            ReadOrganization, ReadOwn,
        };
        use Verdict::{Allowed as Y, Forbidden as N, Unknown as U};
        let callers = [
            grant(Role::Operator, None),
            grant(Role::OrgAdmin, Some("own")),
            grant(Role::Viewer, Some("own")),
            grant(Role::Viewer, None),
        ];
        for (access, own, other) in [
            (Open, [Y, Y, Y, Y], [Y, Y, Y, Y]),
            (ReadOrganization, [Y, Y, Y, Y], [Y, U, U, Y]),
            (ChangeOrganization, [Y, Y, N, N], [Y, U, U, N]),
            (OperateOrganization, [Y, N, N, N], [Y, U, U, N]),
            (ReadOwn, [Y, Y, Y, Y], [Y, Y, Y, Y]),
            (ChangeOwn, [Y, Y, N, N], [Y, Y, N, N]),
            (OperateOwn, [Y, N, N, N], [Y, N, N, N]),
            (ReadFleet, [Y, N, N, Y], [Y, N, N, Y]),
            (OperateFleet, [Y, N, N, N], [Y, N, N, N]),
        ] {
            let verdicts = |organization| callers.each_ref().map(|caller| access.verdict(caller, Some(organization)));
            assert_eq!(verdicts("own"), own, "{access:?}");
            assert_eq!(verdicts("other"), other, "{access:?}");
        }
    }

    #[test]
    fn what_belongs_to_nobody_is_for_those_who_see_all() {
        assert!(Grant::OPERATOR.sees(None) && grant(Role::Viewer, None).sees(None));
        assert!(!grant(Role::OrgAdmin, Some("own")).sees(None) && !grant(Role::Viewer, Some("own")).sees(None));
    }

    #[test]
    fn nobody_gives_more_than_he_has() {
        let admin = grant(Role::OrgAdmin, Some("own"));
        assert!(Grant::OPERATOR.may_give(&Grant::OPERATOR) && Grant::OPERATOR.may_give(&admin));
        assert!(admin.may_give(&admin) && admin.may_give(&grant(Role::Viewer, Some("own"))));
        for other in [Grant::OPERATOR, grant(Role::Viewer, None), grant(Role::OrgAdmin, Some("other"))] {
            assert!(!admin.may_give(&other), "{other:?}");
        }
        assert!(!grant(Role::Viewer, None).may_give(&grant(Role::Viewer, None)));
    }

    #[test]
    fn grants_that_make_no_sense_are_refused() {
        let id = || Some(OrganizationId::parse("own").unwrap());
        assert!(Grant::new(Role::Operator, id()).is_err() && Grant::new(Role::OrgAdmin, None).is_err());
        assert!(Grant::new(Role::Viewer, id()).is_ok() && Grant::new(Role::Viewer, None).is_ok());
        for role in Role::ALL {
            assert_eq!(role.as_str().parse(), Ok(role));
        }
        assert!("root".parse::<Role>().is_err());
    }
}
