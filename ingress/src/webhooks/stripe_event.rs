//! What a webhook of Stripe's is about. Pure: a body in, ids out. An event is a hint to read the object again, never its
//! state, so nothing but ids is taken from it, and the body is not kept (it has card data in it).

use common::contract::StripeEventV1;
use common::ids::{EventId, OrganizationId, RechargeId};
use serde_json::{Map, Value};

use crate::fields::{FieldProblem, Fields, Read};

/// The types that somebody does something about.
const HANDLED: [&str; 17] = [
    "payment_intent.succeeded",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.canceled",
    "charge.refunded",
    "charge.failed",
    "refund.created",
    "refund.updated",
    "refund.failed",
    "charge.refund.updated",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
    "charge.dispute.funds_withdrawn",
    "charge.dispute.funds_reinstated",
    "payment_method.automatically_updated",
    "setup_intent.succeeded",
];
/// A card's network sent new data of a saved card.
pub const CARD_UPDATED: &str = "payment_method.automatically_updated";
/// The longest id that is taken; Stripe's are a quarter of it, and say that they may grow to 255.
const LONGEST_ID: usize = 255;

/// What a body is.
#[derive(Debug, Clone, PartialEq)]
pub enum Understood {
    /// Of a type that is handled.
    Event(Box<Handled>),
    /// Of another type; its id, for the log.
    Other {
        /// Stripe's event id.
        stripe_event_id: String,
        /// Stripe's event type.
        stripe_type: String,
    },
}

/// An event to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Handled {
    /// The same for every delivery of the event.
    pub id: EventId,
    /// The organization that the object's metadata names.
    pub organization: Option<OrganizationId>,
    /// What is published.
    pub event: StripeEventV1,
}

/// Reads an event.
///
/// # Errors
/// What is wrong with it.
pub fn understand(value: &Value) -> Result<Understood, Vec<FieldProblem>> {
    let wrong = |field: &str, problem: &str| FieldProblem { field: field.to_owned(), problem: problem.to_owned() };
    let event = value.as_object().ok_or_else(|| vec![wrong("", "must be an object")])?;
    let mut fields = Fields::of(event);
    let id = fields.required("id", stripe_id);
    let kind = fields.required("type", stripe_id);
    let handled = kind.as_deref().is_some_and(|kind| HANDLED.contains(&kind));
    let object = value["data"]["object"].as_object();
    let object_id = object.and_then(|object| object.get("id")).and_then(|id| stripe_id(id).ok());
    if handled && object_id.is_none() {
        fields.problem("data.object", "must be an object with an id");
    }
    fields.finish()?;
    let (stripe_event_id, stripe_type) = id.zip(kind).ok_or_else(Vec::new)?;
    Ok(match object.zip(object_id) {
        Some((object, object_id)) if handled => {
            Understood::Event(Box::new(read(stripe_event_id, stripe_type, object, object_id)))
        }
        _ => Understood::Other { stripe_event_id, stripe_type },
    })
}

fn read(stripe_event_id: String, stripe_type: String, object: &Map<String, Value>, object_id: String) -> Handled {
    let field = |name: &str| object.get(name).unwrap_or(&Value::Null);
    let intent = field("payment_intent");
    let payment_intent_id =
        if stripe_type.starts_with("payment_intent.") { Some(object_id.clone()) } else { reference(intent) };
    // The object's own metadata, else that of its payment intent, where the event has it whole.
    let metadata =
        |name: &str| [field("metadata"), &intent["metadata"]].into_iter().find_map(|metadata| metadata[name].as_str());
    Handled {
        id: event_id(&stripe_event_id),
        organization: metadata("c_organization_id").and_then(|id| OrganizationId::parse(id).ok()),
        event: StripeEventV1 {
            recharge_id: metadata("recharge_id").and_then(|id| id.parse::<RechargeId>().ok()),
            customer_id: reference(field("customer")),
            stripe_event_id,
            stripe_type,
            object_id,
            payment_intent_id,
        },
    }
}

/// An id, or the object that has it (Stripe's "expanded" form).
fn reference(value: &Value) -> Option<String> {
    stripe_id(value).or_else(|_| stripe_id(&value["id"])).ok()
}

/// `stripe_<id>`; an id that is none of ours is hashed.
fn event_id(stripe_event_id: &str) -> EventId {
    // Short enough for what follows from it to have an id, too.
    let short = Some(stripe_event_id).filter(|id| id.len() <= 100);
    short
        .and_then(|id| EventId::parse(format!("stripe_{id}")).ok())
        .unwrap_or_else(|| EventId::from_body("stripe", stripe_event_id.as_bytes()))
}

