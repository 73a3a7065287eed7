//! What the policy would charge: ingress asks, and this test plays the recharger.

use std::sync::{Arc, Mutex};

use common::contract::{SimulationRequestV1, SimulationV1};
use common::ids::OrganizationId;
use common::money::Currency;
use common::queries::{Answerer, NoAnswer, serve};
use serde_json::json;

use crate::world::{World, until};

const ROUTE: &str = "/api/organizations/acme/simulate";

/// Answers what it is told to, and remembers what it was asked.
#[derive(Clone, Default)]
struct Recharger {
    asked: Arc<Mutex<Vec<SimulationRequestV1>>>,
}

impl Answerer<SimulationRequestV1> for Recharger {
    async fn answer(
        &self,
        organization: &OrganizationId,
        query: SimulationRequestV1,
    ) -> Result<SimulationV1, NoAnswer> {
        let unknown = query.event.is_none() && query.days.is_none();
        self.asked.lock().unwrap().push(query);
        if unknown {
            return Err(NoAnswer::refused("usage_unknown", "nobody has looked yet"));
        }
        let c_organization_id = organization.clone();
        Ok(SimulationV1 { c_organization_id, currency: Currency::USD, decision: None, replay: None })
    }
}

#[tokio::test]
async fn a_simulation_is_asked_of_the_recharger() {
    let world = World::new(&[]).await;
    world.organization("acme", json!({})).await;
    let alone = world.post(ROUTE, &json!({ "days": 7 })).await;
    assert_eq!((alone.status, &alone.body["code"]), (503, &json!("recharger_unavailable")), "{alone:?}");

    let recharger = Recharger::default();
    tokio::spawn(serve(world.broker.clone(), "recharger", recharger.clone(), world.shutdown.clone()));
    until("the recharger to answer", || async { world.post(ROUTE, &json!({ "days": 7 })).await.status == 200 }).await;
    let asked = json!({
        "event": { "current_usage": 520.1, "current_limit": "500" },
        "policy": { "max_daily_amount": null, "target_balance": 750 },
    });
    let got = world.post(ROUTE, &asked).await;
    assert_eq!((got.status, &got.body), (200, &json!({ "c_organization_id": "acme", "currency": "usd" })));
    let last = recharger.asked.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last.event.unwrap().current_usage.to_string(), "520.1");
    assert_eq!(
        (last.policy.max_daily_amount, last.policy.target_balance.unwrap().to_string()),
        (Some(None), "750.00".into())
    );

    // As is what a person would ask for.
    world.post(ROUTE, &json!({ "amount": 25.5 })).await;
    let last = recharger.asked.lock().unwrap().last().cloned().unwrap();
    assert_eq!(last.amount.map(|amount| amount.to_string()), Some("25.50".to_owned()));

    // Without a body it is asked for now.
    let nothing = world.send(world.http.post(world.url(ROUTE))).await;
    assert_eq!((nothing.status, &nothing.body["code"]), (409, &json!("usage_unknown")), "{nothing:?}");
    let wrong = world.post(ROUTE, &json!({ "days": 0, "event": { "current_usage": 1 }, "policy": { "x": 1 } })).await;
    assert_eq!(
        (wrong.status, wrong.fields()),
        (400, ["days", "event.current_limit", "policy.x"].map(str::to_owned).to_vec())
    );
    assert_eq!(world.post("/api/organizations/nobody/simulate", &json!({})).await.status, 404);
    let changes: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_log WHERE action <> 'organization.created'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(changes, 0);
}
