//! The pages of what happened: what they show to whom, what they make of hostile texts, and what their forms do.

use common::config::Secret;
use common::contract::{AdjustRequestedV1, RefundRequestedV1};
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::access::{guarded, make};
use crate::console::{Person, Seen, organization};
use crate::world::World;

/// A recharge that is settled, one on its way that a person asked for, one that was declined, and one of another organization.
const SETTLED: &str = "00000000-0000-4000-8000-000000000001";
const MOVING: &str = "00000000-0000-4000-8000-000000000002";
const DECLINED: &str = "00000000-0000-4000-8000-000000000003";
const OTHERS: &str = "00000000-0000-4000-8000-000000000004";
/// What somebody might write who means no good, as it stands in SQL and in pages.
const EVIL: &str = "<script>alert(1)</script>\u{202e}=1+1";
const TOLD: &str = "&#60;script&#62;alert(1)&#60;/script&#62;";

async fn run(world: &World, sql: String) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&world.pool).await.unwrap();
}

/// Everything that pages of history tell about.
async fn record(world: &World) {
    let long = "y".repeat(10_000);
    run(
        world,
        format!(
            "INSERT INTO webhook_events (event_id, source, event_type, c_organization_id, correlation_id, payload, received_at, decision,
                    reason, detail, recharge_id, decided_at)
             VALUES ('evt_1', 'litellm', '{EVIL}', 'own', 'evt_1', '{{\"team\": \"{EVIL}{long}\"}}', '2026-01-10T10:00:00Z', 'charge',
                     NULL, '{EVIL}', '{SETTLED}', now()),
                    ('req_2', 'api', 'recharge_requested', 'own', 'req_2', '{{\"requested_by\": \"{EVIL}\"}}', '2026-01-11T10:00:00Z',
                     'charge', NULL, NULL, '{MOVING}', now()),
                    ('evt_3', 'sweep', 'quota_low', 'own', 'evt_3', 'null', '2026-01-12T10:00:00Z', 'skipped', 'paused', '{long}',
                     NULL, now());
             INSERT INTO recharge_records (recharge_id, c_organization_id, amount, fee, total_charge, currency, status, triggered_by,
                    triggered_by_webhook, trigger_event_id, correlation_id, payment_intent_id, charge_id, created_at, charged_at,
                    credited_at, settled_at, new_quota, ledger_version)
             VALUES ('{SETTLED}', 'own', 200, 6.3, 206.3, 'usd', 'settled', 'webhook', true, 'evt_1', 'evt_1', 'pi_1', 'ch_1',
                     '2026-01-10T10:00:01Z', '2026-01-10T10:00:02Z', '2026-01-10T10:00:03Z', '2026-01-10T10:00:04Z', 700, 1),
                    ('{OTHERS}', 'other', 5, 0, 5, 'usd', 'settled', 'sweep', false, 'evt_9', 'evt_9', 'pi_9', 'ch_9', now(), now(),
                     now(), now(), 5, 1);
             INSERT INTO recharge_records (recharge_id, c_organization_id, amount, fee, total_charge, currency, status, triggered_by,
                    triggered_by_webhook, trigger_event_id, correlation_id, created_at)
             VALUES ('{MOVING}', 'own', 50, 0, 50, 'usd', 'pending', 'manual', false, 'req_2', 'req_2', '2026-01-11T10:00:01Z');
             INSERT INTO recharge_records (recharge_id, c_organization_id, amount, fee, total_charge, currency, status, triggered_by,
                    triggered_by_webhook, trigger_event_id, correlation_id, created_at, ended_at, failure_code, decline_code,
                    failure_message, paused)
             VALUES ('{DECLINED}', 'own', 70, 0, 70, 'usd', 'declined', 'sweep', false, 'evt_5', 'evt_5', '2026-01-13T10:00:01Z',
                     '2026-01-13T10:00:02Z', 'card_declined', 'lost_card', '{EVIL}', true);
             INSERT INTO refunds (refund_key, recharge_id, c_organization_id, correlation_id, cause, reason, requested_by, currency,
                    amount, total, status, stripe_refund_id, was_refunded, created_at, updated_at)
             VALUES ('request:x', '{SETTLED}', 'own', 'x', 'requested', '{EVIL}', 'ann', 'usd', 20, 20.63, 'succeeded', 're_1', true,
                     now(), now());
             INSERT INTO quota_syncs (c_organization_id, backend, ledger_version, previous_quota, quota, changed, cause, correlation_id,
                    synced_at)
             VALUES ('own', 'kms', 1, 500, 700, true, 's1', 'evt_1', '2026-01-10T10:00:03Z');
             INSERT INTO quota_failures (cause, c_organization_id, backend, ledger_version, quota, reason, correlation_id, failed_at)
             VALUES ('s2', 'own', 'kms', 2, 900, '{EVIL}', 's2', '2026-01-12T10:00:03Z');
             INSERT INTO usage_snapshots (c_organization_id, usage, quota, taken_at) VALUES ('own', 710, 700, now());
             INSERT INTO audit_log (at, actor, action, c_organization_id, request_id, before, after)
             VALUES (now(), '{EVIL}', 'organization.changed', 'own', 'r1', '{{\"minimum_balance\": 5, \"same\": \"same-value\"}}',
                     '{{\"minimum_balance\": \"{EVIL}\", \"same\": \"same-value\"}}')"
        ),
    )
    .await;
}

