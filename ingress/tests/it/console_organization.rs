//! An organization's own pages: what they show to whom, and what their forms do.

use common::clock::{Clock, SystemClock};
use common::contract::{
    SimulatedDecisionV1, SimulatedRechargeV1, SimulatedReplayV1, SimulatedSkipV1, SimulationRequestV1, SimulationV1,
    SkipReason, Would,
};
use common::ids::OrganizationId;
use common::money::Currency;
use common::queries::{Answerer, NoAnswer, serve};
use serde_json::{Number, json};
use sqlx::AssertSqlSafe;

use crate::access::{guarded, make};
use crate::console::{Person, organization};
use crate::world::World;

/// What somebody might call something who means no good.
const HOSTILE: &str = "<script>alert(1)</script>\"'\u{202e}";

/// Answers what would be charged: what is asked for, with a fee; and of what is past, one recharge.
#[derive(Clone)]
struct Recharger;

fn number(text: &str) -> Number {
    serde_json::from_str(text).unwrap()
}

impl Answerer<SimulationRequestV1> for Recharger {
    async fn answer(
        &self,
        organization: &OrganizationId,
        query: SimulationRequestV1,
    ) -> Result<SimulationV1, NoAnswer> {
        let now = SystemClock.now();
        let decision = SimulatedDecisionV1 {
            would: if query.amount.is_some() { Would::Charge } else { Would::Skip },
            usage: None,
            usage_at: None,
            quota: number("500.00"),
            amount: query.amount.map(|amount| number(&amount.to_string())),
            fee: query.amount.map(|_| number("1.03")),
            total_charge: query.amount.map(|_| number("26.03")),
            new_quota: query.amount.map(|_| number("525.00")),
            reduced: false,
            reason: query.amount.is_none().then_some(SkipReason::Paused),
            until: None,
            message: String::new(),
        };
        let row = SimulatedRechargeV1 {
            at: now,
            usage: number("410.00"),
            quota_before: number("500.00"),
            amount: number("111.00"),
            fee: number("0.00"),
            total_charge: number("111.00"),
            quota_after: number("611.00"),
            reduced: false,
        };
        let replay = SimulatedReplayV1 {
            asked_from: now,
            from: Some(now),
            to: now,
            snapshots: 3,
            resolution_seconds: 60,
            starting_usage: Some(number("400.00")),
            ending_usage: Some(number("410.00")),
            starting_quota: Some(number("500.00")),
            ending_quota: Some(number("611.00")),
            recharges: 1,
            total_amount: number("111.00"),
            total_charge: number("111.00"),
            simulated: vec![row],
            truncated: false,
            skips: vec![SimulatedSkipV1 { reason: SkipReason::DailyLimitReached, count: 7, first: now, last: now }],
            actual_recharges: 4,
            actual_manual_recharges: 2,
            actual_amount: number("800.00"),
            message: String::new(),
        };
        let (decision, replay) = if query.days.is_some() { (None, Some(replay)) } else { (Some(decision), None) };
        Ok(SimulationV1 { c_organization_id: organization.clone(), currency: Currency::USD, decision, replay })
    }
}

/// An organization with a history: a card with a strange name, a look at its usage, and a charge that was declined.
async fn history(world: &World, id: &str) {
    let hostile = HOSTILE.replace('\'', "''");
    for sql in [
        format!(
            "UPDATE organization_balance_config SET default_payment_method_id = 'pm_1', payment_method_brand = '{hostile}',
                    payment_method_last4 = '4242' WHERE c_organization_id = '{id}'"
        ),
        format!(
            "INSERT INTO usage_snapshots (c_organization_id, usage, quota, taken_at)
             VALUES ('{id}', 100, 500, now() - interval '20 days'), ('{id}', 410, 500, now() - interval '1 minute')"
        ),
        format!(
            "INSERT INTO recharge_state (c_organization_id, synced_quota, paused_at, pause_reason)
             VALUES ('{id}', 0, now(), '{hostile}')"
        ),
        format!(
            "INSERT INTO recharge_records (recharge_id, c_organization_id, amount, fee, total_charge, currency, status,
                    triggered_by, trigger_event_id, correlation_id, failure_code, failure_message, created_at)
             VALUES (gen_random_uuid(), '{id}', 200, 0, 200, 'usd', 'declined', 'sweep', 'e_{id}', 'e_{id}', 'odd', '{hostile}', now())"
        ),
        format!(
            "INSERT INTO webhook_events (event_id, source, event_type, c_organization_id, correlation_id, payload, received_at,
                    decision, reason)
             VALUES ('e_{id}', 'litellm', '{hostile}', '{id}', 'e_{id}', '{{}}', now(), 'skipped', '{hostile}')"
        ),
    ] {
        sqlx::query(AssertSqlSafe(sql)).execute(&world.pool).await.unwrap();
    }
}

