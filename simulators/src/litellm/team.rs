//! A team, and what it has spent.

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::number;

#[derive(Debug, Clone)]
pub(super) struct Team {
    pub(super) alias: Option<String>,
    pub(super) organization: Value,
    pub(super) metadata: Value,
    pub(super) max_budget: Option<Decimal>,
    /// How often a proxy would zero its spend; none is zeroed here.
    pub(super) budget_duration: Option<String>,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    /// As they were written, in their order.
    pub(super) budget_writes: Vec<Value>,
    pub(super) alerted_at: Option<i64>,
    spending: Vec<Spending>,
}

/// That it has spent so much in total.
#[derive(Debug, Clone)]
struct Spending {
    total: Decimal,
    day: String,
    /// From when on the management calls show it.
    shown_from: i64,
}

impl Team {
    /// A team as the body of a `/team/new` wants it.
    pub(super) fn new(body: &Value, max_budget: Option<Decimal>, now: String) -> Self {
        Self {
            alias: body["team_alias"].as_str().map(str::to_owned),
            organization: body["organization_id"].clone(),
            metadata: if body["metadata"].is_object() { body["metadata"].clone() } else { json!({}) },
            max_budget,
            budget_duration: body["budget_duration"].as_str().map(str::to_owned),
            created_at: now.clone(),
            updated_at: now,
            budget_writes: max_budget.map(number::write).into_iter().collect(),
            alerted_at: None,
            spending: Vec::new(),
        }
    }

    pub(super) fn spends(&mut self, total: Decimal, day: String, shown_from: i64) {
        self.spending.push(Spending { total, day, shown_from });
    }

    /// What it has spent in total.
    pub(super) fn spent(&self) -> Decimal {
        self.spending.last().map(|spending| spending.total).unwrap_or_default()
    }

    /// What the management calls show of that.
    pub(super) fn shown_spend(&self, now: i64) -> Decimal {
        self.shown(now).last().map(|spending| spending.total).unwrap_or_default()
    }

    /// The same by day.
    pub(super) fn daily(&self, now: i64) -> BTreeMap<&str, Decimal> {
        let (mut days, mut before) = (BTreeMap::new(), Decimal::ZERO);
        for Spending { total, day, .. } in self.shown(now) {
            *days.entry(day.as_str()).or_default() += *total - before;
            before = *total;
        }
        days
    }

    fn shown(&self, now: i64) -> impl Iterator<Item = &Spending> {
        self.spending.iter().filter(move |spending| spending.shown_from <= now)
    }
}
