//! What a person has to decide before a quota is pushed: when that is so, and in which words. Each reason begins with a word
//! that stays, and says what to do. Pure.

use common::clients::quota::{Account, Allowance};
use common::ids::{OrganizationId, TeamId};
use common::money::Currency;
use rust_decimal::Decimal;

use crate::repo::Target;

/// Whose quota it is, and where.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose<'a> {
    organization: &'a OrganizationId,
    pub(crate) backend: &'a str,
    team: &'a str,
}

impl<'a> Whose<'a> {
    /// This account at this backend.
    pub(crate) fn of(account: &'a Account, backend: &'a str) -> Self {
        let organization = &account.organization;
        Self { organization, backend, team: account.team.as_ref().map_or(organization.as_str(), TeamId::as_str) }
    }
}

/// Its money would go to the team where it was met, and not to the one that it has now.
pub(crate) fn team_changed(organization: &OrganizationId, target: &Target) -> Option<String> {
    let (met, named) = target.team_id.as_ref().zip(target.named_team.as_ref()).filter(|(met, named)| met != named)?;
    Some(format!(
        "team_changed: {organization} was met on team {met}, where its quota and what it spent are, and has the name of team \
         {named} now; set litellm_team_id back to {met} and sync it"
    ))
}

/// It was met at another backend. What this one has is nobody's of ours: a first look there neither lowers it, nor raises
/// it, nor has it booked. It goes on where this one enforces what was in force there (or what the ledger wants, so that
/// there is nothing to write), which a person brings about.
pub(crate) fn backend_changed(whose: Whose<'_>, target: &Target, found: Option<Allowance>) -> Option<String> {
    let met = target.backend.as_deref().filter(|met| *met != whose.backend)?;
    let adopted = target.adoption.as_ref().map(|adoption| adoption.quota.to_decimal());
    let left = target.pushed.map(|(quota, _)| quota).or(adopted).unwrap_or_default();
    // One that is missing would be made with nothing.
    let there = found.unwrap_or(Allowance::Limited(Decimal::ZERO));
    if there.is(left) || there.is(target.quota) {
        return None;
    }
    let Whose { organization, backend, team } = whose;
    let has = found.map_or_else(|| "is not known".to_owned(), |found| format!("has {found}"));
    Some(format!(
        "backend_changed: {organization} was met at {met}, and its quota is to be set at {backend} now, where {team} {has}; \
         give it there by hand what was in force at {met}, {}, and sync it, or set QUOTA_BACKEND back to {met}",
        left.normalize()
    ))
}

/// The account is lost, and with it what was spent: one that is made again could spend all of the quota again. That is no
/// matter where nothing was spent, or nothing could be.
pub(crate) fn team_gone(whose: Whose<'_>, target: &Target, last_usage: Option<Decimal>) -> Option<String> {
    let in_force = target.pushed.map_or(Decimal::ZERO, |(quota, _)| quota);
    let spent = match last_usage {
        Some(usage) if usage > Decimal::ZERO => usage.normalize().to_string(),
        None if in_force > Decimal::ZERO => "nobody knows how much".to_owned(),
        _ => return None,
    };
    let Whose { organization, backend, team } = whose;
    Some(format!(
        "team_gone: team {team} is not there any more at {backend}, and with it what {organization} had spent ({spent}): a new one \
         could spend all of {} again; restore the team with its spend, or, to accept that, make it by hand with a \
         max_budget of 0, and sync it",
        target.quota.normalize()
    ))
}

/// The backend zeroes what was spent.
pub(crate) fn budget_duration(whose: Whose<'_>, period: &str) -> String {
    let Whose { organization, backend, team } = whose;
    format!(
        "budget_duration: {backend} zeroes the spend of team {team} every {period}, so that the same quota can be spent again; take \
         the budget_duration away and sync {organization}"
    )
}

/// Whether a backend that keeps so many significant digits may have lost some of this quota's.
pub(crate) fn is_blurred(quota: Allowance, digits: Option<u32>, currency: Currency) -> bool {
    let (Some(quota), Some(digits)) = (quota.limit(), digits) else { return false };
    let bound = 10_i64.checked_pow(digits.saturating_sub(currency.digits()));
    bound.is_some_and(|bound| quota >= Decimal::from(bound))
}

