//! Asking the recharger to look at a balance now: something changed, and nobody should have to wait for the sweep.

use common::contract::{EvaluateRequestedV1, Event};
use common::ids::{EventId, OrganizationId};
use common::telemetry::spans;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

use crate::app::App;

/// The policy is another one.
pub(crate) const POLICY_CHANGED: &str = "policy_changed";
/// The card is another one, or has new data.
pub(crate) const CARD_CHANGED: &str = "card_changed";
/// A person lifted a pause.
pub(crate) const RESUMED: &str = "resumed";
/// LiteLLM said that little is left.
pub(crate) const HINT: &str = "hint";

/// Asks, after what changed is committed, because of a message whose chain is another. Without a broker the change stands
/// all the same: that is logged, and the sweep is the net.
pub(crate) async fn request(
    app: &App,
    id: EventId,
    organization: &OrganizationId,
    reason: &'static str,
    requested_by: &str,
) {
    let span = tracing::info_span!("evaluate", trace_id = Empty, correlation_id = Empty);
    spans::begin(&span, &id);
    ask(app, id, organization, reason, requested_by).instrument(span).await;
}

async fn ask(app: &App, id: EventId, organization: &OrganizationId, reason: &'static str, requested_by: &str) {
    let data = EvaluateRequestedV1 { reason: reason.to_owned(), requested_by: requested_by.to_owned() };
    let event = Event::first(id.clone(), Some(organization.clone()), app.clock.now(), data);
    match app.publisher.publish(event).await {
        Ok(_) => tracing::info!(
            event_id = %id, c_organization_id = %organization, reason,
            "asked for a look at the balance of {organization} ({reason})"
        ),
        Err(_) => tracing::warn!(
            event_id = %id, c_organization_id = %organization, reason,
            "nobody looks at the balance of {organization} before the next sweep ({reason}): the broker is not available"
        ),
    }
}

/// As [`request`], under a new id: the call that changed something starts the chain.
pub(crate) async fn request_fresh(app: &App, organization: &OrganizationId, reason: &'static str, requested_by: &str) {
    let id = EventId::following("evaluate", &app.ids.fresh());
    spans::begin(&Span::current(), &id);
    ask(app, id, organization, reason, requested_by).await;
}
