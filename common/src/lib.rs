//! What every service of Bill-Service shares: the contract on the broker, the one consumer loop, the clients of
//! outside services, and small plumbing. It imports no other crate of the workspace.
#![forbid(unsafe_code)]

pub mod backup;
pub mod broker;
pub mod certificates;
pub mod clients;
pub mod clock;
pub mod config;
pub mod contract;
pub mod db;
pub mod dead_letters;
pub mod doctor;
pub mod failure;
pub mod health;
pub mod ids;
pub mod logins;
pub mod micro;
pub mod money;
pub mod parts;
pub mod pay_link;
pub mod periodic;
pub mod queries;
pub mod reconciliation;
pub mod service;
pub mod shutdown;
pub mod telemetry;
pub mod worker;
