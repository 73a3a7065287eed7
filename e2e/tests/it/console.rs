//! The console, as people use it: in a real browser, on a phone, a tablet and a desk.

use std::time::Duration;

use anyhow::{Context, ensure};
use e2e::browser::{Browser, Options as BrowserOptions};
use e2e::{Options, Stack, books, wait};
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
            [("c_organization_id", self.id.as_str()), ("minimum_balance", "100"), ("target_balance", "500")]
        {
            self.browser.fill(&format!("#{field}"), value).await?;
        }
        self.browser.fill("#minimum_recharge_amount", "0.001").await?;
        self.looks_well().await?;
        // The browser says at once what is wrong, and the server says it to whoever asks all the same.
        self.browser.press("Tab").await?;
        self.browser.fill("#minimum_recharge_amount", "0.10").await?;
        self.browser.click_text("Create").await?;
        self.browser.wait_for(".field.is-wrong #minimum_recharge_amount").await?;
        ensure!(self.browser.evaluate("document.querySelector('#target_balance').value").await? == "500", "what was typed is kept");
        self.browser.problems().await?;
        self.browser.fill("#minimum_recharge_amount", "50").await?;
        self.browser.click_text("Create").await?;
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
        self.browser.wait_for_text("4242").await?;
        self.browser.problems().await?;
        let url = self.browser.url().await?;
        ensure!(url.starts_with(&self.stack.client.ingress), "back in the console: {url}");
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
            self.browser.click("button[role=switch]").await?;
            self.browser.wait_for(&format!("button[role=switch][aria-checked={now}]")).await?;
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
        self.browser.wait_for("input[name=key]").await?;
        self.looks_well().await?;
        self.browser.click("main form button.primary").await?;
        self.browser.wait_for("#flight").await.or(self.browser.wait_for("#recharges").await)?;
        self.mark().await
    }

    async fn watch_a_recharge_arrive(&self) -> anyhow::Result<()> {
        self.recharge("25").await?;
        self.browser.wait_for_text("Settled").await?;
        self.browser.wait_for_text("$25.00").await?;
        self.was_not_reloaded().await?;
        self.looks_well().await?;
        // The same by a webhook, while one watches.
        Ok(())
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
            let id: Option<uuid::Uuid> = sqlx::query_scalar(
                "SELECT recharge_id FROM recharge_records WHERE c_organization_id = $1 AND status = 'settled' ORDER BY created_at LIMIT 1",
            )
            .bind(&self.id)
            .fetch_optional(&self.stack.pool)
            .await?;
            id.context("none is settled")
        })
        .await?;
        self.goto(&format!("/console/recharges/{settled}")).await?;
        for step in ["Received", "Charged", "Booked", "In force"] {
            self.browser.wait_for_text(step).await?;
        }
        self.looks_well().await?;
        self.goto(&format!("/console/recharges/{settled}/refund")).await?;
        self.looks_well().await?;
        self.browser.fill("#reason", "bought by mistake <script>alert(1)</script>").await?;
        self.browser.click("main form button.primary").await?;
        self.browser.wait_for_text("Refunded").await?;
        self.browser.wait_for_text("<script>alert(1)</script>").await?;
        self.looks_well().await
    }

    /// The quota that was in force before the refund is put back.
    async fn restore(&self) -> anyhow::Result<()> {
        self.goto(&self.page("/quota")).await?;
        self.looks_well().await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_use_the_console_on_a_phone_a_tablet_and_a_desk() -> anyhow::Result<()> {
    let stack = Stack::start(Options::default().with("API_AUTH", "on").with("MAX_ATTEMPTS", "2")).await?;
    let token = stack.first_token("ann").await?;
    let browser = Browser::start(&Tools::from_env()?, &BrowserOptions::default()).await?;
    for width in [360, 768, 1440] {
        browser.resize(width, 900).await?;
        let walk = Walk { stack: &stack, browser: &browser, token: &token, id: format!("acme-{width}") };
        walk.sign_in(walk.token).await?;
        walk.create().await.context("creating")?;
        walk.add_card().await.context("card")?;
        walk.sync().await.context("sync")?;
        walk.switch().await.context("switch")?;
        walk.watch_a_recharge_arrive().await.context("recharge")?;
        walk.refund().await.context("refund")?;
        walk.restore().await.context("restore")?;
        walk.decline().await.context("decline")?;
        browser.clear_cookies().await?;
    }
    stack.stop().await
}
