//! What stories wait for, picked from the facts.

use common::contract::{
    LedgerCreditedV1, LedgerReversedV1, QuotaFailedV1, QuotaLowV1, QuotaSyncedV1, RechargeActionRequiredV1,
    RechargeChargedV1, RechargeDeclinedV1, RechargeRefundedV1, RechargeSettledV1, RechargeSkippedV1,
};

use super::fact::Fact;

macro_rules! picks {
    ($($name:ident: $variant:ident($event:ty);)+) => {
        $(
            pub(super) fn $name(fact: &Fact) -> Option<$event> {
                match fact {
                    Fact::$variant(event) => Some(event.data.clone()),
                    _ => None,
                }
            }
        )+
    };
}

picks! {
    low: Low(QuotaLowV1);
    charged: Charged(RechargeChargedV1);
    credited: Credited(LedgerCreditedV1);
    in_force: InForce(QuotaSyncedV1);
    settled: Settled(RechargeSettledV1);
    declined: Declined(RechargeDeclinedV1);
    action_required: ActionRequired(RechargeActionRequiredV1);
    skipped: Skipped(RechargeSkippedV1);
    quota_failed: QuotaFailed(QuotaFailedV1);
    refunded: Refunded(RechargeRefundedV1);
    reversed: Reversed(LedgerReversedV1);
}
