//! Which migrations a database has, compared with those of this build. Pure.

use std::collections::BTreeMap;

use super::Check;

const NAME: &str = "migrations";

/// A migration of this build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// Its number.
    pub(super) version: i64,
    /// Its name.
    pub(super) name: String,
    /// What its file contains.
    pub(super) checksum: Vec<u8>,
}

/// A migration that a database has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Applied {
    /// Its number.
    pub(super) version: i64,
    /// Whether it came to its end.
    pub(super) ended: bool,
    /// What its file contained then.
    pub(super) checksum: Vec<u8>,
}

/// A line for everything that is not as this build needs it.
pub(super) fn compare(known: &[Known], applied: &[Applied]) -> Vec<Check> {
    let mut others: BTreeMap<i64, &Applied> = applied.iter().map(|one| (one.version, one)).collect();
    let mut checks = Vec::new();
    let mut missing = Vec::new();
    for Known { version, name, checksum } in known {
        let label = format!("{version:04} {name}");
        match others.remove(version) {
            None => missing.push(label),
            Some(one) if !one.ended => checks.push(Check::failed(
                NAME,
                format!("{label} was begun and did not end"),
                "Look at the database's log, and run `bill-setup migrate up` again.",
            )),
            Some(one) if one.checksum != *checksum => checks.push(Check::failed(
                NAME,
                format!("{label} was applied with other contents than this build has"),
                "Run a build whose migrations/ folder is the one it was applied from: an applied migration is never edited.",
            )),
            Some(_) => {}
        }
    }
    if !missing.is_empty() {
        let found = format!("not applied: {}", missing.join(", "));
        checks.insert(0, Check::failed(NAME, found, "Run `bill-setup migrate up` of this build."));
    }
    if !others.is_empty() {
        let numbers: Vec<String> = others.keys().map(|version| format!("{version:04}")).collect();
        checks.push(Check::warning(
            NAME,
            format!("the database has migrations that this build does not know: {}", numbers.join(", ")),
            "Deploy the newer build that they belong to, or take them back with that build's `bill-setup migrate down`.",
        ));
    }
    if checks.is_empty() {
        let last = known.last().map(|one| format!("{:04} {}", one.version, one.name)).unwrap_or_default();
        checks.push(Check::ok(NAME, format!("all {} are applied; the last is {last}", known.len())));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(version: i64) -> Known {
        Known { version, name: format!("m{version}"), checksum: vec![7] }
    }

    fn applied(version: i64) -> Applied {
        Applied { version, ended: true, checksum: vec![7] }
    }

    #[test]
    fn each_difference_is_named() {
        let two = [known(1), known(2)];
        for (applied, want) in [
            (vec![applied(1), applied(2)], "all 2 are applied; the last is 0002 m2"),
            (vec![applied(1)], "not applied: 0002 m2"),
            (vec![], "not applied: 0001 m1, 0002 m2"),
            (vec![applied(1), Applied { ended: false, ..applied(2) }], "0002 m2 was begun and did not end"),
            (
                vec![Applied { checksum: vec![8], ..applied(1) }, applied(2)],
                "0001 m1 was applied with other contents than this build has",
            ),
            (
                vec![applied(1), applied(2), applied(3)],
                "the database has migrations that this build does not know: 0003",
            ),
        ] {
            let checks = compare(&two, &applied);
            assert_eq!(checks.len(), 1, "{checks:?}");
            assert_eq!(checks[0].found, want);
        }
        let checks = compare(&two, &[applied(2), applied(9)]);
        assert_eq!(checks.len(), 2, "{checks:?}");
    }
}
