//! JSON Schemas and the AsyncAPI document, generated from the payload types.

use std::collections::BTreeMap;

use schemars::{Schema, generate::SchemaSettings};
use serde_json::{Value, json};

use super::*;

/// What is known of one payload type.
struct Entry {
    kind: &'static str,
    type_: &'static str,
    publisher: &'static str,
    summary: &'static str,
    schema: Schema,
}

fn entry<T: Payload>() -> Entry {
    Entry {
        kind: T::KIND,
        type_: T::TYPE,
        publisher: T::PUBLISHER,
        summary: T::SUMMARY,
        schema: SchemaSettings::draft2020_12().into_generator().into_root_schema_for::<Event<T>>(),
    }
}

/// Every payload of the contract.
fn entries() -> Vec<Entry> {
    vec![
        entry::<LimitExceededV1>(),
        entry::<LowBalanceHintV1>(),
        entry::<IgnoredWebhookV1>(),
        entry::<StripeEventV1>(),
        entry::<RechargeRequestedV1>(),
        entry::<RefundRequestedV1>(),
        entry::<AdjustRequestedV1>(),
        entry::<SyncRequestedV1>(),
        entry::<EvaluateRequestedV1>(),
        entry::<RecheckRequestedV1>(),
        entry::<ReconcileRequestedV1>(),
        entry::<RechargeChargedV1>(),
        entry::<RechargeDeclinedV1>(),
        entry::<RechargeActionRequiredV1>(),
        entry::<RechargeSkippedV1>(),
        entry::<RechargeRefundedV1>(),
        entry::<RechargeRefundFailedV1>(),
        entry::<RechargeSettledV1>(),
        entry::<RechargeDisputedV1>(),
        entry::<LedgerCreditedV1>(),
        entry::<LedgerReversedV1>(),
        entry::<LedgerHeldV1>(),
        entry::<QuotaSyncedV1>(),
        entry::<QuotaAdoptedV1>(),
        entry::<QuotaFailedV1>(),
        entry::<QuotaLowV1>(),
    ]
}

/// Every generated file: path below `nats/` and content.
#[must_use]
pub fn generate() -> BTreeMap<String, String> {
    let entries = entries();
    let mut files = BTreeMap::new();
    for entry in &entries {
        let mut schema = entry.schema.clone();
        schema.insert("title".to_owned(), json!(entry.type_));
        schema.insert("description".to_owned(), json!(entry.summary));
        files.insert(format!("schemas/{}.json", entry.type_), pretty(schema.as_value()));
    }
    files.insert("asyncapi.json".to_owned(), pretty(&asyncapi(&entries)));
    files
}

fn pretty(value: &Value) -> String {
    let mut text = serde_json::to_string_pretty(value).unwrap_or_default();
    text.push('\n');
    text
}

fn asyncapi(entries: &[Entry]) -> Value {
    let mut channels = serde_json::Map::new();
    let mut operations = serde_json::Map::new();
    let mut messages = serde_json::Map::new();
    for entry in entries {
        let name = entry.kind.replace('.', "_");
        channels.insert(name.clone(), json!({
            "address": format!("{}.{{organization}}", entry.kind),
            "title": entry.summary,
            "description": format!("Stream {}, published by {}.", streams::of(entry.kind).unwrap_or("?"), entry.publisher),
            "parameters": { "organization": { "description": "c_organization_id, or @unresolved where it is not known yet" } },
            "messages": { name.clone(): { "$ref": format!("#/components/messages/{name}") } },
        }));
        operations.insert(
            format!("publish_{name}"),
            json!({
                "action": "send",
                "channel": { "$ref": format!("#/channels/{name}") },
                "summary": format!("Published by {}.", entry.publisher),
            }),
        );
        messages.insert(
            name,
            json!({
                "name": entry.type_,
                "summary": entry.summary,
                "contentType": "application/cloudevents+json",
                "payload": {
                    "schemaFormat": "application/schema+json;version=draft-2020-12",
                    "schema": { "$ref": format!("./schemas/{}.json", entry.type_) },
                },
            }),
        );
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Bill-Service events",
            "version": "1.0.0",
            "description": "CloudEvents 1.0 (structured JSON) on NATS JetStream. recharges.>, ledger.> and quotas.> are a public contract.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": { "messages": messages },
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn the_committed_files_are_what_the_code_generates() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nats");
        let generated = generate();
        for (path, want) in &generated {
            let have = std::fs::read_to_string(root.join(path)).unwrap_or_default();
            assert!(have == *want, "nats/{path} differs from the code: run `cargo xtask schemas`");
        }
        for file in std::fs::read_dir(root.join("schemas")).unwrap() {
            let name = format!("schemas/{}", file.unwrap().file_name().to_string_lossy());
            assert!(generated.contains_key(&name), "nats/{name} has no payload type: delete it");
        }
    }

    #[test]
    fn types_and_kinds_are_unique_and_live_in_a_stream() {
        let entries = entries();
        let mut types: Vec<_> = entries.iter().map(|e| e.type_).collect();
        let mut kinds: Vec<_> = entries.iter().map(|e| e.kind).collect();
        types.sort_unstable();
        types.dedup();
        kinds.sort_unstable();
        kinds.dedup();
        assert_eq!((types.len(), kinds.len()), (entries.len(), entries.len()));
        for entry in entries {
            assert!(streams::of(entry.kind).is_some(), "{}", entry.kind);
            assert!(entry.type_.starts_with("bill.") && entry.type_.ends_with(".v1"), "{}", entry.type_);
        }
    }
}
