//! Against a real nats-server, one for each test: the consumer loop, confirmed publishing, and the definitions. Against
//! the simulator of Stripe: what its answers become.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod definitions;
mod given_up;
mod micro;
mod outcomes;
mod parking;
mod publishing;
mod queries;
mod redriving;
mod restarts;
mod rig;
mod sharing;
mod stripe;
