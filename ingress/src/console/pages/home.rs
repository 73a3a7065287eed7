//! The front door, and the switch of the language.

use warp::http::Method;

use crate::console::PREFIX;
use crate::console::cookie::Cookie;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{COOKIE, Text};
use crate::console::visit::Open;

/// For so long a language stays chosen.
const YEAR: i64 = 365 * 24 * 60 * 60;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/console", |visit| {
            Box::pin(async move {
                Ok(Reply::redirect(&match visit.own() {
                    Some(own) => format!("/console/organizations/{own}"),
                    None => "/console/organizations".to_owned(),
                }))
            })
        }),
        Route::open(Method::POST, "/console/language", |visit| Box::pin(async move { Ok(language(&visit)) })),
    ]
}

/// `POST /console/language`: the language is remembered, and the viewer is back where he was.
fn language(visit: &Open) -> Reply {
    let back = Reply::redirect(way_back(visit.form.get("back")));
    match Text::of(visit.form.get("language")) {
        Some(text) => back.cookie(Cookie { name: COOKIE, value: text.code.to_owned(), seconds: YEAR }),
        None => back,
    }
}

/// A page of ours, whatever the form says.
pub(super) fn way_back(back: &str) -> &str {
    let ours = crate::console::has(back) && back.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if ours && back != "/" { back } else { PREFIX }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for (back, to) in [
            ("/console/organizations/acme", "/console/organizations/acme"),
            ("/console", "/console"),
            ("", "/console"),
            ("/", "/console"),
            ("//evil.example/console", "/console"),
            ("https://evil.example/console", "/console"),
            ("/consoles", "/console"),
            ("/console/\\evil", "/console"),
            ("/console/\r\nset-cookie: x", "/console"),
        ] {
            assert_eq!(way_back(back), to, "{back:?}");
        }
    }
}
