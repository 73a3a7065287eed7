//! What organizations spend over time, as the syncer saw it.

pub(crate) mod repo;
