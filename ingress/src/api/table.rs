//! The table of routes: every route that the service has, but those for development.

use std::sync::LazyLock;

use warp::http::Method;

use super::operation::Operation;
use super::{
    audit, balance, card_page, closing, dead_letters, events, history, openapi, organizations, payment_method,
    pipeline, quota, recharge, reconciliations, refund, setup_intent, simulate, standings, sync, tokens, usage, users,
};
use crate::http::{self, Found};
use crate::{health_routes, pay, webhooks};

/// Every route.
pub(crate) static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
    [
        webhooks::operations(),
        organizations::operations(),
        standings::operations(),
        closing::operations(),
        payment_method::operations(),
        setup_intent::operations(),
        card_page::operations(),
        balance::operations(),
        usage::operations(),
        users::operations(),
        quota::operations(),
        sync::operations(),
        recharge::operations(),
        simulate::operations(),
        refund::operations(),
        history::operations(),
        events::operations(),
        pipeline::operations(),
        dead_letters::operations(),
        reconciliations::operations(),
        tokens::operations(),
        audit::operations(),
        pay::operations(),
        openapi::operations(),
        health_routes::operations(),
    ]
    .into_iter()
    .flatten()
    .collect()
});

/// What there is at a path of the service.
pub(crate) fn find(method: &Method, path: &str) -> Found<Operation> {
    http::find(&OPERATIONS, method, path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn found(method: Method, path: &str) -> (&'static str, Vec<String>) {
        match find(&method, path) {
            Found::Route(operation, params) => (operation.id, params),
            Found::Methods(allowed) => ("allowed", vec![allowed]),
            Found::Nothing => ("nothing", vec![]),
        }
    }

    #[test]
    fn paths() {
        let get = |path| found(Method::GET, path);
        assert_eq!(found(Method::POST, "/webhooks/litellm/limit-exceeded").0, "receive_limit_exceeded");
        assert_eq!(found(Method::POST, "/webhooks/litellm/alerts/x"), ("receive_litellm_alert", vec!["x".to_owned()]));
        assert_eq!(get("/api/organizations/").0, "list_organizations");
        assert_eq!(get("/api/organizations/a/config"), ("get_organization", vec!["a".to_owned()]));
        assert_eq!(found(Method::PUT, "/api/organizations/a/config"), ("allowed", vec!["GET, PATCH".to_owned()]));
        assert_eq!(found(Method::POST, "/api/dead-letters/redrive").0, "redrive_dead_letters");
        assert_eq!(get("/api/dead-letters/redrive"), ("allowed", vec!["POST".to_owned()]));
        assert_eq!(found(Method::POST, "/api/dead-letters/7/redrive").0, "redrive_dead_letter");
        for none in [
            "",
            "/",
            "//",
            "/api",
            "/api/organizations//",
            "/pay",
            "/pay/x/y",
            "/test/db-insert",
            "/webhooks/litellm/alerts/",
        ] {
            assert_eq!(get(none).0, "nothing", "{none}");
        }
    }

    #[test]
    fn each_call_has_one_name_and_one_place() {
        let names: BTreeSet<_> = OPERATIONS.iter().map(|operation| operation.id).collect();
        let places: BTreeSet<_> =
            OPERATIONS.iter().map(|operation| (operation.path, operation.method.as_str())).collect();
        assert_eq!((names.len(), places.len()), (OPERATIONS.len(), OPERATIONS.len()));
        for operation in OPERATIONS.iter() {
            assert!(!operation.summary.is_empty() && !operation.tag.is_empty(), "{}", operation.id);
            assert!(!operation.answers.is_empty(), "{}", operation.id);
        }
    }
}
