//! The whole system on one machine, as real processes: for end-to-end tests and for the demo.
#![forbid(unsafe_code)]

pub mod books;
pub mod browser;
pub mod client;
pub mod database;
pub mod demo;
pub mod doctor;
pub mod random;
pub mod repeat;
pub mod secrets;
pub mod service;
pub mod stack;
pub mod torture;
pub mod wait;

pub use stack::{Options, Stack};
