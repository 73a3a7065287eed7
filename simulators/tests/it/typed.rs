//! async-stripe's typed objects accept ours.

use bytes::Bytes;
use stripe_checkout::checkout_session::{CreateCheckoutSession, ExpireCheckoutSession};
use stripe_client_core::{CustomizedStripeRequest, StripeClient, StripeClientErr, StripeMethod, StripeRequest as _};
use stripe_core::customer::{CreateCustomer, RetrieveCustomer};
use stripe_core::payment_intent::{
    CreatePaymentIntent, CreatePaymentIntentOffSession, ListPaymentIntent, RetrievePaymentIntent,
};
use stripe_core::refund::{CreateRefund, ListRefund};
use stripe_core::setup_intent::CreateSetupIntent;
use stripe_payment::payment_method::{AttachPaymentMethod, ListPaymentMethod};
use stripe_shared::{CheckoutSessionMode, CheckoutSessionStatus, PaymentIntentId, PaymentIntentStatus};

use crate::support::{Api, http_client};

struct Client {
    base: String,
    http: reqwest::Client,
}

#[derive(Debug)]
struct Failure {
    status: u16,
    text: String,
}

impl StripeClientErr for Failure {
    fn deserialize_err(message: impl std::fmt::Display) -> Self {
        Self { status: 0, text: message.to_string() }
    }
}

impl StripeClient for Client {
    type Err = Failure;

    async fn execute(&self, request: CustomizedStripeRequest) -> Result<Bytes, Failure> {
        let (request, _) = request.into_pieces();
        let method = match request.method {
            StripeMethod::Get => reqwest::Method::GET,
            StripeMethod::Post => reqwest::Method::POST,
            StripeMethod::Delete => reqwest::Method::DELETE,
        };
        let query = request.query.map(|query| format!("?{query}")).unwrap_or_default();
        let path = request.path.trim_start_matches('/');
        let url = format!("{}/v1/{path}{query}", self.base);
        let answer = self
            .http
            .request(method, url)
            .bearer_auth("sk_test_typed")
            .header("stripe-version", stripe_client_core::VERSION.as_str())
            .body(request.body.unwrap_or_default())
            .send()
            .await
            .unwrap();
        let status = answer.status().as_u16();
        let bytes = answer.bytes().await.unwrap();
        if status == 200 {
            return Ok(bytes);
        }
        Err(Failure { status, text: String::from_utf8_lossy(&bytes).into_owned() })
    }
}

#[tokio::test]
async fn every_object_that_we_use_is_read() {
    let api = Api::stripe().await;
    let client = Client { base: api.running.url(), http: http_client() };
    let unpaid = api.post("/v1/payment_intents", &[("amount", "50"), ("currency", "usd")]).await;
    let unpaid = PaymentIntentId::from(unpaid.str("/id"));
    let unpaid = RetrievePaymentIntent::new(unpaid).customize().send(&client).await.unwrap();
    assert_eq!(unpaid.status, PaymentIntentStatus::RequiresPaymentMethod);
    let customer = CreateCustomer::new().email("jenny@example.com").customize().send(&client).await.unwrap();
    RetrieveCustomer::new(customer.id.clone()).customize().send(&client).await.unwrap();
    let setup = CreateSetupIntent::new()
        .customer(customer.id.as_str())
        .confirm(true)
        .payment_method("pm_card_authenticationRequired")
        .customize()
        .send(&client)
        .await
        .unwrap();
    assert!(setup.next_action.is_some());
    let session = CreateCheckoutSession::new()
        .mode(CheckoutSessionMode::Setup)
        .currency(unpaid.currency.clone())
        .customer(customer.id.as_str())
        .success_url("https://shop.example/done")
        .customize()
        .send(&client)
        .await
        .unwrap();
    assert!(session.url.is_some() && session.setup_intent.is_some());
    let session = ExpireCheckoutSession::new(session.id).customize().send(&client).await.unwrap();
    assert_eq!(session.status, Some(CheckoutSessionStatus::Expired));
    let method = AttachPaymentMethod::new("pm_card_visa")
        .customer(customer.id.as_str())
        .customize()
        .send(&client)
        .await
        .unwrap();
    let charge = |method: &str| {
        CreatePaymentIntent::new(2500, unpaid.currency.clone())
            .customer(customer.id.as_str())
            .payment_method(method)
            .off_session(CreatePaymentIntentOffSession::Bool(true))
            .confirm(true)
            .expand(vec!["latest_charge.balance_transaction".to_owned()])
    };
    let intent = charge(method.id.as_str()).customize().send(&client).await.unwrap();
    assert_eq!(intent.status, PaymentIntentStatus::Succeeded);
    let latest = intent.latest_charge.and_then(|charge| charge.into_object()).unwrap();
    let transaction = latest.balance_transaction.and_then(|entry| entry.into_object()).unwrap();
    assert_eq!(transaction.fee, 103);
    let refund =
        CreateRefund::new().payment_intent(intent.id.as_str()).amount(100).customize().send(&client).await.unwrap();
    assert_eq!(refund.status.as_deref(), Some("succeeded"));
    let listed = ListRefund::new().customize().send(&client).await.unwrap();
    assert_eq!(listed.data.len(), 1);
    let methods = ListPaymentMethod::new().customer(customer.id.as_str()).customize().send(&client).await.unwrap();
    assert_eq!(methods.data.len(), 1);

    let declined = charge("pm_card_visa_chargeDeclined").customize().send(&client).await;
    let failure = declined.err().unwrap();
    assert_eq!(failure.status, 402, "{}", failure.text);
    let processing = charge("pm_card_sim_processing").customize().send(&client).await.unwrap();
    assert_eq!(processing.status, PaymentIntentStatus::Processing);
    let listed =
        ListPaymentIntent::new().customer(customer.id.as_str()).limit(100).customize().send(&client).await.unwrap();
    assert_eq!(listed.data.len(), 3);
    let refused = listed.data.iter().find(|one| one.last_payment_error.is_some()).unwrap();
    let read = RetrievePaymentIntent::new(refused.id.clone()).customize().send(&client).await.unwrap();
    let error = read.last_payment_error.unwrap();
    assert_eq!(error.decline_code.as_deref(), Some("generic_decline"));
    assert_eq!(error.advice_code.as_deref(), Some("try_again_later"));
    assert!(error.payment_method.is_some());
}
