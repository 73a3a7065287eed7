//! `GET /api/openapi.json`: the documentation of the API, made of the table of routes and of the types of its answers.
//! Pure but for the serving.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};
use warp::http::Method;

use super::access::Access;
use super::operation::{Content, Documented, Operation, Param};
use super::schemas::ProblemBody;
use super::table::OPERATIONS;
use crate::http::Answer;

/// The routes.
pub(crate) fn operations() -> Vec<Operation> {
    vec![
        Operation::open(Method::GET, "/api/openapi.json", "get_openapi", |app, _| {
            Box::pin(async move {
                let mut document = DOCUMENT.clone();
                document["servers"] = json!([{ "url": app.config.public_url }]);
                Ok(Answer::ok(document))
            })
        })
        .says("Operations", "This document.")
        .answers::<OpenApi>(200, "An OpenAPI 3.1 document."),
    ]
}

/// A document that describes an API.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct OpenApi {
    openapi: String,
    info: Map<String, Value>,
    servers: Vec<Map<String, Value>>,
    tags: Vec<Map<String, Value>>,
    paths: Map<String, Value>,
    components: Map<String, Value>,
}

static DOCUMENT: LazyLock<Value> = LazyLock::new(|| document(&OPERATIONS));

const DESCRIPTION: &str = "Automatic, event-driven prepaid recharge for organizations that use LLMs through LiteLLM. \
Amounts are exact decimals: they are taken as numbers or as strings, and answered as numbers with the currency's decimals. \
Lists are paged: `next_cursor` of one page asks for the next. Every error has the same shape: a sentence in `error`, a stable \
word in `code`, and whatever else helps.";

/// The document of these routes.
fn document(operations: &[Operation]) -> Value {
    // As they are written: what an answer always has is required. Bodies say for themselves what may be absent.
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations {
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method.as_str().to_ascii_lowercase()] = described(operation, &mut generator);
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Bill-Service", "version": env!("CARGO_PKG_VERSION"), "description": DESCRIPTION, "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" } },
        "servers": [],
        "tags": tags(operations),
        "paths": paths,
        "components": {
            "schemas": schemas,
            "headers": headers(),
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer", "description": "An API token: see `/api/tokens`." } },
        },
    })
}

/// Headers of answers.
fn headers() -> Value {
    let seconds = json!({ "type": "integer", "minimum": 0 });
    let text = json!({ "type": "string" });
    json!({
        "x-request-id": { "description": "The call's name in logs and in the audit log: the caller's, if it sent one.", "required": true, "schema": text },
        "Retry-After": { "description": "So many seconds later it may be different.", "schema": seconds },
        "WWW-Authenticate": { "description": "What is to be sent.", "schema": text },
        "Preference-Applied": { "description": "`respond-async`, where that was asked for.", "schema": text },
        "Location": { "description": "Where to go on.", "schema": text },
    })
}

/// The headers that an answer with this status may have.
fn headers_of(status: u16) -> Value {
    let more: &[&str] = match status {
        202 => &["Preference-Applied"],
        303 => &["Location"],
        401 => &["WWW-Authenticate"],
        429 | 503 => &["Retry-After"],
        _ => &[],
    };
    let names = ["x-request-id"].iter().chain(more);
    names
        .map(|name| ((*name).to_owned(), json!({ "$ref": format!("#/components/headers/{name}") })))
        .collect::<Map<_, _>>()
        .into()
}

fn tags(operations: &[Operation]) -> Value {
    let mut names: Vec<&str> = Vec::new();
    for operation in operations {
        if !names.contains(&operation.tag) {
            names.push(operation.tag);
        }
    }
    names.into_iter().map(|name| json!({ "name": name })).collect()
}

fn described(operation: &Operation, generator: &mut SchemaGenerator) -> Value {
    let mut parameters: Vec<Value> = Vec::new();
    for name in operation.params() {
        let schema = path_schema(operation, name);
        parameters.push(json!({ "name": name, "in": "path", "required": true, "schema": schema }));
    }
    for (place, given) in [("query", &operation.query), ("header", &operation.headers)] {
        parameters.extend(given.iter().map(|param| parameter(place, param, generator)));
    }
    let mut answers: Map<String, Value> = Map::new();
    for documented in operation.answers.iter().chain(&always(operation)) {
        // What the route itself says of a status is more exact than what is said of all.
        answers.entry(documented.status.to_string()).or_insert_with(|| answer(documented, generator));
    }
    let mut described = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.access.sentence(),
        "responses": answers,
        "security": if operation.access == Access::Open { json!([]) } else { json!([{ "token": [] }]) },
    });
    if !parameters.is_empty() {
        described["parameters"] = json!(parameters);
    }
    if let Some(body) = &operation.body {
        let schema = (body.schema)(generator);
        described["requestBody"] =
            json!({ "required": body.required, "content": { "application/json": { "schema": schema } } });
    }
    described
}

