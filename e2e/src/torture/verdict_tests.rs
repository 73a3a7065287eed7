//! The judge can find against: books that are right, and each way in which they can be wrong.

use super::verdict::{Account, Asked, Books, Intent, Outcome, Record, Refund, StripeRefund, Wrong, violations};

/// One organization with a recharge that settled and one that was refunded.
fn right() -> Books {
    let account = Account {
        captured: 40_000,
        refunded: 20_000,
        booked: 20_000,
        recorded: 20_000,
        ledger_quota: Some(20_000),
        ledger_quotas: [20_000, 40_000].into(),
        kms_quota: Some(20_000),
        kms_quotas: vec![0, 20_000, 40_000, 20_000],
    };
    let record = |n: &str, status: &str| Record {
        recharge_id: format!("r{n}"),
        trigger: format!("evt_{n}"),
        status: status.to_owned(),
        total: 20_000,
        intent: Some(format!("pi_{n}")),
        charged: true,
    };
    let intent = |n: &str| Intent {
        id: format!("pi_{n}"),
        succeeded: true,
        amount: 20_000,
        recharge_id: Some(format!("r{n}")),
        trigger: Some(format!("evt_{n}")),
    };
    let refund_key = Some("undo:r2".to_owned());
    Books {
        organizations: [("acme".to_owned(), account)].into(),
        strangers: Vec::new(),
        intents: vec![intent("1"), intent("2")],
        stripe_refunds: vec![StripeRefund { id: "re_2".to_owned(), succeeded: true, amount: 20_000, refund_key }],
        records: vec![record("1", "settled"), record("2", "refunded")],
        refunds: vec![Refund {
            key: "undo:r2".to_owned(),
            status: "succeeded".to_owned(),
            total: 20_000,
            stripe_id: Some("re_2".to_owned()),
        }],
        accepted: [("evt_1".to_owned(), Asked::Webhook), ("req_1".to_owned(), Asked::Sync)].into(),
        outcomes: [
            ("evt_1".to_owned(), Outcome::Ended("settled".to_owned())),
            ("req_1".to_owned(), Outcome::Ended("synced".to_owned())),
        ]
        .into(),
        said: [("charged", "r1"), ("settled", "r1"), ("charged", "r2"), ("refunded", "r2")]
            .map(|(word, id)| (said(word), id.to_owned()))
            .into(),
        told_recharged: ["r1".to_owned()].into(),
        told_refunded: ["re_2".to_owned()].into(),
        wrong: Wrong::default(),
    }
}

fn said(word: &str) -> String {
    format!("bill.recharge.{word}.v1")
}

/// What is made wrong, and what must be said of it.
fn finds(what: &str, spoil: impl FnOnce(&mut Books)) {
    let mut books = right();
    spoil(&mut books);
    let found = violations(&books);
    assert!(found.iter().any(|line| line.contains(what)), "{what:?} is not in {found:#?}");
}

fn account(books: &mut Books) -> &mut Account {
    books.organizations.get_mut("acme").unwrap()
}

#[test]
fn books_that_are_right() {
    assert_eq!(violations(&right()), Vec::<String>::new());
    let mut declined = right();
    declined.intents.push(Intent {
        id: "pi_3".to_owned(),
        succeeded: false,
        amount: 20_000,
        recharge_id: Some("r3".to_owned()),
        trigger: Some("evt_3".to_owned()),
    });
    declined.records.push(Record {
        recharge_id: "r3".to_owned(),
        trigger: "evt_3".to_owned(),
        status: "declined".to_owned(),
        total: 20_000,
        intent: Some("pi_3".to_owned()),
        charged: false,
    });
    declined.said.insert((said("declined"), "r3".to_owned()));
    declined.organizations.insert("poor".to_owned(), Account { kms_quota: Some(0), ..Account::default() });
    assert_eq!(violations(&declined), Vec::<String>::new());
}

#[test]
fn money_that_does_not_balance() {
    finds("acme: Stripe captured 60000", |books| account(books).captured += 20_000);
    finds("gave back 0", |books| account(books).refunded = 0);
    finds("the ledger booked 19999", |books| account(books).booked = 19_999);
    finds("the records say 1,".trim_end_matches(','), |books| account(books).recorded = 1);
    finds("the ledger's quota is 0", |books| account(books).ledger_quota = None);
    finds("customer cus_1 has payments", |books| books.strangers.push("cus_1".to_owned()));
}

