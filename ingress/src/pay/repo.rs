//! The recharge behind a link: `recharge_records`, which the recharger writes, and the card as the organization saved it.

use common::clock::Timestamp;
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use sqlx::{FromRow, PgPool};

use super::record::Record;

#[derive(FromRow)]
struct Row {
    c_organization_id: String,
    correlation_id: String,
    amount: Decimal,
    total_charge: Decimal,
    currency: String,
    status: String,
    payment_intent_id: Option<String>,
    payment_method_id: Option<String>,
    confirm_by: Option<Timestamp>,
    failure_message: Option<String>,
    undo_reason: Option<String>,
    new_quota: Option<Decimal>,
    updated_at: Timestamp,
    is_default: bool,
    brand: Option<String>,
    last4: Option<String>,
}

/// The recharge that a link is for.
pub(super) async fn find(pool: &PgPool, id: RechargeId) -> sqlx::Result<Option<Record>> {
    // Brand and digits are known only of the default card: of another, nothing is shown.
    let row: Option<Row> = sqlx::query_as(
        "SELECT r.c_organization_id, r.correlation_id, r.amount, r.total_charge, r.currency, r.status, r.payment_intent_id,
                r.payment_method_id, r.confirm_by, r.failure_message, r.undo_reason, r.new_quota, r.updated_at,
                o.c_organization_id IS NOT NULL AS is_default, o.payment_method_brand AS brand,
                o.payment_method_last4 AS last4
           FROM recharge_records r
           LEFT JOIN organization_balance_config o
                  ON o.c_organization_id = r.c_organization_id AND o.default_payment_method_id = r.payment_method_id
          WHERE r.recharge_id = $1 AND r.trigger_event_id IS NOT NULL",
    )
    .bind(id.0)
    .fetch_optional(pool)
    .await?;
    row.map(|row| row.read(id)).transpose()
}

impl Row {
    fn read(self, id: RechargeId) -> sqlx::Result<Record> {
        let wrong = |error: &dyn std::fmt::Display| sqlx::Error::Decode(format!("recharge {id}: {error}").into());
        let currency: Currency = self.currency.parse().map_err(|error| wrong(&error))?;
        let money = |amount| Money::from_decimal(amount, currency).map_err(|error| wrong(&error));
        Ok(Record {
            id,
            organization: OrganizationId::parse(self.c_organization_id).map_err(|error| wrong(&error))?,
            correlation: EventId::parse(self.correlation_id).map_err(|error| wrong(&error))?,
            amount: money(self.amount)?,
            total: money(self.total_charge)?,
            status: self.status,
            payment_intent_id: self.payment_intent_id,
            payment_method_id: self.payment_method_id,
            confirm_by: self.confirm_by,
            failure_message: self.failure_message,
            undo_reason: self.undo_reason,
            new_quota: self.new_quota,
            updated_at: self.updated_at,
            is_default: self.is_default,
            card: self.brand.zip(self.last4),
        })
    }
}
