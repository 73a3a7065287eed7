//! `/console/organizations`: who needs a person first.

use askama::Template;
use serde::Deserialize;

use super::standing::{Row, Standing};
use crate::console::form::query;
use crate::console::layout::Layout;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::term;
use crate::console::visit::Visit;
use crate::http::Problem;

const PATH: &str = "/console/organizations";
/// The order that nobody has to ask for.
const USUAL: &str = "urgency";

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![Route::get(PATH, |visit| Box::pin(async move { show(&visit).await }))]
}

#[derive(Deserialize)]
struct Answer {
    counts: Counts,
    items: Vec<Standing>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Counts {
    all: i64,
    paused: i64,
    failing: i64,
    action_required: i64,
    behind: i64,
    low: i64,
    no_card: i64,
    off: i64,
    ok: i64,
}

/// Those of one urgency, or all.
struct Chip {
    href: String,
    says: &'static str,
    count: i64,
    current: bool,
}

struct Choice {
    word: &'static str,
    says: &'static str,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "operator/organizations.html")]
struct Page {
    layout: Layout,
    chips: Vec<Chip>,
    rows: Vec<Row>,
    search: String,
    only: String,
    closed: bool,
    orders: Vec<Choice>,
    /// Whether what is shown was asked for in particular.
    filtered: bool,
    /// This list from its beginning, when this is not the beginning.
    first: Option<String>,
    next: Option<String>,
}

/// `GET /console/organizations?search=&only=&sort=&closed=&after=`
async fn show(visit: &Visit) -> Result<Reply, Problem> {
    let asked = |name| visit.query.get(name).unwrap_or_default().to_owned();
    let (search, only, sort, after) = (asked("search").trim().to_owned(), asked("only"), asked("sort"), asked("after"));
    let closed = visit.query.get("closed").is_some();
    let list = |only: &str, after: &str| {
        let closed = if closed { "true" } else { "" };
        query([("search", search.as_str()), ("only", only), ("sort", &sort), ("closed", closed), ("after", after)])
    };
    let answer: Answer = visit.get(&format!("/api/standings?{}", list(&only, &after))).await?;
    let text = visit.text;
    let href = |only: &str, after: &str| with_query(&list(only, after));
    let chip = |(word, count): (&'static str, i64)| Chip {
        href: href(word, ""),
        says: if word.is_empty() { text.common.all } else { term(text.terms.urgencies, word) },
        count,
        current: only == word,
    };
    let layout = visit.layout(text.common.organizations).live(visit.own()).section("organizations");
    let page = Page {
        layout,
        chips: answer
            .counts
            .each()
            .into_iter()
            .filter(|(word, count)| *count > 0 || word.is_empty() || only == *word)
            .map(chip)
            .collect(),
        rows: answer.items.into_iter().map(|standing| standing.row(text)).collect(),
        orders: [USUAL, "available", "id"].map(|word| order(text.terms.orders, word, &sort)).into(),
        filtered: !search.is_empty() || !only.is_empty(),
        first: (!after.is_empty()).then(|| href(&only, "")),
        next: answer.next_cursor.as_deref().map(|cursor| href(&only, cursor)),
        search,
        only,
        closed,
    };
    Reply::page(&page)
}

fn order(orders: &[(&'static str, &'static str)], word: &'static str, asked: &str) -> Choice {
    let says = orders.iter().find(|(have, _)| *have == word).map_or(word, |(_, says)| says);
    Choice { word, says, chosen: asked == word || asked.is_empty() && word == USUAL }
}

fn with_query(query: &str) -> String {
    if query.is_empty() { PATH.to_owned() } else { format!("{PATH}?{query}") }
}

impl Counts {
    /// Each with its word, as the chips stand.
    fn each(&self) -> [(&'static str, i64); 9] {
        [
            ("", self.all),
            ("paused", self.paused),
            ("failing", self.failing),
            ("action_required", self.action_required),
            ("behind", self.behind),
            ("low", self.low),
            ("no_card", self.no_card),
            ("off", self.off),
            ("ok", self.ok),
        ]
    }
}
