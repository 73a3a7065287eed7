//! `reconciliation_runs`, which is ours, and its parts and findings, which each service writes for itself.

use common::clock::Timestamp;
use sqlx::{PgConnection, PgPool};

use super::{Finding, FinishedPart, Run};

/// Adds a run, once; false when it is there already. Whoever adds it publishes it.
pub(crate) async fn insert(
    connection: &mut PgConnection,
    run_id: &str,
    since: Timestamp,
    requested_by: &str,
    now: Timestamp,
) -> sqlx::Result<bool> {
    let inserted = sqlx::query(
        "INSERT INTO reconciliation_runs (run_id, since, requested_by, requested_at, published_at)
         VALUES ($1, $2, $3, $4, $4) ON CONFLICT (run_id) DO NOTHING",
    )
    .bind(run_id)
    .bind(since)
    .bind(requested_by)
    .bind(now)
    .execute(connection)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// When the newest run that this one asked for was begun whose comparison with Stripe is finished.
pub(crate) async fn last_finished(pool: &PgPool, requested_by: &str) -> sqlx::Result<Option<Timestamp>> {
    sqlx::query_scalar(
        "SELECT r.requested_at FROM reconciliation_runs r
          WHERE r.requested_by = $1
            AND EXISTS (SELECT FROM reconciliation_parts p WHERE p.run_id = r.run_id AND p.part = 'charges')
          ORDER BY r.requested_at DESC LIMIT 1",
    )
    .bind(requested_by)
    .fetch_optional(pool)
    .await
}

/// Whether a run of this name was begun.
pub(crate) async fn exists(pool: &PgPool, run_id: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM reconciliation_runs WHERE run_id = $1)")
        .bind(run_id)
        .fetch_one(pool)
        .await
}

/// One run.
pub(crate) async fn find(pool: &PgPool, run_id: &str) -> sqlx::Result<Option<Run>> {
    sqlx::query_as(
        "SELECT r.run_id, r.since, r.requested_by, r.requested_at,
                (SELECT count(*) FROM reconciliation_parts p WHERE p.run_id = r.run_id) AS parts_finished,
                (SELECT COALESCE(sum(p.checked), 0)::bigint FROM reconciliation_parts p WHERE p.run_id = r.run_id) AS checked,
                (SELECT count(*) FROM reconciliation_findings f WHERE f.run_id = r.run_id) AS findings,
                (SELECT count(*) FROM reconciliation_findings f WHERE f.run_id = r.run_id AND f.action = 'repaired') AS repaired
           FROM reconciliation_runs r WHERE r.run_id = $1",
    )
    .bind(run_id)
    .fetch_optional(pool)
    .await
}

/// Runs, newest first, older than `before`.
pub(crate) async fn list(pool: &PgPool, before: Option<(Timestamp, String)>, limit: i64) -> sqlx::Result<Vec<Run>> {
    let (at, id) = before.unzip();
    sqlx::query_as(
        "SELECT r.run_id, r.since, r.requested_by, r.requested_at,
                (SELECT count(*) FROM reconciliation_parts p WHERE p.run_id = r.run_id) AS parts_finished,
                (SELECT COALESCE(sum(p.checked), 0)::bigint FROM reconciliation_parts p WHERE p.run_id = r.run_id) AS checked,
                (SELECT count(*) FROM reconciliation_findings f WHERE f.run_id = r.run_id) AS findings,
                (SELECT count(*) FROM reconciliation_findings f WHERE f.run_id = r.run_id AND f.action = 'repaired') AS repaired
           FROM reconciliation_runs r
          WHERE $1::timestamptz IS NULL OR (r.requested_at, r.run_id) < ($1, $2)
          ORDER BY r.requested_at DESC, r.run_id DESC LIMIT $3",
    )
    .bind(at)
    .bind(id)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// The parts of a run that are finished.
pub(crate) async fn parts(pool: &PgPool, run_id: &str) -> sqlx::Result<Vec<FinishedPart>> {
    sqlx::query_as(
        "SELECT p.part, p.checked, p.finished_at,
                (SELECT count(*) FROM reconciliation_findings f WHERE f.run_id = p.run_id AND f.part = p.part) AS findings
           FROM reconciliation_parts p WHERE p.run_id = $1 ORDER BY p.part",
    )
    .bind(run_id)
    .fetch_all(pool)
    .await
}

/// Findings of a run, in the order in which they were written, after one of them.
pub(crate) async fn findings(pool: &PgPool, run_id: &str, after: i64, limit: i64) -> sqlx::Result<Vec<Finding>> {
    sqlx::query_as(
        "SELECT id, part, kind, c_organization_id, recharge_id, reference, expected, found, action, detail, found_at
           FROM reconciliation_findings WHERE run_id = $1 AND id > $2 ORDER BY id LIMIT $3",
    )
    .bind(run_id)
    .bind(after)
    .bind(limit)
    .fetch_all(pool)
    .await
}

/// Runs that may never have been asked for, because somebody crashed between writing them down and publishing: parts of
/// them are missing `grace` after they were begun. As long as the broker drops a repeat (`repeatable`) any missing part
/// will do; after that only where no service has said anything, at most for a day (`oldest`). Each is handed out once in
/// every `grace`, to one replica, which publishes it.
pub(crate) async fn take_unanswered(
    pool: &PgPool,
    now: Timestamp,
    grace: Timestamp,
    repeatable: Timestamp,
    oldest: Timestamp,
) -> sqlx::Result<Vec<Run>> {
    sqlx::query_as(
        "UPDATE reconciliation_runs u SET published_at = $4
           FROM (SELECT r.run_id, n.parts
                   FROM reconciliation_runs r,
                        LATERAL (SELECT count(*) AS parts FROM reconciliation_parts p WHERE p.run_id = r.run_id) n
                  WHERE r.requested_at BETWEEN $3 AND $1 AND (r.published_at IS NULL OR r.published_at <= $1)
                    AND (n.parts = 0 OR (n.parts < 3 AND r.requested_at > $2))
                  ORDER BY r.requested_at LIMIT 20) due
          WHERE u.run_id = due.run_id AND (u.published_at IS NULL OR u.published_at <= $1)
          RETURNING u.run_id, u.since, u.requested_by, u.requested_at, due.parts AS parts_finished,
                    0::bigint AS checked, 0::bigint AS findings, 0::bigint AS repaired",
    )
    .bind(grace)
    .bind(repeatable)
    .bind(oldest)
    .bind(now)
    .fetch_all(pool)
    .await
}
