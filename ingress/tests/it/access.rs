//! Who may call: tokens from their making to their end, and what each role may do.

use common::clock::{Clock, SystemClock};
use common::config::Secret;
use common::ids::RandomIds;
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::{Got, World, exceeded, until};

/// A world in which callers need tokens, and the token of an operator.
pub(crate) async fn guarded(more: &[(&str, &str)]) -> (World, Secret) {
    let settings = [
        &[
            ("API_AUTH", "on"),
            ("LITELLM_WEBHOOK_SECRET", "a-webhook-secret-of-tests"),
            ("LITELLM_ALERT_TOKEN", "an-alert-token-of-tests"),
        ][..],
        more,
    ]
    .concat();
    let world = World::new(&settings).await;
    let token = operator(&world).await;
    (world, token)
}

/// The first token, made as an operator makes it.
async fn operator(world: &World) -> Secret {
    let arguments = ["--name", "ann"].map(str::to_owned);
    let command = ingress::TokenCommand::read(&arguments, &world.env).unwrap();
    ingress::make_token(command, SystemClock.now(), &RandomIds).await.unwrap()
}

pub(crate) async fn call(world: &World, token: &Secret, method: Method, path: &str, body: Option<&Value>) -> Got {
    let mut request = world.http.request(method, world.url(path)).bearer_auth(token.expose());
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    world.send(request).await
}

