//! What the database itself promises, each tried as the application's role, and where the owner could do more, as a
//! superuser too. Nothing here goes through the ledger's code, but for the first, good posting.

use ledger::repo::post;
use sqlx::PgPool;

use crate::support::{ROLE, TestDb, adjustment, execute, quota, refused, with_database};

/// Opens the books of `acme` (accounts 1 and 2), one transaction.
async fn opened(db: &TestDb) {
    post(&db.app, &adjustment("evt_1", "acme", 500)).await.unwrap();
    let me: String = sqlx::query_scalar("SELECT current_user::text").fetch_one(&db.app).await.unwrap();
    assert_eq!(me, ROLE);
}

/// SQL of a transaction that follows on the first, which says that the quota is then `quota`.
fn transaction(key: &str, quota: i64) -> String {
    format!(
        "INSERT INTO ledger_transactions (id, business_key, kind, c_organization_id, correlation_id, description, currency,
                posted_at, version, quota_after_minor, previous_hash, hash)
         SELECT md5('{key}')::uuid, '{key}', 'adjustment', c_organization_id, 'evt_2', '', currency, now(), version + 1,
                {quota}, hash, sha256('{key}')
           FROM ledger_transactions ORDER BY version DESC LIMIT 1;"
    )
}

/// SQL of an entry of that transaction.
fn entry(key: &str, account: &str, amount: i64) -> String {
    format!(
        "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency)
         SELECT md5('{key}')::uuid, id, {amount}, currency FROM ledger_accounts WHERE c_organization_id = 'acme' AND kind = '{account}';"
    )
}

async fn count(pool: &PgPool) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM ledger_transactions").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn entries_sum_to_zero_or_nothing_is_committed() {
    with_database(|db| async move {
        opened(&db).await;
        let cases = [
            ("BEGIN;", 510, vec![("balance", 10), ("adjustments", -9)], "is not balanced"),
            ("BEGIN;", 510, vec![("balance", 10)], "is not balanced"),
            ("BEGIN;", 500, vec![], "is not balanced"),
            ("BEGIN;", 511, vec![("balance", 10), ("adjustments", -10)], "quota is 511 after it"),
            // Checked at once instead of at the commit: the balanced state at that moment is not the last word.
            (
                "BEGIN; SET CONSTRAINTS ALL IMMEDIATE;",
                510,
                vec![("balance", 10), ("adjustments", -10)],
                "is not balanced",
            ),
        ];
        for pool in [&db.app, &db.root] {
            for (begin, quota_after, entries, why) in &cases {
                let entries: String = entries.iter().map(|(account, amount)| entry("k", account, *amount)).collect();
                let sql = format!("{begin} {} {entries} COMMIT;", transaction("k", *quota_after));
                let said = refused(pool, &sql).await;
                assert!(said.contains(why), "{sql}\n{said}");
            }
        }
        assert_eq!(count(&db.root).await, 1);
        assert_eq!(quota(&db.app, "acme").await, Some((500, 1)));

        // The same SQL, balanced, is accepted: the cases above failed for the reason that they name.
        let entries = entry("k", "balance", 10) + &entry("k", "adjustments", -10);
        let mut connection = db.app.acquire().await.unwrap();
        execute(&mut connection, &format!("BEGIN; {} {entries} COMMIT;", transaction("k", 510))).await.unwrap();
        assert_eq!(quota(&db.app, "acme").await, Some((510, 2)));
    })
    .await;
}

