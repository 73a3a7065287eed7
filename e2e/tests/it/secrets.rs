//! A whole run with tokens, cards, links and wrong guesses, logged as loudly as an operator may ask for it: no log has a
//! secret in it.

use anyhow::{Context, ensure};
use e2e::client::limit_exceeded;
use e2e::secrets::leaks;
use e2e::stack::{ALERT_TOKEN, SERVICES};
use e2e::{Options, Stack, wait};
use reqwest::Method;
use serde_json::{Value, json};

async fn call(stack: &Stack, token: &str, method: Method, path: &str, body: Value) -> anyhow::Result<(u16, Value)> {
    let url = format!("{}/api/{path}", stack.client.ingress);
    let answer = stack.client.http.request(method, url).bearer_auth(token).json(&body).send().await?;
    Ok((answer.status().as_u16(), answer.json().await?))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_log_has_a_secret_in_it() -> anyhow::Result<()> {
    let options = Options::default().with("API_AUTH", "on").with("RUST_LOG", "debug");
    let stack = Stack::start(options).await?;
    let ann = stack.first_token("ann").await?;
    let post = async |path: &str, body: Value| {
        let (status, answer) = call(&stack, &ann, Method::POST, path, body).await?;
        ensure!(status < 300, "{path}: {status} {answer}");
        Ok(answer)
    };
    let viewer = post("tokens", json!({ "name": "screen", "role": "viewer" })).await?;
    let viewer = viewer["token"].as_str().context("token")?.to_owned();
    for (organization, card) in [("acme", "pm_card_visa"), ("bank", "pm_card_authenticationRequired")] {
        let policy = json!({ "c_organization_id": organization, "minimum_recharge_amount": 100 });
        post("organizations", policy).await?;
        let intent = post(&format!("organizations/{organization}/setup-intent"), json!({})).await?;
        ensure!(intent["client_secret"].as_str().is_some_and(|secret| secret.contains("_secret_")), "{intent}");
        post(&format!("organizations/{organization}/payment-method"), json!({ "payment_method_id": card })).await?;
        wait::until("the sync", || async {
            let synced = post(&format!("organizations/{organization}/sync"), json!({})).await?;
            ensure!(synced["success"] == true, "{synced}");
            Ok(())
        })
        .await?;
        let team =
            call(&stack, &viewer, Method::GET, &format!("organizations/{organization}/config"), json!({})).await?;
        let team = team.1["litellm_team_id"].as_str().context("team")?.to_owned();
        let (status, answer) =
            stack.client.webhook(&stack.client.ingress, limit_exceeded(&team, "520", "500", 0)).await?;
        ensure!(status.is_success(), "{answer}");
        let link = answer["confirmation_url"].as_str();
        ensure!(link.is_some() == (organization == "bank"), "{answer}");
        if let Some((_, token)) = link.and_then(|link| link.split_once("/pay/")) {
            let page = stack.client.http.get(format!("{}/pay/{token}", stack.client.ingress)).send().await?;
            ensure!(page.status() == 200, "{page:?}");
        }
    }
    // What goes wrong is logged, too.
    for guess in ["bill_guess", "hunter2-hunter2-hunter2"] {
        ensure!(call(&stack, guess, Method::GET, "organizations", json!({})).await?.0 == 401);
    }
    ensure!(stack.client.webhook(&stack.client.ingress, b"{}".to_vec()).await?.0 == 400);
    for token in [ALERT_TOKEN, "hunter2-hunter2-hunter2"] {
        let url = format!("{}/webhooks/litellm/alerts/{token}", stack.client.ingress);
        stack.client.http.post(url).json(&json!({ "event_group": "team" })).send().await?;
    }
    ensure!(call(&stack, &viewer, Method::POST, "organizations", json!({})).await?.0 == 403);

    let passwords =
        SERVICES.map(|service| [stack.nats.url_of(service), stack.database.url_of(service).unwrap_or_default()]);
    let passwords: Vec<&str> =
        passwords.iter().flatten().filter_map(|url| url.split('@').next()?.rsplit(':').next()).collect();
    ensure!(
        passwords.len() == 2 * SERVICES.len() && passwords.iter().all(|password| password.len() > 8),
        "no passwords"
    );
    let secrets: Vec<&str> = passwords.into_iter().chain([ann.as_str(), viewer.as_str(), "hunter2"]).collect();
    let mut lines = 0;
    for service in &stack.services {
        let log = service.log();
        lines += log.lines().count();
        let leaks = leaks(&log, &secrets);
        assert!(leaks.is_empty(), "{} logged secrets:\n{}", service.label, leaks.join("\n"));
    }
    assert!(lines > 200, "only {lines} lines were logged");
    stack.stop().await
}