pub(crate) async fn make(world: &World, by: &Secret, body: &Value) -> (Secret, String) {
    let got = call(world, by, Method::POST, "/api/tokens", Some(body)).await;
    assert_eq!(got.status, 201, "{got:?}");
    (Secret::new(got.body["token"].as_str().unwrap()), got.body["id"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_token_from_its_making_to_its_end() {
    let (world, ann) = guarded(&[]).await;
    let other = world.another().await;
    let get = async |token: &Secret, path: &str| call(&world, token, Method::GET, path, None).await;
    for path in ["/api/organizations", "/api/organizations/a/config", "/api/events/x", "/api/tokens"] {
        let got = world.get(path).await;
        let said = (got.status, &got.body["code"], got.header("www-authenticate"));
        assert_eq!(said, (401, &json!("unauthorized"), "Bearer"), "{path}");
    }
    let wrong = Secret::new(format!("{}x", ann.expose()));
    let got = get(&wrong, "/api/organizations").await;
    assert_eq!((got.status, &got.body["code"]), (401, &json!("invalid_token")));
    assert_eq!(get(&ann, "/api/organizations").await.status, 200);
    // Webhooks have their own secrets, and a route that is not there needs none.
    assert_eq!(world.send(world.hook(&exceeded("nobody").to_string())).await.status, 401);
    assert_eq!(world.get("/nowhere").await.status, 404);
    assert_eq!(world.get("/api/openapi.json").await.status, 200);

    let got =
        call(&world, &ann, Method::POST, "/api/tokens", Some(&json!({ "name": "", "role": "root", "x": 1 }))).await;
    assert_eq!((got.status, got.fields()), (400, ["name", "role", "x"].map(str::to_owned).to_vec()));
    let past =
        json!({ "name": "x", "role": "operator", "c_organization_id": "acme", "expires_at": "2020-01-01T00:00:00Z" });
    let got = call(&world, &ann, Method::POST, "/api/tokens", Some(&past)).await;
    assert_eq!(got.fields(), ["expires_at", "c_organization_id"]);
    let unknown = json!({ "name": "x", "role": "viewer", "c_organization_id": "nobody" });
    assert_eq!(call(&world, &ann, Method::POST, "/api/tokens", Some(&unknown)).await.status, 404);

    let (viewer, id) = make(&world, &ann, &json!({ "name": "screen", "role": "viewer" })).await;
    assert_eq!(get(&viewer, "/api/organizations").await.status, 200);
    assert_eq!(get(&viewer, "/api/tokens").await.status, 403);
    let there = || world.send(world.http.get(format!("{other}/api/organizations")).bearer_auth(viewer.expose()));
    assert_eq!(there().await.status, 200, "another replica knows it at once");
    let listed = get(&ann, "/api/tokens").await.body;
    let (newest, first) = (&listed["items"][0], &listed["items"][1]);
    assert_eq!(
        (&newest["name"], &newest["role"], &newest["revoked_at"]),
        (&json!("screen"), &json!("viewer"), &json!(null))
    );
    assert_eq!((&first["name"], &first["created_by"]), (&json!("ann"), &json!("command line")));
    assert!(!listed.to_string().contains(viewer.expose()), "no token is told again");
    until("the last use to be written down", || async {
        get(&ann, "/api/tokens").await.body["items"][0]["last_used_at"].is_string()
    })
    .await;
    let stored: Vec<u8> = sqlx::query_scalar("SELECT token_hash FROM api_tokens WHERE name = 'screen'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(stored.len(), 32);

    let revoked = call(&world, &ann, Method::DELETE, &format!("/api/tokens/{id}"), None).await;
    assert_eq!((revoked.status, revoked.body["revoked_at"].is_string()), (200, true));
    assert_eq!(get(&viewer, "/api/organizations").await.status, 401);
    until("another replica to hear of it", || async { there().await.status == 401 }).await;
    let again = call(&world, &ann, Method::DELETE, &format!("/api/tokens/{id}"), None).await;
    assert_eq!((again.status, &again.body["revoked_at"]), (200, &revoked.body["revoked_at"]));
    assert_eq!(call(&world, &ann, Method::DELETE, "/api/tokens/x", None).await.status, 404);

    let lines = get(&ann, "/api/audit-log").await.body;
    let actions: Vec<_> =
        lines["items"].as_array().unwrap().iter().map(|line| line["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["token.revoked", "token.created", "token.created"]);
    assert!(lines["items"][0]["actor"].as_str().unwrap().starts_with("ann#"), "{lines}");
    for change in ["UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"] {
        let refused = sqlx::query(change).execute(&world.pool).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{change}: {refused}");
    }
}

#[tokio::test]
async fn wrong_tokens_are_slowed_down_and_right_ones_are_not() {
    let (world, ann) = guarded(&[("AUTH_FAILURES_PER_MINUTE", "5")]).await;
    let (late, _) = make(&world, &ann, &json!({ "name": "late", "role": "viewer" })).await;
    sqlx::query("UPDATE api_tokens SET expires_at = now() WHERE name = 'late'").execute(&world.pool).await.unwrap();
    until("the token to be over", || async {
        call(&world, &late, Method::GET, "/api/organizations", None).await.status == 401
    })
    .await;
    let guess = Secret::new("bill_guess");
    until("guesses to be slowed down", || async {
        let got = call(&world, &guess, Method::GET, "/api/organizations", None).await;
        got.status == 429 && got.body["code"] == "too_many_failures" && !got.header("retry-after").is_empty()
    })
    .await;
    assert_eq!(call(&world, &ann, Method::GET, "/api/organizations", None).await.status, 200);
    // Without the database, those who are known are still known, and of others nobody can tell.
    world.database_down().await;
    until("the outage to be noticed", || async { world.get("/health/ready").await.status == 503 }).await;
    assert_eq!(call(&world, &ann, Method::GET, "/api/dead-letters", None).await.status, 200);
}

#[tokio::test]
async fn the_next_end_of_a_token_in_use_is_among_the_metrics() {
    let (world, ann) = guarded(&[]).await;
    let shown = async || {
        let text = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("bill_api_tokens_next_end_seconds "));
        line.map(str::to_owned).unwrap_or_default()
    };
    assert_eq!(shown().await, "0", "ann's token does not end");
    let later = json!({ "name": "later", "role": "viewer", "expires_at": "2100-01-01T00:00:00Z" });
    let sooner = json!({ "name": "sooner", "role": "viewer", "expires_at": "2099-01-01T00:00:00Z" });
    let (later, _) = make(&world, &ann, &later).await;
    make(&world, &ann, &sooner).await;
    call(&world, &later, Method::GET, "/api/organizations", None).await;
    // The sooner one, which nobody uses, would be no news to anybody.
    until("the used one's end to be shown", || async { shown().await == "4102444800" }).await;
}
