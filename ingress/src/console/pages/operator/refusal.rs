//! A form that was refused is shown again, with what is wrong and everything that was typed. Pure.

use warp::http::StatusCode;

use crate::console::pages::error::sentence;
use crate::console::pages::wrong::Wrong;
use crate::console::text::Text;
use crate::http::Problem;

/// What the API had against a form.
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) wrong: Wrong,
    /// Above the form.
    pub(super) says: Option<String>,
}

impl Refusal {
    /// Nothing: the form is new.
    pub(super) fn none() -> Self {
        Self { status: StatusCode::OK, wrong: Wrong::default(), says: None }
    }

    /// What a problem has against a form that shows these fields. Problems that are about the viewer or about the whole
    /// service are not the form's.
    pub(super) fn of(text: &'static Text, problem: Problem, shown: &[&str]) -> Result<Self, Problem> {
        if let Some(wrong) = Wrong::of(text, &problem) {
            let mut says = vec![text.common.wrong_fields.to_owned()];
            says.extend(wrong.elsewhere(text, shown));
            return Ok(Self { status: problem.status(), wrong, says: Some(says.join(" ")) });
        }
        match problem.status() {
            StatusCode::BAD_REQUEST
            | StatusCode::PAYMENT_REQUIRED
            | StatusCode::CONFLICT
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE => {
                let says = Some(sentence(text, &problem));
                Ok(Self { status: problem.status(), wrong: Wrong::default(), says })
            }
            _ => Err(problem),
        }
    }
}
