//! `/_sim/books`: the account's totals, the judge in tests.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::disputes;
use super::world::{World, number, text};
use crate::server::Shared;

#[derive(Debug, Default)]
struct Customer {
    captured: i64,
    refunded: i64,
    intents: Vec<Value>,
    refunds: Vec<Value>,
}

pub(super) fn of(world: &World, shared: &Shared, replays: u64) -> Value {
    let mut captured: BTreeMap<String, i64> = BTreeMap::new();
    let mut charges_succeeded = 0;
    let mut customers: BTreeMap<String, Customer> = BTreeMap::new();
    for charge in world.newest_first("charge") {
        if charge["status"] != "succeeded" || charge["captured"] != true {
            continue;
        }
        charges_succeeded += 1;
        let amount = number(charge, "amount_captured");
        *captured.entry(text(charge, "currency")).or_default() += amount;
        customers.entry(owner(charge)).or_default().captured += amount;
    }
    let mut refunds: BTreeMap<String, BTreeMap<String, i64>> = BTreeMap::new();
    for refund in world.newest_first("refund") {
        let by_currency = refunds.entry(text(refund, "status")).or_default();
        *by_currency.entry(text(refund, "currency")).or_default() += number(refund, "amount");
        let charge = world.find(&text(refund, "charge")).map(owner).unwrap_or_default();
        let customer = customers.entry(charge).or_default();
        if refund["status"] == "succeeded" {
            customer.refunded += number(refund, "amount");
        }
        customer.refunds.push(json!({
            "id": refund["id"],
            "payment_intent": refund["payment_intent"],
            "amount": refund["amount"],
            "currency": refund["currency"],
            "status": refund["status"],
            "metadata": refund["metadata"],
        }));
    }
    let mut by_status: BTreeMap<String, u64> = BTreeMap::new();
    for intent in world.newest_first("payment_intent") {
        *by_status.entry(text(intent, "status")).or_default() += 1;
        customers.entry(owner(intent)).or_default().intents.push(json!({
            "id": intent["id"],
            "amount": intent["amount"],
            "currency": intent["currency"],
            "status": intent["status"],
            "created": intent["created"],
            "metadata": intent["metadata"],
        }));
    }
    json!({
        "captured": captured,
        "refunded": refunds.remove("succeeded").unwrap_or_default(),
        "refunds_pending": refunds.remove("pending").unwrap_or_default(),
        "refunds_failed": refunds.remove("failed").unwrap_or_default(),
        "disputed": disputed(world, disputes::took_money),
        "disputes_lost": disputed(world, |dispute| dispute["status"] == "lost"),
        "by_customer": by_customer(customers),
        "payment_intents": by_status,
        "charges_succeeded": charges_succeeded,
        "calls": shared.calls(),
        "idempotent_replays": replays,
        "tcp_connections": shared.connections(),
    })
}

/// The customer's id; objects without one are kept under `none`.
fn owner(object: &Value) -> String {
    object["customer"].as_str().unwrap_or("none").to_owned()
}

fn disputed(world: &World, keep: impl Fn(&Value) -> bool) -> BTreeMap<String, i64> {
    let mut totals = BTreeMap::new();
    for dispute in world.newest_first("dispute").filter(|dispute| keep(dispute)) {
        *totals.entry(text(dispute, "currency")).or_default() += number(dispute, "amount");
    }
    totals
}

fn by_customer(customers: BTreeMap<String, Customer>) -> Value {
    customers
        .into_iter()
        .map(|(id, customer)| {
            let Customer { captured, refunded, intents, refunds } = customer;
            (id, json!({ "captured": captured, "refunded": refunded, "payment_intents": intents, "refunds": refunds }))
        })
        .collect()
}
