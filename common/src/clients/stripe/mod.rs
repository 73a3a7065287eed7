//! Stripe: async-stripe's typed requests over a transport of our own, and what an answer means.

mod account;
mod checkout;
mod confirm;
mod disputes;
mod intent;
mod listing;
mod outcome;
mod refunds;
mod requests;
mod setup;
mod transport;

pub use account::Mode;
pub use checkout::{CardPage, CardPageOrder};
pub use confirm::Confirmation;
pub use disputes::{DisputeSeen, DisputeStatus};
pub use listing::IntentSeen;
pub use outcome::{FaultKind, StripeFault};
pub use refunds::{RefundOrder, RefundSeen, RefundStatus};
pub use requests::{Captured, Card, ChargeOrder, ChargeOutcome, Stripe};
pub use setup::{SetupSeen, SetupStarted};
pub use transport::{StripeConfig, Transport};
