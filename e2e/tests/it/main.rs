//! End-to-end tests: real processes, a real broker, a real database; Stripe and the KMS are played over HTTP.
#![forbid(unsafe_code)]

mod bursts;
mod chain;
mod declines;
mod faults;
mod garbage;
mod house;
mod migrations;
mod net;
mod steps;
mod stripe_side;
mod torture;
mod undo;
