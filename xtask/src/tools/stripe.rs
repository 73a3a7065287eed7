//! Stripe's own Python SDK, against which the simulator has to hold.

use std::path::PathBuf;

use anyhow::Result;

use super::venv::Venv;
use crate::paths;

/// The Python that has it; `None` where the checkout doesn't ask for it.
pub(super) fn find_or_install() -> Result<Option<PathBuf>> {
    let sdk = Venv {
        name: "Stripe's Python SDK",
        folder: "stripe-python",
        module: "stripe",
        requirements: paths::stripe_requirements(),
    };
    sdk.find_or_install()
}
