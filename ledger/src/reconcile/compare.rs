//! Records and postings side by side, and where they disagree. Pure.

use common::ids::{OrganizationId, RechargeId};
use common::money::{Currency, Money};
use common::reconciliation::{Finding, Kind};
use uuid::Uuid;

use crate::posting::{charge_key, refund_key};

/// A recharge as the recharger knows it.
#[derive(Debug, Clone)]
pub(super) struct StoredRecord {
    pub(super) recharge_id: RechargeId,
    pub(super) organization: String,
    pub(super) status: String,
    pub(super) amount: Option<Money>,
    pub(super) total: Option<Money>,
    pub(super) ledger_version: Option<i64>,
}

/// A refund that the recharger told as done.
#[derive(Debug, Clone)]
pub(super) struct StoredRefund {
    pub(super) refund_key: String,
    pub(super) recharge_id: RechargeId,
    pub(super) organization: String,
    pub(super) stripe_refund_id: Option<String>,
    pub(super) amount: Option<Money>,
    pub(super) total: Option<Money>,
    /// The bank sent it back later.
    pub(super) came_back: bool,
}

/// A transaction of a recharge, with what its entries sum to.
#[derive(Debug, Clone)]
pub(super) struct StoredPosting {
    pub(super) transaction_id: Uuid,
    pub(super) recharge_id: RechargeId,
    pub(super) organization: String,
    pub(super) business_key: String,
    pub(super) is_void: bool,
    pub(super) currency: Currency,
    pub(super) version: i64,
    pub(super) balance: i64,
    pub(super) clearing: i64,
    pub(super) costs: i64,
    pub(super) refunds: i64,
}

/// The first thing in which a record and its postings disagree. In flight, the record may be behind the books or before
/// them: then nothing is said.
pub(super) fn record(record: &StoredRecord, postings: &[&StoredPosting]) -> Option<Finding> {
    let key = charge_key(record.recharge_id);
    let charge = postings.iter().find(|posting| posting.business_key == key);
    let about = About { organization: &record.organization, recharge_id: record.recharge_id };
    let status = &record.status;
    match (status.as_str(), charge) {
        ("refunded", None) => {
            let detail = "the record is refunded, but neither its charge nor a void is in the books".to_owned();
            Some(about.finding(Kind::RefundNotBooked, None, (Some(key), None), detail))
        }
        // What goes back may never have been credited; if the record knows of a credit, it was.
        (_, None) if matches!(status.as_str(), "credited" | "settled") || record.ledger_version.is_some() => {
            let detail = format!("the record is {status}, but its charge is not in the books");
            Some(about.finding(Kind::NotBooked, None, (Some(key), None), detail))
        }
        ("credited" | "settled", Some(charge)) if charge.is_void => {
            let detail = format!("the record is {status}, but its charge is void in the books");
            let words = (Some("charge".to_owned()), Some("void".to_owned()));
            Some(about.finding(Kind::BookedWrongly, Some(charge), words, detail))
        }
        ("refunding" | "returning", Some(charge)) if charge.is_void => None,
        ("credited" | "settled" | "refunding" | "returning", Some(charge)) => wrong(record, about, charge),
        ("refunded", Some(charge)) => {
            let wrong = if charge.is_void { None } else { wrong(record, about, charge) };
            wrong.or_else(|| not_given_back(about, charge, postings))
        }
        ("declined" | "failed", Some(charge)) if !charge.is_void && sum(postings, |posting| posting.balance) != 0 => {
            let found = Money::new(charge.balance, charge.currency).to_string();
            let detail = format!("the record is {status}, but its charge was credited");
            Some(about.finding(Kind::BookedWrongly, Some(charge), (None, Some(found)), detail))
        }
        _ => None,
    }
}