async fn with_history() -> (World, Secret, Secret, Secret) {
    let (world, ann) = guarded(&[]).await;
    organization(&world, &ann, "own").await;
    organization(&world, &ann, "other").await;
    record(&world).await;
    let admin = json!({ "name": "bob", "role": "org_admin", "c_organization_id": "own" });
    let (bob, _) = make(&world, &ann, &admin).await;
    let viewer = json!({ "name": "vic", "role": "viewer", "c_organization_id": "own" });
    let (vic, _) = make(&world, &ann, &viewer).await;
    (world, ann, bob, vic)
}

fn pages() -> [String; 9] {
    let of = |rest: &str| format!("/console/organizations/own/{rest}");
    [
        of("recharges"),
        of("events"),
        of("quota"),
        of("audit"),
        "/console/audit".to_owned(),
        format!("/console/recharges/{SETTLED}"),
        format!("/console/recharges/{MOVING}"),
        format!("/console/recharges/{DECLINED}"),
        of("recharges?status=settled&from=2026-01-10&to=2026-01-10"),
    ]
}

#[tokio::test]
async fn every_page_in_both_languages_and_what_is_hostile_is_text() {
    let (world, ann, bob, vic) = with_history().await;
    for (language, says) in [("en", "Step by step"), ("zh", "逐步经过")] {
        let mut person = Person::signed_in(&world, &ann).await;
        person.language = language;
        for path in pages() {
            let seen = person.get(&path).await;
            assert_eq!(seen.status, 200, "{path}: {}", seen.html);
            assert!(!seen.has("<script>alert") && seen.html.matches("<h1").count() == 1, "{path}: {}", seen.html);
            assert!(!path.contains("/console/recharges/") || seen.has(says), "{path}: {}", seen.html);
        }
    }
    let mut ann = Person::signed_in(&world, &ann).await;
    let list = ann.get("/console/organizations/own/recharges").await;
    assert!(list.has("$206.30") && list.has("Charging") && list.has(TOLD), "who asked for it: {}", list.html);
    let filtered = ann.get("/console/organizations/own/recharges?status=settled&from=2026-01-10&to=2026-01-10").await;
    assert!(
        filtered.has(SETTLED) && !filtered.has(MOVING) && filtered.has("value=\"2026-01-10\""),
        "{}",
        filtered.html
    );
    let none = ann.get("/console/organizations/own/recharges?from=2026-02-01&to=2026-02-01").await;
    assert!(none.has("Nothing fits") && !none.has("<table"), "{}", none.html);
    let wrong = ann.get("/console/organizations/own/recharges?from=2026-02-02&to=2026-01-01").await;
    assert!(wrong.status == 400 && wrong.has("from must be before to") && !wrong.has("<table"), "{}", wrong.html);

    let chain = ann.get(&format!("/console/recharges/{SETTLED}")).await;
    for text in [TOLD, "<strong>$206.30</strong>", "data-copy=\"pi_1\"", "$6.30", "re_1", "\\u202e", "/refund\""] {
        assert!(chain.has(text), "{text}: {}", chain.html);
    }
    let moving = ann.get(&format!("/console/recharges/{MOVING}")).await;
    assert!(
        moving.html.matches("class=\"is-waiting\"").count() == 4 && moving.has("aria-current=\"step\""),
        "{}",
        moving.html
    );
    let declined = ann.get(&format!("/console/recharges/{DECLINED}")).await;
    for text in ["reported lost", "card_declined", "Auto-recharge is paused because of it", TOLD] {
        assert!(declined.has(text), "{text}: {}", declined.html);
    }
    let quota = ann.get("/console/organizations/own/quota").await;
    assert!(quota.has("$500.00") && quota.has("$700.00") && quota.has("Given up") && quota.has("/quota/restore?"));
    let audit = ann.get("/console/organizations/own/audit?action=organization&actor=").await;
    assert!(
        audit.has("Recharge below") && !audit.has("same-value") && audit.has("Created the organization"),
        "{}",
        audit.html
    );

    // Who may not, sees no button, and gets nowhere without one; and what is another's is not there.
    for token in [&bob, &vic] {
        let mut person = Person::signed_in(&world, token).await;
        for path in pages() {
            let seen = person.get(&path).await;
            assert!(seen.status == 200 && !seen.has("/restore?") && !seen.has("/refund\""), "{path}: {}", seen.html);
        }
        let (refund, restore) =
            (format!("/console/recharges/{SETTLED}/refund"), "/console/organizations/own/quota/restore");
        for path in [refund.as_str(), restore] {
            assert_eq!(person.get(path).await.status, 403, "{path}");
            let sent = person.post(
                path,
                &[("step", "confirm"), ("quota_sync_id", "1"), ("version", "0"), ("reason", "x"), ("key", "k")],
            );
            assert_eq!(sent.await.status, 403, "{path}");
        }
        let others =
            ["recharges", "recharges.csv", "events", "quota", "quota.csv", "audit", "audit.csv", "quota/restore"]
                .map(|rest| format!("/console/organizations/other/{rest}"));
        let others = others
            .into_iter()
            .chain([format!("/console/recharges/{OTHERS}"), format!("/console/recharges/{OTHERS}/refund")]);
        for path in others {
            assert_eq!(person.get(&path).await.status, 404, "{path}");
        }
    }
}

