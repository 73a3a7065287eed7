//! The browser of these tests sees what is wrong with a page, and can do what a person can.

use std::net::SocketAddr;

use anyhow::ensure;
use e2e::browser::{Browser, Options};
use serde_json::json;
use tokio::net::TcpListener;
use warp::Filter;
use warp::http::header::CONTENT_TYPE;
use warp::http::{Response, StatusCode};
use xtask::folder::PrivateFolder;
use xtask::processes;
use xtask::tools::Tools;

/// As strict as it can be: the harness's own scripts run all the same.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

const BROKEN: &str = r#"<!doctype html><html lang="en"><head><title>Broken</title><link rel="icon" href="data:,">
    <meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/style.css"></head>
    <body><main><h1>Broken</h1><button class="nameless"></button><p class="wide">Much too wide</p>
    <div class="scrolls"><p class="wide">Wide, but in a box that scrolls</p></div>
    <script>document.title = 'stopped by the policy'</script></main></body></html>"#;

const MENDED: &str = r#"<!doctype html><html lang="en"><head><title>Mended</title><link rel="icon" href="data:,">
    <meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/style.css">
    <script src="/page.js" type="module"></script></head>
    <body><main><h1>Mended</h1><form action="/sent">
    <label for="note">Note: <span aria-hidden="true">✎</span></label><input id="note" name="note" value="before">
    <label>Day <input type="date" name="day"></label>
    <label>Currency <select name="currency"><option value="usd">US dollar</option><option value="jpy">Yen</option></select></label>
    <button class="save"><span aria-hidden="true">⟳</span> Save</button></form>
    <button type="button" id="later">Later</button><p id="came" aria-live="polite"></p></main></body></html>"#;

const SCRIPT: &str = "const came = document.querySelector('#came');
    document.querySelector('#later').addEventListener('click', () => {
        requestAnimationFrame(() => { came.textContent = 'It  came'; });
        throw new Error('planted');
    });";

const STYLE: &str = "body { margin: 0; font: 16px sans-serif; } .wide { width: 700px; } .scrolls { overflow-x: auto; }
    .nameless { width: 40px; height: 40px; }";

fn answer(status: StatusCode, media_type: &str, body: impl Into<String>) -> Response<String> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.extend(media_type.parse().map(|value| (CONTENT_TYPE, value)));
    headers.extend(POLICY.parse().map(|value| (warp::http::header::CONTENT_SECURITY_POLICY, value)));
    headers.extend(
        "session=s3cret; HttpOnly; Secure; SameSite=Strict; Path=/"
            .parse()
            .map(|v| (warp::http::header::SET_COOKIE, v)),
    );
    response
}

