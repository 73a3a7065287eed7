//! The numbers, each beside the limit that it is measured against, in one run.
//!
//! [`fleet`] fills a database with what the services would have written, for whoever needs a system that has been in use
//! for a year; [`parts`] has what is measured of it, [`figures`] what is told of that, and [`screenshots`] takes pictures
//! of it.
#![forbid(unsafe_code)]

pub mod figures;
pub mod fleet;
pub mod measure;
pub mod parts;
mod repo;
pub mod screenshots;
