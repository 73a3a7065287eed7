//! The envelope of every event: CloudEvents 1.0 in structured JSON.
//! Source: <https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>

use bytes::Bytes;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::failure::Failure;
use crate::ids::{EventId, OrganizationId};

use super::{TraceContext, UNRESOLVED};

/// What an event carries. The constants are declared once, with the type.
pub trait Payload: Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static {
    /// The subject without its last token, the organization: `recharges.charged`.
    const KIND: &'static str;
    /// The CloudEvents type: `bill.recharge.charged.v1`.
    const TYPE: &'static str;
    /// The service that publishes it.
    const PUBLISHER: &'static str;
    /// One sentence for readers of the contract.
    const SUMMARY: &'static str;
}

/// One event.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event<T> {
    /// CloudEvents version, `1.0`
    pub specversion: String,
    /// The id; a repeat of the same event has the same one
    pub id: EventId,
    /// The service that published it, `/bill-service/<service>`
    pub source: String,
    /// What it is, such as `bill.recharge.charged.v1`
    #[serde(rename = "type")]
    pub kind: String,
    /// The organization; absent when it is not known yet
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub subject: Option<OrganizationId>,
    /// When it happened
    pub time: Timestamp,
    /// `application/json`
    pub datacontenttype: String,
    /// The id of the event that started the chain
    pub correlationid: EventId,
    /// W3C trace context; its trace id derives from `correlationid`, so that a chain is one trace
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceparent: Option<String>,
    /// The payload
    pub data: T,
}

/// A message that is ready to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// Where to.
    pub subject: String,
    /// `Nats-Msg-Id`: the event's id.
    pub id: EventId,
    /// Header `traceparent`.
    pub traceparent: Option<String>,
    /// The event as JSON.
    pub body: Bytes,
}

impl<T: Payload> Event<T> {
    /// An event that starts a chain: it is its own correlation.
    #[must_use]
    pub fn first(id: EventId, organization: Option<OrganizationId>, time: Timestamp, data: T) -> Self {
        Self::new(id.clone(), organization, time, id, data)
    }

    /// An event that follows from another; its id is derived from `cause`, so that a repeat has the same one.
    #[must_use]
    pub fn following(
        cause: &impl std::fmt::Display,
        organization: &OrganizationId,
        time: Timestamp,
        correlation: &EventId,
        data: T,
    ) -> Self {
        Self::new(EventId::following(T::KIND, cause), Some(organization.clone()), time, correlation.clone(), data)
    }

    /// As [`Self::following`], for what follows from an event whose organization nobody knows.
    #[must_use]
    pub fn following_unresolved(
        cause: &impl std::fmt::Display,
        time: Timestamp,
        correlation: &EventId,
        data: T,
    ) -> Self {
        Self::new(EventId::following(T::KIND, cause), None, time, correlation.clone(), data)
    }

    fn new(id: EventId, subject: Option<OrganizationId>, time: Timestamp, correlation: EventId, data: T) -> Self {
        let trace = TraceContext::of(&correlation, &id);
        Self {
            specversion: "1.0".to_owned(),
            id,
            source: format!("/bill-service/{}", T::PUBLISHER),
            kind: T::TYPE.to_owned(),
            subject,
            time,
            datacontenttype: "application/json".to_owned(),
            correlationid: correlation,
            traceparent: Some(trace.to_string()),
            data,
        }
    }

    /// The subject it is published on.
    #[must_use]
    pub fn nats_subject(&self) -> String {
        let organization = self.subject.as_ref().map_or(UNRESOLVED, OrganizationId::as_str);
        format!("{}.{organization}", T::KIND)
    }

    /// The event as a message.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the payload can't be written as JSON; none of ours is such.
    pub fn outgoing(self) -> Result<Outgoing, Failure> {
        let body = serde_json::to_vec(&self).map_err(Failure::malformed)?;
        Ok(Outgoing { subject: self.nats_subject(), id: self.id, traceparent: self.traceparent, body: body.into() })
    }

    /// Reads an event and checks that it is of this type.
    ///
    /// # Errors
    /// [`Failure::Malformed`] with what is wrong.
    pub fn decode(body: &[u8]) -> Result<Self, Failure> {
        let event: Self = serde_json::from_slice(body)
            .map_err(|error| Failure::malformed(anyhow::Error::new(error).context(format!("not a {}", T::TYPE))))?;
        if event.kind != T::TYPE {
            return Err(Failure::malformed(anyhow::anyhow!("type is {}, expected {}", event.kind, T::TYPE)));
        }
        Ok(event)
    }

    /// The organization.
    ///
    /// # Errors
    /// [`Failure::Malformed`] when the event has none.
    pub fn organization(&self) -> Result<&OrganizationId, Failure> {
        self.subject.as_ref().ok_or_else(|| Failure::malformed(anyhow::anyhow!("the event {} has no subject", self.id)))
    }
}

/// A subject without its last token: the kind of event.
#[must_use]
pub fn kind_of(subject: &str) -> &str {
    subject.rsplit_once('.').map_or(subject, |(kind, _)| kind)
}

/// The last token of a subject: the organization, if it names one.
#[must_use]
pub fn organization_of(subject: &str) -> Option<OrganizationId> {
    subject.rsplit_once('.').and_then(|(_, token)| OrganizationId::parse(token).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::SyncRequestedV1;

    fn event() -> Event<SyncRequestedV1> {
        let organization = OrganizationId::parse("acme").unwrap();
        let id = EventId::parse("req_1").unwrap();
        Event::first(
            id,
            Some(organization),
            Timestamp::UNIX_EPOCH,
            SyncRequestedV1 { requested_by: "operator".to_owned(), litellm_team_id: None },
        )
    }

    #[test]
    fn what_is_written_is_read_again() {
        let out = event().outgoing().unwrap();
        assert_eq!(out.subject, "requests.sync.acme");
        assert_eq!(out.id.as_str(), "req_1");
        assert_eq!(Event::<SyncRequestedV1>::decode(&out.body).unwrap(), event());
        assert_eq!(kind_of(&out.subject), SyncRequestedV1::KIND);
        assert_eq!(organization_of(&out.subject), event().subject);
    }

    #[test]
    fn another_type_is_malformed() {
        let mut other = event();
        other.kind = "bill.request.sync.v2".to_owned();
        let body = serde_json::to_vec(&other).unwrap();
        assert!(matches!(Event::<SyncRequestedV1>::decode(&body), Err(Failure::Malformed(_))));
        assert!(matches!(Event::<SyncRequestedV1>::decode(b"{"), Err(Failure::Malformed(_))));
    }

    #[test]
    fn an_unknown_organization_has_a_token_that_no_organization_can_have() {
        let mut unknown = event();
        unknown.subject = None;
        assert_eq!(unknown.nats_subject(), "requests.sync.@unresolved");
        assert_eq!(organization_of("requests.sync.@unresolved"), None);
    }
}
