//! `/console/dead-letters`: what was given up, in groups of one cause and one by one; several are brought back at once.

use askama::Template;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Badge;
use super::letter::{gave_up, pretty};
use crate::console::form::query;
use crate::console::layout::Layout;
use crate::console::moment::Moment;
use crate::console::pages::error::sentence;
use crate::console::reply::Reply;
use crate::console::route::Route;
use crate::console::text::{Text, fill, term};
use crate::console::visit::Visit;
use crate::http::Problem;

const PATH: &str = "/console/dead-letters";
const REDRIVE: &str = "/console/dead-letters/redrive";
/// So many are brought back by one call.
const BULK: usize = 100;
/// So much of a message is shown in the list, in characters.
const PREVIEW: usize = 300;

/// The routes.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get(PATH, |visit| Box::pin(async move { show(&visit, None).await })),
        Route::get(REDRIVE, |_| Box::pin(async move { Ok(Reply::redirect(PATH)) })),
        Route::post(REDRIVE, |visit| Box::pin(async move { redrive(&visit).await })),
    ]
}

#[derive(Deserialize)]
struct Groups {
    grouped: Vec<Grouped>,
    counted: u64,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Grouped {
    service: String,
    reason: String,
    error: String,
    count: u64,
    oldest: Moment,
    newest: Moment,
    sequences: Vec<u64>,
}

#[derive(Deserialize)]
struct Letters {
    items: Vec<Letter>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct Letter {
    sequence: u64,
    service: String,
    subject: String,
    reason: String,
    c_organization_id: Option<String>,
    parked_at: Moment,
    preview: Value,
}

#[derive(Deserialize)]
struct Redriven {
    success: bool,
    results: Vec<Redrove>,
}

/// What became of one: of a letter that was not brought back only its number is told, and why.
#[derive(Deserialize)]
struct Redrove {
    success: bool,
    sequence: u64,
    service: Option<String>,
    subject: Option<String>,
    code: Option<String>,
    error: Option<String>,
}

/// Letters of one cause.
struct Group {
    title: String,
    error: String,
    count: u64,
    oldest: Moment,
    newest: Moment,
    example: Option<u64>,
    /// Those that one press brings back.
    sequences: Vec<u64>,
    button: String,
}

struct Row {
    sequence: u64,
    subject: String,
    reason: String,
    organization: Option<String>,
    parked_at: Moment,
    preview: String,
}

#[derive(Template)]
#[template(path = "operator/dead_letters.html")]
struct Page {
    layout: Layout,
    /// None: this is not the first page.
    groups: Option<Vec<Group>>,
    rows: Vec<Row>,
    /// Where more letters than were looked at for the groups are.
    partly: Option<String>,
    first: Option<&'static str>,
    next: Option<String>,
    refusal: Option<String>,
}

struct Outcome {
    sequence: u64,
    badge: Badge,
    says: String,
}

#[derive(Template)]
#[template(path = "operator/redriven.html")]
struct Results {
    layout: Layout,
    summary: Badge,
    outcomes: Vec<Outcome>,
}

/// `GET /console/dead-letters?after=`
async fn show(visit: &Visit, problem: Option<Problem>) -> Result<Reply, Problem> {
    let text = visit.text;
    let after = visit.query.get("after").unwrap_or_default();
    let letters: Letters = visit.get(&format!("/api/dead-letters?{}", query([("after", after)]))).await?;
    let groups = match after {
        "" => Some(visit.get::<Groups>("/api/dead-letters?group=reason").await?),
        _ => None,
    };
    let partly = groups.as_ref().filter(|groups| groups.next_cursor.is_some());
    let partly = partly.map(|groups| fill(text.operator.groups_partly, &[("count", &groups.counted.to_string())]));
    let layout = visit.layout(text.common.dead_letters).live(visit.own()).section("dead-letters");
    let page = Page {
        layout,
        groups: groups.map(|groups| groups.grouped.into_iter().map(|one| group(text, one)).collect()),
        rows: letters.items.into_iter().map(|letter| row(text, letter)).collect(),
        partly,
        first: (!after.is_empty()).then_some(PATH),
        next: letters.next_cursor.map(|next| format!("{PATH}?{}", query([("after", next.as_str())]))),
        refusal: problem.as_ref().map(|problem| sentence(text, problem)),
    };
    match problem {
        Some(problem) => Reply::page_with(problem.status(), &page),
        None => Reply::page(&page),
    }
}

fn group(text: &Text, group: Grouped) -> Group {
    let words = &text.operator;
    let all = group.sequences.len();
    let button = match all {
        1 => words.redrive_one.to_owned(),
        2..=BULK => fill(words.redrive_all, &[("count", &all.to_string())]),
        _ => fill(words.redrive_first, &[("count", &BULK.to_string())]),
    };
    Group {
        title: gave_up(text, &group.service, &group.reason),
        error: group.error,
        count: group.count,
        oldest: group.oldest,
        newest: group.newest,
        example: group.sequences.first().copied(),
        sequences: group.sequences.into_iter().take(BULK).collect(),
        button,
    }
}

fn row(text: &Text, letter: Letter) -> Row {
    Row {
        sequence: letter.sequence,
        reason: gave_up(text, &letter.service, &letter.reason),
        subject: letter.subject,
        organization: letter.c_organization_id,
        parked_at: letter.parked_at,
        preview: pretty(&letter.preview).chars().take(PREVIEW).collect(),
    }
}

/// `POST /console/dead-letters/redrive`: what became of each is shown at once; sent again, each says that it was done before.
async fn redrive(visit: &Visit) -> Result<Reply, Problem> {
    let text = visit.text;
    let sequences: Vec<u64> = visit.form.all("sequence").filter_map(|text| text.parse().ok()).collect();
    if sequences.is_empty() {
        let nothing = Problem::bad_request("nothing_chosen", "Choose at least one dead letter");
        return show(visit, Some(nothing)).await;
    }
    let redriven: Redriven = match visit.post("/api/dead-letters/redrive", json!({ "sequences": sequences })).await {
        Ok(redriven) => redriven,
        Err(problem) if problem.status().is_client_error() && problem.status().as_u16() != 400 => return Err(problem),
        Err(problem) => return show(visit, Some(problem)).await,
    };
    let words = &text.operator;
    let done = redriven.results.iter().filter(|one| one.success).count();
    let values = [("done", done.to_string()), ("all", redriven.results.len().to_string())];
    let summary = fill(words.redriven_of, &values.each_ref().map(|(name, value)| (*name, value.as_str())));
    let outcome = |one: Redrove| match one.success {
        true => {
            let says = [one.service, one.subject].into_iter().flatten().collect::<Vec<_>>().join(" · ");
            Outcome { sequence: one.sequence, badge: Badge::new("is-good", words.redriven), says }
        }
        false => {
            let code = one.code.unwrap_or_default();
            let known = term(text.terms.problems, &code);
            let says = if known == code { one.error.unwrap_or_default() } else { known.to_owned() };
            Outcome { sequence: one.sequence, badge: Badge::new("is-bad", words.not_redriven), says }
        }
    };
    let outcomes = redriven.results.into_iter().map(outcome).collect();
    let layout = visit.layout(words.redriven_title).section("dead-letters");
    let summary = Badge::new(if redriven.success { "is-good" } else { "is-warn" }, summary);
    Reply::page(&Results { layout, summary, outcomes })
}
