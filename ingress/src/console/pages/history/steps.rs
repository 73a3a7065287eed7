//! The steps of a chain, in words. Pure.

use common::money::Currency;

use super::fact::Fact;
use super::payload::pretty;
use super::record::Told;
use crate::console::amount::Amount;
use crate::console::moment::Moment;
use crate::console::text::{Rich, Text, fill, rich, term};

/// A step as it is shown.
pub(super) struct Step {
    pub(super) class: &'static str,
    pub(super) title: String,
    pub(super) at: Option<Moment>,
    pub(super) says: Option<Rich>,
    /// What somebody else said: the policy, the bank, a person.
    pub(super) note: Option<String>,
    pub(super) facts: Vec<Fact>,
    /// What was booked on which account.
    pub(super) entries: Vec<(String, String)>,
    pub(super) payload: Option<String>,
}

/// What a step is about, beside its time.
struct Body {
    class: &'static str,
    title: String,
    says: Option<Rich>,
    note: Option<String>,
    facts: Vec<Option<Fact>>,
}

impl Body {
    fn new(class: &'static str, title: impl Into<String>) -> Self {
        Self { class, title: title.into(), says: None, note: None, facts: Vec::new() }
    }

    fn says(mut self, says: Rich) -> Self {
        self.says = Some(says);
        self
    }

    fn note(mut self, note: Option<&String>) -> Self {
        self.note = note.filter(|note| !note.is_empty()).cloned();
        self
    }

    fn facts(mut self, facts: impl IntoIterator<Item = Option<Fact>>) -> Self {
        self.facts.extend(facts);
        self
    }
}

/// What there is to say about a decision beside its reason. Of a charge the API repeats the amounts, which the next step
/// tells: only that a cap made them smaller is news.
pub(super) fn decided_note<'a>(text: &'a Text, decision: &str, message: Option<&'a str>) -> Option<&'a str> {
    match decision {
        "charge" => {
            message.filter(|says| says.ends_with("reduced by a cap")).map(|_| text.history.step_decided_reduced)
        }
        _ => message,
    }
}

/// Tells steps.
pub(super) struct Teller<'a> {
    pub(super) text: &'a Text,
    pub(super) currency: &'a Currency,
}

