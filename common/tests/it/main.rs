//! Against a real nats-server, one for each test: the consumer loop, confirmed publishing, and the definitions.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod definitions;
mod outcomes;
mod parking;
mod publishing;
mod restarts;
mod rig;
mod sharing;
