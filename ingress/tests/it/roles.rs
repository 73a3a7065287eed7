//! Each role at each route of the service's own document: what is its own, and what is another organization's.

use std::collections::{BTreeMap, BTreeSet};

use common::config::Secret;
use reqwest::Method;
use serde_json::{Value, json};

use crate::access::{call, guarded, make};
use crate::dead_letters::park;
use crate::world::World;

/// What becomes of a call: allowed, forbidden, or unknown as far as the caller is told. In the order of [`CALLERS`].
type Verdicts = &'static str;

/// The callers: an operator, an admin and a viewer of the organization `own`, and a viewer of everything.
const CALLERS: [&str; 4] = ["operator", "org_admin", "viewer", "viewer of all"];

/// Every call that needs a token: what becomes of it when it is about `own`, and when it is about `other`.
const TABLE: [(&str, Verdicts, Verdicts); 38] = [
    ("list_organizations", "YYYY", "-"),
    ("list_standings", "YYYY", "-"),
    ("create_organization", "YFFF", "-"),
    ("get_organization", "YYYY", "YUUY"),
    ("change_organization", "YYFF", "YUUF"),
    ("set_payment_method", "YYFF", "YUUF"),
    ("create_setup_intent", "YYFF", "YUUF"),
    ("create_card_page", "YYFF", "YUUF"),
    ("get_balance", "YYYY", "YUUY"),
    ("get_usage", "YYYY", "YUUY"),
    ("list_users", "YYYY", "YUUY"),
    ("create_user", "YYFF", "-"),
    ("sync_quota", "YYFF", "YUUF"),
    ("start_recharge", "YYFF", "YUUF"),
    ("refund_recharge", "YFFF", "YFFF"),
    ("list_recharges", "YYYY", "YUUY"),
    ("list_webhook_events", "YYYY", "YUUY"),
    ("list_quota_history", "YYYY", "YUUY"),
    ("restore_quota", "YFFF", "YUUF"),
    ("simulate_recharges", "YYYY", "YUUY"),
    ("get_event", "YYYY", "YUUY"),
    ("get_recharge", "YYYY", "YUUY"),
    ("show_pipeline", "YFFY", "-"),
    ("list_dead_letters", "YYYY", "-"),
    ("get_dead_letter", "YYYY", "YUUY"),
    ("redrive_dead_letters", "YFFF", "-"),
    ("redrive_dead_letter", "YFFF", "YFFF"),
    ("discard_dead_letter", "YFFF", "YFFF"),
    ("list_reconciliations", "YFFY", "-"),
    ("start_reconciliation", "YFFF", "-"),
    ("get_reconciliation", "YFFY", "-"),
    ("list_tokens", "YYFF", "-"),
    ("create_token", "YYFF", "-"),
    ("revoke_token", "YYFF", "YUFF"),
    ("list_audit_log", "YYYY", "-"),
    // Last: what comes after them is closed.
    ("close_organization", "YFFF", "YUUF"),
    ("reopen_organization", "YFFF", "YUUF"),
    ("get_openapi", "YYYY", "-"),
];

/// One thing of each kind, of one organization.
struct Things {
    organization: &'static str,
    recharge: String,
    event: String,
    dead_letter: u64,
    token: String,
}

async fn things(world: &World, operator: &Secret, organization: &'static str) -> Things {
    let body = json!({ "c_organization_id": organization });
    assert_eq!(call(world, operator, Method::POST, "/api/organizations", Some(&body)).await.status, 201);
    let event = format!("evt_{organization}");
    let recharge: uuid::Uuid = sqlx::query_scalar(
        "INSERT INTO recharge_records (recharge_id, c_organization_id, amount, fee, total_charge, currency, status, triggered_by,
                trigger_event_id, correlation_id, payment_intent_id)
         VALUES (gen_random_uuid(), $1, 100, 0, 100, 'usd', 'settled', 'webhook', $2, $2, 'pi_' || $1) RETURNING recharge_id",
    )
    .bind(organization)
    .bind(&event)
    .fetch_one(&world.pool)
    .await
    .unwrap();
    sqlx::query(
        "INSERT INTO webhook_events (event_id, source, event_type, c_organization_id, correlation_id, payload, received_at, decision)
         VALUES ($1, 'litellm', 'limit_exceeded', $2, $1, '{}', now(), 'charge')",
    )
    .bind(&event)
    .bind(organization)
    .execute(&world.pool)
    .await
    .unwrap();
    let dead_letter = park(world, "ledger", &format!("recharges.charged.{organization}"), b"{}").await;
    let viewer =
        json!({ "name": format!("screen of {organization}"), "role": "viewer", "c_organization_id": organization });
    let (_, token) = make(world, operator, &viewer).await;
    Things { organization, recharge: recharge.to_string(), event, dead_letter, token }
}

/// The path of a call with its parameters filled in.
fn filled(path: &str, things: &Things) -> String {
    let id = match path.split('/').nth(2) {
        Some("organizations") => things.organization,
        Some("recharges") => &things.recharge,
        Some("events") => &things.event,
        Some("tokens") => &things.token,
        _ => "run_x",
    };
    path.replace("{id}", id).replace("{sequence}", &things.dead_letter.to_string())
}

