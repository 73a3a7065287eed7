//! The saga of one recharge: its states, the facts that move it, and what must be said at each move. Pure.
//!
//! Forward and undo stand side by side:
//!
//! | step | forward | undo |
//! |---|---|---|
//! | charge | `Pending → Charged` by Stripe | refund (`Refunding → Refunded`) |
//! | credit | `Charged → Credited` by the ledger | reversal, after the refund |
//! | sync | `Credited → Settled` by the syncer | the ledger's quota is pushed again |
//!
//! The forward half is driven from here. `Refunding` and `Refunded` are states of the table already, so that a
//! recharge stays in flight while its undo is not finished.

/// Where a recharge is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Claimed; nobody was charged yet, or nobody knows.
    Pending,
    /// Stripe will know later.
    Processing,
    /// The money is captured.
    Charged,
    /// The ledger booked it.
    Credited,
    /// The quota is in force: the end.
    Settled,
    /// The bank said no: an end.
    Declined,
    /// The bank wants the customer: an end, until there is a page to confirm on.
    ActionRequired,
    /// Nothing was captured and nothing will be: an end.
    Failed,
    /// The money is going back.
    Refunding,
    /// The money went back: an end.
    Refunded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Processing,
        Self::Charged,
        Self::Credited,
        Self::Settled,
        Self::Declined,
        Self::ActionRequired,
        Self::Failed,
        Self::Refunding,
        Self::Refunded,
    ];

    /// The word that is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Processing => "processing",
            Self::Charged => "charged",
            Self::Credited => "credited",
            Self::Settled => "settled",
            Self::Declined => "declined",
            Self::ActionRequired => "action_required",
            Self::Failed => "failed",
            Self::Refunding => "refunding",
            Self::Refunded => "refunded",
        }
    }

    /// The state that a stored word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether it has ended: only then may another recharge of the organization begin.
    #[must_use]
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Settled | Self::Declined | Self::ActionRequired | Self::Failed | Self::Refunded)
    }

    /// Whether money is captured and not given back.
    #[must_use]
    pub const fn holds_money(self) -> bool {
        matches!(self, Self::Charged | Self::Credited | Self::Settled | Self::Refunding)
    }
}

/// What became known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fact {
    /// Stripe captured the money.
    ChargeSucceeded,
    /// Stripe will know later.
    ChargeProcessing,
    /// The bank said no, or Stripe refused.
    ChargeDeclined,
    /// The bank wants the customer.
    AuthenticationRequired,
    /// It is certain that nothing was captured.
    ChargeNeverHappened,
    /// The ledger booked it.
    Credited,
    /// The backend enforces a quota that contains it.
    InForce,
}

/// What must be said, once and again whenever the fact is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Say {
    /// `recharges.charged`
    Charged,
    /// `recharges.declined`
    Declined,
    /// `recharges.action_required`
    ActionRequired,
    /// `recharges.settled`
    Settled,
}

/// Moves a recharge on. A repeated fact leaves it where it is and says the same again; a fact that comes too late says nothing.
#[must_use]
pub fn advance(state: State, fact: Fact) -> (State, Option<Say>) {
    use State::{ActionRequired, Charged, Credited, Declined, Failed, Pending, Processing, Settled};
    match (fact, state) {
        (Fact::ChargeSucceeded, Pending | Processing | Charged) => (Charged, Some(Say::Charged)),
        (Fact::ChargeProcessing, Pending | Processing) => (Processing, None),
        (Fact::ChargeDeclined, Pending | Processing | Declined) => (Declined, Some(Say::Declined)),
        (Fact::AuthenticationRequired, Pending | Processing | ActionRequired) => {
            (ActionRequired, Some(Say::ActionRequired))
        }
        (Fact::ChargeNeverHappened, Pending | Processing | Failed) => (Failed, Some(Say::Declined)),
        (Fact::Credited, Charged | Credited) => (Credited, None),
        (Fact::InForce, Credited | Settled) => (Settled, Some(Say::Settled)),
        (_, state) => (state, None),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FACTS: [Fact; 7] = [
        Fact::ChargeSucceeded,
        Fact::ChargeProcessing,
        Fact::ChargeDeclined,
        Fact::AuthenticationRequired,
        Fact::ChargeNeverHappened,
        Fact::Credited,
        Fact::InForce,
    ];

    #[test]
    fn the_straight_road_says_what_happened() {
        let mut state = State::Pending;
        let mut said = Vec::new();
        for fact in [Fact::ChargeSucceeded, Fact::Credited, Fact::InForce] {
            let (next, say) = advance(state, fact);
            said.extend(say);
            state = next;
        }
        assert_eq!((state, said), (State::Settled, vec![Say::Charged, Say::Settled]));
    }

    #[test]
    fn words_name_states() {
        for state in State::ALL {
            assert_eq!(State::parse(state.as_str()), Some(state));
        }
        assert_eq!(State::parse("completed"), None);
    }

    #[test]
    fn a_repeated_fact_says_the_same_and_moves_nothing() {
        for state in State::ALL {
            for fact in FACTS {
                let (next, say) = advance(state, fact);
                let (again, say_again) = advance(next, fact);
                assert_eq!(again, next, "{state:?} {fact:?}");
                assert_eq!(say_again, say, "{state:?} {fact:?}");
            }
        }
    }

    #[test]
    fn no_fact_moves_a_recharge_out_of_an_end() {
        for state in State::ALL.into_iter().filter(|state| state.has_ended()) {
            for fact in FACTS {
                assert_eq!(advance(state, fact).0, state, "{state:?} {fact:?}");
            }
        }
    }

    proptest! {
        /// Captured money is never forgotten: once charged, only being settled ends it here.
        #[test]
        fn captured_money_stays_in_sight(facts in proptest::collection::vec(0_usize..FACTS.len(), 0..20)) {
            let mut state = State::Pending;
            let mut captured = false;
            for index in facts {
                let (next, _) = advance(state, FACTS[index]);
                if FACTS[index] == Fact::ChargeSucceeded && !state.has_ended() {
                    captured = true;
                }
                prop_assert!(!captured || next.holds_money(), "{:?} after {:?}", next, FACTS[index]);
                state = next;
            }
        }
    }
}
