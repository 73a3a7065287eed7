use proptest::prelude::*;

use super::*;

fn drive(facts: &[Fact]) -> (State, Vec<Command>) {
    let mut state = State::Pending;
    let mut commands = Vec::new();
    for fact in facts {
        let (next, command) = advance(state, *fact);
        commands.extend(command);
        state = next;
    }
    (state, commands)
}

#[test]
fn every_step_has_its_undo() {
    use Command::{GiveBack, Say};
    use Fact::{
        AuthenticationRequired, ChargeDeclined, ChargeNeverHappened, ChargeProcessing, ChargeSucceeded, CreditOverdue,
        Credited, ForeignRefundReturned, InForce, MoneyBack, RefundReturned, SyncFailed,
    };
    for (facts, state, commands) in [
        (vec![ChargeSucceeded, Credited, InForce], State::Settled, vec![Say, Say]),
        (vec![ChargeDeclined], State::Declined, vec![Say]),
        (vec![ChargeNeverHappened], State::Failed, vec![Say]),
        (vec![ChargeProcessing, ChargeSucceeded, Credited, InForce], State::Settled, vec![Say, Say]),
        (vec![ChargeProcessing, ChargeDeclined], State::Declined, vec![Say]),
        (vec![AuthenticationRequired, ChargeSucceeded, Credited, InForce], State::Settled, vec![Say, Say, Say]),
        (vec![AuthenticationRequired, ChargeDeclined], State::Declined, vec![Say, Say]),
        (vec![ChargeSucceeded, CreditOverdue, MoneyBack], State::Refunded, vec![Say, GiveBack]),
        (vec![ChargeSucceeded, CreditOverdue, Credited, MoneyBack], State::Refunded, vec![Say, GiveBack]),
        (vec![ChargeSucceeded, Credited, SyncFailed, MoneyBack], State::Refunded, vec![Say, GiveBack]),
        (vec![ChargeSucceeded, SyncFailed, Credited, InForce, MoneyBack], State::Refunded, vec![Say, GiveBack]),
        // The deadline of a step that is done undoes nothing.
        (vec![ChargeSucceeded, Credited, CreditOverdue, InForce, SyncFailed], State::Settled, vec![Say, Say]),
        // Refunded at Stripe by a person, at any time.
        (vec![ChargeSucceeded, MoneyBack, Credited, InForce], State::Refunded, vec![Say]),
        (vec![ChargeSucceeded, Credited, InForce, MoneyBack], State::Refunded, vec![Say, Say]),
        // The bank sends a refund back.
        (
            vec![ChargeSucceeded, CreditOverdue, MoneyBack, RefundReturned, MoneyBack],
            State::Refunded,
            vec![Say, GiveBack],
        ),
        (vec![ChargeSucceeded, Credited, InForce, MoneyBack, ForeignRefundReturned], State::Settled, vec![Say, Say]),
        // A charge that turns up after it was certain that there was none.
        (vec![ChargeNeverHappened, ChargeSucceeded, MoneyBack], State::Refunded, vec![Say, GiveBack]),
        (vec![ChargeDeclined, ChargeSucceeded, MoneyBack], State::Refunded, vec![Say, GiveBack]),
    ] {
        assert_eq!(drive(&facts), (state, commands), "{facts:?}");
    }
}

#[test]
fn words_name_states() {
    for state in State::ALL {
        assert_eq!(State::parse(state.as_str()), Some(state));
    }
    for status in RefundStatus::ALL {
        assert_eq!(RefundStatus::parse(status.as_str()), Some(status));
    }
    assert_eq!(State::parse("completed"), None);
}

#[test]
fn a_repeated_fact_moves_nothing_and_gives_nothing_back_twice() {
    for state in State::ALL {
        for fact in Fact::ALL {
            let (next, command) = advance(state, fact);
            let (again, command_again) = advance(next, fact);
            assert_eq!(again, next, "{state:?} {fact:?}");
            match command {
                Some(Command::GiveBack) => assert_eq!(command_again, None, "{state:?} {fact:?}"),
                said => assert_eq!(command_again, said, "{state:?} {fact:?}"),
            }
        }
    }
}

#[test]
fn a_state_without_an_end_has_a_way_to_one() {
    for state in State::ALL.into_iter().filter(|state| !state.is_final()) {
        let mut reached = vec![state];
        let mut seen = reached.clone();
        while let Some(from) = reached.pop() {
            for fact in Fact::ALL {
                let (next, _) = advance(from, fact);
                if !seen.contains(&next) {
                    seen.push(next);
                    reached.push(next);
                }
            }
        }
        assert!(seen.iter().any(|state| state.is_final()), "{state:?}");
    }
}

#[test]
fn refunds() {
    use RefundCommand::{AlarmAndRepeat, AlarmAndReplace, SayFailed, SayRefunded};
    use RefundFact::{Accepted, Done, GivenUp, Moot, Refused};
    use RefundStatus::{Failed, Pending, Requested, Succeeded};
    for (facts, status, last) in [
        (vec![Done], Succeeded, Some(SayRefunded)),
        (vec![Done, Done], Succeeded, Some(SayRefunded)),
        (vec![Refused], Requested, Some(AlarmAndRepeat)),
        (vec![Refused, Refused, Done], Succeeded, Some(SayRefunded)),
        (vec![Accepted], Pending, None),
        (vec![Accepted, Done], Succeeded, Some(SayRefunded)),
        (vec![Accepted, GivenUp], Failed, Some(AlarmAndReplace)),
        (vec![Done, GivenUp], Failed, Some(AlarmAndReplace)),
        // Late and out of order: what has ended stays.
        (vec![Done, Accepted], Succeeded, None),
        (vec![Done, Refused], Succeeded, None),
        (vec![Done, GivenUp, GivenUp], Failed, Some(SayFailed)),
        (vec![Done, GivenUp, Done], Failed, None),
        (vec![Moot], Failed, None),
    ] {
        let mut at = Requested;
        let mut command = None;
        for fact in &facts {
            (at, command) = advance_refund(at, *fact);
        }
        assert_eq!((at, command), (status, last), "{facts:?}");
    }
}

proptest! {
    /// Captured money is never forgotten: whatever becomes known in whatever order, it is credited and in force, on its
    /// way forward or back, or was given back.
    #[test]
    fn captured_money_stays_in_sight(facts in proptest::collection::vec(0_usize..Fact::ALL.len(), 0..30)) {
        let mut state = State::Pending;
        let mut held = false;
        for fact in facts.into_iter().map(|index| Fact::ALL[index]) {
            let (next, command) = advance(state, fact);
            match fact {
                Fact::ChargeSucceeded if !matches!(state, State::Refunded) => held = true,
                Fact::MoneyBack if state.holds_money() => held = false,
                Fact::RefundReturned | Fact::ForeignRefundReturned if state == State::Refunded => held = true,
                _ => {}
            }
            prop_assert!(!held || next.holds_money(), "{state:?} {fact:?} {next:?}");
            // Whoever begins to give back has a refund opened, once; one that was sent back has replaced itself.
            let begins = fact != Fact::RefundReturned && !matches!(state, State::Refunding | State::Returning) && matches!(next, State::Refunding | State::Returning);
            prop_assert_eq!(begins, command == Some(Command::GiveBack));
            state = next;
        }
    }
}
