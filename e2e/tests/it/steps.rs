//! Every step of the saga fails in turn, and every message of every step is repeated twice: Stripe, ledger, KMS and the
//! record end as the table says, and stay so.

use anyhow::ensure;
use e2e::client::limit_exceeded;
use e2e::{Options, Stack, books, repeat, wait};
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// What fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failing {
    /// Nothing.
    Nothing,
    /// The bank says no to this card.
    Charge(&'static str),
    /// Stripe's next answers to a charge are lost, or none.
    ChargeAnswer(&'static str),
    /// The ledger is away until the deadline has passed.
    Ledger,
    /// The ledger is away, and Stripe refuses the refund twice.
    LedgerAndRefund,
    /// The ledger is away, and Stripe's answer to the refund is lost.
    LedgerAndRefundAnswer(&'static str),
    /// The KMS' next answers are lost, or none.
    SyncAnswer(&'static str),
    /// The KMS is away until the deadline has passed.
    Sync,
}

/// What must be true in the end, and after every repeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct End {
    status: &'static str,
    /// By Stripe's own books, in cents.
    captured: i64,
    refunded: i64,
    /// At the ledger and the KMS, in dollars.
    quota: i64,
}

const SETTLED: End = End { status: "settled", captured: 20_000, refunded: 0, quota: 200 };
const DECLINED: End = End { status: "declined", captured: 0, refunded: 0, quota: 0 };
const REFUNDED: End = End { status: "refunded", captured: 20_000, refunded: 20_000, quota: 0 };

/// The table: settings that differ, what fails, and the end.
const FORWARD: [(Failing, End); 9] = [
    (Failing::Nothing, SETTLED),
    (Failing::Charge("pm_card_chargeDeclinedInsufficientFunds"), DECLINED),
    (Failing::Charge("pm_card_chargeDeclinedLostCard"), DECLINED),
    (Failing::ChargeAnswer("drop_before"), SETTLED),
    (Failing::ChargeAnswer("drop_after"), SETTLED),
    (Failing::ChargeAnswer("500_after"), SETTLED),
    (Failing::SyncAnswer("drop_before"), SETTLED),
    (Failing::SyncAnswer("drop_after"), SETTLED),
    (Failing::SyncAnswer("500_after"), SETTLED),
];
const LEDGER_AWAY: [(Failing, End); 4] = [
    (Failing::Ledger, REFUNDED),
    (Failing::LedgerAndRefund, REFUNDED),
    (Failing::LedgerAndRefundAnswer("drop_after"), REFUNDED),
    (Failing::LedgerAndRefundAnswer("500_after"), REFUNDED),
];
const KMS_AWAY: [(Failing, End); 1] = [(Failing::Sync, REFUNDED)];

async fn status(stack: &Stack, organization: &str) -> anyhow::Result<String> {
    let history = stack.client.history(organization).await?;
    ensure!(history.len() == 1, "{} recharges of {organization}", history.len());
    Ok(history[0]["status"].as_str().unwrap_or_default().to_owned())
}

/// The books of one organization: Stripe's for its customer, the ledger's, the KMS'.
async fn end(stack: &Stack, organization: &str) -> anyhow::Result<(String, i64, i64, Decimal, Decimal, i64)> {
    let books = stack.client.stripe_books().await?;
    let customer: String =
        sqlx::query_scalar("SELECT stripe_customer_id FROM organization_balance_config WHERE c_organization_id = $1")
            .bind(organization)
            .fetch_one(&stack.pool)
            .await?;
    let of = &books["by_customer"][&customer];
    let cents = |value: &Value| value["usd"].as_i64().or(value.as_i64()).unwrap_or(0);
    let (quota, transactions): (Option<i64>, i64) = sqlx::query_as(
        "SELECT (SELECT quota_minor FROM ledger_quotas WHERE c_organization_id = $1),
            (SELECT count(*) FROM ledger_transactions WHERE c_organization_id = $1)",
    )
    .bind(organization)
    .fetch_one(&stack.pool)
    .await?;
    let ledger = Decimal::new(quota.unwrap_or(0), 2);
    let kms = stack.client.kms_quota(organization).await?;
    Ok((status(stack, organization).await?, cents(&of["captured"]), cents(&of["refunded"]), ledger, kms, transactions))
}

async fn play(stack: &mut Stack, organization: &str, failing: Failing) -> anyhow::Result<()> {
    let card = match failing {
        Failing::Charge(card) => card,
        _ => "pm_card_visa",
    };
    let team = stack.client.ready_organization(organization, card, json!({})).await?;
    match failing {
        Failing::Nothing | Failing::Charge(_) => {}
        Failing::ChargeAnswer(fault) => {
            let fault = json!([{ "fault": fault, "route": "POST /v1/payment_intents" }]);
            stack.client.stripe_sim("faults", &fault).await?;
        }
        Failing::SyncAnswer(fault) => {
            stack.client.kms_sim("faults", &json!([fault, fault])).await?;
        }
        Failing::Sync => {
            stack.client.kms_sim("faults", &json!(["down:600"])).await?;
        }
        Failing::Ledger | Failing::LedgerAndRefund | Failing::LedgerAndRefundAnswer(_) => {
            stack.service("ledger", 1)?.stop()?;
        }
    }
    match failing {
        Failing::LedgerAndRefund => {
            stack.client.stripe_sim("config", &json!({ "refunds_refuse_next": 2 })).await?;
        }
        Failing::LedgerAndRefundAnswer(fault) => {
            let fault = json!([{ "fault": fault, "route": "POST /v1/refunds" }]);
            stack.client.stripe_sim("faults", &fault).await?;
        }
        _ => {}
    }
    let body = limit_exceeded(&team, "500", "500", 1);
    let (code, answer) = stack.client.webhook(&stack.client.ingress, body).await?;
    ensure!(code == 200 || code == 202, "{failing:?}: {code} {answer}");
    if matches!(failing, Failing::Ledger | Failing::LedgerAndRefund | Failing::LedgerAndRefundAnswer(_)) {
        wait::until("the refund", || async {
            let status = status(stack, organization).await?;
            ensure!(status == "refunded", "{status}");
            Ok(())
        })
        .await?;
        stack.service("ledger", 1)?.start_again()?;
        stack.wait_until_ready().await?;
    }
    if failing == Failing::Sync {
        wait::until("the reversal", || async {
            let sql = "SELECT count(*) FROM ledger_transactions WHERE c_organization_id = $1 AND kind = 'refund'";
            let refunds: i64 = sqlx::query_scalar(sql).bind(organization).fetch_one(&stack.pool).await?;
            ensure!(refunds == 1, "{refunds} reversals");
            Ok(())
        })
        .await?;
        stack.client.kms_heals().await?;
    }
    Ok(())
}

/// Publishes every message of every stream again, under another id, as if the broker had forgotten that it has it.
async fn repeat_everything(stack: &Stack, round: u32) -> anyhow::Result<()> {
    for name in repeat::STREAMS {
        let stream = stack.broker.jetstream().get_stream(name).await?;
        for sequence in 1..=stream.cached_info().state.last_sequence {
            repeat::again(&stack.broker, &stream, sequence, &round.to_string()).await?;
        }
    }
    Ok(())
}

async fn run(options: Options, table: &[(Failing, End)]) -> anyhow::Result<()> {
    let mut stack = Stack::start(options).await?;
    for (index, (failing, _)) in table.iter().enumerate() {
        play(&mut stack, &format!("org{index}"), *failing).await?;
        books::quiet_and_balanced(&stack).await.map_err(|error| error.context(format!("{failing:?}")))?;
    }
    let mut first = Vec::new();
    for round in 0..3 {
        if round > 0 {
            repeat_everything(&stack, round).await?;
            books::quiet_and_balanced(&stack).await.map_err(|error| error.context(format!("repeat {round}")))?;
        }
        for (index, (failing, want)) in table.iter().enumerate() {
            let got = end(&stack, &format!("org{index}")).await?;
            let quota = Decimal::from(want.quota);
            let (status, captured, refunded, ledger, kms, transactions) = got.clone();
            assert_eq!(
                (status.as_str(), captured, refunded, ledger, kms),
                (want.status, want.captured, want.refunded, quota, quota),
                "{failing:?}, repeated {round} times"
            );
            match first.get(index) {
                None => first.push(transactions),
                Some(before) => assert_eq!(transactions, *before, "{failing:?}: booked again by repeat {round}"),
            }
        }
    }
    stack.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_fails_in_turn_on_the_way_forward() -> anyhow::Result<()> {
    run(Options::default().with("STRIPE_TIMEOUT", "1s").with("KMS_TIMEOUT", "1s"), &FORWARD).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_fails_in_turn_when_the_ledger_can_not_book() -> anyhow::Result<()> {
    let options = Options::default().with("CREDIT_DEADLINE", "2s").with("REFUND_RETRY", "300ms");
    run(options.with("STRIPE_TIMEOUT", "1s"), &LEDGER_AWAY).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_fails_in_turn_when_the_quota_can_not_be_raised() -> anyhow::Result<()> {
    let options =
        Options::default().with("SYNC_DEADLINE", "2s").with("KMS_TIMEOUT", "1s").with("SWEEP_INTERVAL", "500ms");
    run(options, &KMS_AWAY).await
}
