//! Ingress between a real broker and a real database, with Stripe and the KMS played by the simulators.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on has failed")]

mod access;
mod alerts;
mod any_input;
mod api;
mod cards;
mod closing;
mod console;
mod console_history;
mod console_operator;
mod console_organization;
mod dead_letters;
mod dev;
mod evaluate;
mod figures;
mod outages;
mod pay;
mod pipeline;
mod reconciliations;
mod refunds;
mod roles;
mod simulate;
mod standings;
mod stripe;
mod waiting;
mod webhook;
mod world;