impl Teller<'_> {
    /// A step in words.
    pub(super) fn tell(&self, told: &Told) -> Step {
        let body = match told.step.as_str() {
            "received" | "decided" | "claimed" => self.beginning(told),
            "action_required" | "charged" | "declined" | "failed" => self.charging(told),
            "booked" | "credited" => self.booking(told),
            "synced" | "sync_failed" | "settled" => self.syncing(told),
            _ => self.going_back(told),
        };
        let entry = |entry: &super::record::Entry| {
            let account = term(self.text.terms.accounts, &entry.account).to_owned();
            (account, entry.amount.change(self.currency))
        };
        Step {
            class: body.class,
            title: body.title,
            at: told.at,
            says: body.says,
            note: body.note,
            facts: body.facts.into_iter().flatten().collect(),
            entries: told.entries.iter().map(entry).collect(),
            payload: told.payload.as_ref().filter(|payload| !payload.is_null()).map(pretty),
        }
    }

    fn money(&self, amount: Option<Amount>) -> String {
        amount.map_or_else(|| self.text.common.unknown.to_owned(), |amount| amount.money(self.currency))
    }

    fn beginning(&self, told: &Told) -> Body {
        let words = &self.text.history;
        match told.step.as_str() {
            "received" => self.received(told),
            "decided" => {
                let note =
                    decided_note(self.text, told.decision.as_deref().unwrap_or_default(), told.message.as_deref());
                let reason = told.reason.as_deref().map(|why| term(self.text.terms.skips, why).to_owned());
                Body::new("is-done", words.step_decided)
                    .note(note.map(str::to_owned).as_ref())
                    .facts([Fact::words(words.reason, reason)])
            }
            _ => {
                let (amount, fee, total) =
                    (self.money(told.amount), self.money(told.fee), self.money(told.total_charge.or(told.amount)));
                let values = [("amount", amount.as_str()), ("fee", fee.as_str()), ("total", total.as_str())];
                let free = told.fee.is_none_or(|fee| fee.is_zero());
                let says = if free { words.step_claimed_without_fee } else { words.step_claimed_says };
                Body::new("is-done", words.step_claimed).says(rich(says, &values))
            }
        }
    }

    fn received(&self, told: &Told) -> Body {
        let words = &self.text.history;
        let source = told.source.as_deref().unwrap_or_default();
        let kind = told.event_type.as_deref().unwrap_or_default();
        let by = told.payload.as_ref().and_then(|payload| payload["requested_by"].as_str());
        let title = match (source, by) {
            ("api", Some(by)) => fill(words.step_asked_by, &[("who", by)]),
            ("api", None) => words.step_asked.to_owned(),
            ("sweep", _) => words.step_swept.to_owned(),
            (source, _) => fill(words.step_received, &[("source", term(self.text.terms.sources, source))]),
        };
        Body::new("is-done", title).facts([
            Fact::words(words.event_type, Some(kind.to_owned()).filter(|kind| !kind.is_empty())),
            Fact::at(words.occurred_at, told.occurred_at),
            Fact::id(words.event_id, told.event_id.as_ref()),
        ])
    }

    fn charging(&self, told: &Told) -> Body {
        let words = &self.text.history;
        match told.step.as_str() {
            "action_required" => Body::new("is-done", words.step_action_required)
                .says(rich(words.step_action_required_says, &[]))
                .facts([Fact::at(words.confirm_by, told.expires_at)]),
            "charged" => {
                let total = self.money(told.total_charge);
                Body::new("is-done", words.step_charged)
                    .says(rich(words.step_charged_says, &[("total", &total)]))
                    .facts([
                        Fact::words(words.processor_fee, told.processor_fee.map(|fee| fee.money(self.currency))),
                        Fact::id(words.payment_intent, told.payment_intent_id.as_ref()),
                        Fact::id(words.charge_id, told.charge_id.as_ref()),
                    ])
            }
            "declined" => Body::new("is-failed", words.step_declined).says(rich(words.step_declined_says, &[])),
            _ => Body::new("is-failed", words.step_failed).says(rich(words.step_declined_says, &[])),
        }
    }

    fn booking(&self, told: &Told) -> Body {
        let words = &self.text.history;
        let version =
            |version: Option<i64>| Fact::words(words.ledger_version, version.map(|version| version.to_string()));
        if told.step == "credited" {
            return Body::new("is-done", words.step_credited)
                .says(rich(words.step_credited_says, &[]))
                .facts([version(told.ledger_version)]);
        }
        let kind = told.kind.as_deref().unwrap_or_default();
        let class = if matches!(kind, "charge" | "release" | "refund_failed") { "is-done" } else { "is-back" };
        // Of these, the steps before have said all that the ledger's own words say, and said it in the reader's language.
        let is_told =
            matches!(kind, "charge" | "void" | "refund" | "refund_failed" | "hold" | "release" | "dispute_lost");
        let title = fill(words.step_booked, &[("kind", term(self.text.terms.quota_causes, kind))]);
        let change = told.amount.map(|amount| amount.change(self.currency)).unwrap_or_default();
        let after = self.money(told.quota_after);
        Body::new(class, title)
            .says(rich(words.step_booked_says, &[("change", &change), ("quota", &after)]))
            .note(told.description.as_ref().filter(|_| !is_told))
            .facts([version(told.version), Fact::id(words.transaction, told.transaction_id.as_ref())])
    }

    fn syncing(&self, told: &Told) -> Body {
        let words = &self.text.history;
        let backend = term(self.text.terms.backends, told.backend.as_deref().unwrap_or_default()).to_owned();
        let (quota, before) = (self.money(told.quota), self.money(told.previous_quota));
        let values = [("backend", backend.as_str()), ("quota", quota.as_str()), ("before", before.as_str())];
        let version = Fact::words(words.ledger_version, told.ledger_version.map(|version| version.to_string()));
        match told.step.as_str() {
            "synced" => {
                let says = match (told.changed, told.previous_quota) {
                    (false, _) => words.step_synced_same,
                    (true, Some(_)) => words.step_synced_changed,
                    (true, None) => words.step_synced_first,
                };
                Body::new("is-done", words.step_synced)
                    .says(rich(says, &values))
                    .facts([version, Fact::id(words.team, told.litellm_team_id.as_ref())])
            }
            "sync_failed" => Body::new("is-failed", words.step_sync_failed)
                .says(rich(words.step_sync_failed_says, &values))
                .note(told.reason.as_ref())
                .facts([version]),
            _ => {
                let quota = self.money(told.new_quota);
                let body = Body::new("is-done", words.step_settled);
                match told.new_quota {
                    Some(_) => body.says(rich(words.step_settled_says, &[("quota", &quota)])),
                    None => body,
                }
            }
        }
    }

    fn going_back(&self, told: &Told) -> Body {
        let (words, terms) = (&self.text.history, &self.text.terms);
        let cause = told.cause.as_deref().map(|cause| term(terms.undos, cause).to_owned());
        let (amount, total) = (self.money(told.amount), self.money(told.total));
        let values = [("amount", amount.as_str()), ("total", total.as_str())];
        let key = Fact::id(words.refund_key, told.refund_key.as_ref());
        let dispute = Fact::id(words.dispute_id, told.dispute_id.as_ref());
        match told.step.as_str() {
            "refund_requested" => Body::new("is-back", words.step_refund_requested)
                .says(rich(words.step_refund_says, &values))
                .note(told.reason.as_ref())
                .facts([Fact::words(words.reason, cause), Fact::words(words.by, told.requested_by.clone()), key]),
            "refund_ended" => {
                let succeeded = told.status.as_deref() == Some("succeeded");
                let (class, title) =
                    if succeeded { ("is-back", words.step_refunded) } else { ("is-failed", words.step_refund_failed) };
                Body::new(class, title)
                    .note(told.last_error.as_ref())
                    .facts([Fact::id(words.refund_id, told.refund_id.as_ref()), key])
            }
            "disputed" => Body::new("is-failed", words.step_disputed)
                .says(rich(words.step_disputed_says, &values))
                .facts([Fact::words(words.bank_says, told.reason.clone()), dispute]),
            "dispute_closed" => {
                let won = told.stage.as_deref() == Some("won");
                let (class, title) =
                    if won { ("is-done", words.step_dispute_won) } else { ("is-failed", words.step_dispute_lost) };
                Body::new(class, title).facts([dispute])
            }
            "refunded" => Body::new("is-back", words.step_all_refunded)
                .says(rich(words.step_all_refunded_says, &values))
                .note(told.reason.as_ref())
                .facts([Fact::words(words.reason, cause)]),
            status => Body::new("is-back", term(terms.statuses, status)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Every step that the API tells, in both languages, with what somebody else wrote as text.
    #[test]
    fn every_step_has_words() {
        let evil = "<script>alert(1)</script>";
        let steps = [
            json!({ "step": "received", "source": "litellm", "event_type": evil, "event_id": "evt_1", "payload": { "a": evil } }),
            json!({ "step": "received", "source": "api", "event_type": "x", "payload": { "requested_by": evil } }),
            json!({ "step": "received", "source": "sweep", "event_type": "quota_low", "payload": null }),
            json!({ "step": "decided", "decision": "charge", "message": evil }),
            json!({ "step": "decided", "decision": "charge", "message": "5.00 usd (total 5.00 usd), reduced by a cap" }),
            json!({ "step": "decided", "decision": "skipped", "message": evil }),
            json!({ "step": "claimed", "amount": 200, "fee": 6.3, "total_charge": 206.3, "currency": "usd" }),
            json!({ "step": "action_required", "expires_at": "2026-03-01T00:00:00Z" }),
            json!({ "step": "charged", "total_charge": 206.3, "charge_id": "ch_1", "payment_intent_id": "pi_1" }),
            json!({ "step": "booked", "kind": "charge", "amount": 200, "quota_after": 700, "version": 3, "description": evil,
                    "entries": [{ "account": "balance", "amount": 200 }, { "account": "stripe_clearing", "amount": -200 }] }),
            json!({ "step": "credited", "ledger_version": 3 }),
            json!({ "step": "synced", "backend": "kms", "ledger_version": 3, "quota": 700, "previous_quota": 500, "changed": true }),
            json!({ "step": "sync_failed", "backend": "kms", "ledger_version": 3, "quota": 700, "reason": evil }),
            json!({ "step": "settled", "new_quota": 700 }),
            json!({ "step": "refund_requested", "cause": "requested", "reason": evil, "requested_by": evil, "amount": 1, "total": 1 }),
            json!({ "step": "refund_ended", "status": "failed", "last_error": evil }),
            json!({ "step": "disputed", "dispute_id": "dp_1", "reason": "fraudulent", "amount": 1, "total": 1 }),
            json!({ "step": "dispute_closed", "stage": "lost" }),
            json!({ "step": "declined" }),
            json!({ "step": "failed" }),
            json!({ "step": "refunded", "cause": "sync_failed", "reason": "x", "amount": 200, "total": 206.3 }),
            json!({ "step": "returning" }),
        ];
        for code in ["en", "zh"] {
            let teller = Teller { text: Text::of(code).unwrap(), currency: &Currency::USD };
            for told in &steps {
                let step = teller.tell(&serde_json::from_value(told.clone()).unwrap());
                assert!(!step.title.is_empty() && !step.title.contains('{'), "{told}");
                let says = step.says.map(|says| says.to_string()).unwrap_or_default();
                assert!(!says.contains('{') && !says.contains("<script>"), "{says}");
            }
            let tell = |told: &serde_json::Value| teller.tell(&serde_json::from_value(told.clone()).unwrap());
            let booked = tell(&steps[9]);
            assert_eq!(booked.entries.len(), 2);
            assert_eq!(booked.entries[1].1, "−$200.00");
            // What the API says in English is left out where the page says it; what people wrote is not.
            assert_eq!((booked.note, tell(&steps[3]).note), (None, None));
            assert_eq!(tell(&steps[4]).note.as_deref(), Some(teller.text.history.step_decided_reduced));
            assert_eq!(tell(&steps[5]).note.as_deref(), Some(evil));
            let corrected = json!({ "step": "booked", "kind": "adjustment", "amount": 1, "description": evil });
            assert_eq!(tell(&corrected).note.as_deref(), Some(evil));
        }
    }
}
