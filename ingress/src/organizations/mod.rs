//! Organizations and their policy: what the API and the development routes do with them.

pub(crate) mod body;
mod policy;
pub(crate) mod repo;
pub(crate) mod view;

use common::clients::stripe::Card;
use common::clock::Timestamp;
use common::ids::OrganizationId;
use common::money::Currency;
use serde_json::{Value, json};

pub(crate) use policy::{
    Change, MOST_DAILY_RECHARGES, NewOrganization, Policy, charge_amount, limit_amount, positive_amount,
};
use view::OrganizationView;

/// An organization as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Organization {
    pub(crate) id: OrganizationId,
    pub(crate) policy: Policy,
    pub(crate) stripe_customer_id: Option<String>,
    pub(crate) card: Option<SavedCard>,
    /// Since when its owner wants this card to be charged, as far as that is known.
    pub(crate) card_set_at: Option<Timestamp>,
    pub(crate) resumed_at: Option<Timestamp>,
    /// From when on nothing is recharged or changed any more.
    pub(crate) closed_at: Option<Timestamp>,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
}

/// The card that is charged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SavedCard {
    pub(crate) id: String,
    pub(crate) brand: Option<String>,
    pub(crate) last4: Option<String>,
    /// The same for the same card, whoever saved it.
    pub(crate) fingerprint: Option<String>,
}

impl From<&Card> for SavedCard {
    fn from(card: &Card) -> Self {
        Self {
            id: card.id.clone(),
            brand: card.brand.clone(),
            last4: card.last4.clone(),
            fingerprint: card.fingerprint.clone(),
        }
    }
}

impl Organization {
    /// The organization as the API shows it.
    pub(crate) fn to_json(&self) -> Value {
        json!(OrganizationView::of(self))
    }

    pub(crate) fn currency(&self) -> Currency {
        self.policy.currency
    }
}
