//! Outcomes as the other services publish them. Pure.

use common::contract::{
    Event, Payload, QuotaFailedV1, QuotaSyncedV1, RechargeActionRequiredV1, RechargeDeclinedV1, RechargeRefundFailedV1,
    RechargeRefundedV1, RechargeSettledV1, RechargeSkippedV1, kind_of,
};

use super::Outcome;

/// The outcome that a message tells, if it tells one.
pub(super) fn outcome(subject: &str, body: &[u8]) -> Option<Outcome> {
    Some(match kind_of(subject) {
        RechargeSettledV1::KIND => {
            let data = data::<RechargeSettledV1>(body)?;
            Outcome::Settled {
                recharge_id: data.recharge_id,
                amount: data.amount,
                fee: data.fee,
                total_charge: data.total_charge,
                new_quota: Some(data.new_quota),
            }
        }
        RechargeDeclinedV1::KIND => {
            let data = data::<RechargeDeclinedV1>(body)?;
            Outcome::Declined {
                recharge_id: data.recharge_id,
                amount: data.amount,
                reason: data.decline_code.unwrap_or(data.code),
                message: data.message,
                class: Some(data.class.as_str().to_owned()),
                paused: data.paused,
            }
        }
        RechargeActionRequiredV1::KIND => {
            let data = data::<RechargeActionRequiredV1>(body)?;
            Outcome::ActionRequired {
                recharge_id: data.recharge_id,
                amount: data.amount,
                message: data.message,
                confirmation_url: data.confirmation_url,
                expires_at: data.expires_at,
            }
        }
        RechargeSkippedV1::KIND => {
            let data = data::<RechargeSkippedV1>(body)?;
            Outcome::Skipped {
                reason: data.reason.as_str().to_owned(),
                message: data.detail,
                recharge_id: data.recharge_id,
            }
        }
        RechargeRefundedV1::KIND => {
            let data = data::<RechargeRefundedV1>(body)?;
            Outcome::Refunded {
                recharge_id: data.recharge_id,
                amount: data.amount,
                total: data.total_refunded,
                refund_id: Some(data.refund_id),
                reason: data.reason,
            }
        }
        RechargeRefundFailedV1::KIND => {
            let data = data::<RechargeRefundFailedV1>(body)?;
            Outcome::RefundFailed {
                recharge_id: data.recharge_id,
                total: data.total,
                reason: data.reason,
                attempts: data.attempts,
            }
        }
        QuotaSyncedV1::KIND => {
            let data = data::<QuotaSyncedV1>(body)?;
            Outcome::Synced {
                quota: data.quota,
                ledger_version: data.ledger_version,
                team: data.litellm_team_id,
                changed: data.changed,
            }
        }
        QuotaFailedV1::KIND => {
            let data = data::<QuotaFailedV1>(body)?;
            Outcome::SyncFailed { quota: data.quota, ledger_version: data.ledger_version, reason: data.reason }
        }
        _ => return None,
    })
}

fn data<T: Payload>(body: &[u8]) -> Option<T> {
    match Event::<T>::decode(body) {
        Ok(event) => Some(event.data),
        Err(error) => {
            tracing::warn!(%error, "an outcome can't be read: {error}");
            None
        }
    }
}
