//! The paths of the console.

use std::sync::{Arc, LazyLock};

use futures_util::future::BoxFuture;
use warp::http::Method;

use super::pages;
use super::reply::Reply;
use super::visit::{Open, Visit};
use crate::api::operation::path_params;
use crate::http::Problem;

/// What a page promises.
pub(crate) type Rendering = BoxFuture<'static, Result<Reply, Problem>>;

/// Who answers.
#[derive(Clone, Copy)]
pub(crate) enum Run {
    /// For anybody.
    Open(fn(Arc<Open>) -> Rendering),
    /// For whoever is signed in.
    Known(fn(Arc<Visit>) -> Rendering),
    /// Style, scripts and pictures.
    Asset,
    /// What makes pages look again.
    Live,
}

/// A path and who answers there.
pub(crate) struct Route {
    method: Method,
    path: &'static str,
    pub(crate) run: Run,
}

impl Route {
    /// A page.
    pub(crate) fn get(path: &'static str, run: fn(Arc<Visit>) -> Rendering) -> Self {
        Self { method: Method::GET, path, run: Run::Known(run) }
    }

    /// A form that is sent.
    pub(crate) fn post(path: &'static str, run: fn(Arc<Visit>) -> Rendering) -> Self {
        Self { method: Method::POST, path, run: Run::Known(run) }
    }

    /// What needs no session.
    pub(crate) fn open(method: Method, path: &'static str, run: fn(Arc<Open>) -> Rendering) -> Self {
        Self { method, path, run: Run::Open(run) }
    }
}

static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let own = vec![
        Route { method: Method::GET, path: "/console/assets/{version}/{file}", run: Run::Asset },
        Route { method: Method::GET, path: "/console/live", run: Run::Live },
    ];
    own.into_iter().chain(pages::routes()).collect()
});

/// What there is at a path.
pub(crate) enum Found {
    Route(&'static Route, Vec<String>),
    /// Something, for these methods.
    Methods(String),
    Nothing,
}

/// Finds who answers. Where a word and a parameter both fit, the word is meant.
pub(crate) fn find(method: &Method, path: &str) -> Found {
    let segments: Vec<&str> = path.trim_end_matches('/').split('/').skip(1).collect();
    let here = ROUTES.iter().filter_map(|route| Some((route, path_params(route.path, &segments)?)));
    let mut here: Vec<_> = here.collect();
    let fewest = here.iter().map(|(_, params)| params.len()).min();
    here.retain(|(_, params)| Some(params.len()) == fewest);
    if let Some(found) = here.iter().position(|(route, _)| route.method == *method) {
        let (route, params) = here.swap_remove(found);
        return Found::Route(route, params);
    }
    let methods: Vec<&str> = here.iter().map(|(route, _)| route.method.as_str()).collect();
    if methods.is_empty() { Found::Nothing } else { Found::Methods(methods.join(", ")) }
}