async fn people(world: &World, ann: &common::config::Secret) -> (Person, Person) {
    let token =
        async |role: &str| make(world, ann, &json!({ "name": role, "role": role, "c_organization_id": "own" })).await.0;
    let (admin, viewer) = (token("org_admin").await, token("viewer").await);
    (Person::signed_in(world, &admin).await, Person::signed_in(world, &viewer).await)
}

const OWN: &str = "/console/organizations/own";

#[tokio::test]
async fn what_is_shown_to_whom() {
    let (world, ann) = guarded(&[]).await;
    for id in ["own", "other"] {
        organization(&world, &ann, id).await;
        history(&world, id).await;
    }
    let (mut admin, mut viewer) = people(&world, &ann).await;
    // Without the recharger a page says that it does not know, and goes on.
    let seen = admin.get(OWN).await;
    assert!(seen.status == 200 && seen.has("can’t be told"), "{}", seen.html);
    tokio::spawn(serve(world.broker.clone(), "recharger", Recharger, world.shutdown.clone()));
    let path = format!("{OWN}/what-if");
    // `get` needs the person, and so the wait is a loop of its own.
    let mut seen = admin.get(&path).await;
    for _ in 0..200 {
        if seen.has("611.00") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        seen = admin.get(&path).await;
    }
    assert!(seen.has("$611.00") && seen.has("$800.00"), "{}", seen.html);

    for language in ["en", "zh-CN"] {
        (admin.language, viewer.language) = (language, language);
        let mut titles = Vec::new();
        for rest in
            ["", "?days=7&event=sync_x&card=saved&was=none", "/policy", "/what-if?days=90", "/recharge", "/card"]
        {
            let seen = admin.get(&format!("{OWN}{rest}")).await;
            assert_eq!(seen.status, 200, "{rest}: {}", seen.html);
            assert!(
                !seen.has("<script>alert") && !seen.has(" style=") && !seen.has("onclick"),
                "{rest}: {}",
                seen.html
            );
            assert!(seen.has(&format!("<html lang=\"{}", &language[..2])), "{rest}");
            assert_eq!(seen.html.matches("<h1").count(), 1, "{rest}");
            titles.push(seen.html.split("<h1").nth(1).unwrap().split("</h1>").next().unwrap().to_owned());
            let seen = admin.get(&format!("/console/organizations/other{rest}")).await;
            assert!(seen.status == 404 && !seen.has("4242"), "{rest}: {}", seen.html);
        }
        let seen = admin.get(OWN).await;
        assert!(seen.has("−$410.00") || seen.has("−$410<"), "{}", seen.html);
        assert_eq!(
            seen.html.matches("&lt;script&gt;alert(1)").count() + seen.html.matches("&#60;script&#62;alert(1)").count(),
            5,
            "{}",
            seen.html
        );
        for shown in [
            "data-live=\"/console/live?organization=own\"",
            "class=\"quota-line\"",
            "/resume\"",
            "/sync\"",
            "/auto-recharge\"",
        ] {
            assert!(seen.has(shown), "{shown}: {}", seen.html);
        }

        let seen = viewer.get(OWN).await;
        assert_eq!(seen.status, 200);
        for hidden in ["/resume\"", "/sync\"", "/auto-recharge\"", "/policy\"", "/card\"", "/recharge\""] {
            assert!(!seen.has(hidden), "{hidden}: {}", seen.html);
        }
        for rest in ["/policy", "/recharge", "/card"] {
            assert_eq!(viewer.get(&format!("{OWN}{rest}")).await.status, 403, "{rest}");
        }
    }
    for rest in ["/auto-recharge", "/resume", "/sync", "/policy", "/recharge", "/card"] {
        viewer.get(OWN).await;
        let fields = [("on", "false"), ("amount", "25"), ("step", "confirm"), ("key", "k"), ("by", "page")];
        let seen = viewer.post(&format!("{OWN}{rest}"), &fields).await;
        assert_eq!(seen.status, 403, "{rest}: {}", seen.html);
    }
    let changes: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_log WHERE action NOT LIKE '%created'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(changes, 0);
}

