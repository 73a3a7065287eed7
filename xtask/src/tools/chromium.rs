//! Chromium and the chromedriver of the same version, with which tests use the console as people do: the machine's own,
//! or Debian's packages.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{CHROMEDRIVER, CHROMIUM, Version, apt, output_of};
use crate::{paths, say};

/// What the program may be named, and how it then begins to tell its version.
const BROWSERS: [(&str, &str); 3] =
    [("chromium", "Chromium"), ("chromium-browser", "Chromium"), ("google-chrome", "Google Chrome")];
const DRIVER: &str = "chromedriver";
const DRIVER_SAYS: &str = "ChromeDriver";

/// A browser and what drives it.
pub(super) struct Chromium {
    pub(super) browser: PathBuf,
    pub(super) driver: PathBuf,
}

pub(super) fn find_or_install() -> Result<Chromium> {
    if let Some(found) = find()? {
        return Ok(found);
    }
    apt::install(&["chromium", "chromium-driver"], "Chromium with a chromedriver of the same version")
        .with_context(|| format!("neither on PATH nor named by {CHROMIUM} and {CHROMEDRIVER}"))?;
    find()?.context("Debian's packages are installed, but Chromium and chromedriver are not of one version")
}

/// Fonts with Chinese characters, without which a picture shows boxes in their place.
pub(super) fn find_or_install_chinese_fonts() -> Result<()> {
    let found = output_of(Command::new("fc-list").args([":lang=zh-cn", "family"])).unwrap_or_default();
    if let Some(font) = found.lines().next() {
        say(format_args!("fonts with Chinese characters: found {font}"));
        return Ok(());
    }
    apt::install(&["fonts-noto-cjk", "fontconfig"], "a font with Chinese characters")
}

/// The first browser that the driver can drive: it refuses one of another major version.
fn find() -> Result<Option<Chromium>> {
    let (browser, driver) = (named(CHROMIUM), named(CHROMEDRIVER));
    let is_named = browser.is_some() || driver.is_some();
    let on_path = || BROWSERS.iter().filter_map(|(program, _)| paths::on_path(program)).collect();
    let browsers: Vec<PathBuf> = browser.map_or_else(on_path, |named| vec![named]);
    let driver = driver.or_else(|| paths::on_path(DRIVER));
    let found = driver.and_then(|driver| drivable(browsers, driver));
    if found.is_none() && is_named {
        bail!("what {CHROMIUM} and {CHROMEDRIVER} name is not a Chromium and a chromedriver of the same version");
    }
    Ok(found)
}

fn drivable(browsers: Vec<PathBuf>, driver: PathBuf) -> Option<Chromium> {
    let driven = Version::of(&driver, DRIVER_SAYS)?;
    let mut versions =
        browsers.into_iter().filter_map(|browser| browser_version(&browser).map(|version| (browser, version)));
    let (browser, version) = versions.find(|(_, version)| version.major() == driven.major())?;
    say(format_args!("Chromium {version}: found at {}, its driver at {}", browser.display(), driver.display()));
    Some(Chromium { browser, driver })
}

fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).filter(|named| !named.is_empty()).map(PathBuf::from)
}

fn browser_version(program: &Path) -> Option<Version> {
    BROWSERS.iter().find_map(|(_, name)| Version::of(program, name))
}
