//! Business events as balanced entries. Pure: what is booked follows from the event and, for a recharge, from what is
//! booked of it already.
//!
//! Positive amounts are owed to the organization or earned, negative ones are held or spent, and the entries of a posting
//! sum to zero: `balance +100, fees_collected +3, stripe_clearing −103`.

mod books;
mod charge;
mod correction;
mod dispute;
mod refund;

use common::contract::{AdjustRequestedV1, Event, Payload, PostingKind, QuotaAdoptedV1};
use common::failure::Failure;
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::{Currency, Money};
use uuid::Uuid;

pub use books::{Booked, Charge, Decision, RechargeBooks};
pub use charge::charge;
pub use correction::correction;
pub use dispute::dispute;
pub use refund::{refund, refund_failed, refund_key};

/// The namespace of transaction ids (a fixed random value).
const TRANSACTIONS: Uuid = Uuid::from_u128(0x2b8e_41d7_60c3_4f19_a5d2_97e4_0c6b_138f);

/// The longest reference of somebody else's that becomes part of a key.
const MAX_REFERENCE: usize = 200;

/// An account of an organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum AccountKind {
    /// What the organization has bought: its quota
    Balance,
    /// What the processor holds for us
    StripeClearing,
    /// What customers paid on top of the quota
    FeesCollected,
    /// What the processor kept
    ProcessingCosts,
    /// What was given back beyond the quota: returned fees, lost disputes; above zero, what is owed of voided charges
    Refunds,
    /// Quota that was there before the ledger
    OpeningEquity,
    /// Corrections by people
    Adjustments,
    /// Quota that is not the organization's to spend while a dispute is open
    DisputesHeld,
}

impl AccountKind {
    /// Every account.
    pub const ALL: [Self; 8] = [
        Self::Balance,
        Self::StripeClearing,
        Self::FeesCollected,
        Self::ProcessingCosts,
        Self::Refunds,
        Self::OpeningEquity,
        Self::Adjustments,
        Self::DisputesHeld,
    ];

    /// The account that a stored word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Balance => "balance",
            Self::StripeClearing => "stripe_clearing",
            Self::FeesCollected => "fees_collected",
            Self::ProcessingCosts => "processing_costs",
            Self::Refunds => "refunds",
            Self::OpeningEquity => "opening_equity",
            Self::Adjustments => "adjustments",
            Self::DisputesHeld => "disputes_held",
        }
    }
}

/// One line of a posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The account
    pub account: AccountKind,
    /// By how many minor units it changes; never 0
    pub amount: i64,
}

/// Why an event can't be booked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostingError {
    /// It names no organization
    #[error("the event names no organization")]
    NoOrganization,
    /// An amount that must be positive is not
    #[error("{what} is {amount}, but must be more than nothing")]
    NotPositive {
        /// Which amount
        what: &'static str,
        /// What it is
        amount: Money,
    },
    /// An amount that must not be negative is
    #[error("{what} is {amount}, but can't be negative")]
    Negative {
        /// Which amount
        what: &'static str,
        /// What it is
        amount: Money,
    },
    /// Amounts of one event in several currencies
    #[error("{what} is {amount}, but the quota is counted in {currency}")]
    MixedCurrencies {
        /// Which amount
        what: &'static str,
        /// What it is
        amount: Money,
        /// What it should be in
        currency: Currency,
    },
    /// The captured amount is not what its parts make
    #[error("total_charge is {total}, but amount {amount} and fee {fee} make another sum")]
    Total {
        /// What was captured
        total: Money,
        /// The quota that was bought
        amount: Money,
        /// What was paid on top
        fee: Money,
    },
    /// More was given back than was captured
    #[error("{refunded} went back of a charge of {total}")]
    Beyond {
        /// What went back
        refunded: Money,
        /// What was captured
        total: Money,
    },
    /// Something that is needed is not there
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A dispute was decided one way, and now the other: a person must look
    #[error("dispute {dispute} is booked as {booked}, and can't be decided once more")]
    DecidedOtherwise {
        /// Stripe's dispute
        dispute: String,
        /// How it was decided
        booked: &'static str,
    },
    /// An adjustment by nothing
    #[error("an adjustment by nothing")]
    NoChange,
    /// A reference that can't be part of a key
    #[error("{0} must have 1 to {MAX_REFERENCE} visible ASCII characters")]
    Reference(&'static str),
    /// More than can be counted
    #[error("the amounts are too large")]
    Range,
}

impl From<PostingError> for Failure {
    fn from(error: PostingError) -> Self {
        Self::malformed(error)
    }
}

/// A transaction to be posted. Its entries sum to zero: it can only be made by the functions below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posting {
    kind: PostingKind,
    business_key: String,
    organization: OrganizationId,
    recharge_id: Option<RechargeId>,
    correlation: EventId,
    description: String,
    currency: Currency,
    entries: Vec<Entry>,
}

impl Posting {
    /// The quota that a backend already had. An organization opens its books once, whichever backend is met first.
    /// `None` when that quota is nothing, because then there is nothing to book.
    ///
    /// # Errors
    /// When the quota is negative.
    pub fn opening(event: &Event<QuotaAdoptedV1>) -> Result<Option<Self>, PostingError> {
        let QuotaAdoptedV1 { backend, quota, .. } = &event.data;
        let organization = event.subject.as_ref().ok_or(PostingError::NoOrganization)?;
        not_negative("quota", *quota, quota.currency)?;
        if quota.minor == 0 {
            return Ok(None);
        }
        let lines = vec![(AccountKind::Balance, quota.minor), (AccountKind::OpeningEquity, negated(quota.minor)?)];
        let description = format!("opening credit of {quota}: the quota that {backend} already had");
        let key = format!("opening:{organization}");
        Self::new(event, PostingKind::Opening, key, None, description, quota.currency, lines).map(Some)
    }

