//! Webhooks out: signatures and delivery.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

const TIMEOUT: Duration = Duration::from_secs(10);

/// A pooled HTTP client for webhooks.
pub(crate) fn client() -> anyhow::Result<reqwest::Client> {
    // An error only says that the process has chosen a provider already.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("the process has a TLS provider already");
    }
    Ok(reqwest::Client::builder().timeout(TIMEOUT).build()?)
}

/// Tells a simulator something, and returns its answer.
///
/// # Errors
/// When there is no answer, or it is no success: with what was said.
pub async fn post_json(url: &str, json: &str) -> anyhow::Result<String> {
    let request = client()?.post(url).header("content-type", "application/json").body(json.to_owned());
    let answer = request.send().await?;
    let status = answer.status();
    let said = answer.text().await?;
    anyhow::ensure!(status.is_success(), "{status}: {said}");
    Ok(said)
}

/// HMAC-SHA256.
pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    match Hmac::<Sha256>::new_from_slice(key) {
        Ok(mut mac) => {
            mac.update(message);
            mac.finalize().into_bytes().to_vec()
        }
        // HMAC takes keys of every length.
        Err(_) => Vec::new(),
    }
}

/// The value of `Stripe-Signature`.
pub(crate) fn stripe_signature(secret: &str, timestamp: i64, body: &str) -> String {
    let mac = hmac_sha256(secret.as_bytes(), format!("{timestamp}.{body}").as_bytes());
    format!("t={timestamp},v1={}", hex::encode(mac))
}

/// The value of `x-webhook-signature`.
pub(crate) fn body_signature(secret: &str, body: &str) -> String {
    format!("sha256={}", hex::encode(hmac_sha256(secret.as_bytes(), body.as_bytes())))
}

/// The value of `webhook-signature` (Standard Webhooks). A secret that starts with `whsec_` is base64.
pub(crate) fn standard_signature(secret: &str, id: &str, timestamp: i64, body: &str) -> String {
    let decoded = secret.strip_prefix("whsec_").and_then(|text| STANDARD.decode(text).ok());
    let key = decoded.unwrap_or_else(|| secret.as_bytes().to_vec());
    let mac = hmac_sha256(&key, format!("{id}.{timestamp}.{body}").as_bytes());
    format!("v1,{}", STANDARD.encode(mac))
}

/// Sends `body` to `url` until the receiver answers anything below 500, `attempts` times at most.
/// Tells what happened.
pub(crate) async fn post_until_answered(
    client: &reqwest::Client,
    url: &str,
    headers: &[(&'static str, String)],
    body: &str,
    attempts: u32,
) -> Value {
    let mut report = json!({ "sent": false, "error": "not tried" });
    for attempt in 1..=attempts {
        let outcome = post(client, url, headers, body).await;
        let (retry, value) = match outcome {
            Ok((status, text)) => {
                let parsed = serde_json::from_str(&text).unwrap_or(Value::String(text));
                let value = json!({ "sent": true, "status": status, "body": parsed, "attempts": attempt });
                (status >= 500, value)
            }
            Err(error) => (true, json!({ "sent": false, "error": error, "attempts": attempt })),
        };
        report = value;
        if !retry {
            break;
        }
        if attempt < attempts {
            tokio::time::sleep(Duration::from_millis(100 * u64::from(attempt))).await;
        }
    }
    report
}

/// One POST of JSON: status and body, or the reason for there being none.
pub(crate) async fn post(
    client: &reqwest::Client,
    url: &str,
    headers: &[(&'static str, String)],
    body: &str,
) -> Result<(u16, String), String> {
    let mut request = client.post(url).header("content-type", "application/json").body(body.to_owned());
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let response = request.send().await.map_err(|error| describe(&error))?;
    let status = response.status().as_u16();
    let text = response.text().await.map_err(|error| describe(&error))?;
    Ok((status, text))
}

fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
