//! Stripe: async-stripe's typed requests over a transport of our own, and what an answer means.

mod outcome;
mod requests;
mod transport;

pub use outcome::{FaultKind, StripeFault};
pub use requests::{Captured, Card, ChargeOrder, ChargeOutcome, Stripe};
pub use transport::{StripeConfig, Transport};