#[tokio::test]
async fn what_is_posted_is_never_changed() {
    with_database(|db| async move {
        opened(&db).await;
        let attempts = [
            "UPDATE ledger_transactions SET description = 'x'",
            "UPDATE ledger_entries SET amount_minor = amount_minor",
            "UPDATE ledger_organizations SET currency = 'eur'",
            "DELETE FROM ledger_transactions",
            "DELETE FROM ledger_entries",
            "DELETE FROM ledger_organizations",
            "TRUNCATE ledger_entries",
            "TRUNCATE ledger_transactions, ledger_entries",
            "TRUNCATE ledger_organizations CASCADE",
        ];
        for sql in attempts {
            let said = refused(&db.app, sql).await;
            assert!(said.contains("permission denied"), "{sql}: {said}");
            let said = refused(&db.root, sql).await;
            assert!(said.contains("is append-only"), "{sql}: {said}");
            // A superuser's switch that turns ordinary triggers off does not turn these off.
            let said = refused(&db.root, &format!("SET session_replication_role = replica; {sql}")).await;
            assert!(said.contains("is append-only"), "{sql}: {said}");
        }
        assert_eq!(count(&db.root).await, 1);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_added_to_an_old_transaction() {
    with_database(|db| async move {
        opened(&db).await;
        let id = "(SELECT id FROM ledger_transactions)";
        let sql = format!(
            "INSERT INTO ledger_entries (transaction_id, account_id, amount_minor, currency) VALUES
             ({id}, 1, 5, 'usd'), ({id}, 2, -5, 'usd')"
        );
        for pool in [&db.app, &db.root] {
            let said = refused(pool, &sql).await;
            assert!(said.contains("written together"), "{said}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_transaction_per_business_event() {
    with_database(|db| async move {
        opened(&db).await;
        let entries = entry("adjust:evt_1", "balance", 10) + &entry("adjust:evt_1", "adjustments", -10);
        let sql = format!("BEGIN; {} {entries} COMMIT;", transaction("adjust:evt_1", 510));
        for pool in [&db.app, &db.root] {
            let said = refused(pool, &sql).await;
            assert!(said.contains("ledger_transactions_business_key_key"), "{said}");
        }
    })
    .await;
}

#[tokio::test]
async fn versions_and_hashes_continue() {
    with_database(|db| async move {
        opened(&db).await;
        let entries = entry("k", "balance", 10) + &entry("k", "adjustments", -10);
        let good = transaction("k", 510);
        for (from, to) in [("version + 1", "version + 2"), ("version + 1", "version"), (", hash,", ", sha256('x'),")] {
            let sql = format!("BEGIN; {} {entries} COMMIT;", good.replace(from, to));
            let said = refused(&db.app, &sql).await;
            assert!(said.contains("does not continue the books"), "{said}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_cached_balance_follows_entries_only() {
    with_database(|db| async move {
        opened(&db).await;
        let attempts = [
            "UPDATE ledger_accounts SET balance_minor = 1000000",
            "UPDATE ledger_accounts SET version = version + 1",
            "UPDATE ledger_accounts SET balance_minor = balance_minor",
            "DELETE FROM ledger_accounts",
            "INSERT INTO ledger_accounts (c_organization_id, kind, currency, balance_minor) VALUES ('acme', 'refunds', 'usd', 1)",
        ];
        for sql in attempts {
            let said = refused(&db.app, sql).await;
            assert!(said.contains("permission denied"), "{sql}: {said}");
            let said = refused(&db.root, sql).await;
            assert!(said.contains("follows its entries"), "{sql}: {said}");
        }
        let said = refused(&db.root, "TRUNCATE ledger_accounts CASCADE").await;
        assert!(said.contains("is append-only"), "{said}");
        // The trigger's function can't be borrowed, nor be led to a table of the caller's.
        let said = refused(&db.app, "SELECT ledger_apply_entry()").await;
        assert!(said.contains("permission denied") || said.contains("trigger functions"), "{said}");
        let entries = entry("k", "balance", 10) + &entry("k", "adjustments", -10);
        let decoy = "CREATE TEMP TABLE decoy (LIKE ledger_accounts INCLUDING ALL); ALTER TABLE decoy RENAME TO ledger_accounts;";
        let entries = entries.replace("FROM ledger_accounts", "FROM public.ledger_accounts");
        let mut connection = db.app.acquire().await.unwrap().detach();
        execute(&mut connection, &format!("BEGIN; {decoy} {} {entries} COMMIT;", transaction("k", 510))).await.unwrap();
        assert_eq!(quota(&db.app, "acme").await, Some((510, 2)));
    })
    .await;
}

#[tokio::test]
async fn one_currency_and_one_organization() {
    with_database(|db| async move {
        opened(&db).await;
        post(&db.app, &adjustment("evt_2", "other", 1)).await.unwrap();
        for (sql, why) in [
            (
                "INSERT INTO ledger_accounts (c_organization_id, kind, currency) VALUES ('acme', 'balance', 'eur')",
                "foreign key",
            ),
            (
                "INSERT INTO ledger_accounts (c_organization_id, kind, currency) VALUES ('acme', 'balance', 'usd')",
                "unique",
            ),
            (
                "INSERT INTO ledger_accounts (c_organization_id, kind, currency) VALUES ('acme', 'pocket', 'usd')",
                "check",
            ),
            ("INSERT INTO ledger_organizations VALUES ('acme', 'eur')", "unique"),
            ("INSERT INTO ledger_organizations VALUES ('a b', 'eur')", "check"),
        ] {
            let said = refused(&db.app, sql).await;
            assert!(said.contains(why), "{sql}: {said}");
        }
        let head = transaction("k", 510).replace("ORDER BY", "WHERE c_organization_id = 'acme' ORDER BY");
        let balance = entry("k", "balance", 10);
        for (entries, why) in [
            (entry("k", "adjustments", -10).replace(", currency FROM", ", 'eur' FROM"), "organization and currency"),
            (entry("k", "adjustments", -10).replace("'acme'", "'other'"), "organization and currency"),
            (entry("k", "adjustments", 0), "ledger_entries_amount_minor_check"),
        ] {
            let said = refused(&db.app, &format!("BEGIN; {head} {balance} {entries} COMMIT;")).await;
            assert!(said.contains(why), "{said}");
        }
        let euros = head.replace(", '', currency,", ", '', 'eur',");
        let said = refused(&db.app, &format!("BEGIN; {euros} {balance} COMMIT;")).await;
        assert!(said.contains("violates") || said.contains("organization and currency"), "{said}");
    })
    .await;
}

#[tokio::test]
async fn the_role_sees_the_ledger_and_what_it_compares_with_and_nothing_else() {
    with_database(|db| async move {
        opened(&db).await;
        for sql in [
            "SELECT * FROM organization_balance_config",
            "SELECT * FROM recharge_records",
            "SELECT card_fingerprint FROM recharge_records",
            "SELECT reason FROM refunds",
            "UPDATE recharge_records SET status = 'settled'",
            "DELETE FROM refunds",
            "ALTER TABLE ledger_entries DISABLE TRIGGER ALL",
            "DROP TABLE ledger_entries",
            "CREATE TABLE mine (id int)",
            "SET session_replication_role = replica; DELETE FROM ledger_entries",
        ] {
            let said = refused(&db.app, sql).await;
            assert!(said.contains("permission denied") || said.contains("must be owner"), "{sql}: {said}");
        }
        let mut connection = db.app.acquire().await.unwrap();
        execute(&mut connection, "SELECT status, amount FROM recharge_records; SELECT total FROM refunds")
            .await
            .unwrap();
    })
    .await;
}
