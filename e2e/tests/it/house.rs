//! The sentences of docs/ARCHITECTURE.md that code can keep.
#![expect(clippy::unwrap_used, reason = "a file of the repository that can't be read fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const SERVICES: [&str; 4] = ["ingress", "recharger", "ledger", "syncer"];

fn root() -> PathBuf {
    xtask::paths::root()
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources_of(krate: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    sources(&root().join(krate).join("src"), &mut found);
    assert!(!found.is_empty(), "{krate}");
    found
}

/// The code of a file without its unit tests and comments.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn dependencies(krate: &str) -> BTreeSet<String> {
    let manifest = fs::read_to_string(root().join(krate).join("Cargo.toml")).unwrap();
    let section = manifest.split("[dependencies]").nth(1).unwrap_or_default().split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn imports_run_one_way() {
    let ours =
        ["common", "ingress", "recharger", "ledger", "syncer", "cli", "simulators", "e2e", "bench", "model", "xtask"];
    for (krate, allowed) in [("common", vec![]), ("cli", vec!["common"]), ("simulators", vec![]), ("xtask", vec![])]
        .into_iter()
        .chain(SERVICES.map(|service| (service, vec!["common"])))
    {
        let used: Vec<String> = dependencies(krate).into_iter().filter(|name| ours.contains(&name.as_str())).collect();
        assert_eq!(used, allowed, "{krate} imports what it must not");
    }
}

#[test]
fn pure_files_hold_no_async_and_no_io() {
    let pure = [
        "recharger/src/decide.rs",
        "recharger/src/saga.rs",
        "recharger/src/policy.rs",
        "recharger/src/history.rs",
        "recharger/src/decline.rs",
        "recharger/src/deadlines.rs",
        "recharger/src/simulate.rs",
        "recharger/src/queries/answer.rs",
        "recharger/src/reconcile/compare.rs",
        "ledger/src/posting.rs",
        "ledger/src/posting/books.rs",
        "ledger/src/posting/charge.rs",
        "ledger/src/posting/correction.rs",
        "ledger/src/posting/refund.rs",
        "ledger/src/posting/dispute.rs",
        "ledger/src/chain.rs",
        "ledger/src/reconcile/compare.rs",
        "ledger/src/verify/kinds.rs",
        "syncer/src/plan.rs",
        "syncer/src/deadline.rs",
        "syncer/src/look/low.rs",
        "syncer/src/standing.rs",
        "syncer/src/undecided.rs",
        "syncer/src/reconcile/compare.rs",
        "common/src/worker/verdict.rs",
        "common/src/doctor/configuration.rs",
        "common/src/doctor/migrations.rs",
        "common/src/doctor/report.rs",
        "common/src/money.rs",
        "common/src/contract/trace.rs",
        "common/src/clients/stripe/outcome.rs",
        "common/src/clients/stripe/intent.rs",
        "common/src/clients/quota/answer.rs",
        "common/src/clients/quota/team.rs",
        "ingress/src/webhooks/signature.rs",
        "ingress/src/webhooks/stripe_signature.rs",
        "ingress/src/webhooks/stripe_event.rs",
        "ingress/src/api/filters.rs",
        "ingress/src/events/steps.rs",
        "ingress/src/outcome/answers.rs",
        "ingress/src/pay/page.rs",
        "ingress/src/pay/record.rs",
        "ingress/src/dead_letters/preview.rs",
        "ingress/src/console/amount.rs",
        "ingress/src/console/cookie.rs",
        "ingress/src/console/form.rs",
        "ingress/src/console/guard.rs",
        "ingress/src/console/moment.rs",
        "ingress/src/console/text/mod.rs",
        "ingress/src/standings/cursor.rs",
        "bench/src/fleet/books.rs",
        "bench/src/fleet/life.rs",
        "bench/src/fleet/life/back.rs",
        "bench/src/fleet/life/charging.rs",
        "bench/src/fleet/life/triggers.rs",
        "bench/src/fleet/office.rs",
        "bench/src/fleet/plan.rs",
        "bench/src/fleet/profile.rs",
        "bench/src/fleet/recharge.rs",
        "bench/src/fleet/rows.rs",
        "ingress/src/api/filters.rs",
        "ingress/src/standings/cursor.rs",
        "cli/src/values.rs",
        "cli/src/failure.rs",
        "cli/src/show/chain.rs",
        "cli/src/show/details.rs",
        "cli/src/show/list.rs",
        "cli/src/show/outcome.rs",
        "cli/src/show/value.rs",
    ];
    for file in pure {
        let code = code(&root().join(file));
        for word in ["async ", ".await", "sqlx", "reqwest", "tokio", "std::fs", "std::net", "Utc::now"] {
            assert!(!code.contains(word), "{file} is pure but has {word:?}");
        }
    }
}

#[test]
fn sql_stands_only_in_repo_files() {
    for krate in SERVICES.into_iter().chain(["bench"]) {
        for file in sources_of(krate) {
            let name = file.file_name().unwrap().to_string_lossy().into_owned();
            let code = code(&file);
            let sql = ["SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM "]
                .iter()
                .any(|verb| code.contains(&format!("\"{verb}")));
            assert!(!sql || name == "repo.rs", "{} has SQL", file.display());
        }
    }
}

#[test]
fn only_the_clock_reads_the_time_and_only_ids_draws() {
    for krate in ["common", "ingress", "recharger", "ledger", "syncer", "cli", "bench"] {
        for file in sources_of(krate) {
            let code = code(&file);
            let ambient = ["Utc::now", "SystemTime::now", "new_v4"].iter().any(|call| code.contains(call));
            let allowed = file.ends_with("common/src/clock.rs") || file.ends_with("common/src/ids.rs");
            assert!(!ambient || allowed, "{} reads ambient time or randomness", file.display());
        }
    }
}

#[test]
fn no_crate_has_unsafe_code() {
    for krate in
        ["common", "ingress", "recharger", "ledger", "syncer", "cli", "simulators", "e2e", "bench", "model", "xtask"]
    {
        let lib = fs::read_to_string(root().join(krate).join("src/lib.rs")).unwrap();
        assert!(lib.contains("#![forbid(unsafe_code)]"), "{krate}/src/lib.rs");
    }
}
