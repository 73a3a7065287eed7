//! Lists in pages: what they are narrowed by, where in them a page is, and all of one for a file.

use chrono::NaiveDate;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use warp::http::StatusCode;

use crate::console::form::query;
use crate::console::pages::error;
use crate::console::text::Terms;
use crate::console::visit::Visit;
use crate::http::Problem;

/// The most rows of a file.
pub(super) const MOST_ROWS: usize = 50_000;
/// The API's largest page, and the most rows of one that is shown.
const LARGEST: &str = "200";
const SHOWN: &str = "50";

/// A page of one of the API's lists.
#[derive(Deserialize)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    pub(super) next_cursor: Option<String>,
}

/// How a list is narrowed: out of a few words, by a day (UTC), or by a text.
pub(super) struct Filter {
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// What is chosen from.
    pub(super) words: Vec<(&'static str, &'static str)>,
    pub(super) is_day: bool,
    /// What was chosen.
    pub(super) value: String,
}

impl Filter {
    /// One of a few words.
    pub(super) fn words(name: &'static str, label: &'static str, words: Terms) -> Self {
        Self { name, label, words: words.to_vec(), is_day: false, value: String::new() }
    }

    /// A text.
    pub(super) fn text(name: &'static str, label: &'static str) -> Self {
        Self { name, label, words: Vec::new(), is_day: false, value: String::new() }
    }

    /// From a day to a day, both included.
    pub(super) fn days(visit: &Visit) -> [Self; 2] {
        let words = &visit.text.history;
        [("from", words.from_day), ("to", words.to_day)].map(|(name, label)| Self {
            name,
            label,
            words: Vec::new(),
            is_day: true,
            value: String::new(),
        })
    }

    /// As the API wants it: a day is from its first moment on, or before the next one's.
    fn asked(&self) -> String {
        let day = NaiveDate::parse_from_str(&self.value, "%Y-%m-%d").ok().filter(|_| self.is_day);
        let first = day.and_then(|day| if self.name == "to" { day.succ_opt() } else { Some(day) });
        first.map_or_else(|| self.value.clone(), |day| format!("{day}T00:00:00Z"))
    }
}

/// A list on a page.
pub(super) struct Listing {
    /// The page's path.
    pub(super) path: String,
    /// The API's list.
    api: String,
    /// What the list is always narrowed by.
    always: Vec<(&'static str, String)>,
    pub(super) filters: Vec<Filter>,
    before: String,
    next: Option<String>,
    /// Why there is nothing to be seen.
    pub(super) problem: Option<String>,
}

impl Listing {
    /// The part of a list that the page's query asks for.
    pub(super) fn new(visit: &Visit, api: String, mut filters: Vec<Filter>) -> Self {
        let asked = |name| visit.query.get(name).unwrap_or_default().trim().to_owned();
        for filter in &mut filters {
            filter.value = asked(filter.name);
        }
        let path = visit.path.trim_end_matches('/').trim_end_matches(".csv").to_owned();
        Self { path, api, always: Vec::new(), filters, before: asked("before"), next: None, problem: None }
    }

    /// Narrowed by this, whatever the viewer chooses.
    pub(super) fn always(mut self, name: &'static str, value: &str) -> Self {
        self.always.push((name, value.to_owned()));
        self
    }

    /// Its rows. What can't be asked for so is said on the page.
    pub(super) async fn load<T: DeserializeOwned>(&mut self, visit: &Visit) -> Result<Vec<T>, Problem> {
        match visit.get::<Page<T>>(&self.call(&self.before, SHOWN)).await {
            Ok(page) => {
                self.next = page.next_cursor;
                Ok(page.items)
            }
            Err(problem) if problem.code() == "invalid_query" => {
                self.problem = Some(error::sentence(visit.text, &problem));
                Ok(Vec::new())
            }
            Err(problem) => Err(problem),
        }
    }

    fn call(&self, before: &str, limit: &str) -> String {
        let always = self.always.iter().map(|(name, value)| (*name, value.clone()));
        let filters = self.filters.iter().map(|filter| (filter.name, filter.asked()));
        let place = [("before", before.to_owned()), ("limit", limit.to_owned())];
        format!("{}?{}", self.api, query(always.chain(filters).chain(place)))
    }