#[tokio::test]
async fn files_for_spreadsheets() {
    let (world, ann, ..) = with_history().await;
    let mut ann = Person::signed_in(&world, &ann).await;
    let sql = "INSERT INTO recharge_records (recharge_id, c_organization_id, amount, fee, total_charge, currency, status, triggered_by,
                      triggered_by_webhook, created_at)
               SELECT gen_random_uuid(), 'own', 1, 0, 1, 'usd', 'settled', 'sweep', false, '2025-01-01'::timestamptz + n * interval '1 s'
                 FROM generate_series(1, 450) n";
    run(&world, sql.to_owned()).await;
    let is_file = |seen: &Seen, name: &str| {
        let (kind, as_what) = (&seen.headers["content-type"], &seen.headers["content-disposition"]);
        assert!(seen.status == 200 && seen.html.starts_with('\u{feff}'), "{name}: {}", seen.html);
        assert_eq!(
            (kind.to_str().unwrap(), as_what.to_str().unwrap()),
            ("text/csv; charset=utf-8", format!("attachment; filename=\"{name}\"").as_str())
        );
    };
    let file = ann.get("/console/organizations/own/recharges.csv").await;
    is_file(&file, "own-recharges.csv");
    assert_eq!(file.html.lines().count(), 454, "every page of the API's, and the names of the columns");
    assert!(file.html.contains("2026-01-10T10:00:01.000Z,Settled,200,6.3,206.3,0,0,USD,"), "{}", file.html);
    let file = ann.get("/console/organizations/own/recharges.csv?status=pending").await;
    assert!(file.html.lines().count() == 2 && file.html.contains(EVIL), "{}", file.html);
    for (path, name, line) in [
        (
            "organizations/own/events.csv",
            "own-events.csv",
            "2026-01-12T10:00:00.000Z,,Regular check,quota_low,Not charged",
        ),
        ("organizations/own/quota.csv", "own-quota.csv", "In force,500,700,USD,"),
        ("organizations/own/audit.csv", "own-audit-log.csv", "Changed the settings,own,"),
        ("audit.csv", "audit-log.csv", "Created the organization,other,"),
    ] {
        let file = ann.get(&format!("/console/{path}")).await;
        is_file(&file, name);
        assert!(file.html.contains(line), "{path}: {}", file.html);
    }
    // A text that begins like a formula is none.
    run(&world, "UPDATE webhook_events SET event_type = '=1+1'".to_owned()).await;
    let file = ann.get("/console/organizations/own/events.csv").await;
    assert!(file.html.contains(",'=1+1,") && !file.html.contains(",=1+1"), "{}", file.html);
}