fn stripe_id(value: &Value) -> Read<String> {
    let fits = |text: &&str| (1..=LONGEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    let text = value.as_str().filter(fits);
    text.map(str::to_owned).ok_or_else(|| format!("must be a text of 1 to {LONGEST_ID} visible ASCII characters"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn event(kind: &str, object: Value) -> Value {
        json!({ "id": "evt_1", "object": "event", "type": kind, "data": { "object": object } })
    }

    fn handled(kind: &str, object: Value) -> Handled {
        match understand(&event(kind, object)) {
            Ok(Understood::Event(handled)) => *handled,
            other => panic!("{kind}: {other:?}"),
        }
    }

    #[test]
    fn each_object_names_its_payment_intent_in_its_own_way() {
        let id = |name: &str| Some(name.to_owned());
        for (kind, object, intent, customer) in [
            ("payment_intent.succeeded", json!({"id": "pi_1", "customer": "cus_1"}), id("pi_1"), id("cus_1")),
            ("payment_intent.canceled", json!({"id": "pi_1", "customer": {"id": "cus_1"}}), id("pi_1"), id("cus_1")),
            ("charge.refunded", json!({"id": "ch_1", "payment_intent": "pi_1", "customer": null}), id("pi_1"), None),
            ("charge.failed", json!({"id": "ch_1", "payment_intent": {"id": "pi_1"}}), id("pi_1"), None),
            ("refund.failed", json!({"id": "re_1", "payment_intent": "pi_1", "charge": "ch_1"}), id("pi_1"), None),
            ("charge.refund.updated", json!({"id": "re_1", "payment_intent": null}), None, None),
            ("charge.dispute.closed", json!({"id": "dp_1", "payment_intent": "pi_1"}), id("pi_1"), None),
            (CARD_UPDATED, json!({"id": "pm_1", "customer": "cus_1"}), None, id("cus_1")),
            ("setup_intent.succeeded", json!({"id": "seti_1", "customer": "cus_1"}), None, id("cus_1")),
        ] {
            let got = handled(kind, object.clone());
            assert_eq!((&got.event.payment_intent_id, &got.event.customer_id), (&intent, &customer), "{kind}");
            assert_eq!((&json!(got.event.object_id), got.id.as_str()), (&object["id"], "stripe_evt_1"), "{kind}");
        }
    }

    #[test]
    fn metadata_says_whose_it_is() {
        let recharge = "0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11";
        let metadata = json!({ "c_organization_id": "acme", "recharge_id": recharge });
        let own = handled("payment_intent.succeeded", json!({ "id": "pi_1", "metadata": metadata.clone() }));
        let intents = json!({ "id": "dp_1", "metadata": {}, "payment_intent": { "id": "pi_1", "metadata": metadata } });
        for got in [own, handled("charge.dispute.created", intents)] {
            assert_eq!(got.organization, OrganizationId::parse("acme").ok());
            assert_eq!(got.event.recharge_id, recharge.parse().ok());
        }
        let odd = json!({ "id": "pi_1", "metadata": { "c_organization_id": "a.b", "recharge_id": 7 } });
        let got = handled("payment_intent.succeeded", odd);
        assert_eq!((got.organization, got.event.recharge_id), (None, None));
    }

    /// Stripe's own published examples.
    #[test]
    fn stripes_own_objects_are_read() {
        let fixtures: Value =
            serde_json::from_str(include_str!("../../tests/it/fixtures/stripe_objects.json")).unwrap();
        for kind in HANDLED {
            let name = match kind.split('.').collect::<Vec<_>>().as_slice() {
                ["charge", "refund", _] => "refund",
                ["charge", "dispute", _] => "dispute",
                [name, _] => name,
                other => panic!("{other:?}"),
            };
            let object = &fixtures[name];
            let got = handled(kind, object.clone());
            assert_eq!(json!(got.event.object_id), object["id"], "{kind}");
            assert_eq!(got.event.stripe_type, kind);
        }
    }

    #[test]
    fn other_types_are_none_of_ours_and_what_is_no_event_is_named() {
        let other = understand(&event("invoice.paid", Value::Null)).unwrap();
        let want = Understood::Other { stripe_event_id: "evt_1".to_owned(), stripe_type: "invoice.paid".to_owned() };
        assert_eq!(other, want);
        let names =
            |value: Value| understand(&value).unwrap_err().into_iter().map(|wrong| wrong.field).collect::<Vec<_>>();
        assert_eq!(names(json!([])), [""]);
        assert_eq!(names(json!({})), ["id", "type"]);
        assert_eq!(names(json!({ "id": "a b", "type": 1 })), ["id", "type"]);
        for object in [json!(null), json!([]), json!({}), json!({ "id": 1 }), json!({ "id": "" })] {
            assert_eq!(names(event("charge.refunded", object)), ["data.object"]);
        }
    }

    #[test]
    fn every_event_has_an_id_of_ours() {
        assert_eq!(event_id("evt_1Abc").as_str(), "stripe_evt_1Abc");
        for odd in ["evt 1", "evt/1", &"x".repeat(255)] {
            let id = event_id(odd);
            assert!(id.as_str().starts_with("stripe_") && id.as_str().len() == 47, "{id}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC{0,60}", kind in 0..HANDLED.len(), depth in 0..40_usize) {
            let odd = json!({ "id": text, "payment_intent": text, "customer": [text], "metadata": text });
            drop(understand(&event(HANDLED[kind], odd)));
            drop(understand(&json!({ "id": text, "type": text, "data": text })));
            let nested = (0..depth).fold(json!(text), |inner, _| json!({ "object": inner, "id": "x" }));
            drop(understand(&json!({ "id": "evt", "type": HANDLED[kind], "data": nested })));
        }
    }
}
