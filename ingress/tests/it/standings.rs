//! How organizations stand: each urgency, and pages in each order.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::world::World;

/// What each organization is, beside its id: the rows of the other services, and how it stands by them. All have 100 left
/// over a minimum of 50, in dollars, unless something else is said here.
const ORGANIZATIONS: [(&str, &str, &str); 17] = [
    ("fine", "", "ok"),
    ("p-card", "PAUSE pm_1", "paused"),
    ("p-person", "PAUSE ", "paused"),
    ("p-other-card", "PAUSE pm_0", "ok"),
    (
        "p-resumed",
        "PAUSE ; UPDATE organization_balance_config SET resumed_at = now() WHERE c_organization_id = 'ID'",
        "ok",
    ),
    ("p-closed", "PAUSE ; CLOSE", "off"),
    ("f-declined", "RECHARGE declined", "failing"),
    ("f-low", "RECHARGE failed; USAGE 140", "failing"),
    (
        "f-new-card",
        "RECHARGE declined; UPDATE organization_balance_config SET payment_method_set_at = now() WHERE c_organization_id = 'ID'",
        "ok",
    ),
    ("f-refund", "RECHARGE settled; REFUND 1; CLOSE", "failing"),
    ("r-waits", "RECHARGE action_required; USAGE 200", "action_required"),
    (
        "b-hind",
        "UPDATE quota_targets SET pushed_version = NULL, pushed_quota = NULL WHERE c_organization_id = 'ID'",
        "behind",
    ),
    ("l-low", "RECHARGE settled; REFUND 0; USAGE 100.01", "low"),
    ("l-on-its-way", "RECHARGE charged; USAGE 160", "ok"),
    (
        "l-yen",
        "UPDATE organization_balance_config SET minimum_balance = 0, currency = 'jpy' WHERE c_organization_id = 'ID'; USAGE 15000",
        "low",
    ),
    (
        "n-card",
        "UPDATE organization_balance_config SET default_payment_method_id = NULL WHERE c_organization_id = 'ID'",
        "no_card",
    ),
    (
        "o-ff",
        "UPDATE organization_balance_config SET auto_recharge_enabled = false WHERE c_organization_id = 'ID'",
        "off",
    ),
];

/// What the words in capital letters stand for.
fn spelt_out(id: &str, what: &str) -> Vec<String> {
    let one = |statement: &str| {
        let statement = statement.trim_start();
        let (word, value) = statement.split_once(' ').unwrap_or((statement, ""));
        let sql = match word {
            "PAUSE" => format!(
                "INSERT INTO recharge_state (c_organization_id, paused_at, pause_reason, pause_payment_method)
                 VALUES ('ID', now() - interval '1 minute', 'lost_card', NULLIF('{value}', ''))"
            ),
            "CLOSE" => "UPDATE organization_balance_config SET closed_at = now() WHERE c_organization_id = 'ID'".to_owned(),
            "USAGE" => format!(
                "INSERT INTO usage_snapshots (c_organization_id, usage, quota, taken_at) VALUES ('ID', {value}, 150, now())"
            ),
            "RECHARGE" => format!(
                "INSERT INTO recharge_records (c_organization_id, amount, fee, total_charge, currency, status, trigger_event_id, correlation_id, created_at, ended_at)
                 VALUES ('ID', 100, 0, 100, 'usd', '{value}', 'evt_ID', 'evt_ID', now() - interval '2 minutes',
                         CASE WHEN '{value}' IN ('declined', 'failed', 'settled') THEN now() - interval '1 minute' END)"
            ),
            "REFUND" => format!(
                "INSERT INTO refunds (refund_key, recharge_id, c_organization_id, correlation_id, cause, reason, currency, amount, total, status, refusals, next_at, created_at, updated_at)
                 SELECT 'request:ID', recharge_id, 'ID', 'evt_ID', 'requested', 'asked', 'usd', 1, 1, 'requested', {value}, now(), now(), now()
                   FROM recharge_records WHERE c_organization_id = 'ID'"
            ),
            _ => statement.to_owned(),
        };
        sql.replace("ID", id)
    };
    what.split(';').filter(|statement| !statement.trim().is_empty()).map(one).collect()
}

