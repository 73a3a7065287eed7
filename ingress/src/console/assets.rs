//! Style, scripts and pictures. They are in the program, and in their address is what they are: a browser keeps them for good.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};
use warp::http::header::CACHE_CONTROL;
use warp::http::{HeaderValue, StatusCode};
use warp::reply::Response;

use crate::http::{Answer, Problem};

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// Every file.
const FILES: [(&str, &str, &str); 10] = [
    ("style.css", CSS, include_str!("assets/style.css")),
    ("icon.svg", SVG, include_str!("assets/icon.svg")),
    ("app.js", JS, include_str!("assets/app.js")),
    ("announce.js", JS, include_str!("assets/announce.js")),
    ("copy.js", JS, include_str!("assets/copy.js")),
    ("forms.js", JS, include_str!("assets/forms.js")),
    ("live.js", JS, include_str!("assets/live.js")),
    ("navigation.js", JS, include_str!("assets/navigation.js")),
    ("sign-in.js", JS, include_str!("assets/sign-in.js")),
    ("time.js", JS, include_str!("assets/time.js")),
];

/// What all files together are: scripts name each other without it, and so change together.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut all = Sha256::new();
    for (name, _, text) in FILES {
        all.update(name);
        all.update(text);
    }
    hex::encode(&all.finalize()[..8])
});

/// A file, by the version and its name.
pub(crate) fn answer(params: &[String]) -> Response {
    let (version, name) = (params.first().map_or("", String::as_str), params.get(1).map_or("", String::as_str));
    let Some((_, media_type, text)) = FILES.iter().find(|(have, _, _)| *have == name) else {
        return Answer::from(Problem::no_route()).into_response();
    };
    let mut response = Answer::text(StatusCode::OK, media_type, (*text).to_owned()).into_response();
    // A page of another version, during a deployment, gets ours, and asks again the next time.
    let keep = if version == *VERSION { "public, max-age=31536000, immutable" } else { "no-store" };
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static(keep));
    response
}
