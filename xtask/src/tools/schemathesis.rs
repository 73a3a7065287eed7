//! schemathesis, which calls the API as its OpenAPI document describes it, and as it does not.

use std::path::PathBuf;

use anyhow::Result;

use super::venv::Venv;
use crate::paths;

/// The Python that has it; `None` where the checkout doesn't ask for it.
pub(super) fn find_or_install() -> Result<Option<PathBuf>> {
    let tool = Venv {
        name: "schemathesis",
        folder: "schemathesis",
        module: "schemathesis.cli",
        requirements: paths::schemathesis_requirements(),
    };
    tool.find_or_install()
}
