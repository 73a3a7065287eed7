//! LiteLLM's team calls and its alert.

use serde_json::json;
use simulators::litellm::Litellm;

use crate::support::{Api, Receiver, any_port};

async fn with_team() -> Api {
    let api = Api::new(Litellm::start(any_port()).await.unwrap());
    api.sim("config", json!({ "master_key": "sk-master" })).await;
    let team = json!({ "team_id": "team-acme", "team_alias": "acme-team", "max_budget": 0.05,
        "metadata": { "c_organization_id": "org_1" } });
    let created = api.json("POST", "/team/new", team).await.ok();
    assert_eq!((&created["team_id"], &created["spend"]), (&json!("team-acme"), &json!(0)));
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
    assert_eq!(wrong_key.status, 401);
    let unlimited = api.json("POST", "/team/new", json!({ "team_id": "free" })).await.ok();
    assert_eq!(unlimited["max_budget"], json!(null));
    let twice = api.json("POST", "/team/new", json!({ "team_id": "free" })).await;
    assert_eq!(twice.status, 400);
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
    api.sim("usage", json!({ "team_id": "team-acme", "usage": 1.5 })).await;
    api.sim("clock", json!({ "advance_seconds": 86_400 })).await;
    api.sim("usage", json!({ "team_id": "team-acme", "usage": 2 })).await;
    let path = "/team/daily/activity?team_ids=team-acme&start_date=2000-01-01&end_date=2999-12-31";
    let activity = api.json("GET", path, json!(null)).await.ok();
    assert_eq!(activity["metadata"]["total_spend"].to_string(), "2.0");
    let days = activity["results"].as_array().unwrap();
    assert_eq!(days.len(), 2);
    assert_eq!(days[0]["metrics"]["spend"].to_string(), "0.5");
    assert!(days[0]["breakdown"]["entities"]["team-acme"].is_object());
}
