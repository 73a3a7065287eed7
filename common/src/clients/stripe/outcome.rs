//! What a Stripe answer means. Pure: status, headers and body in, a domain outcome out.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

/// What an unsuccessful call means for the caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultKind {
    /// The bank said no. Nothing was captured.
    Declined {
        /// Stripe's code, such as `card_declined`.
        code: String,
        /// The bank's reason, such as `insufficient_funds`.
        decline_code: Option<String>,
        /// What the network advises, such as `do_not_try_again`.
        advice_code: Option<String>,
        /// The payment intent that was declined.
        payment_intent_id: Option<String>,
    },
    /// The bank wants the customer. Nothing was captured.
    AuthenticationRequired {
        /// The payment intent that waits.
        payment_intent_id: Option<String>,
    },
    /// Stripe did not begin: the same call with the same key, later.
    Busy,
    /// Nobody knows whether it happened: the same call with the same key, or a look at what is there.
    Unknown {
        /// The answer was a stored one: the same key will bring it again for ever.
        replayed: bool,
    },
    /// Stripe refused the request itself. Nothing was captured.
    Refused {
        /// Stripe's code, such as `resource_missing`.
        code: String,
        /// The parameter that is wrong.
        param: Option<String>,
    },
}

/// A call that did not succeed. Its text is for logs: it has no card data and no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StripeFault {
    /// What it means.
    pub kind: FaultKind,
    /// The HTTP status, when there was an answer.
    pub status: Option<u16>,
    /// Stripe's name for the call, for its support.
    pub request_id: Option<String>,
    /// Stripe's sentence, or ours.
    pub message: String,
    /// The least delay before the next try, when Stripe named one.
    pub retry_after: Option<Duration>,
}

impl std::error::Error for StripeFault {}

impl fmt::Display for StripeFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            Some(status) => write!(f, "Stripe answered {status}: {}", self.message)?,
            None => write!(f, "Stripe gave no answer: {}", self.message)?,
        }
        if let Some(request_id) = &self.request_id {
            write!(f, " (request {request_id})")?;
        }
        Ok(())
    }
}

impl StripeFault {
    /// What it means.
    #[must_use]
    pub fn kind(&self) -> &FaultKind {
        &self.kind
    }

    /// No answer, or one that can't be read: the call may have worked.
    #[must_use]
    pub fn unknown(status: Option<u16>, message: impl Into<String>) -> Self {
        Self {
            kind: FaultKind::Unknown { replayed: false },
            status,
            request_id: None,
            message: message.into(),
            retry_after: None,
        }
    }
}

/// The headers that matter.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AnswerHeaders {
    /// `Request-Id`.
    pub(super) request_id: Option<String>,
    /// `Stripe-Should-Retry`.
    pub(super) should_retry: Option<bool>,
    /// `Idempotent-Replayed`.
    pub(super) replayed: bool,
    /// `Retry-After`, in seconds.
    pub(super) retry_after: Option<Duration>,
}

/// Classifies an answer whose status is not a success.
#[must_use]
pub(super) fn classify(status: u16, headers: &AnswerHeaders, body: &[u8]) -> StripeFault {
    let json: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let error = &json["error"];
    let text = |field: &str| error[field].as_str().map(str::to_owned);
    let intent = error["payment_intent"]["id"].as_str().map(str::to_owned);
    let code = text("code").or_else(|| text("type")).unwrap_or_else(|| "unreadable_answer".to_owned());
    let readable = error.is_object();
    let kind = match (status, text("type").as_deref(), code.as_str()) {
        (_, _, "authentication_required") => FaultKind::AuthenticationRequired { payment_intent_id: intent },
        (402, _, _) | (_, Some("card_error"), _) if readable => FaultKind::Declined {
            code,
            decline_code: text("decline_code"),
            advice_code: text("advice_code"),
            payment_intent_id: intent,
        },
        // Not begun, whatever the body looks like: a proxy may have written it.
        (409 | 424 | 425 | 429, _, _) => FaultKind::Busy,
        // Stripe itself says that the same request may work.
        (400..=499, _, _) if headers.should_retry == Some(true) => FaultKind::Busy,
        (400..=499, _, _) if readable => FaultKind::Refused { code, param: text("param") },
        _ => FaultKind::Unknown { replayed: headers.replayed },
    };
    StripeFault {
        kind,
        status: Some(status),
        request_id: headers.request_id.clone(),
        message: text("message").unwrap_or_else(|| "the answer is not Stripe's".to_owned()),
        retry_after: headers.retry_after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, headers: AnswerHeaders, want: &str) {
        let got = classify(status, &headers, body.as_bytes());
        let name = format!("{:?}", got.kind);
        assert!(name.starts_with(want), "{status} {body}: {name}, expected {want}");
        assert_eq!(got.status, Some(status));
    }

    #[test]
    fn every_answer_has_one_meaning() {
        let none = AnswerHeaders::default;
        let retry = || AnswerHeaders { should_retry: Some(true), ..none() };
        check(
            402,
            r#"{"error":{"type":"card_error","code":"card_declined","decline_code":"lost_card"}}"#,
            none(),
            "Declined",
        );
        check(
            402,
            r#"{"error":{"type":"card_error","code":"authentication_required"}}"#,
            none(),
            "AuthenticationRequired",
        );
        check(
            400,
            r#"{"error":{"type":"invalid_request_error","code":"amount_too_small","param":"amount"}}"#,
            none(),
            "Refused",
        );
        check(400, r#"{"error":{"type":"idempotency_error"}}"#, none(), "Refused");
        check(401, r#"{"error":{"type":"invalid_request_error","message":"Invalid API Key"}}"#, none(), "Refused");
        check(404, r#"{"error":{"type":"invalid_request_error","code":"resource_missing"}}"#, none(), "Refused");
        check(400, r#"{"error":{"type":"invalid_request_error","code":"lock_timeout"}}"#, retry(), "Busy");
        check(409, r#"{"error":{"type":"invalid_request_error","code":"idempotency_key_in_use"}}"#, none(), "Busy");
        check(429, r#"{"error":{"type":"invalid_request_error","code":"rate_limit"}}"#, none(), "Busy");
        check(429, "slow down", none(), "Busy");
        check(500, r#"{"error":{"type":"api_error"}}"#, none(), "Unknown { replayed: false }");
        check(
            500,
            r#"{"error":{"type":"api_error"}}"#,
            AnswerHeaders { replayed: true, ..none() },
            "Unknown { replayed: true }",
        );
        check(502, "<html>bad gateway</html>", none(), "Unknown");
        check(403, "<html>forbidden by a proxy</html>", none(), "Unknown");
        check(402, "<html>", none(), "Unknown");
        check(302, "", none(), "Unknown");
    }

    #[test]
    fn the_text_names_what_support_needs_and_no_secret() {
        let headers = AnswerHeaders { request_id: Some("req_1".to_owned()), ..AnswerHeaders::default() };
        let body = r#"{"error":{"type":"card_error","code":"card_declined","message":"Your card was declined.",
            "payment_intent":{"id":"pi_1","client_secret":"pi_1_secret_x"}}}"#;
        let fault = classify(402, &headers, body.as_bytes());
        assert_eq!(fault.to_string(), "Stripe answered 402: Your card was declined. (request req_1)");
        assert!(!format!("{fault:?}").contains("secret_x"));
    }
}
