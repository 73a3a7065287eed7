//! End-to-end tests: real processes, a real broker, a real database; Stripe and the KMS are played over HTTP.
#![forbid(unsafe_code)]

mod alerts;
mod backup;
mod browser;
mod bursts;
mod chain;
mod cli;
mod configuration;
mod console;
mod declines;
mod doctor;
mod faults;
mod garbage;
mod house;
mod migrations;
mod monitoring;
mod net;
mod openapi;
mod privileges;
mod restore;
mod rollback;
mod runbook;
mod secrets;
mod steps;
mod stopping;
mod stripe_side;
mod tls;
mod torture;
mod tracing;
mod undo;
