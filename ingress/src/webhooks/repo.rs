//! Whose an object of Stripe's is: questions to `recharge_records` and `organization_balance_config`.

use common::contract::StripeEventV1;
use common::ids::OrganizationId;
use sqlx::PgPool;

/// The organization of a recharge, of a payment intent or of a customer, whichever is known first.
pub(super) async fn organization_of(pool: &PgPool, event: &StripeEventV1) -> sqlx::Result<Option<OrganizationId>> {
    let found: Option<String> = sqlx::query_scalar(
        "SELECT c_organization_id FROM (
            SELECT 1 AS rank, c_organization_id FROM recharge_records WHERE recharge_id = $1 AND trigger_event_id IS NOT NULL
            UNION ALL
            SELECT 2, c_organization_id FROM recharge_records WHERE payment_intent_id = $2 AND trigger_event_id IS NOT NULL
            UNION ALL
            SELECT 3, c_organization_id FROM organization_balance_config WHERE stripe_customer_id = $3
         ) AS known ORDER BY rank LIMIT 1",
    )
    .bind(event.recharge_id.map(|id| id.0))
    .bind(&event.payment_intent_id)
    .bind(&event.customer_id)
    .fetch_optional(pool)
    .await?;
    Ok(found.and_then(|id| OrganizationId::parse(id).ok()))
}