#[test]
fn quotas_that_are_not_the_ledgers() {
    finds("the ledger's quota is 20000, the KMS has 40000", |books| account(books).kms_quota = Some(40_000));
    finds("the KMS does not know it", |books| account(books).kms_quota = None);
    finds("was told 60000", |books| account(books).kms_quotas.push(60_000));
    finds("stranger: the ledger's quota is none, the KMS has 7", |books| {
        let stranger = Account { kms_quota: Some(7), ..Account::default() };
        books.organizations.insert("stranger".to_owned(), stranger);
    });
}

#[test]
fn money_taken_or_given_twice() {
    finds("recharge r1 was captured 2 times: pi_1, pi_9", |books| {
        let twin = Intent { id: "pi_9".to_owned(), trigger: None, ..books.intents[0].clone() };
        books.intents.push(twin);
    });
    finds("trigger evt_1 was captured 2 times", |books| books.intents[1].trigger = Some("evt_1".to_owned()));
    finds("trigger evt_1 has 2 recharges: r1, r2", |books| books.records[1].trigger = "evt_1".to_owned());
    finds("refund undo:r2 was made 2 times", |books| {
        let twin = StripeRefund { id: "re_9".to_owned(), ..books.stripe_refunds[0].clone() };
        books.stripe_refunds.push(twin);
    });
}

#[test]
fn charges_without_their_other_half() {
    finds("payment intent pi_1 is of no recharge", |books| books.intents[0].recharge_id = None);
    finds("payment intent pi_1 is of no recharge", |books| drop(books.records.remove(0)));
    finds("captured 20000 for recharge r1, which is pending", |books| {
        books.records[0].charged = false;
        books.records[0].status = "pending".to_owned();
    });
    finds("with payment intent pi_7", |books| books.records[0].intent = Some("pi_7".to_owned()));
    finds("Stripe captured nothing with payment intent pi_1", |books| books.intents[0].succeeded = false);
    finds("which is of 1", |books| books.records[0].total = 1);
}

#[test]
fn refunds_without_their_other_half() {
    finds("refund re_2 (undo:r2) of 20000 at Stripe is not on record", |books| books.refunds.clear());
    finds("on record it is requested", |books| books.refunds[0].status = "requested".to_owned());
    finds("with 5", |books| books.refunds[0].total = 5);
    finds("but Stripe made nothing with re_2", |books| books.stripe_refunds.clear());
}

#[test]
fn events_without_an_outcome() {
    finds("Webhook evt_1 was accepted and nobody knows of it", |books| drop(books.outcomes.remove("evt_1")));
    finds("Sync req_1 was accepted and is still pending", |books| {
        books.outcomes.insert("req_1".to_owned(), Outcome::Open("pending".to_owned()));
    });
    finds("recharge r2 is refunding in the end", |books| books.records[1].status = "refunding".to_owned());
}

#[test]
fn answers_that_were_not_true() {
    finds("told that recharge r9 is in force", |books| {
        books.told_recharged.insert("r9".to_owned());
    });
    finds("told that recharge r1 is in force", |books| books.records[0].status = "declined".to_owned());
    finds("told that refund re_9 was made", |books| {
        books.told_refunded.insert("re_9".to_owned());
    });
}

#[test]
fn ends_that_nobody_was_told_of() {
    finds("recharge r1 is settled, and bill.recharge.settled.v1 was never said", |books| {
        books.said.remove(&(said("settled"), "r1".to_owned()));
    });
    finds("recharge r2 is refunded, and bill.recharge.charged.v1 was never said", |books| {
        books.said.remove(&(said("charged"), "r2".to_owned()));
    });
}

#[test]
fn what_must_be_empty() {
    let one = || vec!["this".to_owned()];
    finds("did not come to rest: this", |books| books.wrong.unfinished = one());
    finds("the ledger does not verify: this", |books| books.wrong.drifts = one());
    finds("the comparison of the books found: this", |books| books.wrong.findings = one());
    finds("a dead letter came back: this", |books| books.wrong.letters = one());
    finds("a panic: this", |books| books.wrong.panics = one());
    finds("a service ended by itself: this", |books| books.wrong.ended = one());
    finds("a secret in a log: this", |books| books.wrong.secrets = one());
    finds("on the way: this", |books| books.wrong.complaints = one());
}
