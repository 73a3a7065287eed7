//! Against the real servers: they start, die, and come back with what they had.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod nats;
mod postgres;
mod process;
