//! Small requests: read a payment again, look at an organization whose policy or card changed.

use common::contract::{EvaluateRequestedV1, Event, Outgoing, RecheckRequestedV1};
use common::failure::Failure;

use super::Recharger;
use crate::record;
use crate::repo;

impl Recharger {
    /// Somebody came back from the bank's page, or wants to know.
    pub(super) async fn recheck_requested(&self, event: Event<RecheckRequestedV1>) -> Result<Vec<Outgoing>, Failure> {
        let Some(record) = self.read(event.data.recharge_id).await? else {
            return Err(Failure::Refused(format!("there is no recharge {}", event.data.recharge_id)));
        };
        self.recheck(&record).await
    }

    /// A policy, a card or a pause changed. Whether a recharge is due is for the syncer to see (`quotas.low`); here, a
    /// payment that waits for the customer of a card that is no longer used stops waiting.
    pub(super) async fn evaluate_requested(&self, event: Event<EvaluateRequestedV1>) -> Result<Vec<Outgoing>, Failure> {
        let organization = event.organization()?;
        let mut tx = self.pool.begin().await?;
        repo::lock(&mut tx, organization).await?;
        if let Some((policy, _)) = repo::policy(&mut tx, organization).await? {
            let card = policy.card.as_ref().map(|card| card.payment_method_id.as_str());
            let ended = record::repo::end_links_of_other_cards(&mut tx, organization, card, self.clock.now()).await?;
            if ended > 0 {
                tracing::info!(c_organization_id = %organization, "another card was saved: the payment that waited for the old one is canceled");
            }
        }
        tx.commit().await?;
        Ok(Vec::new())
    }
}
