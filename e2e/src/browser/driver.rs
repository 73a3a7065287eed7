//! chromedriver: it starts Chromium, and speaks WebDriver (JSON over HTTP) with us and Chromium's own protocol with it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use xtask::folder::PrivateFolder;
use xtask::process::{ManagedChild, Output, Program, Signal};
use xtask::processes;
use xtask::tools::CHROMIUM;

use super::{LIMIT, Options};
use crate::wait;

/// What chromedriver says before the port that it chose.
const STARTED: &str = "was started successfully on port ";
/// Longer than anything that the browser waits for itself.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);
/// How long killed processes may take to be gone.
const GONE_LIMIT: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// What Chromium is started with: no window, nothing that calls home, nothing that moves by itself. Without a sandbox,
/// which it refuses to make for root; it sees our own pages only.
const SWITCHES: [&str; 16] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-breakpad",
    // Containers give little shared memory.
    "--disable-dev-shm-usage",
    // All of it is on this machine: a proxy that the environment names could not reach it.
    "--no-proxy-server",
    // A phone lays them over the page; here they would take 15 pixels of it.
    "--hide-scrollbars",
    "--force-color-profile=srgb",
    "--disable-features=Translate,MediaRouter,OptimizationHints",
];

/// Starts Chromium so that the kernel ends it with chromedriver, which itself ends with us: chromedriver leaves it behind
/// when it is killed. (A signal at the parent's death stays through `exec`.)
const LAUNCHER: &str = r#"#!/bin/sh
if setpriv --pdeathsig=KILL true 2>/dev/null; then
  exec setpriv --pdeathsig=KILL -- "$BILL_CHROMIUM" "$@"
fi
exec "$BILL_CHROMIUM" "$@"
"#;

/// A running chromedriver with its browser. Both end when it is dropped.
pub(super) struct Driver {
    child: ManagedChild,
    http: reqwest::Client,
    /// The address of the session.
    session: String,
    /// Dropped last: the browser writes to it until it ends.
    folder: PrivateFolder,
}

impl Driver {
    pub(super) async fn start(chromedriver: &Path, chromium: &Path, options: &Options) -> anyhow::Result<Self> {
        let folder = PrivateFolder::create("browser", None)?;
        let home = folder.path();
        let launcher = home.join("launch-chromium");
        std::fs::write(&launcher, LAUNCHER)?;
        std::fs::set_permissions(&launcher, Permissions::from_mode(0o700))?;
        let child = Program::new(chromedriver)
            .arg("--port=0")
            .env(CHROMIUM, chromium)
            // Whatever it or the browser keeps for its user goes with the folder.
            .env("HOME", home)
            .env("TMPDIR", home)
            .env("XDG_CONFIG_HOME", home.join("config"))
            .env("XDG_CACHE_HOME", home.join("cache"))
            .env("TZ", &options.time_zone)
            .own_group()
            .output(Output::File(home.join("chromedriver.log")))
            .spawn()?;
        common::clients::install_tls();
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build()?;
        let mut driver = Self { child, http, session: String::new(), folder };
        let port = driver.port().await?;
        driver.session = driver.new_session(port, &launcher, options).await?;
        Ok(driver)
    }

    /// The port that it chose: it says so in its log.
    async fn port(&mut self) -> anyhow::Result<u16> {
        let log = self.child.log().context("chromedriver has no log")?.to_path_buf();
        let child = tokio::sync::Mutex::new(&mut self.child);
        wait::until_within(LIMIT, "chromedriver to start", || async {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            let port = said.split_once(STARTED).and_then(|(_, rest)| rest.split_once('.')).map(|(port, _)| port);
            let mut child = child.lock().await;
            ensure!(child.is_running(), "it ended by itself{}", child.log_tail());
            port.context("it has not said its port")?.parse().context("the port of chromedriver")
        })
        .await
    }

    async fn new_session(&self, port: u16, launcher: &Path, options: &Options) -> anyhow::Result<String> {
        let profile = format!("--user-data-dir={}", self.folder.path().join("profile").display());
        let language = format!("--lang={}", options.language);
        let switches: Vec<&str> = SWITCHES.iter().copied().chain([profile.as_str(), language.as_str()]).collect();
        let chrome = json!({
            "binary": launcher,
            "args": switches,
            "prefs": { "intl.accept_languages": options.language, "credentials_enable_service": false },
        });
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": chrome,
            "goog:loggingPrefs": { "browser": "ALL" },
            "timeouts": { "pageLoad": 60_000, "script": 60_000 },
        });
        let sessions = format!("http://127.0.0.1:{port}/session");
        let body = json!({ "capabilities": { "alwaysMatch": capabilities } });
        let session = answer(self.http.post(&sessions).json(&body)).await.context("starting Chromium")?;
        let id = session["sessionId"].as_str().context("chromedriver gave no session")?;
        Ok(format!("{sessions}/{id}"))
    }

    /// Asks about the session.
    pub(super) async fn get(&self, what: &str) -> anyhow::Result<Value> {
        answer(self.http.get(format!("{}/{what}", self.session))).await
    }

    /// Has the session do something.
    pub(super) async fn post(&self, what: &str, body: &Value) -> anyhow::Result<Value> {
        answer(self.http.post(format!("{}/{what}", self.session)).json(body)).await
    }

    /// Calls Chromium's own protocol (CDP) for the open page.
    pub(super) async fn cdp(&self, command: &str, params: &Value) -> anyhow::Result<Value> {
        let body = json!({ "cmd": command, "params": params });
        self.post("goog/cdp/execute", &body).await.with_context(|| command.to_owned())
    }

    /// Every process of it. Chromium's helpers leave the family, but not the environment.
    fn pids(&self) -> Vec<u32> {
        let mut pids = processes::descendants(self.child.pid());
        pids.extend(processes::belonging_to(self.folder.path()));
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // Nothing useful can be done about a failure here: the run says at its end what was left.
        let mut pids = self.pids();
        let _ = self.child.kill9();
        let started = Instant::now();
        while !pids.is_empty() && started.elapsed() < GONE_LIMIT {
            let _ = Signal::Kill.send(&pids);
            thread::sleep(POLL);
            // One that was just being started may have been missed.
            pids.extend(processes::belonging_to(self.folder.path()));
            pids.retain(|pid| processes::is_running(*pid));
        }
    }
}

/// The value that WebDriver answers with; its error, without the machine's part of the stack.
async fn answer(request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
    let answer = request.send().await.context("asking chromedriver")?;
    let status = answer.status();
    let body: Value = serde_json::from_slice(&answer.bytes().await?).context("reading chromedriver's answer")?;
    let value = body["value"].clone();
    if status.is_success() {
        return Ok(value);
    }
    let (error, message) = (value["error"].as_str().unwrap_or_default(), value["message"].as_str().unwrap_or_default());
    // Below its first lines are the browser's version and addresses of code.
    let told = message.split("\n  (Session info").next().unwrap_or(message).trim();
    // chromedriver often begins the message with the error's name again.
    bail!("{error}: {}", told.strip_prefix(error).map_or(told, |told| told.trim_start_matches([':', ' '])))
}
