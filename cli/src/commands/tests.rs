//! What people write, and the call that it is.

use clap::CommandFactory;
use serde_json::json;

use super::*;

const ID: &str = "0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11";

fn call(words: &str) -> Result<Call, String> {
    let cli = Cli::try_parse_from(["bill"].into_iter().chain(words.split_whitespace()));
    let make = Make { now: "2026-11-23T10:00:00Z".parse().unwrap(), key: "fresh".to_owned() };
    cli.map_err(|error| error.to_string())?.command.call(&make)
}

#[test]
fn the_parser_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn what_is_read() {
    let table = [
        ("org list", "organizations", Some(("after", 50))),
        ("org show acme", "organizations/acme/config", None),
        ("org balance acme", "organizations/acme/balance", None),
        ("org usage acme --days 7", "organizations/acme/usage?days=7", None),
        ("org users acme", "organizations/acme/users", Some(("after", 50))),
        ("standings", "standings", Some(("after", 50))),
        (
            "standings --search Ac% --only low --closed --limit 7",
            "standings?search=Ac%&?only=low&?closed=true",
            Some(("after", 7)),
        ),
        ("pipeline", "pipeline", None),
        ("history acme --limit 7", "organizations/acme/recharge-history", Some(("before", 7))),
        ("events acme", "organizations/acme/webhook-events", Some(("before", 50))),
        (&format!("chain {ID}"), &format!("recharges/{ID}"), None),
        ("event req_1", "events/req_1", None),
        ("quota history acme", "organizations/acme/quota-history", Some(("before", 50))),
        ("dead-letters list", "dead-letters", Some(("after", 50))),
        ("dead-letters list --group", "dead-letters?group=reason", None),
        ("dead-letters show 7", "dead-letters/7", None),
        ("reconcile list", "reconciliations", Some(("before", 50))),
        ("reconcile show run_1", "reconciliations/run_1", Some(("after", 50))),
        ("token list", "tokens", Some(("before", 50))),
        ("audit", "audit-log", Some(("before", 50))),
        ("audit acme", "audit-log?c_organization_id=acme", Some(("before", 50))),
    ];
    for (words, want, pages) in table {
        let call = call(words).unwrap();
        let query: Vec<_> = call.query.iter().map(|(name, value)| format!("?{name}={value}")).collect();
        assert_eq!(call.path.join("/") + &query.join("&"), want, "{words}");
        assert_eq!(call.pages.map(|pages| (pages.cursor, pages.limit)), pages, "{words}");
        assert!(
            call.method == "GET" && call.body.is_none() && call.key.is_none() && call.question.is_none(),
            "{words}"
        );
    }
}

#[test]
fn what_is_changed() {
    let restore = "quota restore acme 7 --reason wrong --key k --no-wait -y";
    let refund = format!("refund {ID} 2.50 --reason wrong");
    let table = [
        ("org create acme", "POST organizations", json!({ "c_organization_id": "acme" })),
        (
            "org create acme --team 7 --minimum-balance 10.10 --no-auto-recharge --max-daily-recharges 3 --target-basis available",
            "POST organizations",
            json!({ "c_organization_id": "acme", "litellm_team_id": "7", "minimum_balance": "10.10",
                    "auto_recharge_enabled": false, "max_daily_recharges": 3, "target_basis": "available" }),
        ),
        (
            "org set acme max_daily_amount=null resume=true",
            "PATCH organizations/acme/config",
            json!({ "max_daily_amount": null, "resume": true }),
        ),
        ("org close acme", "DELETE organizations/acme", json!(null)),
        ("org reopen acme", "POST organizations/acme/reopen", json!(null)),
        (
            "org card acme pm_card_visa",
            "POST organizations/acme/payment-method",
            json!({ "payment_method_id": "pm_card_visa", "set_as_default": true }),
        ),
        ("org sync acme --no-wait", "POST organizations/acme/sync", json!(null)),
        ("recharge acme 25.00", "POST organizations/acme/recharge", json!({ "amount": "25.00" })),
        (&refund, &format!("POST recharges/{ID}/refund"), json!({ "amount": "2.50", "reason": "wrong" })),
        (restore, "POST organizations/acme/quota/restore", json!({ "quota_sync_id": 7, "reason": "wrong" })),
        ("dead-letters redrive 7 8", "POST dead-letters/redrive", json!({ "sequences": [7, 8] })),
        ("dead-letters discard 7 --reason old", "POST dead-letters/7/discard", json!({ "reason": "old" })),
        ("reconcile", "POST reconciliations", json!({})),
        ("reconcile --since 1d", "POST reconciliations", json!({ "since": "2026-11-22T10:00:00+00:00" })),
        ("simulate acme", "POST organizations/acme/simulate", json!({})),
        ("simulate acme --amount 25.50", "POST organizations/acme/simulate", json!({ "amount": "25.50" })),
        (
            "simulate acme --days 7 --usage 520 --limit 500 --exceeded-by 20 --set target_balance=1 max_daily_amount=null",
            "POST organizations/acme/simulate",
            json!({ "days": 7, "event": { "current_usage": "520", "current_limit": "500", "exceeded_by": "20" },
                    "policy": { "target_balance": 1, "max_daily_amount": null } }),
        ),
        (
            "token create --name ci --role viewer --organization acme --expires 1d",
            "POST tokens",
            json!({ "name": "ci", "role": "viewer", "c_organization_id": "acme", "expires_at": "2026-11-24T10:00:00+00:00" }),
        ),
        (&format!("token revoke {ID}"), &format!("DELETE tokens/{ID}"), json!(null)),
    ];
    for (words, want, body) in table {
        let call = call(words).unwrap();
        assert_eq!(format!("{} {}", call.method, call.path.join("/")), want, "{words}");
        assert_eq!(call.body.unwrap_or_default(), body, "{words}");
        assert!(call.pages.is_none(), "{words}");
    }
}

