//! Answers as people read them. Pure. What an answer has beyond what is known here is shown all the same, under the API's
//! own names.

mod chain;
mod details;
mod list;
mod outcome;
mod value;

use chrono::{DateTime, FixedOffset, Utc};

pub(crate) use chain::chain;
pub(crate) use details::{details, full_details, indented, pairs};
pub(crate) use list::{As, Column, list, table};
pub(crate) use outcome::{accepted, outcome};
pub(crate) use value::{plain, text_of};

/// How answers are shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Show {
    /// The zone in which people read times.
    pub(crate) zone: fn(DateTime<Utc>) -> DateTime<FixedOffset>,
    /// How wide a table may be; `None`: as wide as it comes.
    pub(crate) width: Option<u16>,
}

#[cfg(test)]
impl Show {
    /// UTC, and as wide as it comes.
    pub(crate) fn plain_utc() -> Self {
        Self { zone: |at| at.fixed_offset(), width: None }
    }
}
