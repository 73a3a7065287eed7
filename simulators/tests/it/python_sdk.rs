//! Stripe's own Python SDK agrees with the simulator.

use std::path::Path;

use simulators::stripe::Stripe;
use tokio::process::Command;

use crate::support::any_port;

#[tokio::test]
async fn stripes_own_sdk() {
    let python = std::env::var("BILL_STRIPE_PYTHON").unwrap_or_else(|_| {
        panic!(
            "run the tests with cargo xtask test, or set BILL_STRIPE_PYTHON to a Python in which \
             simulators/tests/it/requirements.txt is installed"
        )
    });
    let stripe = Stripe::start(any_port()).await.unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/python_sdk.py");
    let output = Command::new(&python).arg(script).arg(stripe.url()).output().await.unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}
