//! What a person does with a page.

use std::future::Future;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{Browser, LIMIT};
use crate::wait;

/// What finds things in a page.
const PAGE: &str = include_str!("page.js");
/// What WebDriver calls the id of an element by.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// How much of a page goes into an error.
const EXCERPT: usize = 600;

impl Browser {
    /// Opens an address, and waits until all of the page is loaded.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn goto(&self, url: &str) -> anyhow::Result<()> {
        self.driver.post("url", &json!({ "url": url })).await.with_context(|| format!("opening {url}"))?;
        self.is_no_error_page().await.with_context(|| format!("opening {url}"))
    }

    /// Loads the page again.
    ///
    /// # Errors
    /// When nobody answers there.
    pub async fn reload(&self) -> anyhow::Result<()> {
        self.driver.post("refresh", &json!({})).await.context("loading the page again")?;
        self.is_no_error_page().await.context("loading the page again")
    }

    /// chromedriver does not tell of every reason for which Chromium shows a page of its own instead.
    async fn is_no_error_page(&self) -> anyhow::Result<()> {
        let own = self.evaluate("location.protocol === 'chrome-error:'").await?;
        ensure!(own != true, "Chromium shows an error page of its own");
        Ok(())
    }

    /// The address of the page.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn url(&self) -> anyhow::Result<String> {
        Ok(self.driver.get("url").await?.as_str().unwrap_or_default().to_owned())
    }

    /// The title of the page.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn title(&self) -> anyhow::Result<String> {
        Ok(self.driver.get("title").await?.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks the first visible element that the selector finds, when it is enabled and nothing covers it.
    ///
    /// # Errors
    /// When there is none.
    pub async fn click(&self, css: &str) -> anyhow::Result<()> {
        self.click_what(&format!("{css:?} to be clicked"), "found", css).await
    }

    /// Clicks the button, link, tab, switch or summary with exactly this visible text (or name for screen readers); when
    /// none has it, the label. While a modal dialog is open, only what is inside it counts.
    ///
    /// # Errors
    /// When there is none, or more than one; it says which there are.
    pub async fn click_text(&self, text: &str) -> anyhow::Result<()> {
        self.click_what(&format!("what is named {text:?} to be clicked"), "called", text).await
    }

    async fn click_what(&self, what: &str, finder: &str, argument: &str) -> anyhow::Result<()> {
        self.until(what, || async {
            let element = self.page(finder, &json!([argument])).await?;
            let id = element[ELEMENT].as_str().context("the page gave no element")?;
            self.driver.post(&format!("element/{id}/click"), &json!({})).await.map(drop)
        })
        .await
    }

    /// Fills the field of this label (or name for screen readers, or selector) as if typed in place of what it held. Dates,
    /// times and colours take the value that a form sends: `2026-11-23`.
    ///
    /// # Errors
    /// When there is no such field, or it can't be changed; it says which there are.
    pub async fn fill(&self, field: &str, value: &str) -> anyhow::Result<()> {
        self.until(&format!("{field:?} to be filled"), || async {
            let typed = self.page("fill", &json!([field, value])).await?;
            if typed == "typed" && !value.is_empty() {
                self.driver.cdp("Input.insertText", &json!({ "text": value })).await?;
            }
            Ok(())
        })
        .await
    }

    /// Chooses the option of this text or value in the list of this label, name or selector.
    ///
    /// # Errors
    /// When there is no such list or option; it says which there are.
    pub async fn select(&self, field: &str, option: &str) -> anyhow::Result<()> {
        let what = format!("{option:?} to be chosen in {field:?}");
        self.until(&what, || async { self.page("select", &json!([field, option])).await.map(drop) }).await
    }

    /// Presses one key where the focus is: a character, or `Tab`, `Enter`, `Escape`, `Space`, `Up`, `Down`, `Left`, `Right`.
    ///
    /// # Errors
    /// When there is no such key.
    pub async fn press(&self, key: &str) -> anyhow::Result<()> {
        // WebDriver's characters for keys that have none.
        let typed = match key {
            "Tab" => "\u{e004}",
            "Enter" => "\u{e007}",
            "Escape" => "\u{e00c}",
            "Space" => " ",
            "Left" => "\u{e012}",
            "Up" => "\u{e013}",
            "Right" => "\u{e014}",
            "Down" => "\u{e015}",
            other => other,
        };
        ensure!(typed.chars().count() == 1, "no key {key:?}");
        let strokes = json!([{ "type": "keyDown", "value": typed }, { "type": "keyUp", "value": typed }]);
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.driver.post("actions", &actions).await.map(drop).with_context(|| format!("pressing {key}"))
    }

    /// Waits until the selector finds something visible.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn wait_for(&self, css: &str) -> anyhow::Result<()> {
        self.until(&format!("{css:?}"), || async { self.page("found", &json!([css])).await.map(drop) }).await
    }

    /// Waits until the page shows this text, whatever the spaces and line breaks in it.
    ///
    /// # Errors
    /// When it does not come to that.
    pub async fn wait_for_text(&self, text: &str) -> anyhow::Result<()> {
        self.until(&format!("the text {text:?}"), || async {
            let shown = self.page("shows", &json!([text])).await?;
            ensure!(shown == true, "the page does not show it");
            Ok(())
        })
        .await
    }

    /// Waits until a JavaScript expression is true, such as `!document.querySelector('[aria-busy=true]')`.
    ///
    /// # Errors
    /// When it does not come to that, or throws.
    pub async fn wait_until(&self, expression: &str) -> anyhow::Result<()> {
        self.until(&format!("{expression} to be true"), || async {
            let value = self.evaluate(&format!("Boolean({expression})")).await?;
            ensure!(value == true, "it is not so");
            Ok(())
        })
        .await
    }

    /// Calls one of the functions of `page.js`.
    pub(super) async fn page(&self, function: &str, arguments: &Value) -> anyhow::Result<Value> {
        let script = format!("{PAGE}\nreturn {function}(...arguments);");
        self.driver.post("execute/sync", &json!({ "script": script, "args": arguments })).await
    }

    /// Tries until it works; what stood in the page when it did not goes into the error.
    async fn until<T, F: Future<Output = anyhow::Result<T>>>(
        &self,
        what: &str,
        ask: impl FnMut() -> F,
    ) -> anyhow::Result<T> {
        match wait::until_within(LIMIT, what, ask).await {
            Err(error) => Err(error.context(self.here().await)),
            done => done,
        }
    }

    /// Which page this is, and how it begins.
    pub(super) async fn here(&self) -> String {
        let url = self.url().await.unwrap_or_default();
        let title = self.title().await.unwrap_or_default();
        let shown = self.page("shown", &json!([])).await.unwrap_or_default();
        let shown: String = shown.as_str().unwrap_or_default().chars().take(EXCERPT).collect();
        format!("on {url} ({title}), which shows: {shown}")
    }
}
