//! A real Chromium without a window, used as a person would use it.
//!
//! To start one takes one to two seconds, as long as dozens of steps: one browser serves a whole walk, at every width and
//! in both colour schemes, and [`Browser::clear_cookies`] makes it a stranger again. It keeps nothing: profile, cache and
//! downloads are in a private folder that goes when it is dropped, with every process of it, also when a test panics.
//!
//! Pages hold still: animations are off (`prefers-reduced-motion`), and the viewer's zone and language are those asked for.
//! What a method needs and does not find it waits for, up to [`LIMIT`]; its error then tells which page it was on, what it
//! looked for and what was there.

mod driver;
mod look;
mod walk;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};
use xtask::tools::Tools;

use driver::Driver;
pub use look::Violation;

/// The longest that a step waits for what it needs.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Whose browser it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// What the browser asks pages for (`Accept-Language`): `en`, `zh-CN`.
    pub language: String,
    /// The viewer's zone, an IANA name: `Asia/Shanghai`.
    pub time_zone: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { language: "en".to_owned(), time_zone: "UTC".to_owned() }
    }
}

impl Options {
    /// An English reader's otherwise, with this language.
    #[must_use]
    pub fn in_language(language: &str) -> Self {
        Self { language: language.to_owned(), ..Self::default() }
    }
}

/// A cookie as the browser keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// The path that it is sent to, and what is below.
    pub path: String,
    /// Whether scripts cannot read it.
    pub http_only: bool,
    /// Whether it is sent over TLS alone (and to loopback).
    pub secure: bool,
    /// `Strict`, `Lax` or `None`.
    pub same_site: String,
    /// When it ends, in seconds since 1970; `None` when it ends with the browser.
    pub expires: Option<i64>,
}

/// A running browser, with one page open. It ends when dropped.
pub struct Browser {
    driver: Driver,
    axe: Option<PathBuf>,
}

impl Browser {
    /// Starts one, 1440 × 900, light, on an empty page.
    ///
    /// # Errors
    /// When Chromium and chromedriver are not there, or do not start.
    pub async fn start(tools: &Tools, options: &Options) -> anyhow::Result<Self> {
        let missing = "is not set: run this through `cargo xtask test`";
        let chromium = tools.chromium.as_ref().with_context(|| format!("{} {missing}", xtask::tools::CHROMIUM))?;
        let driver =
            tools.chromedriver.as_ref().with_context(|| format!("{} {missing}", xtask::tools::CHROMEDRIVER))?;
        let driver = Driver::start(driver, chromium, options).await?;
        let browser = Self { driver, axe: tools.axe.clone() };
        browser.resize(1440, 900).await?;
        browser.dark(false).await?;
        // A page that nobody looks at gets no focus, and its caret does not blink.
        browser.driver.cdp("Emulation.setFocusEmulationEnabled", &json!({ "enabled": true })).await?;
        Ok(browser)
    }

    /// Gives the page exactly this room, in CSS pixels.
    ///
    /// # Errors
    /// When the browser says so.
    pub async fn resize(&self, width: u32, height: u32) -> anyhow::Result<()> {
        let room = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.driver.cdp("Emulation.setDeviceMetricsOverride", &room).await.map(drop)
    }

    /// Whether the viewer prefers dark pages. Movement is never preferred.
    ///
    /// # Errors
    /// When the browser says so.
    pub async fn dark(&self, dark: bool) -> anyhow::Result<()> {
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]);
        self.driver.cdp("Emulation.setEmulatedMedia", &json!({ "features": features })).await.map(drop)
    }

    /// Whether the pages loaded from now on may run their scripts. Without, all that is here works but [`Browser::axe`].
    ///
    /// # Errors
    /// When the browser says so.
    pub async fn scripts(&self, on: bool) -> anyhow::Result<()> {
        self.driver.cdp("Emulation.setScriptExecutionDisabled", &json!({ "value": !on })).await.map(drop)
    }

    /// The cookies that the browser would send to this page.
    ///
    /// # Errors
    /// When the browser says so, or tells of a cookie what cannot be read.
    pub async fn cookies(&self) -> anyhow::Result<Vec<Cookie>> {
        let cookies = self.driver.get("cookie").await?;
        cookies.as_array().context("no list of cookies")?.iter().map(cookie).collect()
    }

    /// Forgets every cookie of every page.
    ///
    /// # Errors
    /// When the browser says so.
    pub async fn clear_cookies(&self) -> anyhow::Result<()> {
        self.driver.cdp("Network.clearBrowserCookies", &json!({})).await.map(drop)
    }
}

fn cookie(cookie: &Value) -> anyhow::Result<Cookie> {
    let text = |key: &str| cookie[key].as_str().map(str::to_owned).with_context(|| format!("no {key}: {cookie}"));
    let is = |key: &str| cookie[key].as_bool().with_context(|| format!("no {key}: {cookie}"));
    Ok(Cookie {
        name: text("name")?,
        value: text("value")?,
        path: text("path")?,
        http_only: is("httpOnly")?,
        secure: is("secure")?,
        same_site: text("sameSite")?,
        expires: cookie["expiry"].as_i64(),
    })
}
