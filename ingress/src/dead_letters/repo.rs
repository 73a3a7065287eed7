//! `dead_letter_actions`: what people did about dead letters, one thing about each.

use bytes::Bytes;
use common::clock::Timestamp;
use common::dead_letters::DeadLetter;
use common::ids::OrganizationId;
use serde_json::{Value, json};
use sqlx::{FromRow, PgConnection, PgPool};

use super::{Action, Taken};

#[derive(FromRow)]
struct Row {
    sequence: i64,
    parked_at: Timestamp,
    action: String,
    service: String,
    subject: String,
    reason: String,
    error: String,
    headers: Value,
    body: Vec<u8>,
    c_organization_id: Option<String>,
    actor: String,
    note: Option<String>,
    at: Timestamp,
    done_at: Option<Timestamp>,
}

impl Row {
    fn read(self) -> sqlx::Result<Taken> {
        let wrong = || sqlx::Error::Decode(format!("dead_letter_actions: {} {}", self.sequence, self.action).into());
        let text = |name: &str| self.headers[name].as_str().map(str::to_owned);
        let letter = DeadLetter {
            sequence: u64::try_from(self.sequence).map_err(|_| wrong())?,
            stream: text("stream").unwrap_or_default(),
            stream_sequence: self.headers["stream_sequence"].as_u64(),
            attempts: self.headers["attempts"].as_u64().and_then(|attempts| u32::try_from(attempts).ok()),
            message_id: text("message_id"),
            traceparent: text("traceparent"),
            organization: self.c_organization_id.clone().and_then(|id| OrganizationId::parse(id).ok()),
            service: self.service.clone(),
            subject: self.subject.clone(),
            reason: self.reason.clone(),
            error: self.error.clone(),
            parked_at: self.parked_at,
            body: Bytes::from(self.body.clone()),
        };
        let action = Action::parse(&self.action).ok_or_else(wrong)?;
        Ok(Taken { letter, action, actor: self.actor, note: self.note, at: self.at, done_at: self.done_at })
    }
}

/// Texts of a letter may be anybody's: U+0000 is the one character that PostgreSQL does not store.
fn clean(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

/// Records that something is begun, with the letter as it is; whoever was first stays. Returns whether this was the first.
pub(crate) async fn begin(pool: &PgPool, taken: &Taken) -> sqlx::Result<bool> {
    let letter = &taken.letter;
    let headers = json!({
        "stream": clean(&letter.stream),
        "stream_sequence": letter.stream_sequence,
        "attempts": letter.attempts,
        "message_id": letter.message_id.as_deref().map(clean),
        "traceparent": letter.traceparent.as_deref().map(clean),
    });
    let inserted = sqlx::query(
        "INSERT INTO dead_letter_actions (sequence, parked_at, action, service, subject, reason, error, headers, body,
                c_organization_id, actor, note, at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT (sequence, parked_at) DO NOTHING",
    )
    .bind(i64::try_from(letter.sequence).unwrap_or(i64::MAX))
    .bind(letter.parked_at)
    .bind(taken.action.as_str())
    .bind(clean(&letter.service))
    .bind(clean(&letter.subject))
    .bind(clean(&letter.reason))
    .bind(clean(&letter.error))
    .bind(headers)
    .bind(letter.body.as_ref())
    .bind(letter.organization.as_ref().map(OrganizationId::as_str))
    .bind(&taken.actor)
    .bind(taken.note.as_deref().map(clean))
    .bind(taken.at)
    .execute(pool)
    .await?;
    Ok(inserted.rows_affected() == 1)
}

/// What was begun about a letter, which nobody else goes on with until the transaction ends.
pub(crate) async fn lock(
    connection: &mut PgConnection,
    sequence: u64,
    parked_at: Timestamp,
) -> sqlx::Result<Option<Taken>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT sequence, parked_at, action, service, subject, reason, error, headers, body, c_organization_id, actor, note,
                at, done_at
           FROM dead_letter_actions WHERE sequence = $1 AND parked_at = $2 FOR UPDATE",
    )
    .bind(i64::try_from(sequence).unwrap_or(i64::MAX))
    .bind(parked_at)
    .fetch_optional(connection)
    .await?;
    row.map(Row::read).transpose()
}

/// The newest that was begun about a letter with this sequence, in whatever stream that was.
pub(crate) async fn newest(pool: &PgPool, sequence: u64) -> sqlx::Result<Option<Taken>> {
    let row: Option<Row> = sqlx::query_as(
        "SELECT sequence, parked_at, action, service, subject, reason, error, headers, body, c_organization_id, actor, note,
                at, done_at
           FROM dead_letter_actions WHERE sequence = $1 ORDER BY parked_at DESC LIMIT 1",
    )
    .bind(i64::try_from(sequence).unwrap_or(i64::MAX))
    .fetch_optional(pool)
    .await?;
    row.map(Row::read).transpose()
}

/// It is done.
pub(crate) async fn finish(connection: &mut PgConnection, letter: &DeadLetter, now: Timestamp) -> sqlx::Result<()> {
    sqlx::query("UPDATE dead_letter_actions SET done_at = $3 WHERE sequence = $1 AND parked_at = $2")
        .bind(i64::try_from(letter.sequence).unwrap_or(i64::MAX))
        .bind(letter.parked_at)
        .bind(now)
        .execute(connection)
        .await
        .map(drop)
}

/// It was begun, and is known not to have happened: as if it had not been begun.
pub(crate) async fn give_up(connection: &mut PgConnection, letter: &DeadLetter) -> sqlx::Result<()> {
    sqlx::query("DELETE FROM dead_letter_actions WHERE sequence = $1 AND parked_at = $2 AND done_at IS NULL")
        .bind(i64::try_from(letter.sequence).unwrap_or(i64::MAX))
        .bind(letter.parked_at)
        .execute(connection)
        .await
        .map(drop)
}
