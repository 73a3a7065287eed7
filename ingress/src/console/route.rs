//! The paths of the console.

use std::sync::{Arc, LazyLock};

use futures_util::future::BoxFuture;
use warp::http::Method;

use super::pages;
use super::reply::Reply;
use super::visit::{Open, Visit};
use crate::http::{self, Found, Placed, Problem};

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

impl Placed for Route {
    fn place(&self) -> (&Method, &'static str) {
        (&self.method, self.path)
    }
}

/// What there is at a path of the console.
pub(crate) fn find(method: &Method, path: &str) -> Found<Route> {
    http::find(&ROUTES, method, path.trim_end_matches('/'))
}
