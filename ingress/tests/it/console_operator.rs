//! The console's pages for operators: what they show, what they do, and for whom they are not.

use common::config::Secret;
use common::contract::{DeadLetterHeaders, dead_letter_subject};
use reqwest::Method;
use serde_json::{Value, json};

use crate::access::{call, guarded, make};
use crate::console::{Person, Seen, organization};
use crate::world::World;

/// What is shown as text, wherever it comes from.
const HOSTILE: &str = "<script>alert(1)</script>\"'\u{202e}&";

/// Parks a message whose error and body are not to be trusted.
async fn park(world: &World, service: &str, subject: &str, body: &str) -> u64 {
    let mut headers = async_nats::HeaderMap::new();
    headers.insert(DeadLetterHeaders::REASON, "malformed");
    headers.insert(DeadLetterHeaders::ERROR, HOSTILE);
    let subject = dead_letter_subject(service, subject);
    world.broker.publish_raw(&subject, headers, body.to_owned().into()).await.unwrap().sequence
}

async fn pause(world: &World, id: &str, reason: &str) {
    sqlx::query("INSERT INTO recharge_state (c_organization_id, paused_at, pause_reason) VALUES ($1, now(), $2)")
        .bind(id)
        .bind(reason)
        .execute(&world.pool)
        .await
        .unwrap();
}

async fn run(world: &World, id: &str) {
    let write = "INSERT INTO reconciliation_runs (run_id, since, requested_by, requested_at)
         VALUES ($1, now() - interval '2 days', $2, now())";
    sqlx::query(write).bind(id).bind(HOSTILE).execute(&world.pool).await.unwrap();
    for part in ["charges", "quotas"] {
        sqlx::query("INSERT INTO reconciliation_parts (run_id, part, checked, finished_at) VALUES ($1, $2, 10, now())")
            .bind(id)
            .bind(part)
            .execute(&world.pool)
            .await
            .unwrap();
    }
    for (part, kind, expected, found) in [
        ("charges", "amount_differs", "200.00 usd", "succeeded 20600 usd, 0 given back"),
        ("quotas", "quota_drift", "500", "499"),
    ] {
        sqlx::query(
            "INSERT INTO reconciliation_findings
                (run_id, part, kind, c_organization_id, expected, found, action, detail, found_at)
             VALUES ($1, $2, $3, 'acme', $4, $5, 'reported', $6, now())",
        )
        .bind(id)
        .bind(part)
        .bind(kind)
        .bind(expected)
        .bind(found)
        .bind(HOSTILE)
        .execute(&world.pool)
        .await
        .unwrap();
    }
}

/// Whether a page is whole, and everything on it is text.
fn is_sound(seen: &Seen, path: &str) {
    assert_eq!(seen.status, 200, "{path}: {}", seen.html);
    assert!(!seen.has("<script>alert"), "{path}: {}", seen.html);
    assert!(!seen.has(" style=") && !seen.has("onclick"), "{path}: the policy forbids them");
    assert_eq!(seen.html.matches("<h1").count(), 1, "{path}");
    assert!(seen.html.trim_end().ends_with("</html>"), "{path}");
}