    /// A correction by a person, in either direction.
    ///
    /// # Errors
    /// When it changes nothing.
    pub fn adjustment(event: &Event<AdjustRequestedV1>) -> Result<Self, PostingError> {
        let AdjustRequestedV1 { amount, reason, requested_by, .. } = &event.data;
        if amount.minor == 0 {
            return Err(PostingError::NoChange);
        }
        let lines = vec![(AccountKind::Balance, amount.minor), (AccountKind::Adjustments, negated(amount.minor)?)];
        let description = format!("adjustment of {amount} by {requested_by}: {reason}");
        let key = format!("adjust:{}", event.id);
        Self::new(event, PostingKind::Adjustment, key, None, description, amount.currency, lines)
    }

    fn new<T: Payload>(
        event: &Event<T>,
        kind: PostingKind,
        business_key: String,
        recharge_id: Option<RechargeId>,
        description: String,
        currency: Currency,
        lines: Vec<(AccountKind, i64)>,
    ) -> Result<Self, PostingError> {
        let organization = event.subject.clone().ok_or(PostingError::NoOrganization)?;
        let entries: Vec<Entry> = lines
            .into_iter()
            .filter(|(_, amount)| *amount != 0)
            .map(|(account, amount)| Entry { account, amount })
            .collect();
        // PostgreSQL can't store NUL in text, and a posting must not fail for a comment.
        let description = description.replace('\0', "");
        let correlation = event.correlationid.clone();
        Ok(Self { kind, business_key, organization, recharge_id, correlation, description, currency, entries })
    }

    /// What kind of business event it books.
    #[must_use]
    pub fn kind(&self) -> PostingKind {
        self.kind
    }

    /// The business event, such as `charge:<recharge_id>`: it is booked once.
    #[must_use]
    pub fn business_key(&self) -> &str {
        &self.business_key
    }

    /// The transaction's id, which follows from the business key.
    #[must_use]
    pub fn transaction_id(&self) -> Uuid {
        Uuid::new_v5(&TRANSACTIONS, self.business_key.as_bytes())
    }

    /// Whose books.
    #[must_use]
    pub fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// The recharge, if it is about one.
    #[must_use]
    pub fn recharge_id(&self) -> Option<RechargeId> {
        self.recharge_id
    }

    /// The event that started the chain.
    #[must_use]
    pub fn correlation(&self) -> &EventId {
        &self.correlation
    }

    /// A sentence for people.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// The currency of every entry.
    #[must_use]
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// The lines, at least two, which sum to zero.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// By how much the quota changes.
    #[must_use]
    pub fn quota_change(&self) -> i64 {
        books::sum(&self.entries, AccountKind::Balance)
    }

    /// By how much what is held changes.
    #[must_use]
    pub fn held_change(&self) -> i64 {
        books::sum(&self.entries, AccountKind::DisputesHeld)
    }
}

/// The business key of a recharge's charge.
#[must_use]
pub fn charge_key(recharge: RechargeId) -> String {
    format!("charge:{recharge}")
}

/// The lines of what the processor kept. Stripe takes its fee in the currency in which the account is settled. The
/// customer's quota must not wait for that, and these books know one currency: the cost in another is told, not booked.
fn processor_cost(
    fee: Option<Money>,
    currency: Currency,
    lines: &mut Vec<(AccountKind, i64)>,
    description: &mut String,
) -> Result<(), PostingError> {
    match fee {
        None => {}
        Some(cost) if cost.currency == currency => {
            not_negative("processor_fee", cost, currency)?;
            lines.push((AccountKind::StripeClearing, cost.minor));
            lines.push((AccountKind::ProcessingCosts, negated(cost.minor)?));
        }
        Some(cost) => description.push_str(&format!("; the processor kept {cost}, which is not booked here")),
    }
    Ok(())
}

/// Stripe's name for something, which becomes part of a key.
fn reference(what: &'static str, text: &str) -> Result<(), PostingError> {
    let good = !text.is_empty() && text.len() <= MAX_REFERENCE && text.chars().all(|c| c.is_ascii_graphic());
    if good { Ok(()) } else { Err(PostingError::Reference(what)) }
}

fn positive(what: &'static str, amount: Money) -> Result<(), PostingError> {
    if amount.minor > 0 { Ok(()) } else { Err(PostingError::NotPositive { what, amount }) }
}

fn not_negative(what: &'static str, amount: Money, currency: Currency) -> Result<(), PostingError> {
    same_currency(what, amount, currency)?;
    if amount.minor >= 0 { Ok(()) } else { Err(PostingError::Negative { what, amount }) }
}

fn same_currency(what: &'static str, amount: Money, currency: Currency) -> Result<(), PostingError> {
    if amount.currency == currency { Ok(()) } else { Err(PostingError::MixedCurrencies { what, amount, currency }) }
}

fn negated(amount: i64) -> Result<i64, PostingError> {
    amount.checked_neg().ok_or(PostingError::Range)
}

#[cfg(test)]
#[path = "posting_tests.rs"]
mod tests;
