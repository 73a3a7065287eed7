//! `users`: whose keys an organization's are.

pub(crate) mod repo;
