//! Running cargo from inside `cargo run`.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;

use xtask::{paths, process::Program};

/// The cargo that runs us.
pub(crate) fn path() -> PathBuf {
    env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}

/// The variables that `cargo run` added to our environment. Some build scripts watch them, and what
/// they belong to would be compiled anew each time cargo is run from here and then by hand.
pub(crate) fn added_variables() -> impl Iterator<Item = OsString> {
    env::vars_os().map(|(name, _)| name).filter(|name| {
        let name = name.to_string_lossy();
        ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|start| name.starts_with(start))
    })
}

/// Cargo, in the root of the checkout, as a person would run it.
pub(crate) fn program() -> Program {
    clean(Program::new(path()).cwd(paths::root()))
}

/// Without the variables that `cargo run` added.
pub(crate) fn clean(program: Program) -> Program {
    added_variables().fold(program, Program::env_remove)
}
