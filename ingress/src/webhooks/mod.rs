//! Webhooks: bytes that came from outside become verified events.

pub mod alert;
pub(crate) mod alerts;
mod card_update;
pub mod limit_exceeded;
pub(crate) mod litellm;
mod repo;
pub mod signature;
pub mod storable;
pub(crate) mod stripe;
pub mod stripe_event;
pub mod stripe_signature;