/// An organization with 150 booked in two transactions, in force at the backend, of which 50 were used.
async fn stands(world: &World, id: &str, what: &str) {
    world.organization(id, json!({ "minimum_balance": 50 })).await;
    let mut tx = world.pool.begin().await.unwrap();
    for sql in [
        "UPDATE organization_balance_config SET default_payment_method_id = 'pm_1', payment_method_brand = 'visa', payment_method_last4 = '4242' WHERE c_organization_id = 'ID'",
        "INSERT INTO quota_targets (c_organization_id, currency, target_quota, target_version, pushed_quota, pushed_version, updated_at)
         VALUES ('ID', 'usd', 150, 2, 150, 2, now())",
        "INSERT INTO usage_snapshots (c_organization_id, usage, quota, taken_at) VALUES ('ID', 999, 150, now() - interval '2 minutes'), ('ID', 50, 150, now() - interval '1 minute')",
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql.replace("ID", id))).execute(&mut *tx).await.unwrap();
    }
    for sql in spelt_out(id, what) {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *tx).await.unwrap();
    }
    // The books' own guards are not what is tried here.
    for sql in [
        "ALTER TABLE ledger_accounts DISABLE TRIGGER guard_account",
        "INSERT INTO ledger_organizations SELECT c_organization_id, currency FROM organization_balance_config WHERE c_organization_id = 'ID'",
        "INSERT INTO ledger_accounts (c_organization_id, kind, currency, balance_minor, version)
         SELECT c_organization_id, kind, currency, 15000, 2 FROM ledger_organizations, unnest(ARRAY['balance', 'stripe_clearing']) kind WHERE c_organization_id = 'ID'",
        "ALTER TABLE ledger_accounts ENABLE TRIGGER guard_account",
    ] {
        sqlx::raw_sql(AssertSqlSafe(sql.replace("ID", id))).execute(&mut *tx).await.unwrap();
    }
    tx.commit().await.unwrap();
}

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
    items.iter().map(|item| item["c_organization_id"].as_str().unwrap().to_owned()).collect()
}

/// Every page of a list, with so many on each; the counts are the same on all.
async fn pages(world: &World, query: &str, limit: usize) -> Vec<String> {
    let (mut all, mut after, mut counts) = (Vec::new(), String::new(), Value::Null);
    loop {
        let page = world.get(&format!("/api/standings?{query}&limit={limit}{after}")).await.body;
        all.extend(ids(&page));
        assert!(counts.is_null() || counts == page["counts"], "{page}");
        counts = page["counts"].clone();
        match page["next_cursor"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => return all,
        }
    }
}