/// Serves the pages on loopback for as long as the runtime lives.
async fn serve() -> anyhow::Result<SocketAddr> {
    let path = warp::path::full().and(warp::query::raw().or(warp::any().map(String::new)).unify());
    let asked = path.and(warp::header::optional("accept-language"));
    let routes = asked.map(|path: warp::path::FullPath, query: String, language: Option<String>| {
        let html = |body: &str| answer(StatusCode::OK, "text/html; charset=utf-8", body);
        let query = query.replace('&', "&amp;");
        match path.as_str() {
            "/broken" => html(BROKEN),
            "/mended" => html(MENDED),
            "/sent" => html(&format!(
                "<!doctype html><p id=sent>{query}</p><p id=language>{}</p>",
                language.unwrap_or_default()
            )),
            "/style.css" => answer(StatusCode::OK, "text/css", STYLE),
            "/page.js" => answer(StatusCode::OK, "text/javascript", SCRIPT),
            _ => answer(StatusCode::NOT_FOUND, "text/plain", "nothing"),
        }
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    tokio::spawn(warp::serve(routes).incoming(listener).run());
    Ok(address)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_sees_what_is_wrong_and_does_what_a_person_can() -> anyhow::Result<()> {
    let site = format!("http://{}", serve().await?);
    let options = Options { language: "zh-CN".to_owned(), time_zone: "Asia/Shanghai".to_owned() };
    let browser = Browser::start(&Tools::from_env()?, &options).await?;
    sees_what_is_wrong(&browser, &site).await?;
    sees_that_nothing_is(&browser, &site).await?;
    does_what_a_person_can(&browser, &site).await?;
    is_whose_it_should_be(&browser, &site).await?;
    let all = processes::descendants(std::process::id());
    ensure!(all.len() > 2, "chromedriver, Chromium and its helpers: {all:?}");
    drop(browser);
    let left: Vec<String> =
        all.into_iter().filter(|pid| processes::is_running(*pid)).map(processes::command_line).collect();
    ensure!(left.is_empty(), "{left:?}");
    Ok(())
}

async fn sees_what_is_wrong(browser: &Browser, site: &str) -> anyhow::Result<()> {
    browser.goto(&format!("{site}/broken")).await?;
    assert_eq!(browser.title().await?, "Broken", "its own script is stopped, and ours run");
    let problems = browser.problems().await?;
    ensure!(problems.iter().any(|problem| problem.contains("inline script violates")), "{problems:?}");
    assert_eq!(browser.problems().await?, Vec::<String>::new(), "told once");
    let violations = browser.axe().await?;
    let nameless = violations.iter().find(|violation| violation.rule == "button-name");
    ensure!(nameless.is_some_and(|found| found.to_string().contains("nameless")), "{violations:?}");
    browser.fits().await?;
    browser.resize(360, 740).await?;
    assert_eq!(browser.evaluate("[innerWidth, document.documentElement.clientWidth]").await?, json!([360, 360]));
    let told = browser.fits().await.err().map(|error| error.to_string()).unwrap_or_default();
    // The page, and the one element; not the one that scrolls in its box.
    ensure!(told.contains("700 px wide, to 700: <p class=\"wide\">Much too wide</p>"), "{told}");
    assert_eq!((told.matches("700 px wide").count(), told.matches("<p ").count()), (2, 1), "{told}");
    Ok(())
}

async fn sees_that_nothing_is(browser: &Browser, site: &str) -> anyhow::Result<()> {
    browser.goto(&format!("{site}/mended")).await?;
    assert_eq!(browser.problems().await?, Vec::<String>::new());
    browser.fits().await?;
    let dark = "[matchMedia('(prefers-color-scheme: dark)').matches, matchMedia('(prefers-reduced-motion)').matches]";
    for (wanted, seen) in [(true, json!([true, true])), (false, json!([false, true]))] {
        browser.dark(wanted).await?;
        assert_eq!(browser.evaluate(dark).await?, seen);
        assert_eq!(browser.axe().await?, []);
    }
    let folder = PrivateFolder::create("pictures", None)?;
    let picture = folder.path().join("phone/mended.png");
    browser.screenshot(&picture).await?;
    let picture = std::fs::read(&picture)?;
    // PNG: the signature, the length and name of the header, and then the width.
    ensure!(
        picture.starts_with(b"\x89PNG") && picture.get(16..20) == Some(&360_u32.to_be_bytes()),
        "no picture, 360 wide"
    );
    Ok(())
}

async fn does_what_a_person_can(browser: &Browser, site: &str) -> anyhow::Result<()> {
    browser.click_text("Later").await?;
    browser.wait_for_text("It came").await?;
    browser.wait_until("came.textContent.length === 8").await?;
    assert_eq!(browser.text("#came").await?, "It came");
    let problems = browser.problems().await?;
    ensure!(problems.iter().any(|problem| problem.contains("planted")), "{problems:?}");
    let long = "<b>\u{202e}“”'\"&".repeat(1000);
    browser.fill("Note", &long).await?;
    assert_eq!(browser.evaluate("note.value").await?, json!(long));
    browser.fill("#note", "").await?;
    browser.fill("Note", "人民币").await?;
    browser.fill("Day", "2026-11-23").await?;
    browser.select("Currency", "Yen").await?;
    browser.press("Tab").await?;
    assert_eq!(browser.evaluate("document.activeElement.className").await?, "save");
    // A page need not run scripts for any of this.
    browser.scripts(false).await?;
    browser.click_text("Save").await?;
    assert_eq!(browser.text("#sent").await?, "note=%E4%BA%BA%E6%B0%91%E5%B8%81&day=2026-11-23&currency=jpy");
    browser.scripts(true).await?;
    ensure!(browser.url().await?.starts_with(&format!("{site}/sent?")), "{}", browser.url().await?);
    ensure!(browser.exists("#sent").await? && !browser.exists("#note").await?, "another page");
    let told = browser.evaluate("nowhere.to.be.found").await.err().map(|error| error.to_string()).unwrap_or_default();
    ensure!(told.contains("ReferenceError") && told.contains("/sent?") && told.contains("currency=jpy"), "{told}");
    Ok(())
}

async fn is_whose_it_should_be(browser: &Browser, site: &str) -> anyhow::Result<()> {
    ensure!(browser.text("#language").await?.starts_with("zh-CN"), "{}", browser.text("#language").await?);
    let viewer = "[navigator.language, Intl.DateTimeFormat().resolvedOptions().timeZone]";
    assert_eq!(browser.evaluate(viewer).await?, json!(["zh-CN", "Asia/Shanghai"]));
    let cookies = browser.cookies().await?;
    let kept =
        cookies.iter().map(|c| (c.name.as_str(), c.value.as_str(), c.http_only, c.same_site.as_str(), c.expires));
    assert_eq!(kept.collect::<Vec<_>>(), [("session", "s3cret", true, "Strict", None)]);
    browser.clear_cookies().await?;
    assert_eq!(browser.cookies().await?, []);
    // A port to which no browser connects.
    ensure!(browser.goto("http://127.0.0.1:1/").await.is_err(), "nobody answers there");
    browser.goto(&format!("{site}/nowhere")).await?;
    let problems = browser.problems().await?;
    ensure!(problems.iter().any(|problem| problem.contains("404")), "{problems:?}");
    Ok(())
}
