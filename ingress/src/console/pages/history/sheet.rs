//! Files for spreadsheets. Pure.

use warp::http::StatusCode;

use crate::console::amount::Amount;
use crate::console::moment::Moment;
use crate::console::reply::Reply;
use crate::http::Problem;

/// How spreadsheets know that a file is UTF-8.
const BYTE_ORDER_MARK: &str = "\u{feff}";
/// What makes a cell a formula, in one program or another. The wide ones are what Chinese keyboards type.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '＠'];

/// A table in the making.
pub(super) struct Sheet(csv::Writer<Vec<u8>>);

/// What a cell holds.
pub(super) enum Cell<'a> {
    /// A text, whoever wrote it: it is never a formula.
    Text(&'a str),
    Amount(Option<Amount>),
    At(Option<Moment>),
}

impl Cell<'_> {
    fn to_text(&self) -> String {
        match self {
            Self::Text(text) if text.starts_with(FORMULA) => format!("'{text}"),
            Self::Text(text) => (*text).to_owned(),
            Self::Amount(amount) => amount.map(|amount| amount.to_string()).unwrap_or_default(),
            Self::At(at) => at.map(|at| at.exact()).unwrap_or_default(),
        }
    }
}

impl Sheet {
    /// A table with these columns.
    pub(super) fn new(columns: &[&str]) -> Result<Self, Problem> {
        let mut sheet = Self(csv::Writer::from_writer(BYTE_ORDER_MARK.as_bytes().to_vec()));
        sheet.0.write_record(columns).map_err(failed)?;
        Ok(sheet)
    }

    /// One more row.
    pub(super) fn row(&mut self, cells: &[Cell<'_>]) -> Result<(), Problem> {
        self.0.write_record(cells.iter().map(Cell::to_text)).map_err(failed)
    }

    fn into_text(self) -> Result<String, Problem> {
        let bytes = self.0.into_inner().map_err(failed)?;
        String::from_utf8(bytes).map_err(failed)
    }

    /// The file. The name of one that had to end early says so.
    pub(super) fn into_reply(self, name: &str, is_all: bool) -> Result<Reply, Problem> {
        let rows = super::listing::MOST_ROWS;
        let name = if is_all { format!("{name}.csv") } else { format!("{name}-newest-{rows}.csv") };
        Ok(Reply::file(&name, "text/csv; charset=utf-8", self.into_text()?))
    }
}

fn failed(error: impl std::fmt::Display) -> Problem {
    tracing::error!(%error, "a file can't be made: {error}");
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "file_failed", "The file can't be made")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_what_they_were_and_never_formulas() {
        let amount: Amount = serde_json::from_str("-5.5").unwrap();
        let at: Moment = serde_json::from_str("\"2026-03-01T09:05:07.25Z\"").unwrap();
        let mut sheet = Sheet::new(&["金额", "x"]).unwrap();
        sheet.row(&[Cell::Amount(Some(amount)), Cell::At(Some(at))]).unwrap();
        sheet.row(&[Cell::Amount(None), Cell::Text("a,\"b\"\n<c>")]).unwrap();
        for evil in ["=1+1", "+1", "-1", "@a", "\t=1", "\r=1", "＝1"] {
            sheet.row(&[Cell::Text(evil), Cell::Text(" =1")]).unwrap();
        }
        let text = sheet.into_text().unwrap();
        let start = "\u{feff}金额,x\n-5.5,2026-03-01T09:05:07.250Z\n,\"a,\"\"b\"\"\n<c>\"\n'=1+1, =1\n'+1, =1\n'-1, =1\n'@a, =1\n";
        assert!(text.starts_with(start), "{text}");
        assert!(text.ends_with("\n'\t=1, =1\n\"'\r=1\", =1\n'＝1, =1\n"), "{text:?}");
    }
}
