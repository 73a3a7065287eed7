//! One look at a page, or one form that was sent from it.

use std::net::IpAddr;
use std::sync::Arc;

use warp::http::{Method, StatusCode};

use super::cookie::{self, Cookie};
use super::form::Form;
use super::guard;
use super::layout::Layout;
use super::reply::Reply;
use super::session::Viewer;
use super::text::Text;
use crate::api::access::Role;
use crate::app::App;
use crate::http::{Problem, Query, Request};

/// The cookie with what the next page says happened.
const NOTICE: &str = "bill_notice";
/// How long that may take, in seconds.
const NOTICE_SECONDS: i64 = 60;

/// By somebody who is signed in.
pub(crate) struct Visit {
    pub(crate) app: Arc<App>,
    pub(crate) viewer: Viewer,
    pub(crate) text: &'static Text,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) form: Form,
    /// The word for what happened just before.
    notice: Option<String>,
    params: Vec<String>,
}

/// By anybody: what there is before one has signed in.
pub(crate) struct Open {
    pub(crate) app: Arc<App>,
    pub(crate) text: &'static Text,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) form: Form,
    pub(crate) peer: Option<IpAddr>,
}

impl Open {
    pub(super) async fn receive(app: Arc<App>, mut request: Request, text: &'static Text) -> Result<Self, Problem> {
        if request.method != Method::GET {
            guard::same_origin(&request, &app.config.public_url)?;
        }
        let form = form(&mut request).await?;
        let Request { path, query, peer, .. } = request;
        Ok(Self { app, text, path, query, form, peer })
    }
}

impl Visit {
    pub(super) async fn receive(
        app: Arc<App>,
        mut request: Request,
        viewer: Viewer,
        params: Vec<String>,
        text: &'static Text,
    ) -> Result<Self, Problem> {
        let form = form(&mut request).await?;
        // A page that only looks again says nothing, and must not take away what the next one is to say.
        let looks_again = request.header("x-live").is_some();
        let notice = cookie::find(&request.headers, NOTICE).filter(|word| !word.is_empty() && !looks_again);
        let notice = notice.map(str::to_owned);
        let Request { path, query, .. } = request;
        Ok(Self { app, viewer, text, path, query, form, notice, params })
    }

    /// A parameter of the path, by its place.
    pub(crate) fn param(&self, place: usize) -> &str {
        self.params.get(place).map_or("", String::as_str)
    }

    /// What all pages have in common.
    pub(crate) fn layout(&self, title: impl Into<String>) -> Layout {
        Layout::of(self, title.into(), self.notice.clone())
    }

    /// May everything.
    pub(crate) fn is_operator(&self) -> bool {
        self.viewer.caller.grant.role == Role::Operator
    }

    /// May change what is his organization's.
    pub(crate) fn may_change(&self) -> bool {
        self.viewer.caller.grant.role != Role::Viewer
    }

    /// Sees every organization.
    pub(crate) fn sees_all(&self) -> bool {
        self.viewer.caller.grant.organization.is_none()
    }

    /// The one organization that he sees, if it is one.
    pub(crate) fn own(&self) -> Option<&str> {
        self.viewer.caller.grant.organization.as_ref().map(|own| own.as_str())
    }

    /// To another page, which says what happened: `notice` is a name of `text::notices`.
    pub(crate) fn redirect(&self, to: &str, notice: &'static str) -> Reply {
        Reply::redirect(to).cookie(Cookie { name: NOTICE, value: notice.to_owned(), seconds: NOTICE_SECONDS })
    }

    /// The notice was shown: the next page does not say it again.
    pub(super) fn finish(&self, reply: Reply) -> Reply {
        if self.notice.is_some() && reply.is_page() {
            return reply.cookie(Cookie { name: NOTICE, value: String::new(), seconds: 0 });
        }
        reply
    }

    /// A new idempotency key for a form: the form sent twice is one call.
    pub(crate) fn new_key(&self) -> String {
        self.app.ids.fresh().to_string()
    }
}

/// The form that a request carries.
async fn form(request: &mut Request) -> Result<Form, Problem> {
    if request.method == Method::GET {
        return Ok(Form::default());
    }
    let body = request.bytes().await?;
    let says = request.header("content-type").unwrap_or_default();
    if !body.is_empty() && !says.starts_with("application/x-www-form-urlencoded") {
        let error = "A form is sent as application/x-www-form-urlencoded";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", error));
    }
    Ok(Form::read(&body))
}
