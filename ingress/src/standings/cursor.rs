//! A place in the list of standings, and the text of it that travels. Pure.
//!
//! A place is a key and not a count of rows, also where the key is computed: whoever becomes more urgent while somebody
//! turns pages is missed on the pages that follow, but nobody else is shown twice or left out because of that, as everybody
//! would be behind an offset. All that the database would save with an offset is nothing: everybody's urgency is computed
//! for the counts in any case.

use std::fmt;

use common::ids::OrganizationId;
use rust_decimal::Decimal;

use super::Order;

/// A place: what is compared first, then, then last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) order: Order,
    /// The number of the urgency; or 1 for those of whom it is not known what is left, who come last.
    pub(crate) rank: i32,
    /// What is left.
    pub(crate) available: Decimal,
    pub(crate) organization: OrganizationId,
}

/// What travels.
pub(crate) const PATTERN: &str = r"^(urgency|id|available)_[0-9]_-?[0-9]{1,28}(\.[0-9]{1,28})?_[A-Za-z0-9_-]{1,64}$";

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { order, rank, available, organization } = self;
        write!(f, "{}_{rank}_{available}_{organization}", order.as_str())
    }
}

impl Position {
    /// Reads what travelled.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, '_');
        let (order, rank, available, organization) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let number = available.strip_prefix('-').unwrap_or(available);
        let plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && rank.len() == 1;
        Some(Self {
            order: Order::parse(order)?,
            rank: rank.parse().ok().filter(|rank| plain && (0..10).contains(rank))?,
            available: Decimal::from_str_exact(available).ok()?,
            organization: OrganizationId::parse(organization).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_travel() {
        for (order, rank, available, organization) in [
            (Order::Urgency, 7, "0", "acme"),
            (Order::Id, 0, "0", "a_b-c_"),
            (Order::Available, 0, "-304.83655885839", "_"),
            (Order::Available, 1, "0", "acme"),
        ] {
            let organization = OrganizationId::parse(organization).unwrap();
            let place = Position { order, rank, available: available.parse().unwrap(), organization };
            assert_eq!(Position::parse(&place.to_string()), Some(place));
        }
        for bad in [
            "",
            "acme",
            "id_0_0",
            "id_0_0_",
            "id_0_0_a b",
            "worst_0_0_acme",
            "id_x_0_acme",
            "id_-1_0_acme",
            "id_10_0_acme",
            "id_+1_0_acme",
            "id_0_1e5_acme",
            "id_0__acme",
            "id_0_-_acme",
            "id_0_99999999999999999999999999999999999_acme",
        ] {
            assert_eq!(Position::parse(bad), None, "{bad}");
        }
    }
}
