//! Corrections by people. Pure.

use super::{Decision, Posting};

/// What a correction does whose amount was worked out from version `basis` of the books, when `newest` is their version and
/// `booked` says that it was booked before. What was booked in between would be counted twice, or not at all: a difference is
/// only right beside what it is the difference to.
#[must_use]
pub fn correction(posting: Posting, basis: i64, booked: bool, newest: i64) -> Decision {
    if booked || basis == newest {
        return Decision::Post(vec![posting]);
    }
    Decision::TooLate(format!(
        "{} was worked out from version {basis} of the books, which are at version {newest}: nothing is booked",
        posting.description()
    ))
}
