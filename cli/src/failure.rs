//! Why a command was not done, and with which code it ends. Pure.

use serde_json::{Value, json};

use crate::show::{self, Show};

/// It was refused, or it failed.
pub(crate) const REFUSED: u8 = 1;
/// It can't be meant like this.
pub(crate) const USAGE: u8 = 2;
/// The service was not reached, or is not well.
pub(crate) const UNREACHABLE: u8 = 3;

/// Why a command was not done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Failure {
    /// The command itself is wrong.
    Usage(String),
    /// A person said no.
    NotConfirmed,
    /// There was no answer.
    NotReachable(String),
    /// Somebody gave up waiting.
    Interrupted,
    /// The API says no.
    Refused(Refusal),
    /// The answer is none of Bill-Service's.
    Unreadable { status: u16, text: String },
}

/// The API's no.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) body: Value,
    pub(crate) request_id: Option<String>,
}

impl Failure {
    /// The code that the process ends with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => USAGE,
            Self::NotConfirmed => REFUSED,
            Self::NotReachable(_) | Self::Interrupted => UNREACHABLE,
            Self::Refused(Refusal { status, .. }) | Self::Unreadable { status, .. } => {
                if (400..500).contains(status) {
                    REFUSED
                } else {
                    UNREACHABLE
                }
            }
        }
    }

    /// Whether it may have been done all the same, so that the key of the call is worth something.
    pub(crate) fn leaves_open(&self) -> bool {
        self.exit_code() == UNREACHABLE
    }

    /// For programs.
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Refused(refusal) => refusal.body.clone(),
            Self::Unreadable { status, .. } => {
                json!({ "error": self.sentence(), "code": "unreadable_answer", "status": status })
            }
            Self::Usage(_) => json!({ "error": self.sentence(), "code": "usage" }),
            Self::NotConfirmed => json!({ "error": self.sentence(), "code": "not_confirmed" }),
            Self::NotReachable(_) => json!({ "error": self.sentence(), "code": "not_reachable" }),
            Self::Interrupted => json!({ "error": self.sentence(), "code": "interrupted" }),
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Usage(problem) => problem.clone(),
            Self::NotConfirmed => "nothing was done".to_owned(),
            Self::NotReachable(why) => why.clone(),
            Self::Interrupted => "it was not waited for".to_owned(),
            Self::Unreadable { status, text } => {
                let text: String = show::plain(text).chars().take(200).collect();
                format!("the answer ({status}) is not Bill-Service's: {text}")
            }
            Self::Refused(refusal) => show::plain(refusal.body["error"].as_str().unwrap_or("the API says no")),
        }
    }

    /// For people.
    pub(crate) fn to_text(&self, show: &Show) -> String {
        match self {
            Self::Refused(refusal) => refusal.to_text(show),
            _ => format!("error: {}\n", self.sentence()),
        }
    }
}

impl Refusal {
    /// The API's sentence, every field that is wrong on its line, and what helps to find the call again.
    fn to_text(&self, show: &Show) -> String {
        let said = Failure::Refused(self.clone()).sentence();
        let fields: Vec<(String, String)> = self.body["fields"].as_array().into_iter().flatten().map(wrong).collect();
        // The sentence tells the fields again, one after the other.
        let said = if fields.is_empty() { said.as_str() } else { said.split(": ").next().unwrap_or_default() };
        let mut text = format!("error: {said}\n{}", show::pairs(&fields, 2));
        let mut rest = self.body.clone();
        if let Some(rest) = rest.as_object_mut() {
            ["error", "fields"].into_iter().for_each(|told| drop(rest.remove(told)));
            rest.insert("status".to_owned(), json!(self.status));
            rest.insert("x-request-id".to_owned(), json!(self.request_id));
        }
        text.push_str(&show::indented(&show::details(&rest, &["code", "message", "status"], show), 2));
        text
    }
}

fn wrong(field: &Value) -> (String, String) {
    let text = |name: &str| show::plain(field[name].as_str().unwrap_or_default());
    let name = text("field");
    (if name.is_empty() { "the body".to_owned() } else { name }, text("problem"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: Value) -> Failure {
        Failure::Refused(Refusal { status, body, request_id: Some("r-1".to_owned()) })
    }

    #[test]
    fn every_wrong_field_has_its_line() {
        let body = json!({
            "error": "The body is not valid: amount must be more than 0; surprise is not known", "code": "invalid_body",
            "fields": [{ "field": "amount", "problem": "must be more than 0" }, { "field": "", "problem": "is odd" }],
        });
        let failure = refused(400, body.clone());
        assert_eq!(
            failure.to_text(&Show::plain_utc()),
            "error: The body is not valid\n  amount    must be more than 0\n  the body  is odd\n  code          invalid_body\n  \
             status        400\n  x-request-id  r-1\n"
        );
        assert_eq!((failure.exit_code(), failure.to_json()), (REFUSED, body));
    }

    #[test]
    fn what_else_the_api_says_is_told() {
        let body = json!({ "error": "Another recharge has not ended yet", "code": "recharge_in_flight",
                           "message": "wait", "recharge_id": "7", "event_id": null });
        assert_eq!(
            refused(409, body).to_text(&Show::plain_utc()),
            "error: Another recharge has not ended yet\n  code          recharge_in_flight\n  message       wait\n  \
             status        409\n  recharge_id   7\n  x-request-id  r-1\n"
        );
    }

    #[test]
    fn codes() {
        let table = [
            (Failure::Usage("x".to_owned()), USAGE),
            (Failure::NotConfirmed, REFUSED),
            (Failure::NotReachable("x".to_owned()), UNREACHABLE),
            (Failure::Interrupted, UNREACHABLE),
            (refused(403, json!({})), REFUSED),
            (refused(503, json!({})), UNREACHABLE),
            (Failure::Unreadable { status: 404, text: "<html>".to_owned() }, REFUSED),
            (Failure::Unreadable { status: 200, text: "<html>\u{1b}[2J".to_owned() }, UNREACHABLE),
        ];
        for (failure, code) in table {
            assert_eq!(failure.exit_code(), code, "{failure:?}");
            let (text, json) = (failure.to_text(&Show::plain_utc()), failure.to_json());
            assert!(text.starts_with("error: ") && !text.contains('\u{1b}'), "{text}");
            assert!(json.is_object(), "{json}");
        }
    }
}