    /// All of it, page by page.
    pub(super) fn walk(&self) -> Walk<'_> {
        self.walk_from("")
    }

    /// What is older than that place of it.
    pub(super) fn walk_from(&self, before: &str) -> Walk<'_> {
        Walk { listing: self, before: before.to_owned(), rows: 0, at_end: false }
    }

    pub(super) fn status(&self) -> StatusCode {
        if self.problem.is_some() { StatusCode::BAD_REQUEST } else { StatusCode::OK }
    }

    pub(super) fn is_filtered(&self) -> bool {
        self.filters.iter().any(|filter| !filter.value.is_empty())
    }

    pub(super) fn is_first(&self) -> bool {
        self.before.is_empty()
    }

    /// The page's place in the list.
    pub(super) fn place(&self) -> &str {
        &self.before
    }

    pub(super) fn newest(&self) -> String {
        self.address("", "")
    }

    pub(super) fn older(&self) -> Option<String> {
        self.next.as_deref().map(|next| self.address("", next))
    }

    pub(super) fn csv(&self) -> String {
        self.address(".csv", "")
    }

    fn address(&self, end: &str, before: &str) -> String {
        let filters = self.filters.iter().map(|filter| (filter.name, filter.value.as_str()));
        let query = query(filters.chain([("before", before)]));
        if query.is_empty() { format!("{}{end}", self.path) } else { format!("{}{end}?{query}", self.path) }
    }
}

/// A way through all of a list, as far as a file goes.
pub(super) struct Walk<'a> {
    listing: &'a Listing,
    before: String,
    rows: usize,
    at_end: bool,
}

impl Walk<'_> {
    /// The next rows; none at the end.
    pub(super) async fn next<T: DeserializeOwned>(&mut self, visit: &Visit) -> Result<Option<Vec<T>>, Problem> {
        if self.at_end || self.rows >= MOST_ROWS {
            return Ok(None);
        }
        let page: Page<T> = visit.get(&self.listing.call(&self.before, LARGEST)).await?;
        self.rows += page.items.len();
        self.at_end = page.next_cursor.is_none();
        self.before = page.next_cursor.unwrap_or_default();
        Ok(Some(page.items))
    }

    /// Whether it came to the end.
    pub(super) fn is_all(&self) -> bool {
        self.at_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(name: &'static str, value: &str) -> Filter {
        Filter { name, label: "", words: Vec::new(), is_day: true, value: value.to_owned() }
    }

    #[test]
    fn days_are_whole_days() {
        for (name, value, asked) in [
            ("from", "2026-02-28", "2026-02-28T00:00:00Z"),
            ("to", "2026-02-28", "2026-03-01T00:00:00Z"),
            ("to", "2026-12-31", "2027-01-01T00:00:00Z"),
            ("to", "yesterday", "yesterday"),
            ("from", "", ""),
        ] {
            assert_eq!(day(name, value).asked(), asked);
        }
    }

    #[test]
    fn addresses_keep_what_was_chosen() {
        let filters = vec![day("from", "2026-02-28"), day("to", "")];
        let path = "/console/organizations/a/recharges".to_owned();
        let listing = Listing {
            path,
            api: "/api/x".to_owned(),
            always: vec![("c_organization_id", "a".to_owned())],
            filters,
            before: "1_a".to_owned(),
            next: Some("2_b".to_owned()),
            problem: None,
        };
        let path = "/console/organizations/a/recharges";
        assert_eq!(listing.newest(), format!("{path}?from=2026-02-28"));
        assert_eq!(listing.older().unwrap(), format!("{path}?from=2026-02-28&before=2_b"));
        assert_eq!(listing.csv(), format!("{path}.csv?from=2026-02-28"));
        let call = "/api/x?c_organization_id=a&from=2026-02-28T00%3A00%3A00Z&before=1_a&limit=50";
        assert_eq!(listing.call(&listing.before, SHOWN), call);
    }
}