/// It has no quota that could be kept, or one that is not known exactly, and nobody has said with which it begins.
pub(crate) fn no_opening(whose: Whose<'_>, found: Allowance) -> String {
    let Whose { organization, backend, team } = whose;
    match found {
        Allowance::Unlimited => format!(
            "unlimited_team: team {team} has no budget at {backend}, and any quota would be less than that; \
             set opening_quota to what {organization} begins with and sync it, or give the team a budget"
        ),
        Allowance::Limited(_) => format!(
            "budget_too_large: team {team} has a budget of {found} at {backend}, which is not kept there to the last minor unit; \
             set opening_quota to what {organization} begins with and sync it, or give the team a smaller budget"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Contact;

    fn decimal(text: &str) -> Decimal {
        Decimal::from_str_exact(text).unwrap()
    }

    fn target(pushed: Option<&str>) -> Target {
        Target {
            currency: Currency::USD,
            quota: decimal("600"),
            version: 2,
            contact: Contact::Established,
            pushed: pushed.map(|quota| (decimal(quota), 1)),
            raised_at: None,
            adoption: None,
            team_id: None,
            named_team: None,
            backend: Some("kms".to_owned()),
        }
    }

    fn acme() -> Account {
        Account { organization: OrganizationId::parse("acme").unwrap(), team: None }
    }

    #[test]
    fn another_backend_is_neither_lowered_nor_raised() {
        for (pushed, found, goes_on) in [
            (Some("500"), Some("500.0"), true),
            (Some("500"), Some("600"), true),
            (Some("500"), Some("499.99"), false),
            (Some("500"), Some("0"), false),
            (Some("500"), Some("9000"), false),
            (Some("500"), None, false),
            (Some("0"), None, true),
            (None, None, true),
            (None, Some("0"), true),
            (None, Some("70"), false),
        ] {
            let (account, target, found) =
                (acme(), target(pushed), found.map(|quota| Allowance::Limited(decimal(quota))));
            let said = backend_changed(Whose::of(&account, "litellm"), &target, found);
            assert_eq!(said.is_none(), goes_on, "{pushed:?}, {found:?}: {said:?}");
            assert_eq!(backend_changed(Whose::of(&account, "kms"), &target, found), None);
            assert!(backend_changed(Whose::of(&account, "litellm"), &target, Some(Allowance::Unlimited)).is_some());
        }
    }

    #[test]
    fn what_was_spent_is_not_forgotten() {
        for (pushed, usage, gone) in [
            (Some("500"), Some("0.01"), true),
            (Some("0"), Some("3"), true),
            (Some("500"), None, true),
            (Some("500"), Some("0"), false),
            (Some("0"), None, false),
            (None, None, false),
        ] {
            let account = acme();
            let said = team_gone(Whose::of(&account, "litellm"), &target(pushed), usage.map(decimal));
            assert_eq!(said.is_some(), gone, "{pushed:?}, {usage:?}: {said:?}");
        }
    }

    #[test]
    fn the_runbook_knows_every_reason() {
        let page = include_str!("../../docs/RUNBOOK.md");
        let (account, team) = (acme(), |name: &str| Some(TeamId::parse(name).unwrap()));
        let elsewhere = Whose::of(&account, "litellm");
        let moved = Target { team_id: team("met"), named_team: team("named"), ..target(Some("500")) };
        let reasons = [
            team_changed(&account.organization, &moved).unwrap(),
            backend_changed(elsewhere, &target(Some("500")), None).unwrap(),
            team_gone(elsewhere, &target(Some("500")), None).unwrap(),
            budget_duration(elsewhere, "30d"),
            no_opening(elsewhere, Allowance::Unlimited),
            no_opening(elsewhere, Allowance::Limited(decimal("1"))),
            "team_taken:".to_owned(),
        ];
        for reason in reasons {
            let (word, _) = reason.split_once(':').unwrap();
            assert!(page.contains(&format!("| `{word}` |")), "{reason}");
        }
    }

    #[test]
    fn what_fifteen_digits_hold() {
        for (quota, currency, want) in [
            ("9999999999999.99", "usd", false),
            ("10000000000000", "usd", true),
            ("999999999999999", "jpy", false),
            ("1000000000000000", "jpy", true),
            ("1000000000000", "kwd", true),
        ] {
            let quota = Allowance::Limited(decimal(quota));
            assert_eq!(is_blurred(quota, Some(15), currency.parse().unwrap()), want, "{quota} {currency}");
            assert!(!is_blurred(quota, None, currency.parse().unwrap()));
        }
        assert!(!is_blurred(Allowance::Unlimited, Some(15), Currency::USD));
    }
}
