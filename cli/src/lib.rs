//! `bill`: what people do with Bill-Service, from a terminal, over its HTTP API. A command becomes one call
//! (`commands`, pure), the call is made (`client`, `run`), and its answer is written for people (`show`, pure) or for
//! programs (`--json`).
#![forbid(unsafe_code)]

mod call;
mod client;
mod commands;
mod doctor;
mod failure;
mod run;
mod show;
mod terminal;
mod values;

pub use run::main;
