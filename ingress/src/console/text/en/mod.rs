//! The texts in English.

mod common;
mod history;
mod operator;
mod organization;
mod terms;

use super::Text;

pub(super) static TEXT: Text = Text {
    code: "en",
    common: common::COMMON,
    terms: terms::TERMS,
    organization: organization::ORGANIZATION,
    history: history::HISTORY,
    operator: operator::OPERATOR,
};
