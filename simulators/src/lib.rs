#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod clock;
mod config;
mod faults;
mod http;
mod ids;
pub mod kms;
pub mod litellm;
mod number;
mod outbound;
mod server;
pub mod stripe;

pub use outbound::post_json as post;
pub use server::Running;