#[tokio::test]
async fn every_page_of_an_operator_in_both_languages() {
    let (world, ann) = guarded(&[]).await;
    for id in ["acme", "beta", "gone"] {
        organization(&world, &ann, id).await;
    }
    call(&world, &ann, Method::DELETE, "/api/organizations/gone", None).await;
    pause(&world, "beta", HOSTILE).await;
    let long = format!("{{\"text\":\"{}\"}}", "x".repeat(10_000));
    park(&world, "ledger", "recharges.charged.acme", &long).await;
    park(&world, "ledger", "recharges.charged.acme", HOSTILE).await;
    park(&world, "nobody", "some.thing", "").await;
    run(&world, "run-1").await;
    let (_, id) = make(&world, &ann, &json!({ "name": HOSTILE, "role": "viewer" })).await;
    let mut ann = Person::signed_in(&world, &ann).await;
    let revoke = format!("/console/tokens/{id}/revoke");
    let pages = [
        ("/console/organizations", vec!["Paused", "minimum $100.00", "&#60;script&#62;"]),
        ("/console/organizations?search=ACM&sort=available", vec!["/console/organizations/acme"]),
        ("/console/organizations?only=low&search=nobody", vec!["No organization is like that"]),
        ("/console/organizations?closed=true", vec!["/console/organizations/gone"]),
        ("/console/organizations/new", vec!["value=\"1000\"", "value=\"3600\""]),
        ("/console/organizations/acme/close", vec!["Close acme?", "Nothing is deleted"]),
        ("/console/organizations/gone/reopen", vec!["Open gone again?"]),
        ("/console/organizations/gone/close", vec!["closed already"]),
        ("/console/pipeline", vec!["Needs a person", "No replica of ledger", "Given up and waiting for a person: 3"]),
        ("/console/dead-letters", vec!["Bring back all 2", "&#60;script&#62;"]),
        ("/console/dead-letters/1", vec!["xxxxxxxxxx", "recharges.charged.acme"]),
        ("/console/dead-letters/2", vec!["&#60;script&#62;"]),
        ("/console/dead-letters/3", vec!["The message is empty."]),
        ("/console/dead-letters/2/discard", vec!["Discard dead letter 2?"]),
        ("/console/reconciliations", vec!["2 for a person", "&#60;script&#62;"]),
        (
            "/console/reconciliations/run-1",
            vec!["$206.00 paid, $0.00 given back", "Should be", "$500.00", "$499.00", "Under way"],
        ),
        ("/console/tokens", vec!["&#60;script&#62;", "Revoke"]),
        (&revoke, vec!["&#60;script&#62;", "can’t be undone"]),
    ];
    for (path, says) in &pages {
        let seen = ann.get(path).await;
        is_sound(&seen, path);
        for text in says {
            assert!(seen.has(text), "{path}: {text}: {}", seen.html);
        }
    }
    // Who needs a person first comes first.
    let seen = ann.get("/console/organizations").await;
    let place = |id: &str| seen.html.find(&format!("/console/organizations/{id}\"")).unwrap();
    assert!(place("beta") < place("acme") && !seen.has("/console/organizations/gone\""), "{}", seen.html);
    ann.language = "zh";
    for (path, _) in &pages {
        let seen = ann.get(path).await;
        is_sound(&seen, path);
        assert!(seen.has("lang=\"zh-CN\""), "{path}");
    }
    for path in ["/console/reconciliations/none", "/console/dead-letters/99", "/console/organizations/none/close"] {
        assert_eq!(ann.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn organizations_tokens_and_comparisons_from_forms() {
    let (world, token) = guarded(&[]).await;
    let mut ann = Person::signed_in(&world, &token).await;
    ann.get("/console/organizations/new").await;
    let wrong = [
        ("c_organization_id", "a b"),
        ("currency", "usd"),
        ("minimum_balance", HOSTILE),
        ("max_daily_recharges", "-1"),
        ("litellm_team_id", &"y".repeat(10_000)),
    ];
    let seen = ann.post("/console/organizations/new", &wrong).await;
    assert!(
        seen.status == 400 && seen.has("A whole number from 0 to 1440.") && seen.has("value=\"a b\""),
        "{}",
        seen.html
    );
    assert!(
        seen.has(&"y".repeat(10_000)) && seen.has("&#60;script&#62;") && !seen.has("<script>alert"),
        "{}",
        seen.html
    );
    let right = [("c_organization_id", "acme"), ("minimum_balance", "1,000.50"), ("target_balance", "2000")];
    let seen = ann.post("/console/organizations/new", &right).await;
    assert_eq!((seen.status, seen.location.as_str()), (303, "/console/organizations/acme"));
    let config = call(&world, &token, Method::GET, "/api/organizations/acme/config", None).await.body;
    assert_eq!(
        (config["minimum_balance"].to_string(), &config["auto_recharge_enabled"]),
        ("1000.50".into(), &json!(false))
    );
    let seen = ann.post("/console/organizations/new", &right).await;
    assert!(seen.status == 409 && seen.has("such an organization already") && seen.has("1,000.50"), "{}", seen.html);
    for (path, closed) in [("close", true), ("close", true), ("reopen", false)] {
        let seen = ann.post(&format!("/console/organizations/acme/{path}"), &[]).await;
        assert_eq!((seen.status, seen.location.as_str()), (303, "/console/organizations/acme"), "{path}");
        let config = call(&world, &token, Method::GET, "/api/organizations/acme/config", None).await.body;
        assert_eq!(config["closed_at"].is_string(), closed, "{path}");
    }

    // A token is on the answer of its making, and nowhere after.
    let form = [("name", "bob"), ("role", "org_admin"), ("c_organization_id", "")];
    let seen = ann.post("/console/tokens", &form).await;
    assert!(seen.status == 400 && seen.has("needs an organization") && seen.has("value=\"bob\""), "{}", seen.html);
    let unknown = [("name", "bob"), ("role", "org_admin"), ("c_organization_id", "nobody")];
    let seen = ann.post("/console/tokens", &unknown).await;
    assert!(
        seen.status == 404 && seen.has("There is no such organization") && seen.has("value=\"nobody\""),
        "{}",
        seen.html
    );
    let form = [("name", HOSTILE), ("role", "org_admin"), ("c_organization_id", "acme"), ("expires_at", "2999-12-31")];
    let seen = ann.post("/console/tokens", &form).await;
    assert_eq!((seen.status, seen.location.as_str()), (201, ""), "{}", seen.html);
    let secret = seen.html.split("data-copy=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap().to_owned();
    assert!(secret.starts_with("bill_") && seen.has("&#60;script&#62;") && seen.has("2999-12-31"), "{}", seen.html);
    assert!(seen.headers.get_all("set-cookie").iter().all(|cookie| !cookie.to_str().unwrap().contains(&secret)));
    assert!(!ann.get("/console/tokens").await.has(&secret));
    let made = Secret::new(secret);
    let bob = call(&world, &made, Method::GET, "/api/organizations/acme/config", None).await;
    assert_eq!(bob.status, 200);
    let tokens = call(&world, &token, Method::GET, "/api/tokens", None).await.body;
    let id = tokens["items"][0]["id"].as_str().unwrap();
    let seen = ann.post(&format!("/console/tokens/{id}/revoke"), &[]).await;
    assert_eq!((seen.status, seen.location.as_str()), (303, "/console/tokens"));
    assert_eq!(call(&world, &made, Method::GET, "/api/organizations", None).await.status, 401);
    assert!(ann.get("/console/tokens").await.has("The token is revoked."));
    let own = tokens["items"][1]["id"].as_str().unwrap();
    assert!(ann.get(&format!("/console/tokens/{own}/revoke")).await.has("you will be signed out"));

    // The form sent twice is one comparison.
    let seen = ann.get("/console/reconciliations").await;
    let key = seen.hidden("key");
    let mut runs = Vec::new();
    for _ in 0..2 {
        let seen = ann.post("/console/reconciliations", &[("key", &key), ("since", "")]).await;
        assert_eq!(seen.status, 303, "{}", seen.html);
        runs.push(seen.location);
    }
    assert_eq!(runs[0], runs[1]);
    let seen = ann.get(&runs[0]).await;
    assert!(seen.has("The comparison has begun.") && seen.has("Under way, 0 of 3 parts"), "{}", seen.html);
    let seen = ann.post("/console/reconciliations", &[("key", "other"), ("since", "2999-01-01")]).await;
    assert!(seen.status == 400 && seen.has("A day between 1970 and today.") && seen.has("2999-01-01"), "{}", seen.html);
}

#[tokio::test]
async fn dead_letters_brought_back_and_discarded() {
    let (world, ann) = guarded(&[]).await;
    for service in ["ledger", "nobody", "ledger", "ledger"] {
        park(&world, service, "recharges.charged.acme", "{}").await;
    }
    let mut ann = Person::signed_in(&world, &ann).await;
    let list = "/console/dead-letters";
    ann.get(list).await;
    let seen = ann.post("/console/dead-letters/redrive", &[]).await;
    assert!(seen.status == 400 && seen.has("Nothing was chosen."), "{}", seen.html);
    let seen =
        ann.post("/console/dead-letters/redrive", &[("sequence", "1"), ("sequence", "2"), ("sequence", "77")]).await;
    assert!(seen.status == 200 && seen.has("1 of 3 were brought back."), "{}", seen.html);
    assert!(seen.has("It can only be discarded.") && seen.has("no such dead letter any more"), "{}", seen.html);
    let seen = ann.post("/console/dead-letters/redrive", &[("sequence", "1")]).await;
    assert!(seen.has("0 of 1 were brought back.") && seen.has("brought back already"), "{}", seen.html);
    assert_eq!(world.count("REQUESTS", "requests.redrive.>").await, 1);

    let seen = ann.post("/console/dead-letters/3/redrive", &[]).await;
    assert_eq!((seen.status, seen.location.as_str()), (303, "/console/dead-letters/3"));
    let seen = ann.get(&seen.location).await;
    assert!(seen.has("Brought back by ann#") && seen.has("brought back to the service"), "{}", seen.html);
    assert!(!seen.has("/3/redrive") && !seen.has("/3/discard"), "what is done has no buttons: {}", seen.html);

    let discard = "/console/dead-letters/2/discard";
    let tall = "z".repeat(10_000);
    for (reason, kept) in [("", ""), (tall.as_str(), tall.as_str())] {
        let seen = ann.post(discard, &[("reason", reason)]).await;
        assert!(seen.status == 400 && seen.has("is-wrong") && seen.has(kept), "{}", seen.html);
    }
    let seen = ann.post(discard, &[("reason", HOSTILE.trim_end_matches('\u{202e}'))]).await;
    assert_eq!((seen.status, seen.location.as_str()), (303, "/console/dead-letters/2"), "{}", seen.html);
    let seen = ann.get("/console/dead-letters/2").await;
    assert!(
        seen.has("Discarded by ann#") && seen.has("&#60;script&#62;") && !seen.has("<script>alert"),
        "{}",
        seen.html
    );
    let seen = ann.post(discard, &[("reason", "again")]).await;
    assert!(seen.status == 409 && seen.has("It was discarded already."), "{}", seen.html);
}

#[tokio::test]
async fn for_whom_the_pages_are_not() {
    let (world, ann) = guarded(&[]).await;
    for id in ["own", "other"] {
        organization(&world, &ann, id).await;
        park(&world, "ledger", &format!("recharges.charged.{id}"), "{}").await;
    }
    let give = async |role: &str, organization: Value| {
        let (token, id) =
            make(&world, &ann, &json!({ "name": role, "role": role, "c_organization_id": organization })).await;
        (Person::signed_in(&world, &token).await, id)
    };
    let (mut admin, _) = give("org_admin", json!("own")).await;
    let (mut viewer, id) = give("viewer", Value::Null).await;

    // An admin sees what is his organization's, and nothing says that there is more.
    let seen = admin.get("/console/dead-letters").await;
    assert!(seen.status == 200 && seen.has("recharges.charged.own") && !seen.has("other"), "{}", seen.html);
    assert!(!seen.has("type=\"checkbox\"") && !seen.has("action=\"/console/dead-letters/redrive\""), "{}", seen.html);
    let seen = admin.get("/console/dead-letters/1").await;
    assert!(seen.status == 200 && !seen.has("/1/redrive") && !seen.has("/1/discard"), "{}", seen.html);
    let seen = admin.get("/console/organizations").await;
    assert!(seen.has("/console/organizations/own") && !seen.has("/other") && !seen.has("/new"), "{}", seen.html);
    let seen = admin.get("/console/tokens").await;
    assert!(seen.status == 200 && !seen.has("value=\"operator\"") && !seen.has(">viewer</bdi>"), "{}", seen.html);
    let foreign = format!("/console/tokens/{id}/revoke");
    for (path, status) in [
        ("/console/dead-letters/2", 404),
        ("/console/dead-letters/2/discard", 404),
        ("/console/dead-letters/1/discard", 403),
        ("/console/organizations/other/close", 404),
        ("/console/organizations/own/close", 403),
        ("/console/organizations/new", 403),
        ("/console/pipeline", 403),
        ("/console/reconciliations", 403),
        (&foreign, 404),
    ] {
        assert_eq!(admin.get(path).await.status, status, "{path}");
    }
    for (path, status) in [
        ("/console/dead-letters/1/redrive", 403),
        ("/console/dead-letters/1/discard", 403),
        ("/console/organizations/other/close", 404),
        ("/console/organizations/own/close", 403),
        ("/console/organizations/new", 403),
        ("/console/reconciliations", 403),
        (&foreign, 404),
    ] {
        assert_eq!(admin.post(path, &[("reason", "x")]).await.status, status, "{path}");
    }
    assert_eq!(admin.post("/console/dead-letters/redrive", &[("sequence", "1")]).await.status, 403);
    // Whatever the form says, it is for his own organization.
    let seen =
        admin.post("/console/tokens", &[("name", "x"), ("role", "viewer"), ("c_organization_id", "other")]).await;
    assert!(seen.status == 201 && seen.has("<bdi>own</bdi>") && !seen.has("<bdi>other</bdi>"), "{}", seen.html);
    assert_eq!(admin.post("/console/tokens", &[("name", "x"), ("role", "operator")]).await.status, 400);

    // A viewer of everything sees it without a button.
    for path in ["/console/organizations", "/console/pipeline", "/console/dead-letters", "/console/reconciliations"] {
        let seen = viewer.get(path).await;
        is_sound(&seen, path);
        assert!(!seen.has("button primary") && !seen.has("action=\"/console/dead-letters/redrive\""), "{path}");
    }
    assert_eq!(viewer.get("/console/tokens").await.status, 403);
    for path in [
        "/console/tokens",
        "/console/reconciliations",
        "/console/dead-letters/1/redrive",
        "/console/organizations/own/close",
    ] {
        assert_eq!(viewer.post(path, &[]).await.status, 403, "{path}");
    }
    assert_eq!(world.count("DEAD_LETTERS", "dead.>").await, 2);
}