#[tokio::test]
async fn what_the_forms_do() {
    let (world, ann) = guarded(&[]).await;
    organization(&world, &ann, "own").await;
    let (mut admin, _) = people(&world, &ann).await;
    tokio::spawn(serve(world.broker.clone(), "recharger", Recharger, world.shutdown.clone()));
    let post = |rest: &str| format!("{OWN}{rest}");

    // The policy: what is wrong stands beside its field, and what was typed stays.
    admin.get(&post("/policy")).await;
    let wrong = [
        ("minimum_balance", ""),
        ("target_balance", "1,000"),
        ("minimum_recharge_amount", "0.1"),
        ("max_daily_recharges", HOSTILE),
        ("cooldown_seconds", "60"),
        ("do", "save"),
    ];
    let seen = admin.post(&post("/policy"), &wrong).await;
    assert!(seen.status == 400 && seen.has("value=\"1,000\"") && seen.has("value=\"0.1\""), "{}", seen.html);
    assert!(!seen.has("<script>alert") && seen.has("From $0.50 to $999,999.99."), "{}", seen.html);
    assert_eq!(seen.html.matches("aria-invalid=\"true\"").count(), 3, "{}", seen.html);
    let right = [
        ("auto_recharge_enabled", "on"),
        ("minimum_balance", "50"),
        ("target_balance", "1,000"),
        ("target_basis", "available"),
        ("minimum_recharge_amount", "20"),
        ("max_daily_recharges", "3"),
        ("max_monthly_amount", "2000"),
        ("cooldown_seconds", "60"),
        ("litellm_team_id", "not-mine"),
    ];
    let mut tried = admin.post(&post("/policy"), &[&right[..], &[("do", "try")]].concat()).await;
    for _ in 0..200 {
        if tried.has("$611.00") {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        tried = admin.post(&post("/policy"), &[&right[..], &[("do", "try")]].concat()).await;
    }
    assert!(
        tried.status == 200 && tried.has("Nothing of this is saved") && tried.has("value=\"1,000\""),
        "{}",
        tried.html
    );
    assert!(tried.has("3</strong> times a day") && tried.has("$611.00"), "{}", tried.html);
    let config = async || {
        crate::access::call(&world, &ann, reqwest::Method::GET, "/api/organizations/own/config", None).await.body
    };
    assert_eq!(config().await["target_basis"], "quota", "trying saves nothing");
    let seen = admin.post(&post("/policy"), &[&right[..], &[("do", "save")]].concat()).await;
    assert_eq!((seen.status, seen.location.as_str()), (303, OWN));
    let saved = config().await;
    assert_eq!(
        (&saved["target_basis"], saved["target_balance"].to_string()),
        (&json!("available"), "1000.00".to_owned())
    );
    assert!(saved["litellm_team_id"].is_null(), "that is the operators'");
    assert!(admin.get(OWN).await.has("Saved."));
    assert!(!admin.get(OWN).await.has("Saved."), "said once");

    // The switch.
    for (on, want) in [("false", false), ("true", true)] {
        let seen = admin.post(&post("/auto-recharge"), &[("on", on)]).await;
        assert_eq!((seen.status, config().await["auto_recharge_enabled"].as_bool()), (303, Some(want)));
    }

    // A recharge: an amount, a look at it, and one charge however often it is confirmed.
    for (typed, says) in [("", "Type an amount"), ("0.1", "From $0.50"), (HOSTILE, "script")] {
        let seen = admin.post(&post("/recharge"), &[("amount", typed), ("step", "review")]).await;
        assert!(seen.status == 400 && seen.has(says) && !seen.has("<script>alert"), "{typed}: {}", seen.html);
    }
    let review = admin.post(&post("/recharge"), &[("amount", "25"), ("step", "review")]).await;
    assert!(
        review.status == 200 && review.has("$26.03") && review.has("$1.03") && review.has("$525.00"),
        "{}",
        review.html
    );
    let (key, exact) = (review.hidden("key"), review.hidden("amount"));
    let confirmed = [("amount", exact.as_str()), ("step", "confirm"), ("key", key.as_str())];
    let first = admin.post(&post("/recharge"), &confirmed).await;
    let second = admin.post(&post("/recharge"), &confirmed).await;
    assert_eq!((first.status, &first.location), (303, &second.location));
    let requests: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_log WHERE action = 'recharge.requested'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(requests, 1);
    let seen = admin.get(&first.location).await;
    assert!(seen.status == 200 && seen.has("has been asked for"), "{}", seen.html);

    // A sync.
    let seen = admin.post(&post("/sync"), &[]).await;
    assert!(seen.status == 303 && seen.location.contains("?event=sync"), "{}", seen.location);
    assert!(admin.get(&seen.location).await.has("The sync has begun"));

    // A card: at Stripe, or one that Stripe knows.
    let page = admin.get(&post("/card")).await;
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.contains("form-action 'self' https: http:;"), "{policy}");
    let seen = admin.post(&post("/card"), &[("by", "page")]).await;
    assert!(seen.status == 303 && seen.location.starts_with(&world.stripe.url()), "{} {}", seen.status, seen.location);
    world.sim("config", &json!({ "strict_attach": true })).await;
    for (typed, status, says) in [
        ("pm_card_chargeDeclined", 402, "The bank declined the card"),
        ("<b>", 400, "&#60;b&#62;"),
        ("", 400, "aria-invalid"),
    ] {
        let seen = admin.post(&post("/card"), &[("by", "id"), ("payment_method_id", typed)]).await;
        assert!(
            seen.status == status && seen.has(says) && seen.has("<details class=\"more\" id=\"by-id\" open>"),
            "{typed}: {}",
            seen.html
        );
    }
    let seen = admin.post(&post("/card"), &[("by", "id"), ("payment_method_id", "pm_card_visa")]).await;
    assert_eq!((seen.status, seen.location.as_str()), (303, OWN));
    assert!(admin.get(OWN).await.has("Visa •••• 4242"));
}
