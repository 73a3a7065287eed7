//! Whether the promise was kept: books in, violations out. Pure.
//!
//! The judge is what Stripe and the KMS have, not what the services say of themselves.

use std::collections::{BTreeMap, BTreeSet};

/// What was accepted from a sender or a person, and so must come to an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// A webhook of the KMS.
    Webhook,
    /// A recharge that a person asked for.
    Recharge,
    /// A refund that a person asked for.
    Refund,
    /// A sync that a person asked for.
    Sync,
}

/// All books at rest. Money is in cents.
#[derive(Debug, Clone, Default)]
pub struct Books {
    /// Every organization that anybody has a book about.
    pub organizations: BTreeMap<String, Account>,
    /// Customers at Stripe with payments, whom no organization has.
    pub strangers: Vec<String>,
    /// Every payment intent at Stripe.
    pub intents: Vec<Intent>,
    /// Every refund at Stripe.
    pub stripe_refunds: Vec<StripeRefund>,
    /// Every recharge on record.
    pub records: Vec<Record>,
    /// Every refund on record.
    pub refunds: Vec<Refund>,
    /// What was accepted, by its event.
    pub accepted: BTreeMap<String, Asked>,
    /// What came of each event that is on record.
    pub outcomes: BTreeMap<String, Outcome>,
    /// What was published of each recharge: the event's type, and the recharge.
    pub said: BTreeSet<(String, String)>,
    /// Recharges of which somebody was told that they are in force.
    pub told_recharged: BTreeSet<String>,
    /// Refunds at Stripe of which somebody was told that they were made.
    pub told_refunded: BTreeSet<String>,
    /// What is not as it should be by itself.
    pub wrong: Wrong,
}

/// What was looked for and must be empty, each a line with its ids.
#[derive(Debug, Clone, Default)]
pub struct Wrong {
    /// What did not come to rest: recharges, refunds, leases, consumers with what is left.
    pub unfinished: Vec<String>,
    /// Where the ledger does not verify.
    pub drifts: Vec<String>,
    /// What a comparison of all books found.
    pub findings: Vec<String>,
    /// Dead letters that came back after they were redriven.
    pub letters: Vec<String>,
    /// Panics in logs.
    pub panics: Vec<String>,
    /// Services that ended by themselves.
    pub ended: Vec<String>,
    /// Logs that hold a secret.
    pub secrets: Vec<String>,
    /// Answers that nobody should get, faults that could not be done, and what else went wrong on the way.
    pub complaints: Vec<String>,
}

/// What everybody has about one organization.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// What Stripe captured.
    pub captured: i64,
    /// What Stripe gave back.
    pub refunded: i64,
    /// What the ledger has received for it at Stripe, less what it gave back.
    pub booked: i64,
    /// What the records say was captured and not given back.
    pub recorded: i64,
    /// The ledger's quota; nothing, if it has no account.
    pub ledger_quota: Option<i64>,
    /// Every quota that the ledger ever had.
    pub ledger_quotas: BTreeSet<i64>,
    /// The quota that the KMS enforces; nothing, if it does not know the organization.
    pub kms_quota: Option<i64>,
    /// Every quota that the KMS was ever told.
    pub kms_quotas: Vec<i64>,
}

/// A payment intent at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Its id.
    pub id: String,
    /// Whether money was captured.
    pub succeeded: bool,
    /// How much it is about.
    pub amount: i64,
    /// The recharge that its metadata names.
    pub recharge_id: Option<String>,
    /// The trigger that its metadata names.
    pub trigger: Option<String>,
}

/// A refund at Stripe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeRefund {
    /// Its id.
    pub id: String,
    /// Whether the money went back.
    pub succeeded: bool,
    /// How much.
    pub amount: i64,
    /// The key that its metadata names.
    pub refund_key: Option<String>,
}

/// A recharge on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its id.
    pub recharge_id: String,
    /// What triggered it.
    pub trigger: String,
    /// Its status.
    pub status: String,
    /// What is charged.
    pub total: i64,
    /// Its payment intent, once it is known.
    pub intent: Option<String>,
    /// Whether the records say that money was captured.
    pub charged: bool,
}

/// A refund on record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// Its key.
    pub key: String,
    /// Its status.
    pub status: String,
    /// What went back.
    pub total: i64,
    /// The refund at Stripe.
    pub stripe_id: Option<String>,
}

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It came to this end.
    Ended(String),
    /// It is on record, and has not come to an end.
    Open(String),
}

/// The statuses of a recharge of which nothing more is to come.
const ENDS: [&str; 4] = ["settled", "declined", "failed", "refunded"];

