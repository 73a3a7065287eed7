//! Takes the pictures, and looks at what is pictured.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, ensure};
use e2e::browser::{Browser, Options};
use xtask::say;
use xtask::screenshots::Language;
use xtask::tools::Tools;

use super::cast::{Cast, Person};
use super::shots::{Shot, Step};

/// A phone, and a desktop.
const ROOMS: [(u32, u32); 2] = [(360, 740), (1440, 900)];
/// Everything has come, nothing is being done, and the page hears what happens.
const AT_REST: &str = "document.readyState === 'complete' && !document.querySelector('[aria-busy=true]') && \
    (!document.querySelector('main[data-live]') || !document.querySelector('[data-live-state]') \
    || document.querySelector('[data-live-state].is-on'))";
/// Nothing moves: a colour on its way from one scheme to the other has a contrast that nobody sees.
const STILL: &str = "document.getAnimations().every((one) => one.playState !== 'running')";
/// How the page was answered.
const STATUS: &str = "performance.getEntriesByType('navigation')[0].responseStatus";

/// What takes the pictures.
pub(super) struct Camera<'a> {
    site: &'a str,
    cast: &'a Cast,
    folder: &'a Path,
    taken: usize,
    wrong: Vec<String>,
}

impl<'a> Camera<'a> {
    /// Of the console of this site, into this folder.
    pub(super) fn new(site: &'a str, cast: &'a Cast, folder: &'a Path) -> Self {
        Self { site, cast, folder, taken: 0, wrong: Vec::new() }
    }

    /// How many pictures were taken, and what is wrong with them.
    pub(super) fn finish(self) -> (usize, Vec<String>) {
        (self.taken, self.wrong)
    }

    /// Takes all pictures of a language with a browser that prefers it.
    pub(super) async fn take_all(&mut self, language: Language, shots: &[&Shot]) -> anyhow::Result<()> {
        let options = match language {
            Language::English => Options::default(),
            Language::Chinese => Options { language: "zh-CN".to_owned(), time_zone: "Asia/Shanghai".to_owned() },
        };
        for person in [Person::Nobody, Person::Operator, Person::OrgAdmin, Person::Viewer] {
            let mut theirs = shots.iter().filter(|shot| shot.person == person).peekable();
            if theirs.peek().is_none() {
                continue;
            }
            let browser = Browser::start(&Tools::from_env()?, &options).await?;
            if let Some(token) = self.cast.token(person) {
                self.sign_in(&browser, token).await.with_context(|| format!("signing in as {person:?}"))?;
            }
            for shot in theirs {
                self.take(&browser, shot, language).await?;
            }
        }
        Ok(())
    }

    async fn sign_in(&self, browser: &Browser, token: &str) -> anyhow::Result<()> {
        browser.goto(&format!("{}/console/sign-in", self.site)).await?;
        browser.fill("#token", token).await?;
        browser.click("form[data-sign-in] button").await?;
        browser.wait_for("form[action='/console/sign-out']").await
    }

    /// Goes to a page and does there what leads to its state; then takes it at every width, light and dark. What goes wrong
    /// on the way is noted, and where that led to is taken all the same.
    async fn take(&mut self, browser: &Browser, shot: &Shot, language: Language) -> anyhow::Result<()> {
        let name = shot.name();
        let mut wrong = Vec::new();
        if let Err(error) = self.reach(browser, shot).await {
            wrong.push(format!("{name} ({}): {error:#}", language.as_str()));
        }
        for (width, height) in ROOMS {
            browser.resize(width, height).await?;
            for dark in [false, true] {
                let scheme = if dark { "dark" } else { "light" };
                browser.dark(dark).await?;
                browser.wait_until(STILL).await?;
                let here = format!("{name} ({width}, {scheme}, {})", language.as_str());
                wrong.extend(look(browser).await?.into_iter().map(|told| format!("{here}: {told}")));
                let file = format!("{name}.{width}.{scheme}.{}.png", language.as_str());
                browser.screenshot(&self.folder.join(file)).await?;
                self.taken += 1;
            }
        }
        browser.dark(false).await?;
        wrong.extend(
            complaints(browser, shot)
                .await?
                .map(|told| format!("{name} ({}): the browser says: {told}", language.as_str())),
        );
        say(format_args!("{name} in {}{}", language.as_str(), if wrong.is_empty() { "" } else { ": WRONG" }));
        self.wrong.append(&mut wrong);
        Ok(())
    }

    async fn reach(&self, browser: &Browser, shot: &Shot) -> anyhow::Result<()> {
        browser.goto(&format!("{}{}", self.site, self.cast.path(shot.path))).await?;
        for step in &shot.steps {
            match step {
                Step::Fill(field, value) => browser.fill(field, value).await?,
                Step::Click(what) => browser.click(what).await?,
                Step::Until(what) => browser.wait_for(what).await?,
            }
        }
        browser.wait_until(AT_REST).await?;
        let status = browser.evaluate(STATUS).await?;
        let good = status.as_u64().is_some_and(|status| (200..300).contains(&status)) || shot.refused;
        ensure!(good, "the page was answered with {status}");
        Ok(())
    }
}

/// What the browser had to complain of, each thing once: a page tells of an image that is stopped for each that there is.
async fn complaints(browser: &Browser, shot: &Shot) -> anyhow::Result<impl Iterator<Item = String>> {
    let refused = shot.refused;
    let told: BTreeSet<String> = browser.problems().await?.into_iter().collect();
    // A page that is refused is one of those that did not load.
    Ok(told.into_iter().filter(move |told| !(refused && told.contains("Failed to load resource"))))
}

/// What is wrong with what is shown, as it is shown.
async fn look(browser: &Browser) -> anyhow::Result<Vec<String>> {
    let mut wrong: Vec<String> = browser.fits().await.err().iter().map(|error| format!("{error:#}")).collect();
    wrong.extend(browser.axe().await?.iter().map(ToString::to_string));
    Ok(wrong)
}
