//! Tables. Pure.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ColumnConstraint, ContentArrangement, Table};
use serde_json::Value;

use super::value::currency_of;
use super::{Show, plain, text_of};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    /// Breaks over lines where it has to.
    Text,
    /// People copy it: it stays in one piece.
    Whole,
    /// Stands to the right.
    Number,
}

/// A column: its heading, the field (`a.b` is a field in a field), and what it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column(pub(crate) &'static str, pub(crate) &'static str, pub(crate) As);

/// A page of a list, and whether there is more.
pub(crate) fn list(body: &Value, columns: &[Column], show: &Show) -> String {
    let items = body["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    if items.is_empty() {
        return "There are none.\n".to_owned();
    }
    let more = if body["next_cursor"].is_null() { "" } else { "\nThere are more: ask with a larger --limit.\n" };
    table(items, columns, currency_of(body), show) + more
}

/// Items as a table. An item's own currency goes before that of all.
pub(crate) fn table(items: &[Value], columns: &[Column], currency: Option<&str>, show: &Show) -> String {
    let cells = items.iter().map(|item| {
        let currency = currency_of(item).or(currency);
        let cell = |Column(_, path, _): &Column| match find(item, path) {
            Some(value) if !value.is_null() => text_of(path, value, currency, show),
            _ => "-".to_owned(),
        };
        columns.iter().map(cell).collect()
    });
    let headings = columns.iter().map(|Column(heading, ..)| (*heading).to_owned()).collect();
    draw(headings, cells.collect(), &columns.iter().map(|Column(_, _, kind)| *kind).collect::<Vec<_>>(), show)
}

/// Items of which nothing is known, with every field that one of them has.
pub(crate) fn rows(items: &[Value], currency: Option<&str>, show: &Show) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, value) in items.iter().filter_map(Value::as_object).flatten() {
        if !value.is_null() && !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let cells = items.iter().map(|item| {
        let currency = currency_of(item).or(currency);
        names.iter().map(|name| text_of(name, &item[*name], currency, show)).collect()
    });
    draw(names.iter().map(|name| plain(name)).collect(), cells.collect(), &vec![As::Text; names.len()], show)
}

fn find<'a>(item: &'a Value, path: &str) -> Option<&'a Value> {
    path.split('.').try_fold(item, |value, name| value.get(name))
}

pub(super) fn draw(headings: Vec<String>, cells: Vec<Vec<String>>, kinds: &[As], show: &Show) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    if let Some(width) = show.width {
        table.set_width(width);
    }
    let cell = |(text, kind): (String, &As)| {
        let alignment = if *kind == As::Number { CellAlignment::Right } else { CellAlignment::Left };
        Cell::new(text).set_alignment(alignment)
    };
    table.set_header(headings.into_iter().zip(kinds).map(cell).collect::<Vec<_>>());
    for row in cells {
        table.add_row(row.into_iter().zip(kinds).map(cell).collect::<Vec<_>>());
    }
    for (column, kind) in table.column_iter_mut().zip(kinds) {
        column.set_padding((0, 2));
        if *kind != As::Text {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table.trim_fmt() + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: [Column; 3] = [
        Column("ID", "id", As::Whole),
        Column("AMOUNT", "amount", As::Number),
        Column("WHY", "failure.message", As::Text),
    ];

    fn body() -> Value {
        json!({ "currency": "usd", "next_cursor": "c", "items": [
            { "id": "0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11", "amount": 5, "failure": { "message": "Your card was declined" } },
            { "id": "b", "amount": 100, "currency": "eur", "failure": null },
        ] })
    }

    #[test]
    fn a_list() {
        assert_eq!(
            list(&body(), &COLUMNS, &Show::plain_utc()),
            "ID                                     AMOUNT  WHY\n\
             0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11    5 USD  Your card was declined\n\
             b                                     100 EUR  -\n\
             \nThere are more: ask with a larger --limit.\n"
        );
        assert_eq!(
            list(&json!({ "items": [], "next_cursor": null }), &COLUMNS, &Show::plain_utc()),
            "There are none.\n"
        );
    }

    #[test]
    fn what_people_copy_stays_in_one_piece() {
        let narrow = Show { width: Some(60), ..Show::plain_utc() };
        let text = list(&body(), &COLUMNS, &narrow);
        assert!(text.contains("0d3c1e3e-6a55-5a6f-9c37-0c8b6f0a3f11    5 USD  Your card"), "{text}");
        assert!(!text.contains("Your card was declined"), "{text}");
    }
}
