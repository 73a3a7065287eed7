//! The simulators from outside, over HTTP: nothing here knows how they work.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

mod checkout;
mod declines;
mod faults;
mod idempotency;
mod intents;
mod kms;
mod litellm;
mod money_back;
mod python_sdk;
mod support;
mod typed;
mod webhooks;
