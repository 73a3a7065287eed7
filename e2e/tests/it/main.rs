//! End-to-end tests: real processes, a real broker, a real database; Stripe and the KMS are played over HTTP.
#![forbid(unsafe_code)]

mod alerts;
mod browser;
mod bursts;
mod chain;
mod cli;
mod configuration;
mod console;
mod declines;
mod faults;
mod garbage;
mod house;
mod migrations;
mod net;
mod openapi;
mod privileges;
mod restore;
mod secrets;
mod steps;
mod stripe_side;
mod tls;
mod torture;
mod undo;
