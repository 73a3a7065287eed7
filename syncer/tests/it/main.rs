//! The syncer against a real PostgreSQL, and a KMS or a LiteLLM that is played. Run through `cargo xtask test`, which starts the database.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise, in its helpers too"
)]

mod kms;
mod litellm;
mod odd;
mod world;

mod client;
mod concurrency;
mod crashes;
mod deadlines;
mod drift;
mod evaluating;
mod first_contact;
mod litellm_guards;
mod litellm_teams;
mod migrations;
mod odd_kms;
mod pushing;
mod reconciling;
mod sweeping;
mod teams;
mod turns;
