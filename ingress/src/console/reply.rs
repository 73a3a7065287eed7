//! What the console answers.

use askama::Template;
use warp::http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, SET_COOKIE,
};
use warp::http::{HeaderName, HeaderValue, StatusCode};
use warp::reply::Response;

use super::cookie::Cookie;
use crate::http::{Answer, Problem};

/// What pages may do: look like ours, run our scripts, and send forms to us.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// An answer to a browser.
pub(crate) struct Reply {
    status: StatusCode,
    media_type: &'static str,
    text: String,
    headers: Vec<(HeaderName, HeaderValue)>,
    cookies: Vec<Cookie>,
    policy: Option<String>,
}

impl Reply {
    fn new(status: StatusCode, media_type: &'static str, text: String) -> Self {
        Self { status, media_type, text, headers: Vec::new(), cookies: Vec::new(), policy: None }
    }

    /// A page.
    pub(crate) fn page(template: &impl Template) -> Result<Self, Problem> {
        Self::page_with(StatusCode::OK, template)
    }

    /// A page that says with its status, too, that something is not as it should be.
    pub(crate) fn page_with(status: StatusCode, template: &impl Template) -> Result<Self, Problem> {
        let html = template.render().map_err(|error| {
            tracing::error!(%error, "a page can't be made: {error}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "page_failed", "The page can't be made")
        })?;
        Ok(Self::new(status, "text/html; charset=utf-8", html))
    }

    /// To another page of the console, with GET. `to` begins with `/console`.
    pub(crate) fn redirect(to: &str) -> Self {
        Self::new(StatusCode::SEE_OTHER, "text/plain; charset=utf-8", String::new()).with(LOCATION, to)
    }

    /// A file to be saved.
    pub(crate) fn file(name: &str, media_type: &'static str, text: String) -> Self {
        // What other characters mean in this header, browsers do not agree on.
        let name: String =
            name.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect();
        Self::new(StatusCode::OK, media_type, text)
            .with(CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""))
    }

    fn with(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// Sets a cookie.
    pub(crate) fn cookie(mut self, cookie: Cookie) -> Self {
        self.cookies.push(cookie);
        self
    }

    /// Lets the forms of this page lead to `origin`, too: browsers apply the policy to redirects.
    pub(crate) fn form_leads_to(mut self, origin: &str) -> Self {
        self.policy = Some(POLICY.replace("form-action 'self'", &format!("form-action 'self' {origin}")));
        self
    }

    pub(crate) fn is_page(&self) -> bool {
        self.media_type.starts_with("text/html")
    }

    /// As it is sent. Where the service is reached over TLS, its cookies are for TLS only.
    pub(crate) fn into_response(self, public_url: &str) -> Response {
        let mut response = Answer::text(self.status, self.media_type, self.text).into_response();
        let headers = response.headers_mut();
        headers.extend(self.headers);
        let secure = public_url.starts_with("https:");
        for cookie in &self.cookies {
            headers.extend(HeaderValue::from_str(&cookie.header(secure)).ok().map(|value| (SET_COOKIE, value)));
        }
        let policy = self.policy.as_deref().and_then(|policy| HeaderValue::from_str(policy).ok());
        headers.insert(CONTENT_SECURITY_POLICY, policy.unwrap_or(HeaderValue::from_static(POLICY)));
        headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