#[test]
fn what_moves_money_has_a_key_and_asks_first() {
    for words in ["recharge acme 25", "quota restore acme 7 --reason x", &format!("refund {ID} --reason x")] {
        let fresh = call(words).unwrap();
        assert_eq!((fresh.key.as_deref(), fresh.no_wait), (Some("fresh"), false), "{words}");
        assert!(fresh.question.is_some(), "{words}");
        let again = call(&format!("{words} --key mine --no-wait --yes")).unwrap();
        assert_eq!((again.key.as_deref(), again.no_wait), (Some("mine"), true), "{words}");
        assert!(again.question.is_none(), "{words}");
    }
}

#[test]
fn what_can_not_be_meant() {
    let wrong = [
        "",
        "org show a.b",
        "org set acme",
        "org set acme target_balance",
        "recharge acme",
        "recharge acme ten",
        "recharge acme -5",
        "chain 7",
        "refund 7 --reason x",
        &format!("refund {ID}"),
        "history acme --limit 0",
        "dead-letters redrive",
        "dead-letters discard 7",
        "reconcile --since soon",
        "reconcile --since 1d list",
        "simulate acme --usage 5",
        "simulate acme --amount 5 --days 7",
        "simulate acme --exceeded-by 5",
        "token create --name x --role root",
        "recharge acme 5 --key a\u{7f}",
    ];
    for words in wrong {
        assert!(call(words).is_err(), "{words}");
    }
}

#[test]
fn no_help_and_no_error_tells_a_token() {
    let told = Cli::try_parse_from(["bill", "--token", "s3cret-of-mine", "org", "nothing"]).unwrap_err().to_string();
    assert!(!told.contains("s3cret"), "{told}");
    let cli = Cli::try_parse_from(["bill", "org", "list", "--token", "s3cret-of-mine"]).unwrap();
    assert!(!format!("{cli:?}").contains("s3cret"));
}

/// Words as a shell would split them, without a comment, and with values for the runbook's variables.
fn words_of(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for part in line.split(" #").next().unwrap_or_default().trim_end().chars() {
        match part {
            '"' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            part => words.last_mut().unwrap().push(part),
        }
    }
    let values =
        [("$RECHARGE", ID), ("$TOKEN_ID", ID), ("$ORG", "acme"), ("$SEQ", "7"), ("$PUSH", "7"), ("$RUN", "run_1")];
    let valued = |word: String| values.iter().fold(word, |word, (name, value)| word.replace(name, value));
    words.into_iter().filter(|word| !word.is_empty()).map(valued).collect()
}

#[test]
fn what_the_runbook_says_to_write_is_understood() {
    use clap::error::ErrorKind;
    let page = include_str!("../../../docs/RUNBOOK.md");
    // To be copied: lines of their own.
    let lines: Vec<&str> = page.lines().map(str::trim).filter(|line| line.starts_with("bill ")).collect();
    assert!(lines.len() > 50, "{lines:?}");
    for line in lines {
        if let Err(error) = Cli::try_parse_from(words_of(line)) {
            panic!("{line}\n{error}");
        }
    }
    // Named within a sentence: what has to be added may be missing, and nothing may be wrong.
    let named: Vec<&str> = page.split('`').filter(|code| code.starts_with("bill ")).collect();
    assert!(named.len() > 50, "{named:?}");
    for code in named {
        if let Err(error) = Cli::try_parse_from(words_of(code)) {
            let short = [ErrorKind::MissingRequiredArgument, ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand];
            assert!(short.contains(&error.kind()), "{code}\n{error}");
        }
    }
}
