//! What is measured, one file for each part.

pub mod pages;

use xtask::bench::{Options, Part};

use crate::figures::Report;

/// Measures a part, and tells what was found.
///
/// # Errors
/// When it can't be measured.
pub async fn run(part: Part, options: &Options) -> anyhow::Result<Report> {
    let report = match part {
        Part::Pages => pages::run(options).await?,
    };
    report.tell();
    Ok(report)
}
