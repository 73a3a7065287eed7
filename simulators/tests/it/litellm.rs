//! LiteLLM's team calls and its alert.

use serde_json::{Value, json};
use simulators::litellm::Litellm;

use crate::support::{Api, Receiver, any_port};

async fn with_team() -> Api {
    let api = Api::new(Litellm::start(any_port()).await.unwrap());
    api.sim("config", json!({ "master_key": "sk-master" })).await;
    let team = json!({ "team_id": "team-acme", "team_alias": "acme-team", "max_budget": 0.05,
        "metadata": { "c_organization_id": "org_1" } });
    let created = api.json("POST", "/team/new", team).await.ok();
    assert_eq!((&created["team_id"], &created["spend"]), (&json!("team-acme"), &json!(0.0)));
    api
}

#[tokio::test]
async fn teams_are_made_read_and_raised() {
    let api = with_team().await;
    let info = api.json("GET", "/team/info?team_id=team-acme", json!(null)).await.ok();
    assert_eq!(info["team_info"]["max_budget"].to_string(), "0.05");
    assert_eq!(info["team_info"]["metadata"]["c_organization_id"], "org_1");
    let raise = json!({ "team_id": "team-acme", "max_budget": 0.1 });
    let raised = api.json("POST", "/team/update", raise).await.ok();
    assert_eq!(raised["data"]["max_budget"].to_string(), "0.1");
    let unknown = json!({ "team_id": "team-other", "max_budget": 1 });
    assert_eq!(api.json("POST", "/team/update", unknown).await.status, 404);
    let wrong_key = api.get("/team/info?team_id=team-acme").await;
    assert_eq!((wrong_key.status, wrong_key.str("/error/type")), (401, "token_not_found_in_db"));
    let unlimited = api.json("POST", "/team/new", json!({ "team_id": "free" })).await.ok();
    assert_eq!(unlimited["max_budget"], json!(null));
    let twice = api.json("POST", "/team/new", json!({ "team_id": "free" })).await;
    assert_eq!((twice.status, twice.str("/error/message").contains("already exists")), (400, true));
    assert_eq!(api.books().await["teams"]["team-acme"]["budget_writes"].to_string(), "[0.05,0.1]");
}

#[tokio::test]
async fn the_alert_is_a_lossy_hint() {
    let api = with_team().await;
    let receiver = Receiver::start(&[]).await;
    api.sim("config", json!({ "webhook_url": receiver.url })).await;
    let usage = |usage: &str| json!({ "team_id": "team-acme", "usage": usage, "webhook": true });
    // Exactly equal: nothing is sent.
    assert_eq!(api.sim("usage", usage("0.05")).await["sent"], false);
    assert_eq!(api.sim("usage", usage("0.06")).await["sent"], true);
    let one = receiver.all().remove(0);
    assert_eq!(one.body["event"], "budget_crossed");
    assert_eq!(one.body["event_group"], "team");
    assert_eq!(one.body["spend"].to_string(), "0.06");
    assert_eq!(one.body["event_message"], "Team Budget: Budget Crossed\n Total Budget:`0.05`");
    assert_eq!(one.body.as_object().unwrap().len(), 16);
    // Raised and crossed again within a day: nothing is sent.
    api.json("POST", "/team/update", json!({ "team_id": "team-acme", "max_budget": 0.1 })).await.ok();
    assert_eq!(api.sim("usage", usage("0.2")).await["sent"], false);
    api.sim("clock", json!({ "advance_seconds": 86_400 })).await;
    assert_eq!(api.sim("usage", usage("0.3")).await["sent"], true);
}

#[tokio::test]
async fn activity_by_day() {
    let api = with_team().await;
    for (index, usage) in ["1.5", "2", "2.1"].into_iter().enumerate() {
        api.sim("usage", json!({ "team_id": "team-acme", "usage": usage })).await;
        if index < 2 {
            api.sim("clock", json!({ "advance_seconds": 86_400 })).await;
        }
    }
    let path = "/team/daily/activity?team_ids=team-acme&start_date=2000-01-01&end_date=2999-12-31";
    let activity = api.json("GET", path, json!(null)).await.ok();
    assert_eq!(activity["metadata"]["total_spend"].to_string(), "2.1");
    let days = activity["results"].as_array().unwrap();
    let spends: Vec<String> = days.iter().map(|day| day["metrics"]["spend"].to_string()).collect();
    assert_eq!(spends, ["0.1", "0.5", "1.5"]);
    // In pages, with the page's totals.
    for (page, total, more) in [(1, "0.6", true), (2, "1.5", false), (3, "0.0", false)] {
        let shown = api.json("GET", &format!("{path}&page={page}&page_size=2"), json!(null)).await.ok();
        let pages = &shown["metadata"];
        assert_eq!((pages["total_spend"].to_string().as_str(), &pages["has_more"]), (total, &json!(more)));
        assert_eq!((&pages["page"], &pages["total_pages"]), (&json!(page), &json!(2)));
    }
    assert_eq!(api.json("GET", "/team/daily/activity?team_ids=team-acme", json!(null)).await.status, 400);
}

