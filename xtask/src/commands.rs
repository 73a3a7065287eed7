//! One file for each command.

pub(crate) mod bench;
pub(crate) mod demo;
pub(crate) mod doctor;
mod release;
pub(crate) mod schemas;
pub(crate) mod screenshots;
pub(crate) mod test;
pub(crate) mod token;
pub(crate) mod torture;
