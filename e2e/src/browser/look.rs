//! What a page shows, and what is wrong with it.

use std::fmt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use xtask::tools;

use super::Browser;

/// Gathers what axe-core found, and tells of each thing what a person needs to find it.
const RUN_AXE: &str = "axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => violations
    .filter(({ impact }) => impact === 'serious' || impact === 'critical')
    .map(({ id, impact, help, nodes }) => ({ id, impact, help,
        nodes: nodes.map(({ target, html, failureSummary }) =>
            `${target.join(' ')}: ${html.slice(0, 160)} (${failureSummary.replace(/\\s+/g, ' ')})`) })))";

/// What keeps somebody from using a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// axe-core's rule: `button-name`, `color-contrast`.
    pub rule: String,
    /// `serious` or `critical`.
    pub impact: String,
    /// The rule in words.
    pub help: String,
    /// Each element that breaks it: how to find it, how it begins, and what to do.
    pub elements: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}: {}", self.rule, self.impact, self.help, self.elements.join("; "))
    }
}

impl Browser {
    /// The visible text of the first element that the selector finds; waits until there is one.
    ///
    /// # Errors
    /// When there is none.
    pub async fn text(&self, css: &str) -> anyhow::Result<String> {
        self.wait_for(css).await?;
        Ok(self.page("text", &json!([css])).await?.as_str().unwrap_or_default().to_owned())
    }

    /// Whether the selector finds something now, visible or not.
    ///
    /// # Errors
    /// When it is no selector.
    pub async fn exists(&self, css: &str) -> anyhow::Result<bool> {
        let found = self.page("exists", &json!([css])).await.with_context(|| format!("looking for {css:?}"))?;
        Ok(found == true)
    }

    /// The value of a JavaScript expression, or what it promises, as JSON. A Content-Security-Policy does not stop it.
    ///
    /// # Errors
    /// When it throws.
    pub async fn evaluate(&self, expression: &str) -> anyhow::Result<Value> {
        let params =
            json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let outcome = self.driver.cdp("Runtime.evaluate", &params).await?;
        let thrown = &outcome["exceptionDetails"];
        if !thrown.is_null() {
            let told = thrown["exception"]["description"].as_str().or(thrown["text"].as_str()).unwrap_or_default();
            let script: String = expression.chars().take(200).collect();
            bail!("{script}: {told}; {}", self.here().await);
        }
        Ok(outcome["result"]["value"].clone())
    }

    /// Checks that nothing is wider than the viewport, and that the page takes a phone's width at all (`meta viewport`).
    ///
    /// # Errors
    /// What sticks out: the first elements that do, how wide they are, and where they end.
    pub async fn fits(&self) -> anyhow::Result<()> {
        let wrong = self.page("sticksOut", &json!([])).await?;
        let wrong: Vec<&str> = wrong.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        ensure!(wrong.is_empty(), "{}; {}", wrong.join("; "), self.here().await);
        Ok(())
    }

    /// What axe-core finds of impact serious or critical.
    ///
    /// # Errors
    /// When it can't be run.
    pub async fn axe(&self) -> anyhow::Result<Vec<Violation>> {
        if self.evaluate("typeof axe").await? == "undefined" {
            let missing = || format!("{} is not set: run this through `cargo xtask test`", tools::AXE);
            let script = self.axe.as_ref().with_context(missing)?;
            let script = std::fs::read_to_string(script).with_context(|| format!("reading {}", script.display()))?;
            // Its last value is no JSON.
            self.evaluate(&format!("{script}\n;null")).await.context("loading axe-core")?;
        }
        let found = self.evaluate(RUN_AXE).await.context("running axe-core")?;
        found.as_array().context("axe-core gave no list")?.iter().map(violation).collect()
    }

    /// What the browser's console was told as errors since the last call: what the Content-Security-Policy stopped, what did
    /// not load (also a page answered with 404), exceptions, `console.error`.
    ///
    /// # Errors
    /// When the browser does not answer.
    pub async fn problems(&self) -> anyhow::Result<Vec<String>> {
        let log = self.driver.post("se/log", &json!({ "type": "browser" })).await?;
        let errors = log.as_array().into_iter().flatten().filter(|entry| entry["level"] == "SEVERE");
        let told = |entry: &Value| {
            format!(
                "{}: {}",
                entry["source"].as_str().unwrap_or_default(),
                entry["message"].as_str().unwrap_or_default()
            )
        };
        Ok(errors.map(told).collect())
    }

    /// Writes a picture (PNG) of the whole page, at its present width, below the fold too.
    ///
    /// # Errors
    /// When it can't be taken or written.
    pub async fn screenshot(&self, path: &Path) -> anyhow::Result<()> {
        self.evaluate("document.fonts.ready.then(() => null)").await?;
        let metrics = self.driver.cdp("Page.getLayoutMetrics", &json!({})).await?;
        let (width, height) = (&metrics["cssLayoutViewport"]["clientWidth"], &metrics["cssContentSize"]["height"]);
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let params = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.driver.cdp("Page.captureScreenshot", &params).await?;
        let picture = STANDARD.decode(picture["data"].as_str().context("no picture")?).context("the picture")?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        std::fs::write(path, picture).with_context(|| format!("writing {}", path.display()))
    }
}

fn violation(found: &Value) -> anyhow::Result<Violation> {
    let text = |key: &str| found[key].as_str().map(str::to_owned).with_context(|| format!("no {key}: {found}"));
    let elements = found["nodes"].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    Ok(Violation { rule: text("id")?, impact: text("impact")?, help: text("help")?, elements: elements.collect() })
}
