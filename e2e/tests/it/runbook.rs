//! docs/RUNBOOK.md is what somebody follows who knows nothing else: nothing may be missing in it, no link may lead nowhere,
//! and what is to be copied must run. (`bill` lines are read by its own parser, in `cli`.)

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use common::config::Secret;
use common::contract::{AdjustRequestedV1, Event};
use common::db;
use common::ids::{EventId, OrganizationId};
use common::money::{Currency, Money};
use common::reconciliation::Kind;
use common::worker::ParkReason;
use e2e::database::Database;
use ledger::posting::Posting;
use ledger::repo::Books;
use ledger::verify::{Difference, verify};
use sqlx::{AssertSqlSafe, PgPool};
use xtask::paths;

const ORGANIZATION: &str = "acme";
const RECHARGE: &str = "0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11";

fn read(path: &str) -> anyhow::Result<String> {
    fs::read_to_string(paths::root().join(path)).with_context(|| path.to_owned())
}

/// The lines of a page, each with the word after the fence of the block that it stands in: none outside of blocks.
fn lines(page: &str) -> impl Iterator<Item = (Option<&str>, &str)> {
    let mut block = None;
    page.lines().filter_map(move |line| match (line.trim_start().strip_prefix("```"), block) {
        (Some(words), None) => {
            block = Some(words.trim());
            None
        }
        (Some(_), Some(_)) => {
            block = None;
            None
        }
        (None, _) => Some((block, line)),
    })
}

/// The blocks of a page that begin with this word.
fn blocks(page: &str, word: &str) -> Vec<String> {
    let opening = format!("```{word}");
    let mut found: Vec<String> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line.trim()) {
            (false, text) if text == opening => {
                inside = true;
                found.push(String::new());
            }
            (true, "```") => inside = false,
            (true, _) => found.iter_mut().last().into_iter().for_each(|block| *block += &format!("{line}\n")),
            (false, _) => {}
        }
    }
    found
}

fn headings(page: &str) -> impl Iterator<Item = &str> {
    let outside = lines(page).filter(|(block, line)| block.is_none() && line.starts_with('#'));
    outside.map(|(_, line)| line.trim_start_matches('#').trim())
}

/// What a heading is called in a link, as GitHub does it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn everything_that_calls_a_person_has_its_section() {
    let page = read("docs/RUNBOOK.md").unwrap();
    let sections: BTreeSet<&str> = headings(&page).collect();
    let alerts = read("ops/prometheus/alerts.yml").unwrap();
    let alerts: BTreeSet<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() >= 20, "alerts are not found: {alerts:?}");
    let reasons = ParkReason::ALL.map(ParkReason::as_str);
    let kinds = Kind::ALL.map(Kind::as_str);
    let wanted = alerts.iter().copied().chain(reasons).chain(kinds);
    let missing: Vec<&str> = wanted.filter(|name| !sections.contains(name)).collect();
    assert!(missing.is_empty(), "no section: {missing:?}");

    let rows: BTreeSet<String> =
        page.lines().filter_map(|line| Some(line.strip_prefix("| `")?.split_once("` |")?.0.to_owned())).collect();
    let missing: Vec<&str> = Difference::WORDS.into_iter().filter(|word| !rows.contains(*word)).collect();
    assert!(missing.is_empty(), "no line in the table of damages: {missing:?}");
}

/// The pages of people: those in `docs`, and what stands beside each part.
fn pages() -> anyhow::Result<Vec<PathBuf>> {
    let root = paths::root();
    let mut found = vec![root.join("README.md"), root.join("README.zh-CN.md"), root.join("CHANGELOG.md")];
    for folder in ["docs", "docs/decisions", "migrations", "nats"] {
        for entry in fs::read_dir(root.join(folder))? {
            let path = entry?.path();
            found.extend(path.extension().is_some_and(|extension| extension == "md").then_some(path));
        }
    }
    Ok(found)
}

/// Where the links of a page lead, but for those to other sites.
fn links(page: &str) -> Vec<&str> {
    let text = lines(page).filter(|(block, _)| block.is_none()).map(|(_, line)| line);
    text.flat_map(|line| line.split("](").skip(1))
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.contains("://") && !link.starts_with("mailto:"))
        .collect()
}

