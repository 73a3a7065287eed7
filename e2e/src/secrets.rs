//! What no log may contain.

use crate::stack::{ALERT_TOKEN, PAY_LINK_SECRET, STRIPE_KEY, STRIPE_WEBHOOK_SECRET, WEBHOOK_SECRET};

/// The secrets of every stack.
const KNOWN: [&str; 5] = [ALERT_TOKEN, PAY_LINK_SECRET, STRIPE_KEY, STRIPE_WEBHOOK_SECRET, WEBHOOK_SECRET];
/// What secrets begin with that are made while the stack runs, and how many characters that are letters or digits
/// must follow: API tokens, client secrets of Stripe's objects, links on which customers confirm.
const MADE: [(&str, usize); 4] = [("bill_", 64), ("_secret_", 8), ("/pay/", 32), ("whsec_", 8)];

/// Every line of a log that has a secret in it: one of `more`, a known one, or what looks like one.
#[must_use]
pub fn leaks(log: &str, more: &[&str]) -> Vec<String> {
    let known: Vec<&str> = KNOWN.iter().copied().chain(more.iter().copied()).collect();
    let leaks =
        |line: &&str| known.iter().any(|secret| line.contains(secret)) || MADE.iter().any(|made| has(line, *made));
    log.lines().filter(leaks).map(str::to_owned).collect()
}

fn has(line: &str, (prefix, length): (&str, usize)) -> bool {
    let follows = |rest: &str| rest.chars().take_while(char::is_ascii_alphanumeric).take(length).count() == length;
    line.match_indices(prefix).any(|(at, _)| follows(&line[at + prefix.len()..]))
        // A card's number, with or without spaces.
        || line.contains("4242424242424242")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_found() {
        let token = format!("bill_{}", "0a".repeat(32));
        for leak in [
            token.as_str(),
            "key=sk_test_bill_service",
            "pi_1_secret_abcdefghijk",
            "https://bill.example/pay/0123456789abcdef0123456789abcdef0123",
            "postgres://bill:hunter2@db",
        ] {
            assert_eq!(leaks(&format!("fine\n  x {leak} y\nfine"), &["hunter2"]).len(), 1, "{leak}");
        }
        for fine in ["bill_ledger", "the client_secret_of", "/pay/x", "pm_card_visa", "route=/pay/{token}"] {
            assert!(leaks(fine, &[]).is_empty(), "{fine}");
        }
    }
}