#[tokio::test]
async fn a_refund_is_reviewed_and_sent_once() {
    let (world, ann, ..) = with_history().await;
    let mut ann = Person::signed_in(&world, &ann).await;
    let path = format!("/console/recharges/{SETTLED}/refund");
    let form = ann.get(&path).await;
    assert!(form.has("$200.00 of quota: $206.30 goes back"), "{}", form.html);
    let kept =
        ann.post(&path, &[("step", "review"), ("extent", "part"), ("amount", "1,000.00"), ("reason", EVIL)]).await;
    assert!(
        kept.status == 400 && kept.has("At most $200.00 is left") && kept.has("value=\"1,000.00\"") && kept.has(TOLD)
    );
    let review =
        ann.post(&path, &[("step", "review"), ("extent", "part"), ("amount", "50"), ("reason", "too much")]).await;
    assert!(
        review.status == 200
            && review.has("<strong>$51.57</strong> goes back to the card, and <strong>$50.00</strong> of quota"),
        "{}",
        review.html
    );
    let fields: Vec<_> = ["key", "quota", "extent", "amount", "reason"].map(|name| (name, review.hidden(name))).into();
    let fields = |step| {
        [("step", step)]
            .into_iter()
            .chain(fields.iter().map(|(name, value)| (*name, value.as_str())))
            .collect::<Vec<_>>()
    };
    let edit = ann.post(&path, &fields("edit")).await;
    assert!(edit.has("value=\"50\"") && edit.has(">too much</textarea>"), "{}", edit.html);
    for _ in 0..2 {
        let sent = ann.post(&path, &fields("confirm")).await;
        assert_eq!((sent.status, sent.location), (303, format!("/console/recharges/{SETTLED}")), "{}", sent.html);
    }
    assert_eq!(world.count("REQUESTS", "requests.refund.>").await, 1);
    let asked = world.newest::<RefundRequestedV1>("requests.refund.own").await;
    assert_eq!((asked.data.amount.unwrap().minor, asked.data.reason.as_str()), (5_000, "too much"));
    assert!(ann.get(&format!("/console/recharges/{SETTLED}")).await.has("The refund was asked for."));
    run(
        &world,
        format!(
            "UPDATE recharge_records SET refunded_amount = 200, refunded_total = 206.3 WHERE recharge_id = '{SETTLED}'"
        ),
    )
    .await;
    let nothing = ann.get(&path).await;
    assert!(
        nothing.status == 409 && nothing.has("nothing left to refund") && !nothing.has("<textarea"),
        "{}",
        nothing.html
    );
}

#[tokio::test]
async fn an_earlier_quota_is_put_back_as_the_page_said() {
    let (world, ann, ..) = with_history().await;
    let mut ann = Person::signed_in(&world, &ann).await;
    let list = ann.get("/console/organizations/own/quota").await;
    let path = list.html.split("href=\"").find(|rest| rest.contains("/restore?")).unwrap();
    let path = path.split('"').next().unwrap().replace("&#38;", "&");
    let page = ann.get(&path).await;
    assert!(
        page.has("The difference of <strong>+$700.00</strong> is booked") && page.has("has used more than its quota"),
        "{}",
        page.html
    );
    assert_eq!(ann.get("/console/organizations/own/quota/restore?quota_sync_id=99").await.status, 404);
    let to = "/console/organizations/own/quota/restore";
    let hidden: Vec<_> = ["key", "quota_sync_id", "before", "version"].map(|name| (name, page.hidden(name))).into();
    let with = |reason| {
        [("reason", reason)]
            .into_iter()
            .chain(hidden.iter().map(|(name, value)| (*name, value.as_str())))
            .collect::<Vec<_>>()
    };
    let refused = ann.post(to, &with(" ")).await;
    assert!(
        refused.status == 400 && refused.has("aria-invalid=\"true\"") && refused.hidden("key") == hidden[0].1,
        "{}",
        refused.html
    );
    // Something was booked since the page was made: it says so, with the new numbers.
    let mut old = with("why");
    old.retain(|(name, _)| *name != "version");
    old.push(("version", "7"));
    let changed = ann.post(to, &old).await;
    assert!(
        changed.status == 409 && changed.has("The books have changed") && changed.has(">why</textarea>"),
        "{}",
        changed.html
    );
    for _ in 0..2 {
        let sent = ann.post(to, &with("why")).await;
        assert_eq!((sent.status, sent.location.as_str()), (303, "/console/organizations/own/quota"), "{}", sent.html);
    }
    assert_eq!(world.count("REQUESTS", "requests.adjust.>").await, 1);
    let asked = world.newest::<AdjustRequestedV1>("requests.adjust.own").await;
    assert_eq!(asked.data.amount.minor, 70_000);
    assert!(ann.get("/console/organizations/own/quota").await.has("The earlier quota is being put back."));
}