fn leads_somewhere(page: &Path, link: &str, known: &mut BTreeMap<PathBuf, BTreeSet<String>>) -> anyhow::Result<bool> {
    let (file, wanted) = link.split_once('#').map_or((link, None), |(file, wanted)| (file, Some(wanted)));
    let folder = page.parent().context("a page in no folder")?;
    let target = if file.is_empty() { page.to_owned() } else { folder.join(file) };
    let Some(wanted) = wanted else { return Ok(target.exists()) };
    if !known.contains_key(&target) {
        let text = fs::read_to_string(&target).unwrap_or_default();
        known.insert(target.clone(), headings(&text).map(anchor).collect());
    }
    Ok(known.get(&target).is_some_and(|anchors| anchors.contains(wanted)))
}

#[test]
fn no_link_leads_nowhere() {
    let (mut known, mut broken, mut count) = (BTreeMap::new(), Vec::new(), 0);
    for page in pages().unwrap() {
        for link in links(&fs::read_to_string(&page).unwrap()) {
            count += 1;
            if !leads_somewhere(&page, link, &mut known).unwrap() {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(count > 100, "links are not found: {count}");
    assert!(broken.is_empty(), "{broken:#?}");
}

/// As `psql` does it with `-v org=… -v recharge=…`.
fn with_values(sql: &str) -> anyhow::Result<String> {
    let sql = sql.replace(":'org'", &format!("'{ORGANIZATION}'")).replace(":'recharge'", &format!("'{RECHARGE}'"));
    ensure!(!sql.contains(":'"), "the page tells of no such variable: {sql}");
    Ok(sql)
}

/// Books something, so that there is something to be damaged.
async fn book(pool: &PgPool) -> anyhow::Result<()> {
    for number in 1..=2 {
        let data = AdjustRequestedV1 {
            amount: Money::new(50_000, Currency::USD),
            basis_version: None,
            reason: "a beginning".to_owned(),
            requested_by: "ops".to_owned(),
        };
        let organization = OrganizationId::parse(ORGANIZATION)?;
        let event = Event::first(
            EventId::parse(format!("evt_{number}"))?,
            Some(organization.clone()),
            common::clock::Timestamp::UNIX_EPOCH,
            data,
        );
        let mut books = Books::open(pool, &organization).await?;
        books.post(&Posting::adjustment(&event)?).await?;
        books.commit().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_to_be_copied_into_psql_runs() -> anyhow::Result<()> {
    let page = read("docs/RUNBOOK.md")?;
    let database = Database::shared().await?;
    let viewer = db::pool(&Secret::new(database.url_of("viewer")?), "runbook", 1)?;
    let looks = blocks(&page, "sql");
    ensure!(looks.len() > 10, "the page's SQL is not found");
    for sql in &looks {
        sqlx::raw_sql(AssertSqlSafe(with_values(sql)?)).execute(&viewer).await.with_context(|| sql.clone())?;
    }

    // The one thing that the owner may do: what is cached is made again from the entries.
    let [repair] = blocks(&page, "sql owner").try_into().ok().context("the owner's SQL is not one block")?;
    let owner = database.pool()?;
    book(&owner).await?;
    let damage = "ALTER TABLE ledger_accounts DISABLE TRIGGER guard_account;
        UPDATE ledger_accounts SET balance_minor = balance_minor + 200, version = version - 1 WHERE kind = 'balance';
        ALTER TABLE ledger_accounts ENABLE TRIGGER guard_account;";
    sqlx::raw_sql(damage).execute(&owner).await?;
    let words = |report: &ledger::verify::Report| -> Vec<&'static str> {
        report.drifts.iter().map(|drift| drift.difference.word()).collect()
    };
    assert_eq!(words(&verify(&owner).await?), ["balance", "account_version"]);
    sqlx::raw_sql(AssertSqlSafe(with_values(&repair)?)).execute(&owner).await?;
    assert_eq!(words(&verify(&owner).await?), [""; 0]);
    let unguarded: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'ledger_accounts'::regclass AND NOT tgisinternal AND tgenabled = 'D'",
    )
    .fetch_one(&owner)
    .await?;
    assert_eq!(unguarded, 0);
    viewer.close().await;
    owner.close().await;
    database.remove().await
}