/// In what a charge is booked otherwise than its record says.
fn wrong(record: &StoredRecord, about: About<'_>, charge: &StoredPosting) -> Option<Finding> {
    let money = |minor| Some(Money::new(minor, charge.currency));
    // What the processor kept is booked on both sides of the clearing account.
    let total = money(charge.clearing.saturating_add(charge.costs).saturating_neg());
    let text = |amount: Option<Money>| amount.map(|amount| amount.to_string());
    let (what, expected, found) = if record.organization != charge.organization {
        ("the organization", Some(record.organization.clone()), Some(charge.organization.clone()))
    } else if record.amount.is_none() || record.amount != money(charge.balance) {
        ("the quota", text(record.amount), text(money(charge.balance)))
    } else if record.total.is_none() || record.total != total {
        ("the total", text(record.total), text(total))
    } else if !knows_version(record, charge.version) {
        ("the ledger version", record.ledger_version.map(|v| v.to_string()), Some(charge.version.to_string()))
    } else {
        return None;
    };
    let detail = format!("the charge is booked, but {what} is not what the record says");
    Some(about.finding(Kind::BookedWrongly, Some(charge), (expected, found), detail))
}

/// What went back before the record heard of the credit has no version.
fn knows_version(record: &StoredRecord, version: i64) -> bool {
    match record.ledger_version {
        Some(known) => known == version,
        None => matches!(record.status.as_str(), "refunding" | "returning" | "refunded"),
    }
}

/// What is left of a charge of which nothing should be: quota, or for a void what is owed to the customer.
fn not_given_back(about: About<'_>, charge: &StoredPosting, postings: &[&StoredPosting]) -> Option<Finding> {
    let left = if charge.is_void { sum(postings, |p| p.refunds) } else { sum(postings, |p| p.balance) };
    if left == 0 {
        return None;
    }
    let nothing = Money::zero(charge.currency).to_string();
    let found = Money::new(left, charge.currency).to_string();
    let detail = format!("the record is refunded, but in the books {found} of it is left");
    Some(about.finding(Kind::RefundNotBooked, Some(charge), (Some(nothing), Some(found)), detail))
}

/// In what a refund that was told as done and its postings disagree.
pub(super) fn refund(refund: &StoredRefund, postings: &[&StoredPosting]) -> Option<Finding> {
    let about = About { organization: &refund.organization, recharge_id: refund.recharge_id };
    let find = |key: String| postings.iter().copied().find(|posting| posting.business_key == key);
    let missing = |key: Option<String>, what: &str| {
        let detail = format!("refund {} was told, but {what} not in the books", refund.refund_key);
        let reference = refund.stripe_refund_id.clone();
        Some(Finding { reference, ..about.finding(Kind::RefundNotBooked, None, (key, None), detail) })
    };
    let Some(id) = &refund.stripe_refund_id else { return missing(None, "has no name at Stripe, and so is") };
    let Some(booked) = find(refund_key(id)) else { return missing(Some(refund_key(id)), "it is") };
    let voided = find(charge_key(refund.recharge_id)).is_some_and(|charge| charge.is_void);
    let money = |minor| Some(Money::new(minor, booked.currency));
    let quota = money(booked.balance.saturating_neg());
    let (expected, found) = if refund.total != money(booked.clearing) {
        (refund.total, money(booked.clearing))
    } else if !voided && refund.amount != quota {
        (refund.amount, quota)
    } else {
        let failed = format!("refund_failed:{id}");
        return if refund.came_back && find(failed.clone()).is_none() {
            missing(Some(failed), "that it came back is")
        } else {
            None
        };
    };
    let text = |amount: Option<Money>| amount.map(|amount| amount.to_string());
    let detail = format!("refund {id} is booked with another amount than was told");
    Some(about.finding(Kind::BookedWrongly, Some(booked), (text(expected), text(found)), detail))
}

fn sum(postings: &[&StoredPosting], amount: impl Fn(&StoredPosting) -> i64) -> i64 {
    postings.iter().fold(0, |sum, posting| sum.saturating_add(amount(posting)))
}

/// What a finding is about.
#[derive(Clone, Copy)]
struct About<'a> {
    organization: &'a str,
    recharge_id: RechargeId,
}

impl About<'_> {
    fn finding(
        &self,
        kind: Kind,
        posting: Option<&StoredPosting>,
        (expected, found): (Option<String>, Option<String>),
        detail: String,
    ) -> Finding {
        Finding {
            kind,
            organization: OrganizationId::parse(self.organization).ok(),
            recharge_id: Some(self.recharge_id),
            reference: posting.map(|posting| posting.transaction_id.to_string()),
            expected,
            found,
            repaired: false,
            detail,
        }
    }
}
