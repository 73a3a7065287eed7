//! The ledger against a real PostgreSQL.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

mod handling;
mod migrations;
mod posts;
mod promises;
mod reconciles;
mod reversals;
mod support;
mod verifies;