/// What the path's parameters are. An organization's id is checked; of any other thing there is one, or there is not.
fn path_schema(operation: &Operation, name: &str) -> Value {
    let about = operation.path.split('/').nth(2).unwrap_or_default();
    match (about, name) {
        ("organizations", "id") => {
            json!({ "type": "string", "pattern": common::ids::OrganizationId::PATTERN })
        }
        ("recharges" | "tokens", "id") => json!({ "type": "string", "format": "uuid" }),
        ("dead-letters", _) => json!({ "type": "integer", "format": "uint64", "minimum": 1 }),
        ("events" | "reconciliations", "id") => json!({ "type": "string", "pattern": common::ids::EventId::PATTERN }),
        _ => json!({ "type": "string", "minLength": 1 }),
    }
}

fn parameter(place: &str, param: &Param, generator: &mut SchemaGenerator) -> Value {
    let schema = (param.schema)(generator);
    // `?limit=` is as good as no limit.
    let schema = match place {
        "query" => json!({ "anyOf": [schema, { "const": "", "description": "As if it were absent." }] }),
        _ => json!(schema),
    };
    json!({ "name": param.name, "in": place, "description": param.says, "schema": schema })
}

fn answer(documented: &Documented, generator: &mut SchemaGenerator) -> Value {
    let mut answer = json!({ "description": documented.says, "headers": headers_of(documented.status) });
    match documented.content {
        Content::Json(schema) => answer["content"] = json!({ "application/json": { "schema": schema(generator) } }),
        Content::Text(media_type) => answer["content"] = json!({ media_type: { "schema": { "type": "string" } } }),
    }
    answer
}

/// What any route of this kind may answer.
fn always(operation: &Operation) -> Vec<Documented> {
    fn problem(generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<ProblemBody>()
    }
    let mut always: Vec<(u16, &'static str)> = Vec::new();
    if matches!(operation.run, super::operation::Run::Before) {
        return Vec::new();
    }
    let known = operation.access != Access::Open;
    if known {
        always.push((401, "No token, or one that is not valid."));
        always.push((429, "Too many calls with a wrong token from this address."));
    }
    if operation.access.may_forbid() {
        always.push((403, "The token's role may not do this."));
    }
    if matches!(operation.access, Access::ChangeOrganization | Access::OperateOrganization) {
        always.push((409, "The organization is closed."));
    }
    if operation.params().next().is_some() && known {
        always.push((404, "There is no such thing, as far as the token may know."));
    }
    let asks = operation.params().next().is_some() || !operation.query.is_empty() || !operation.headers.is_empty();
    if asks || operation.body.is_some() {
        always.push((400, "Something in the request is not valid; all of it is named."));
    }
    if operation.body.is_some() {
        always.push((408, "The body did not arrive in time."));
        always.push((413, "The body is too large."));
        always.push((415, "The body is not said to be JSON."));
        always.push((429, "Too many requests from this address."));
    }
    if operation.path != "/api/openapi.json" {
        always.push((
            503,
            "The database or the message broker is not available: come again after `Retry-After` seconds.",
        ));
    }
    let documented = |(status, says)| Documented { status, says, content: Content::Json(problem) };
    always.into_iter().map(documented).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    /// Whether a schema says anything of what it is about.
    fn says_something(schema: &Value) -> bool {
        schema.as_object().is_some_and(|schema| schema.keys().any(|key| key != "description" && key != "title"))
    }

    #[test]
    fn every_body_and_every_answer_has_a_schema() {
        for operation in OPERATIONS.iter() {
            let described = &DOCUMENT["paths"][operation.path][operation.method.as_str().to_ascii_lowercase()];
            let answers = described["responses"].as_object().unwrap().values();
            for one in answers.chain(described.get("requestBody")) {
                for content in one["content"].as_object().unwrap().values() {
                    assert!(says_something(&content["schema"]), "{}: {one}", operation.id);
                }
            }
        }
    }

    #[test]
    fn every_route_is_described_and_every_reference_leads_somewhere() {
        let document = &*DOCUMENT;
        for operation in OPERATIONS.iter() {
            let described = &document["paths"][operation.path][operation.method.as_str().to_ascii_lowercase()];
            assert_eq!(described["operationId"], operation.id);
            let answers = described["responses"].as_object().unwrap();
            assert!(answers.keys().any(|status| status.starts_with('2')), "{}", operation.id);
        }
        let mut found = BTreeSet::new();
        references(document, &mut found);
        for reference in found {
            let place = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(place).is_some(), "{reference}");
        }
    }
}