#[tokio::test]
async fn spend_is_shown_late_if_that_is_wanted() {
    let api = with_team().await;
    api.sim("config", json!({ "spend_lag_seconds": 10 })).await;
    api.sim("usage", json!({ "team_id": "team-acme", "usage": 0.06000000000000001 })).await;
    let info = "/team/info?team_id=team-acme";
    assert_eq!(api.json("GET", info, json!(null)).await.ok()["team_info"]["spend"], json!(0.0));
    assert_eq!(api.books().await["teams"]["team-acme"]["spend"].to_string(), "0.06000000000000001");
    api.sim("clock", json!({ "advance_seconds": 10 })).await;
    let shown = api.json("GET", info, json!(null)).await.ok();
    assert_eq!(shown["team_info"]["spend"].to_string(), "0.06000000000000001");
}

#[tokio::test]
async fn without_its_database_it_finds_no_team() {
    let api = with_team().await;
    let ready = api.get("/health/readiness").await;
    assert_eq!((ready.status, ready.str("/db")), (200, "connected"));
    api.sim("config", json!({ "database": false })).await;
    let ready = api.get("/health/readiness").await;
    assert_eq!((ready.status, ready.str("/status"), ready.str("/db")), (503, "healthy", "disconnected"));
    let info = "/team/info?team_id=team-acme";
    assert_eq!(api.json("GET", info, json!(null)).await.status, 404);
    assert_eq!(api.json("POST", "/team/new", json!({ "team_id": "new" })).await.status, 500);
    api.sim("config", json!({ "database": true })).await;
    api.json("POST", "/team/update", json!({ "team_id": "team-acme", "budget_duration": "30d" })).await.ok();
    assert_eq!(api.json("GET", info, json!(null)).await.ok()["team_info"]["budget_duration"], "30d");
    api.sim("forget", json!({ "team_id": "team-acme" })).await;
    assert_eq!(api.json("GET", info, json!(null)).await.status, 404);
}

/// Where two values differ in their names and kinds; null is any kind, and of a list the first item speaks for all.
fn differences(real: &Value, ours: &Value, place: &str, found: &mut Vec<String>) {
    match (real, ours) {
        (Value::Object(real), Value::Object(ours)) => {
            // What a day is broken down by depends on what was called.
            let named_by_data = ["models", "model_groups", "providers", "api_keys", "api_key_breakdown"]
                .iter()
                .any(|broken_down_by| place.ends_with(broken_down_by));
            for name in real.keys().chain(ours.keys()) {
                match (real.get(name), ours.get(name)) {
                    (Some(real), Some(ours)) => differences(real, ours, &format!("{place}/{name}"), found),
                    _ if named_by_data => {}
                    (one, _) => {
                        found.push(format!("{place}/{name}: only {}", if one.is_some() { "real" } else { "ours" }))
                    }
                }
            }
        }
        (Value::Array(real), Value::Array(ours)) => {
            if let (Some(real), Some(ours)) = (real.first(), ours.first()) {
                differences(real, ours, &format!("{place}/0"), found);
            }
        }
        (Value::Null, _) | (_, Value::Null) => {}
        (real, ours) => {
            if std::mem::discriminant(real) != std::mem::discriminant(ours) {
                found.push(format!("{place}: {real} is not {ours}"));
            }
        }
    }
}

#[tokio::test]
async fn answers_look_like_a_running_proxys() {
    let fixture = |name: &str| -> Value {
        let path = format!("{}/tests/it/fixtures/litellm/{name}.json", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).unwrap();
        serde_json::from_str(&text.replace("team-3d0b058e", "team-acme")).unwrap()
    };
    let api = Api::new(Litellm::start(any_port()).await.unwrap());
    let team = json!({ "team_id": "team-acme", "team_alias": "acme-team", "max_budget": 0.05,
        "metadata": { "c_organization_id": "org_1" } });
    let new = api.json("POST", "/team/new", team).await.ok();
    api.sim("usage", json!({ "team_id": "team-acme", "usage": 0.03 })).await;
    let update = api.json("POST", "/team/update", json!({ "team_id": "team-acme", "max_budget": 0.1 })).await.ok();
    let info = api.json("GET", "/team/info?team_id=team-acme", json!(null)).await.ok();
    let path = "/team/daily/activity?team_ids=team-acme&start_date=2000-01-01&end_date=2999-12-31";
    let activity = api.json("GET", path, json!(null)).await.ok();
    for (name, ours) in [
        ("api_team_new", new),
        ("api_team_update", update),
        ("api_team_info", info),
        ("api_team_daily_activity", activity),
    ] {
        let mut found = Vec::new();
        differences(&fixture(name), &ours, "", &mut found);
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
}