#[tokio::test]
async fn organizations_stand_by_how_much_they_need_a_person() {
    const URGENCIES: [&str; 8] = ["paused", "failing", "action_required", "behind", "low", "no_card", "off", "ok"];
    let world = World::new(&[]).await;
    for (id, what, _) in ORGANIZATIONS {
        stands(&world, id, what).await;
    }
    let all = world.get("/api/standings?closed=true").await.body;
    for (id, what, want) in ORGANIZATIONS {
        let item = all["items"].as_array().unwrap().iter().find(|item| item["c_organization_id"] == id);
        assert_eq!(item.unwrap()["urgency"], want, "{id} {what}: {item:?}");
    }
    // In the order of urgencies, and of ids within each.
    let mut expected: Vec<_> = ORGANIZATIONS
        .iter()
        .map(|(id, _, urgency)| (URGENCIES.iter().position(|word| word == urgency), (*id).to_owned()))
        .collect();
    expected.sort();
    let expected: Vec<String> = expected.into_iter().map(|(_, id)| id).collect();
    for limit in [1, 5, 200] {
        assert_eq!(pages(&world, "closed=true", limit).await, expected, "{limit}");
    }
    for word in URGENCIES {
        let count = ORGANIZATIONS.iter().filter(|(_, _, urgency)| *urgency == word).count();
        assert_eq!(all["counts"][word], count, "{word}");
        assert_eq!(pages(&world, &format!("closed=true&only={word}"), 1).await.len(), count, "{word}");
    }
    assert_eq!(
        (&all["counts"]["all"], world.get("/api/standings").await.body["counts"]["all"].as_u64()),
        (&json!(17), Some(15))
    );

    let mut by_id = ORGANIZATIONS.map(|(id, ..)| id.to_owned()).to_vec();
    by_id.sort();
    assert_eq!(pages(&world, "closed=true&sort=id", 4).await, by_id);
    sqlx::query("DELETE FROM usage_snapshots WHERE c_organization_id = 'fine'").execute(&world.pool).await.unwrap();
    let by_available = pages(&world, "closed=true&sort=available", 3).await;
    assert_eq!(
        (by_available.len(), &by_available[..5]),
        (17, &["r-waits", "l-on-its-way", "l-yen", "f-low", "l-low"].map(str::to_owned)[..])
    );
    assert_eq!(by_available.last().map(String::as_str), Some("fine"), "nobody knows what it has left");

    assert_eq!(pages(&world, "search=L-", 200).await, ["l-low", "l-yen", "l-on-its-way"]);
    assert_eq!(ids(&world.get("/api/standings?search=%25").await.body), Vec::<String>::new());
    let nobody = world.get("/api/standings?search=nobody&only=paused").await.body;
    assert_eq!(
        (&nobody["counts"]["all"], &nobody["items"], &nobody["next_cursor"]),
        (&json!(0), &json!([]), &json!(null))
    );
    for bad in [
        "only=urgent",
        "sort=name",
        "closed=1",
        "limit=0",
        "after=x",
        "after=id_0_0_acme",
        "sort=id&after=urgency_0_0_acme",
        "search=%00",
    ] {
        let got = world.get(&format!("/api/standings?{bad}")).await;
        assert_eq!((got.status, &got.body["code"]), (400, &json!("invalid_query")), "{bad}");
    }
    in_full(&all);
}

/// What is told of one organization.
fn in_full(all: &Value) {
    let of = |id: &str| {
        let mut item =
            all["items"].as_array().unwrap().iter().find(|item| item["c_organization_id"] == id).unwrap().clone();
        for (name, within) in [
            ("usage_at", ""),
            ("paused_at", ""),
            ("recharge", "since"),
            ("recharge", "recharge_id"),
            ("last_recharge", "at"),
            ("last_recharge", "recharge_id"),
        ] {
            let value = if within.is_empty() { &mut item[name] } else { &mut item[name][within] };
            assert!(value.take().is_string() || name == "paused_at", "{id} {name} {within}");
        }
        item
    };
    let waits = of("r-waits");
    let expected = json!({
        "c_organization_id": "r-waits", "litellm_team_id": "r-waits", "urgency": "action_required", "currency": "usd",
        "behind": false, "auto_recharge_enabled": true, "has_payment_method": true, "payment_method_brand": "visa",
        "payment_method_last4": "4242", "closed_at": null, "paused": false, "paused_at": null, "pause_reason": null,
        "refund_failing": false, "usage_at": null,
        "recharge": { "recharge_id": null, "status": "action_required", "since": null },
        "last_recharge": { "recharge_id": null, "status": "action_required", "at": null },
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(&waits[name], value, "{name}");
    }
    let numbers = ["quota", "synced_quota", "usage", "available", "minimum_balance", "target_balance"];
    assert_eq!(
        numbers.map(|name| waits[name].to_string()),
        ["150.00", "150.00", "200.00", "-50.00", "50.00", "1000.00"]
    );
    assert_eq!(waits.as_object().unwrap().len(), expected.as_object().unwrap().len() + numbers.len());
    let yen = all["items"].as_array().unwrap().iter().find(|item| item["c_organization_id"] == "l-yen").unwrap();
    assert_eq!((yen["quota"].to_string(), yen["available"].to_string()), ("15000".to_owned(), "0".to_owned()));
}
