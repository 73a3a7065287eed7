//! Webhooks: bytes that came from outside become verified events.

pub mod alert;
pub(crate) mod alerts;
pub mod limit_exceeded;
pub(crate) mod litellm;
pub mod signature;
pub mod storable;
