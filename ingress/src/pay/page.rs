//! The pages of a confirmation link. Pure: values in, HTML out. Whatever is put in is escaped; there is no script.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::clock::Timestamp;
use common::money::{Currency, Money};
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use super::record::{Open, Record, State};

/// The one style sheet, named by its hash in the policy.
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:0;background:#f5f6f8;color:#1c2430}\
main{max-width:30rem;margin:8vh auto;padding:2rem;background:#fff;border:1px solid #d9dee5;border-radius:8px}\
h1{font-size:1.3rem;margin:0 0 1rem}dl{display:grid;grid-template-columns:auto 1fr;gap:.3rem 1.5rem;margin:1.2rem 0}\
dt{color:#5a6472}dd{margin:0;text-align:right;overflow-wrap:anywhere}\
button{width:100%;padding:.8rem;font:inherit;font-weight:600;color:#fff;background:#1f5fd0;border:0;border-radius:6px;cursor:pointer}\
button:focus-visible,a:focus-visible{outline:3px solid #9bbcf5;outline-offset:2px}small{color:#5a6472}";

/// How often the page that waits looks again, in seconds.
const AGAIN: u32 = 5;

/// The content security policy of every page. The form leads to the bank: browsers apply `form-action` to the redirect
/// that answers it, and which bank it is nobody knows beforehand. `plain` lets it be one without TLS: on a developer's
/// machine.
pub(crate) fn policy(plain: bool) -> String {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let plain = if plain { " http:" } else { "" };
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self' https:{plain}; base-uri 'none'; frame-ancestors 'none'"
    )
}

/// A text as it may stand in HTML, in an attribute, too.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A page; `body` is HTML, `title` is not.
fn page(title: &str, again: bool, body: &str) -> String {
    let title = escape(title);
    let refresh = if again { format!(r#"<meta http-equiv="refresh" content="{AGAIN}">"#) } else { String::new() };
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"robots\" content=\"noindex,nofollow\">\
         {refresh}<title>{title}</title><style>{STYLE}</style></head>\n<body><main><h1>{title}</h1>\n{body}\n</main></body></html>\n"
    )
}

/// A page that says something, and no more.
pub(crate) fn message(title: &str, text: &str) -> String {
    page(title, false, &format!("<p>{}</p>", escape(text)))
}

/// A page that says something, with a way to go on.
pub(crate) fn message_with_link(title: &str, text: &str, link: &str, label: &str) -> String {
    let (text, link, label) = (escape(text), escape(link), escape(label));
    page(title, false, &format!("<p>{text}</p><p><a href=\"{link}\">{label}</a></p>"))
}

/// The page with the button. `attempt` names this look at it: the button twice is one attempt.
pub(crate) fn confirm(record: &Record, open: &Open<'_>, path: &str, attempt: &str) -> String {
    let facts = facts(record, Some(open.until));
    let (path, attempt, total) = (escape(path), escape(attempt), escape(&amount(record.total)));
    let body = format!(
        "<p>Your bank wants you to confirm this payment. Nothing is charged until you confirm it.</p>\n{facts}\n\
         <form method=\"post\" action=\"{path}\"><input type=\"hidden\" name=\"attempt\" value=\"{attempt}\">\
         <button type=\"submit\">Confirm {total} at my bank</button></form>\n\
         <p><small>You are sent to your bank's page and come back here. If you did not expect this, close the page: \
         nothing is charged.</small></p>"
    );
    page("Confirm your payment", false, &body)
}

/// How a payment stands, after the customer came back from the bank. `path` is the link's own.
pub(crate) fn standing(record: &Record, state: State<'_>, path: &str) -> String {
    let facts = facts(record, None);
    let look_again = format!("<p><a href=\"{}/done\">Look again</a></p>", escape(path));
    let reason = |text: &Option<String>| text.as_deref().map(escape).unwrap_or_default();
    match state {
        State::Settled => {
            let quota = record.new_quota.map(|quota| number(quota, record.amount.currency)).unwrap_or_default();
            let quota = if quota.is_empty() { quota } else { format!(" The quota is {} now.", escape(&quota)) };
            page(
                "Payment complete",
                false,
                &format!("<p>Thank you. The payment was made and has taken effect.{quota}</p>\n{facts}"),
            )
        }
        State::OnItsWay => page(
            "Payment confirmed",
            true,
            &format!(
                "<p>Thank you. The payment was made; the quota is on its way and will be in force in a moment.</p>\n{facts}{look_again}"
            ),
        ),
        State::Processing => page(
            "Your bank is processing the payment",
            true,
            &format!(
                "<p>There is nothing left for you to do. This page looks again by itself.</p>\n{facts}{look_again}"
            ),
        ),
        State::Open(_) => page(
            "Waiting for your bank",
            true,
            &format!(
                "<p>Your bank has not confirmed the payment yet, as far as we know. This page looks again by itself.</p>\n\
                 {facts}<p><a href=\"{}\">Go to the bank again</a></p>{look_again}",
                escape(path)
            ),
        ),
        State::Declined => page(
            "The payment did not go through",
            false,
            &format!(
                "<p>Nothing was charged. {}</p><p>Save another card, or try again later.</p>\n{facts}",
                reason(&record.failure_message)
            ),
        ),
        State::GivenBack => page(
            "The payment was given back",
            false,
            &format!("<p>The money goes back to your card. {}</p>\n{facts}", reason(&record.undo_reason)),
        ),
        State::Expired => page(EXPIRED.0, false, &format!("<p>{}</p>{look_again}", escape(EXPIRED.1))),
        State::Replaced => page(REPLACED.0, false, &format!("<p>{}</p>{look_again}", escape(REPLACED.1))),
    }
}

/// The words for a link whose time is over. Whether it was used at the last moment is not known here.
const EXPIRED: (&str, &str) = (
    "This link has expired",
    "The payment can't be confirmed with it any more. A new payment brings a new link; if you expected one, ask whoever runs \
     your account.",
);

/// The words for a link whose card is not the one that is charged any more.
const REPLACED: (&str, &str) = (
    "This link is no longer valid",
    "Another card was saved since, so this payment can't be confirmed any more. A new payment, with the new card, brings a new \
     link if the bank wants one.",
);

/// Where a link that is over leads to.
const SEE: &str = "See how it stands";

/// What somebody is told who opens or uses a link that is no longer for anything.
pub(crate) fn gone(state: State<'_>, path: &str) -> String {
    let link = format!("{path}/done");
    match state {
        State::Expired => message_with_link(EXPIRED.0, EXPIRED.1, &link, SEE),
        State::Replaced => message_with_link(REPLACED.0, REPLACED.1, &link, SEE),
        State::Declined => message_with_link(
            "This link was used",
            "The payment did not go through, and nothing was charged. A new payment brings a new link.",
            &link,
            "See what happened",
        ),
        _ => message_with_link(
            "This link was used",
            "The payment was confirmed already. There is nothing left to do, and nothing is charged again.",
            &link,
            SEE,
        ),
    }
}

fn facts(record: &Record, until: Option<Timestamp>) -> String {
    let mut rows = vec![("Organization", record.organization.to_string()), ("Quota", amount(record.amount))];
    rows.push(("Total charge", amount(record.total)));
    if let Some((brand, last4)) = &record.card {
        rows.push(("Card", format!("{brand} ···· {last4}")));
    }
    if let Some(until) = until {
        rows.push(("Valid until", until.format("%Y-%m-%d %H:%M UTC").to_string()));
    }
    let rows: Vec<_> =
        rows.into_iter().map(|(name, value)| format!("<dt>{name}</dt><dd>{}</dd>", escape(&value))).collect();
    format!("<dl>{}</dl>", rows.join(""))
}

fn amount(money: Money) -> String {
    number(money.to_decimal(), money.currency)
}

fn number(number: Decimal, currency: Currency) -> String {
    let mut number = number.normalize();
    if number.scale() < currency.digits() {
        number.rescale(currency.digits());
    }
    format!("{number} {}", currency.code().to_uppercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::record::tests::{now, record};
    use super::*;

    #[test]
    fn the_page_says_what_is_confirmed() {
        let record = record("action_required");
        let State::Open(open) = record.state(now()) else { panic!() };
        let html = confirm(&record, &open, "/pay/abc", "n1");
        for part in [
            "acme",
            "100.00 USD",
            "103.30 USD",
            "visa ···· 3184",
            "2025-11-25 15:00 UTC",
            "Nothing is charged until",
            r#"<form method="post" action="/pay/abc">"#,
            r#"name="attempt" value="n1""#,
        ] {
            assert!(html.contains(part), "{part}: {html}");
        }
        assert!(!html.contains("<script") && !html.contains(" style="), "{html}");
    }

    #[test]
    fn the_policy_names_the_style_sheet() {
        let (strict, plain) = (policy(false), policy(true));
        assert!(strict.starts_with("default-src 'none'; style-src 'sha256-") && !strict.contains("http:;"), "{strict}");
        let html = message("a", "b");
        let style = html.split("<style>").nth(1).and_then(|rest| rest.split("</style>").next()).unwrap();
        assert!(strict.contains(&STANDARD.encode(Sha256::digest(style))), "{strict}");
        assert!(strict.contains("form-action 'self' https:;") && plain.contains("form-action 'self' https: http:;"));
    }

    #[test]
    fn every_state_has_its_page() {
        let mut record = record("declined");
        record.failure_message = Some("<b>\"no\" & 'never'</b>".to_owned());
        record.card = Some(("<script>".to_owned(), "\"><img>".to_owned()));
        record.new_quota = Some(Decimal::from(600));
        for (status, title, again) in [
            ("action_required", "Waiting for your bank", true),
            ("processing", "Your bank is processing", true),
            ("charged", "Payment confirmed", true),
            ("settled", "Payment complete", false),
            ("declined", "The payment did not go through", false),
            ("refunded", "The payment was given back", false),
        ] {
            record.status = status.to_owned();
            let html = standing(&record, record.state(now()), "/pay/abc");
            assert!(html.contains(title), "{status}: {html}");
            assert_eq!(html.contains("http-equiv=\"refresh\""), again, "{status}");
            assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("<b>"), "{html}");
        }
        record.status = "settled".to_owned();
        assert!(standing(&record, record.state(now()), "/pay/abc").contains("The quota is 600.00 USD now"));
        record.status = "declined".to_owned();
        let html = standing(&record, record.state(now()), "/pay/abc");
        assert!(html.contains("&lt;b&gt;&quot;no&quot; &amp; &#39;never&#39;&lt;/b&gt;"), "{html}");
    }

    proptest! {
        #[test]
        fn nothing_gets_out_of_its_place(text in "\\PC{0,80}") {
            let escaped = escape(&text);
            prop_assert!(!escaped.contains(['<', '>', '"', '\'']));
            let html = message(&text, &text);
            prop_assert_eq!(html.matches('<').count(), message("", "").matches('<').count());
        }
    }
}