/// Every call of the document that needs a token: its method, its path, and whether it has a body.
fn documented(document: &Value) -> BTreeMap<String, (Method, String, bool)> {
    let paths = document["paths"].as_object().unwrap();
    let calls = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().iter().map(move |(method, about)| (path, method, about))
    });
    let guarded = calls.filter(|(_, _, about)| about["security"] != json!([]) || about["operationId"] == "get_openapi");
    guarded
        .map(|(path, method, about)| {
            let method = method.to_uppercase().parse().unwrap();
            (
                about["operationId"].as_str().unwrap().to_owned(),
                (method, path.clone(), about["requestBody"].is_object()),
            )
        })
        .collect()
}

#[tokio::test]
async fn each_role_at_each_route() {
    let (world, operator) = guarded(&[("AUTH_FAILURES_PER_MINUTE", "0")]).await;
    let document = world.get("/api/openapi.json").await.body;
    let calls = documented(&document);
    let told: BTreeSet<&str> = TABLE.iter().map(|(id, ..)| *id).collect();
    assert_eq!(calls.keys().map(String::as_str).collect::<BTreeSet<_>>(), told, "a route is missing in the table");

    let (own, other) = (things(&world, &operator, "own").await, things(&world, &operator, "other").await);
    let mut callers = vec![operator.clone()];
    for role in ["org_admin", "viewer"] {
        callers
            .push(make(&world, &operator, &json!({ "name": role, "role": role, "c_organization_id": "own" })).await.0);
    }
    callers.push(make(&world, &operator, &json!({ "name": "all", "role": "viewer" })).await.0);

    for (id, of_own, of_other) in TABLE {
        let (method, path, has_body) = &calls[id];
        for (things, verdicts) in
            [(&own, of_own), (&other, of_other)].into_iter().filter(|(_, verdicts)| *verdicts != "-")
        {
            let path = filled(path, things);
            // The operator last: his calls are the ones that change something.
            for ((caller, token), verdict) in
                CALLERS.iter().zip(&callers).zip(verdicts.chars().collect::<Vec<_>>()).rev()
            {
                let body = has_body.then(|| json!({}));
                let got = call(&world, token, method.clone(), &path, body.as_ref()).await;
                let code = got.body["code"].as_str().unwrap_or_default();
                let is = match got.status {
                    403 => 'F',
                    404 if code != "unknown_reconciliation" => 'U',
                    401 => '?',
                    _ => 'Y',
                };
                assert_eq!(is, verdict, "{id} {path} as {caller}: {got:?}");
            }
        }
    }
}

#[tokio::test]
async fn an_admin_sees_and_gives_only_what_is_its_own() {
    let (world, operator) = guarded(&[]).await;
    for organization in ["own", "other"] {
        things(&world, &operator, organization).await;
    }
    let own = json!({ "name": "admin", "role": "org_admin", "c_organization_id": "own" });
    let (admin, _) = make(&world, &operator, &own).await;
    for (path, field) in [
        ("/api/organizations", "c_organization_id"),
        ("/api/standings", "c_organization_id"),
        ("/api/dead-letters", "c_organization_id"),
        ("/api/tokens", "c_organization_id"),
        ("/api/audit-log", "c_organization_id"),
    ] {
        let items = call(&world, &admin, Method::GET, path, None).await.body["items"].clone();
        let items = items.as_array().unwrap();
        assert!(!items.is_empty() && items.iter().all(|item| item[field] == "own"), "{path}: {items:?}");
        let all = call(&world, &operator, Method::GET, path, None).await.body["items"].as_array().unwrap().len();
        assert!(all > items.len(), "{path}");
    }
    let standings = call(&world, &admin, Method::GET, "/api/standings", None).await.body;
    assert_eq!(standings["counts"]["all"], 1, "others are not counted: {standings}");
    let grouped = call(&world, &admin, Method::GET, "/api/dead-letters?group=reason", None).await.body;
    assert_eq!(grouped["counted"], 1);
    let about = call(&world, &admin, Method::GET, "/api/audit-log?c_organization_id=other", None).await;
    assert_eq!((about.status, &about.body["code"]), (404, &json!("unknown_organization")));

    let token = |role: &str, organization: Option<&str>| json!({ "name": "x", "role": role, "c_organization_id": organization });
    for (body, status) in [
        (token("viewer", Some("own")), 201),
        (token("org_admin", Some("own")), 201),
        (token("org_admin", Some("other")), 403),
        (token("viewer", None), 403),
        (token("operator", None), 403),
    ] {
        assert_eq!(call(&world, &admin, Method::POST, "/api/tokens", Some(&body)).await.status, status, "{body}");
    }
    let user = json!({ "email": "a@example.com", "c_organization_id": "other" });
    let refused = call(&world, &admin, Method::POST, "/api/users", Some(&user)).await;
    assert!([403, 404].contains(&refused.status), "{refused:?}");
    // What is trusted to operators.
    for body in [json!({ "litellm_team_id": "team-of-others" }), json!({ "opening_quota": 1_000_000 })] {
        let got = call(&world, &admin, Method::PATCH, "/api/organizations/own/config", Some(&body)).await;
        assert_eq!((got.status, &got.body["code"]), (403, &json!("forbidden")), "{body}");
    }
    let fine = json!({ "minimum_balance": 5 });
    assert_eq!(call(&world, &admin, Method::PATCH, "/api/organizations/own/config", Some(&fine)).await.status, 200);
}