/// Every violation, one line each; none when the promise was kept.
#[must_use]
pub fn violations(books: &Books) -> Vec<String> {
    let mut found = Vec::new();
    balances(books, &mut found);
    quotas(books, &mut found);
    charged_twice(books, &mut found);
    orphaned_charges(books, &mut found);
    orphaned_refunds(books, &mut found);
    outcomes(books, &mut found);
    told(books, &mut found);
    unsaid(books, &mut found);
    wrong(&books.wrong, &mut found);
    found
}

/// Captured less refunded = what the ledger has booked = what is on record = the ledger's quota (there are no fees).
fn balances(books: &Books, found: &mut Vec<String>) {
    for (organization, account) in &books.organizations {
        let Account { captured, refunded, booked, recorded, .. } = account;
        let (net, quota) = (captured - refunded, account.ledger_quota.unwrap_or_default());
        if [*booked, *recorded, quota].iter().any(|other| *other != net) {
            found.push(format!(
                "{organization}: Stripe captured {captured} and gave back {refunded} ({net}), the ledger booked {booked}, the records say {recorded}, the ledger's quota is {quota}"
            ));
        }
    }
    let strangers = books.strangers.iter();
    found.extend(
        strangers.map(|customer| format!("customer {customer} has payments at Stripe, and no organization has it")),
    );
}

/// The KMS enforces the ledger's quota, and was never told one that the ledger never had.
fn quotas(books: &Books, found: &mut Vec<String>) {
    for (organization, account) in &books.organizations {
        match (account.ledger_quota, account.kms_quota) {
            (ledger, Some(kms)) if ledger.unwrap_or_default() != kms => {
                let ledger = ledger.map_or_else(|| "none".to_owned(), |quota| quota.to_string());
                found.push(format!("{organization}: the ledger's quota is {ledger}, the KMS has {kms}"));
            }
            (Some(ledger), None) if ledger != 0 => {
                found.push(format!("{organization}: the ledger's quota is {ledger}, the KMS does not know it"));
            }
            _ => {}
        }
        for quota in account.kms_quotas.iter().filter(|quota| **quota != 0 && !account.ledger_quotas.contains(quota)) {
            found.push(format!("{organization}: the KMS was told {quota}, which was never the ledger's quota"));
        }
    }
}

/// One capture for a recharge, one recharge for a trigger, whoever counts.
fn charged_twice(books: &Books, found: &mut Vec<String>) {
    let captured = || books.intents.iter().filter(|intent| intent.succeeded);
    let by_recharge = captured().filter_map(|intent| Some((intent.recharge_id.as_deref()?, intent.id.as_str())));
    for (recharge, intents) in several(by_recharge) {
        found.push(format!("recharge {recharge} was captured {} times: {}", intents.len(), intents.join(", ")));
    }
    let by_trigger = captured().filter_map(|intent| Some((intent.trigger.as_deref()?, intent.id.as_str())));
    for (trigger, intents) in several(by_trigger) {
        found.push(format!("trigger {trigger} was captured {} times: {}", intents.len(), intents.join(", ")));
    }
    let recharges = books.records.iter().map(|record| (record.trigger.as_str(), record.recharge_id.as_str()));
    for (trigger, recharges) in several(recharges) {
        found.push(format!("trigger {trigger} has {} recharges: {}", recharges.len(), recharges.join(", ")));
    }
    let refunds = books.stripe_refunds.iter().filter(|refund| refund.succeeded);
    let refunds = refunds.filter_map(|refund| Some((refund.refund_key.as_deref()?, refund.id.as_str())));
    for (key, refunds) in several(refunds) {
        found.push(format!("refund {key} was made {} times: {}", refunds.len(), refunds.join(", ")));
    }
}

/// Those keys that have more than one value.
fn several<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeMap<&'a str, Vec<&'a str>> {
    let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (key, value) in pairs {
        values.entry(key).or_default().push(value);
    }
    values.retain(|_, values| values.len() > 1);
    values
}

/// Each payment at Stripe has its record, each record that says so its payment, and both say the same.
fn orphaned_charges(books: &Books, found: &mut Vec<String>) {
    let records: BTreeMap<&str, &Record> =
        books.records.iter().map(|record| (record.recharge_id.as_str(), record)).collect();
    for intent in &books.intents {
        let Some(record) = intent.recharge_id.as_deref().and_then(|id| records.get(id)) else {
            found.push(format!("payment intent {} is of no recharge on record", intent.id));
            continue;
        };
        if !intent.succeeded {
            continue;
        }
        let Record { recharge_id, status, .. } = record;
        if !record.charged || record.intent.as_deref() != Some(intent.id.as_str()) {
            let recorded = record.intent.as_deref().unwrap_or("none");
            found.push(format!(
                "payment intent {} captured {} for recharge {recharge_id}, which is {status} with payment intent {recorded}",
                intent.id, intent.amount
            ));
        } else if record.total != intent.amount {
            found.push(format!(
                "payment intent {} captured {} for recharge {recharge_id}, which is of {}",
                intent.id, intent.amount, record.total
            ));
        }
    }
    let captured: BTreeSet<&str> =
        books.intents.iter().filter(|intent| intent.succeeded).map(|intent| intent.id.as_str()).collect();
    for record in books.records.iter().filter(|record| record.charged) {
        if !record.intent.as_deref().is_some_and(|intent| captured.contains(intent)) {
            let intent = record.intent.as_deref().unwrap_or("none");
            found.push(format!(
                "recharge {} is {} and charged, but Stripe captured nothing with payment intent {intent}",
                record.recharge_id, record.status
            ));
        }
    }
}

