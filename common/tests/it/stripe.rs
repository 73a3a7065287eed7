//! The calls to Stripe that undo, confirm and compare, against the simulator.

mod confirming;
mod money_back;

use std::time::Duration;

use common::clients::stripe::{
    Captured, ChargeOrder, ChargeOutcome, Confirmation, FaultKind, Stripe, StripeConfig, StripeFault,
};
use common::config::Secret;
use common::ids::{EventId, OrganizationId, RechargeId};
use common::money::{Currency, Money};
use serde_json::Value;

const BACK: &str = "https://bill.example/pay/done";

fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::USD)
}

/// A simulator of its own, a client, and a customer with a card.
struct Shop {
    server: simulators::Running,
    stripe: Stripe,
    http: reqwest::Client,
    customer: String,
    card: String,
}

impl Shop {
    async fn with(card: &str) -> Self {
        let server = simulators::stripe::Stripe::start(([127, 0, 0, 1], 0).into()).await.unwrap();
        let config = StripeConfig {
            url: server.url(),
            secret_key: Secret::new("sk_test_1".to_owned()),
            timeout: Duration::from_secs(10),
        };
        let stripe = Stripe::new(config, &prometheus::Registry::new()).unwrap();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let customer = stripe.create_customer(&acme(), "customer").await.unwrap();
        let card = stripe.attach_payment_method(card, &customer, "attach").await.unwrap().id;
        Self { server, stripe, http, customer, card }
    }

    fn order(&self, recharge: &str, minor: i64) -> ChargeOrder {
        ChargeOrder {
            recharge_id: recharge_id(recharge),
            organization: acme(),
            trigger: "test".to_owned(),
            total: usd(minor),
            customer_id: self.customer.clone(),
            payment_method_id: self.card.clone(),
        }
    }

    /// A charge of 25.00 that must succeed.
    async fn paid(&self, recharge: &str) -> Captured {
        captured(self.stripe.charge(&self.order(recharge, 2_500)).await)
    }

    /// A charge of 25.00 for which the bank wants the customer.
    async fn unconfirmed(&self) -> String {
        match self.stripe.charge(&self.order("r1", 2_500)).await {
            ChargeOutcome::Fault(StripeFault {
                kind: FaultKind::AuthenticationRequired { payment_intent_id: Some(id) },
                ..
            }) => id,
            other => unreachable!("{other:?}"),
        }
    }

    async fn confirm(&self, intent: &str, card: &str, key: &str) -> Result<Confirmation, StripeFault> {
        self.stripe.confirm_on_session(intent, card, BACK, key, usd(2_500)).await
    }

    async fn sim(&self, path: &str, body: Value) -> Value {
        let url = format!("{}/_sim/{path}", self.server.url());
        let answer = self.http.post(url).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer.json().await.unwrap()
    }

    async fn books(&self) -> Value {
        let answer = self.http.get(format!("{}/_sim/books", self.server.url())).send().await.unwrap();
        answer.json().await.unwrap()
    }

    /// The person at the bank's page presses a button; where the page leads then.
    async fn press(&self, page: &str, outcome: &str) -> String {
        let form = format!("outcome={outcome}&return_url={BACK}");
        let request = self.http.post(page).header("content-type", "application/x-www-form-urlencoded").body(form);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 303);
        answer.headers()["location"].to_str().unwrap().to_owned()
    }
}

fn acme() -> OrganizationId {
    "acme".parse().unwrap()
}

fn recharge_id(name: &str) -> RechargeId {
    RechargeId::for_trigger(&EventId::parse(name).unwrap())
}

fn captured(outcome: ChargeOutcome) -> Captured {
    match outcome {
        ChargeOutcome::Succeeded(captured) => captured,
        other => unreachable!("{other:?}"),
    }
}

/// The code of a refusal.
fn refusal(fault: StripeFault) -> String {
    match fault.kind {
        FaultKind::Refused { code, .. } => code,
        other => unreachable!("{other:?}"),
    }
}
