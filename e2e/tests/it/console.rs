//! The console, as people use it: in a real browser, on a phone, a tablet and a desk.

use anyhow::{Context, ensure};
use e2e::browser::{Browser, Options as BrowserOptions};
use e2e::{Options, Stack, wait};
use serde_json::{Value, json};
use xtask::tools::Tools;

/// What somebody does at one width, with an organization of his own.
struct Walk<'a> {
    stack: &'a Stack,
    browser: &'a Browser,
    /// The operator's token.
    token: &'a str,
    id: String,
}

impl Walk<'_> {
    async fn goto(&self, path: &str) -> anyhow::Result<()> {
        self.browser.goto(&format!("{}{path}", self.stack.client.ingress)).await
    }

    fn page(&self, path: &str) -> String {
        format!("/console/organizations/{}{path}", self.id)
    }

    /// The page is no wider than the screen, and the browser has nothing to complain about.
    async fn looks_well(&self) -> anyhow::Result<()> {
        self.browser.fits().await?;
        let problems = self.browser.problems().await?;
        ensure!(problems.is_empty(), "{}: {problems:?}", self.browser.url().await?);
        Ok(())
    }

    /// What the page says is about itself, and not about one that was loaded since.
    async fn mark(&self) -> anyhow::Result<()> {
        self.browser.evaluate("window.sameDocument = true").await.map(drop)
    }

    async fn was_not_reloaded(&self) -> anyhow::Result<()> {
        let same = self.browser.evaluate("window.sameDocument === true").await?;
        ensure!(same == true, "the page was loaded again");
        Ok(())
    }

    async fn sign_in(&self, token: &str) -> anyhow::Result<()> {
        self.goto("/console").await?;
        self.browser.fill("API token", token).await?;
        self.looks_well().await?;
        self.browser.click_text("Sign in").await?;
        self.browser.wait_for("header.top nav").await
    }

    /// Creates the organization, and sees it empty.
    async fn create(&self) -> anyhow::Result<()> {
        self.goto("/console/organizations/new").await?;
        for (field, value) in
            [("c_organization_id", self.id.as_str()), ("minimum_balance", "1"), ("target_balance", "500")]
        {
            self.browser.fill(&format!("#{field}"), value).await?;
        }
        // Off for now: nothing shall be recharged but what is asked for.
        self.browser.click("input[name=auto_recharge_enabled]").await?;
        self.browser.fill("#minimum_recharge_amount", "0.001").await?;
        self.looks_well().await?;
        // The browser says at once what is wrong, and the server says it to whoever asks all the same.
        self.browser.press("Tab").await?;
        self.browser.fill("#minimum_recharge_amount", "0.10").await?;
        self.browser.click_text("Create organization").await?;
        self.browser.wait_for(".field.is-wrong #minimum_recharge_amount").await?;
        ensure!(
            self.browser.evaluate("document.querySelector('#target_balance').value").await? == "500",
            "what was typed is kept"
        );
        self.browser.problems().await?;
        self.browser.fill("#minimum_recharge_amount", "50").await?;
        self.browser.click_text("Create organization").await?;
        self.browser.wait_for_text("The organization was created.").await?;
        self.browser.wait_for_text("There is no card yet").await?;
        self.looks_well().await
    }

    /// A card, at Stripe's own page; it appears without a reload.
    async fn add_card(&self) -> anyhow::Result<()> {
        self.goto(&self.page("/card")).await?;
        self.looks_well().await?;
        self.browser.click("main form button.primary").await?;
        self.browser.click("input[name=card][value='4242424242424242']").await?;
        self.browser.click_text("Save card").await?;
        self.browser.wait_until("location.pathname.startsWith('/console/')").await?;
        self.browser.wait_for_text("Visa •••• 4242").await?;
        self.browser.problems().await?;
        self.looks_well().await
    }

    async fn sync(&self) -> anyhow::Result<()> {
        self.goto(&self.page("")).await?;
        self.browser.click_text("Sync now").await?;
        self.browser.wait_for_text("In agreement").await?;
        self.looks_well().await
    }

    async fn switch(&self) -> anyhow::Result<()> {
        self.goto(&self.page("")).await?;
        for (now, notice) in [("true", "Auto-recharge is on."), ("false", "Auto-recharge is off.")] {
            let shown = format!("button[role=switch][aria-checked={now}]");
            self.browser.click("button[role=switch]").await?;
            // What came in meanwhile may move the page under the pointer: a person looks, and presses again.
            if self.browser.wait_for(&shown).await.is_err() {
                self.browser.click("button[role=switch]").await?;
                self.browser.wait_for(&shown).await?;
            }
            self.browser.wait_for_text(notice).await?;
        }
        self.looks_well().await
    }

    /// By hand: what it costs is said before, and what becomes of it is seen without a reload.
    async fn recharge(&self, amount: &str) -> anyhow::Result<()> {
        self.goto(&self.page("/recharge")).await?;
        self.browser.fill("#amount", amount).await?;
        self.looks_well().await?;
        self.browser.click_text("Continue").await?;
        self.browser.wait_for_text("Total to be charged").await?;
        self.looks_well().await?;
        self.browser.click("main form button.primary").await?;
        self.browser.wait_for("#recharges").await?;
        self.mark().await
    }

    async fn watch_a_recharge_arrive(&self) -> anyhow::Result<()> {
        self.recharge("25").await?;
        self.browser.wait_for_text("$25.00 was added").await?;
        self.browser.wait_for("#recharges .badge.is-good").await?;
        self.was_not_reloaded().await?;
        self.looks_well().await
    }

    /// A card that is refused: the banner says so, why, and what to do, without a reload.
    async fn decline(&self) -> anyhow::Result<()> {
        self.goto(&self.page("/card")).await?;
        self.browser.click("#by-id summary").await?;
        self.browser.fill("#payment_method_id", "pm_card_chargeCustomerFail").await?;
        self.browser.click("#by-id form button").await?;
        self.browser.wait_for_text("0341").await?;
        self.recharge("30").await?;
        self.browser.wait_for_text("The last charge did not go through").await?;
        self.was_not_reloaded().await?;
        self.looks_well().await
    }

    /// The recharge that settled is given back; its chain grows while one watches.
    async fn refund(&self) -> anyhow::Result<()> {
        let settled = wait::until("the settled recharge", || async {
            let id: Option<String> = sqlx::query_scalar(
                "SELECT recharge_id::text FROM recharge_records WHERE c_organization_id = $1 AND status = 'settled' ORDER BY created_at LIMIT 1",
            )
            .bind(&self.id)
            .fetch_optional(&self.stack.pool)
            .await?;
            id.context("none is settled")
        })
        .await?;
        self.goto(&format!("/console/recharges/{settled}")).await?;
        for step in ["Asked for by", "Charged", "Booked", "In force"] {
            self.browser.wait_for_text(step).await?;
        }
        self.looks_well().await?;
        self.goto(&format!("/console/recharges/{settled}/refund")).await?;
        self.looks_well().await?;
        self.browser.fill("#reason", "bought by mistake <script>alert(1)</script>").await?;
        self.browser.click_text("Continue").await?;
        self.browser.wait_for("button[value=confirm]").await?;
        self.looks_well().await?;
        self.browser.click("button[value=confirm]").await?;
        self.browser.wait_for_text("Refund arrived at Stripe").await?;
        self.browser.wait_for_text("<script>alert(1)</script>").await?;
        self.looks_well().await
    }

    /// What was in force before the refund is put back.
    async fn restore(&self) -> anyhow::Result<()> {
        self.goto(&self.page("/quota")).await?;
        self.looks_well().await?;
        // The newest entry is the refund's; the one before it has the quota that was bought.
        self.browser.click("tbody tr:nth-child(2) td.actions a").await?;
        self.browser.fill("#reason", "the refund was a mistake").await?;
        self.looks_well().await?;
        self.browser.click("main form button.primary").await?;
        self.browser.wait_for_text("the refund was a mistake").await?;
        self.looks_well().await
    }

    /// A message that the ledger gave up: it is there without a reload, is brought back, and its recharge goes on.
    async fn redrive(&self) -> anyhow::Result<()> {
        let sql = |sql: &'static str| sqlx::raw_sql(sql).execute(&self.stack.pool);
        self.goto("/console/dead-letters").await?;
        self.mark().await?;
        let watching = self.browser.url().await?;
        sql("ALTER TABLE ledger_transactions RENAME TO ledger_transactions_gone").await?;
        let asked = self
            .stack
            .client
            .http
            .post(format!("{}/api/organizations/{}/recharge", self.stack.client.ingress, self.id));
        let asked = asked.bearer_auth(self.token).header("prefer", "respond-async").json(&json!({ "amount": 40 }));
        ensure!(asked.send().await?.status() == 202);
        wait::until("the dead letter", || async {
            let letters = self.stack.dead_letters().await?;
            ensure!(letters == 1, "{letters} dead letters");
            Ok(())
        })
        .await?;
        sql("ALTER TABLE ledger_transactions_gone RENAME TO ledger_transactions").await?;
        ensure!(self.browser.url().await? == watching);
        self.browser.reload().await?;
        self.looks_well().await?;
        self.browser.click("tbody th a").await?;
        self.browser.wait_for_text("ledger").await?;
        self.looks_well().await?;
        self.browser.click_text("Bring it back").await?;
        self.browser.wait_for_text("It was brought back to the service that had given up.").await?;
        self.goto(&self.page("")).await?;
        self.browser.wait_for_text("$40.00").await?;
        self.browser
            .wait_until("document.querySelector('#recharges tbody .badge')?.classList.contains('is-good')")
            .await
    }

    /// Texts from outside, of every kind that breaks pages: shown as texts wherever they get to.
    async fn hostile(&self) -> anyhow::Result<()> {
        let hostile =
            format!("<script>window.broken = true</script>\"'>&\u{202e}\u{627}\u{644}\u{639}{}", "x".repeat(10_000));
        let team: Option<String> =
            sqlx::query_scalar("SELECT litellm_team_id FROM organization_balance_config WHERE c_organization_id = $1")
                .bind(&self.id)
                .fetch_one(&self.stack.pool)
                .await?;
        let body = json!({ "event_type": "limit_exceeded", "team_id": team, "current_usage": 1, "current_limit": 500,
            "exceeded_by": 0, "timestamp": "2025-07-17T10:00:00Z", "note": hostile, &hostile[..60]: [hostile] });
        let (status, answer) =
            self.stack.client.webhook(&self.stack.client.ingress, body.to_string().into_bytes()).await?;
        ensure!(status.is_success(), "{status} {answer}");
        self.goto("/console/tokens").await?;
        self.browser.fill("#name", &hostile[..70]).await?;
        self.browser.click_text("Make token").await?;
        self.browser.wait_for(".copy code").await?;
        self.browser.fits().await?;
        // Fields that take only so much, or only some characters, say so, and keep what was typed.
        self.goto(&self.page("/recharge")).await?;
        self.browser.evaluate("document.querySelector('main form').noValidate = true").await?;
        self.browser.evaluate(&format!("document.querySelector('#amount').value = {}", json!(hostile))).await?;
        self.browser.evaluate("HTMLFormElement.prototype.submit.call(document.querySelector('main form'))").await?;
        self.browser.wait_for(".field.is-wrong #amount").await?;
        self.browser.fits().await?;
        ensure!(
            self.browser.evaluate(&format!("document.querySelector('#amount').value === {}", json!(hostile))).await?
                == true
        );
        ensure!(self.browser.evaluate("window.broken === undefined").await? == true, "a script was run");
        self.browser.problems().await.map(drop)
    }

    /// Every page, light and dark, narrow and wide: it fits, and a checker of accessibility finds nothing serious.
    async fn every_page(&self) -> anyhow::Result<()> {
        let one = async |sql: &'static str| {
            let one: String = sqlx::query_scalar(sql).bind(&self.id).fetch_one(&self.stack.pool).await?;
            anyhow::Ok(one)
        };
        let recharge = one("SELECT recharge_id::text FROM recharge_records WHERE c_organization_id = $1 AND status = 'settled' LIMIT 1").await?;
        let refunded = one("SELECT recharge_id::text FROM recharge_records WHERE c_organization_id = $1 AND status = 'refunded' LIMIT 1").await?;
        let sync = one("SELECT min(id)::text FROM quota_syncs WHERE c_organization_id = $1").await?;
        let asked = self.stack.client.http.post(format!("{}/api/reconciliations", self.stack.client.ingress));
        let run: Value = asked.bearer_auth(self.token).json(&json!({})).send().await?.json().await?;
        let run = run["run_id"].as_str().with_context(|| format!("no run: {run}"))?;
        self.goto("/console/tokens").await?;
        let revoke = self.browser.evaluate("new URL(document.querySelector('td.actions a').href).pathname").await?;
        let own =
            ["", "/recharges", "/events", "/quota", "/audit", "/policy", "/recharge", "/card", "/what-if", "/close"];
        let mut paths: Vec<String> = own.map(|path| self.page(path)).to_vec();
        paths.extend([
            format!("/console/recharges/{recharge}"),
            format!("/console/recharges/{recharge}/refund"),
            format!("/console/recharges/{refunded}"),
            self.page(&format!("/quota/restore?quota_sync_id={sync}")),
            format!("/console/reconciliations/{run}"),
            revoke.as_str().unwrap_or_default().to_owned(),
        ]);
        let fleet = [
            "organizations",
            "organizations/new",
            "pipeline",
            "dead-letters",
            "reconciliations",
            "tokens",
            "audit",
            "nothing",
        ];
        paths.extend(fleet.map(|path| format!("/console/{path}")));
        let mut wrong = Vec::new();
        for (width, dark) in [(1440, false), (360, true)] {
            self.browser.resize(width, 900).await?;
            self.browser.dark(dark).await?;
            for path in &paths {
                self.goto(path).await?;
                if let Err(error) = self.browser.fits().await {
                    wrong.push(format!("{path} at {width}: {error}"));
                }
                wrong.extend(
                    self.browser.axe().await?.iter().map(|violation| format!("{path} at {width}: {violation}")),
                );
            }
        }
        self.browser.dark(false).await?;
        self.browser.problems().await?;
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    }

    /// Somebody who may see one organization, and what he sees of another.
    async fn limited(&self, other: &str) -> anyhow::Result<()> {
        self.goto("/console/tokens").await?;
        self.browser.fill("#name", "bob").await?;
        self.browser.select("#role", "org_admin").await?;
        self.browser.fill("#c_organization_id", &self.id).await?;
        self.looks_well().await?;
        self.browser.click_text("Make token").await?;
        let token = self.browser.text(".copy code").await?;
        self.looks_well().await?;
        self.browser.click_text("Sign out").await?;
        self.browser.wait_for_text("You are signed out.").await?;
        self.sign_in(&token).await?;
        ensure!(self.browser.url().await?.ends_with(&self.page("")), "his own page");
        self.looks_well().await?;
        for path in ["", "/recharges", "/policy", "/recharge", "/card", "/quota", "/events", "/what-if", "/audit"] {
            self.goto(&format!("/console/organizations/{other}{path}")).await?;
            let text = self.browser.text("main").await?;
            ensure!(text.contains("404") && !text.contains(other), "{path}: {text}");
            self.browser.fits().await?;
        }
        self.browser.problems().await?;
        self.browser.click_text("Sign out").await?;
        self.browser.wait_for_text("You are signed out.").await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_use_the_console_on_a_phone_a_tablet_and_a_desk() -> anyhow::Result<()> {
    let stack =
        Stack::start(Options::default().with("API_AUTH", "on").with("MAX_ATTEMPTS", "2").with("SWEEP_INTERVAL", "1h"))
            .await?;
    let token = stack.first_token("ann").await?;
    let other = json!({ "c_organization_id": "other", "minimum_balance": 1, "target_balance": 2 });
    let organizations = stack.client.http.post(format!("{}/api/organizations", stack.client.ingress));
    ensure!(organizations.bearer_auth(&token).json(&other).send().await?.status() == 201);
    let browser = Browser::start(&Tools::from_env()?, &BrowserOptions::default()).await?;
    for width in [360, 768, 1440] {
        browser.resize(width, 900).await?;
        let walk = Walk { stack: &stack, browser: &browser, token: &token, id: format!("acme-{width}") };
        walk.sign_in(walk.token).await?;
        walk.create().await.context("creating")?;
        walk.add_card().await.context("card")?;
        walk.sync().await.context("sync")?;
        walk.watch_a_recharge_arrive().await.context("recharge")?;
        walk.switch().await.context("switch")?;
        walk.refund().await.context("refund")?;
        walk.restore().await.context("restore")?;
        walk.redrive().await.context("redrive")?;
        walk.decline().await.context("decline")?;
        if width == 1440 {
            walk.hostile().await.context("hostile")?;
            walk.every_page().await.context("every page")?;
            browser.resize(width, 900).await?;
        }
        walk.limited("other").await.context("limited")?;
    }
    stack.stop().await
}