/// Each refund at Stripe has its row, each row that says so its refund, and both say the same.
fn orphaned_refunds(books: &Books, found: &mut Vec<String>) {
    let rows: BTreeMap<&str, &Refund> =
        books.refunds.iter().filter_map(|refund| Some((refund.stripe_id.as_deref()?, refund))).collect();
    let mut made = BTreeSet::new();
    for refund in books.stripe_refunds.iter().filter(|refund| refund.succeeded) {
        made.insert(refund.id.as_str());
        let key = refund.refund_key.as_deref().unwrap_or("no key");
        match rows.get(refund.id.as_str()) {
            None => found.push(format!("refund {} ({key}) of {} at Stripe is not on record", refund.id, refund.amount)),
            Some(row) if row.total != refund.amount || row.status != "succeeded" => found.push(format!(
                "refund {} ({key}) gave back {} at Stripe, on record it is {} with {}",
                refund.id, refund.amount, row.status, row.total
            )),
            Some(_) => {}
        }
    }
    for row in books.refunds.iter().filter(|row| row.status == "succeeded") {
        if !row.stripe_id.as_deref().is_some_and(|id| made.contains(id)) {
            let id = row.stripe_id.as_deref().unwrap_or("none");
            found.push(format!(
                "refund {} of {} is on record as made, but Stripe made nothing with {id}",
                row.key, row.total
            ));
        }
    }
}

/// What was accepted came to an end, and so did every recharge.
fn outcomes(books: &Books, found: &mut Vec<String>) {
    for (event, asked) in &books.accepted {
        match books.outcomes.get(event) {
            Some(Outcome::Ended(_)) => {}
            Some(Outcome::Open(status)) => found.push(format!("{asked:?} {event} was accepted and is still {status}")),
            None => found.push(format!("{asked:?} {event} was accepted and nobody knows of it")),
        }
    }
    let open = books.records.iter().filter(|record| !ENDS.contains(&record.status.as_str()));
    found.extend(open.map(|record| format!("recharge {} is {} in the end", record.recharge_id, record.status)));
}

/// What somebody was told is so. A recharge that was in force may have been given back since.
fn told(books: &Books, found: &mut Vec<String>) {
    let in_force = |id: &str| {
        let mut records = books.records.iter().filter(|record| record.recharge_id == id);
        records.any(|record| record.charged && matches!(record.status.as_str(), "settled" | "refunded"))
    };
    let recharges = books.told_recharged.iter().filter(|id| !in_force(id));
    found.extend(recharges.map(|id| format!("somebody was told that recharge {id} is in force, and it never was")));
    let made = |id: &str| books.stripe_refunds.iter().any(|refund| refund.succeeded && refund.id == id);
    let refunds = books.told_refunded.iter().filter(|id| !made(id));
    found.extend(refunds.map(|id| format!("somebody was told that refund {id} was made, and Stripe has none")));
}

/// Other teams live on what is published: every end was said.
fn unsaid(books: &Books, found: &mut Vec<String>) {
    for record in &books.records {
        let end = match record.status.as_str() {
            "settled" => Some("bill.recharge.settled.v1"),
            "declined" => Some("bill.recharge.declined.v1"),
            "refunded" => Some("bill.recharge.refunded.v1"),
            _ => None,
        };
        let charged = record.charged.then_some("bill.recharge.charged.v1");
        for kind in charged.into_iter().chain(end) {
            if !books.said.contains(&(kind.to_owned(), record.recharge_id.clone())) {
                found.push(format!("recharge {} is {}, and {kind} was never said", record.recharge_id, record.status));
            }
        }
    }
}

fn wrong(wrong: &Wrong, found: &mut Vec<String>) {
    let lists = [
        ("did not come to rest", &wrong.unfinished),
        ("the ledger does not verify", &wrong.drifts),
        ("the comparison of the books found", &wrong.findings),
        ("a dead letter came back", &wrong.letters),
        ("a panic", &wrong.panics),
        ("a service ended by itself", &wrong.ended),
        ("a secret in a log", &wrong.secrets),
        ("on the way", &wrong.complaints),
    ];
    for (what, lines) in lists {
        found.extend(lines.iter().map(|line| format!("{what}: {line}")));
    }
}
