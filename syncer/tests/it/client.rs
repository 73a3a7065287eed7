//! The backends' clients alone.

use std::time::Duration;

use common::clients::quota::kms::{Kms as Client, KmsConfig};
use common::clients::quota::litellm::{Litellm, LitellmConfig};
use common::clients::quota::{Account, BackendError, QuotaBackend as _, Usage};
use common::config::Secret;
use common::ids::OrganizationId;
use prometheus::Registry;
use serde_json::json;
use warp::Filter as _;

use crate::odd::{Fault, OLD_404, OLD_405, OddKms, WHOLE};
use crate::world::decimal;

fn client(url: &str) -> Client {
    let config = KmsConfig { timeout: Duration::from_millis(300), ..KmsConfig::new(url.parse().unwrap()) };
    Client::new(&config, &Registry::new()).unwrap()
}

fn acme() -> Account {
    Account { organization: OrganizationId::parse("acme").unwrap(), team: None }
}

#[tokio::test]
async fn a_kms_without_the_single_get_is_remembered() {
    for generation in [OLD_404, OLD_405] {
        let kms = OddKms::start(generation).await;
        kms.has("acme", "5", Some("t"));
        let client = client(&kms.url());
        for _ in 0..3 {
            assert!(client.read(&acme()).await.unwrap().unwrap().quota.is(decimal("5")));
        }
        assert_eq!((kms.calls("single"), kms.calls("list")), (1, 3), "{generation:?}");
    }
}

#[tokio::test]
async fn an_unknown_organization_is_looked_for_in_the_list_before_it_is_believed() {
    let kms = OddKms::start(WHOLE).await;
    let client = client(&kms.url());
    assert_eq!(client.read(&acme()).await, Ok(None));
    assert_eq!((kms.calls("single"), kms.calls("list")), (1, 1));
    // That tells nothing of the generation.
    kms.has("acme", "5", None);
    client.read(&acme()).await.unwrap().unwrap();
    assert_eq!((kms.calls("single"), kms.calls("list")), (2, 1));
}

#[tokio::test]
async fn usage_is_known_or_not() {
    let kms = OddKms::start(WHOLE).await;
    let here = client(&kms.url());
    assert_eq!(here.usage(&acme()).await, Ok(Usage::Unavailable));
    kms.has("acme", "5", None);
    assert_eq!(here.usage(&acme()).await, Ok(Usage::Known(decimal("1.5"))));
    kms.spends("acme", json!("-1.0"));
    assert_eq!(here.usage(&acme()).await, Ok(Usage::Unavailable));
    let old = OddKms::start(OLD_404).await;
    old.has("acme", "5", None);
    assert_eq!(client(&old.url()).usage(&acme()).await, Ok(Usage::Unavailable));
}

#[tokio::test]
async fn short_trouble_is_not_noticed_and_a_create_is_sent_once() {
    let kms = OddKms::start(WHOLE).await;
    kms.has("acme", "5", None);
    let client = client(&kms.url());
    kms.faults(&[Fault::Before, Fault::After]);
    client.set(&acme(), decimal("7.25")).await.unwrap();
    assert_eq!(kms.writes("acme"), [decimal("7.25"), decimal("7.25")]);
    kms.faults(&[Fault::Before]);
    assert!(matches!(client.create(&acme(), decimal("0")).await, Err(BackendError::Unavailable { .. })));
    assert_eq!(kms.calls("create"), 0);
    // One that is there already is returned as it is.
    let there = client.create(&acme(), decimal("0")).await.unwrap();
    assert!(!there.made && there.quota.quota.is(decimal("7.25")));
}

#[tokio::test]
async fn silence_is_not_repeated_at_once() {
    let kms = OddKms::start(WHOLE).await;
    kms.has("acme", "5", None);
    let client = client(&kms.url());
    kms.faults(&[Fault::Silence, Fault::Silence]);
    let error = client.set(&acme(), decimal("7")).await.unwrap_err();
    assert!(matches!(&error, BackendError::Unavailable { reason, .. } if reason.contains("timed out")), "{error}");
    assert_eq!(kms.calls("set"), 1);
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = client(&format!("http://{free}"));
    assert!(matches!(client.read(&acme()).await, Err(BackendError::Unavailable { after: None, .. })));
    // The fifth failure opens the breaker: it is left alone.
    assert!(matches!(client.read(&acme()).await, Err(BackendError::Unavailable { after: Some(_), .. })));
}

/// What a backend says is logged and published.
#[tokio::test]
async fn a_key_that_a_backend_repeats_is_told_to_nobody() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    // The write is refused, and the read is not possible now: both with the key.
    let repeats = warp::method().and(warp::header("authorization")).map(|method: warp::http::Method, key: String| {
        let status = if method == "POST" { 400 } else { 500 };
        warp::http::Response::builder().status(status).body(format!("{} Received={key}", "x".repeat(150)))
    });
    let server = tokio::spawn(warp::serve(repeats).incoming(listener).run());
    let key = "sk-a-key-that-is-longer-than-what-is-kept-of-an-error-0123456789";
    let config = LitellmConfig::new(url.parse().unwrap(), Secret::new(key));
    let litellm = Litellm::new(&config, &Registry::new()).unwrap();
    let refused = litellm.set(&acme(), decimal("5")).await.unwrap_err().to_string();
    let unavailable = litellm.read(&acme()).await.unwrap_err().to_string();
    for said in [refused, unavailable] {
        assert!(said.contains("Received=Bearer <key>") && !said.contains("sk-"), "{said}");
    }
    server.abort();
}
