//! Where things are in the checkout.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the checkout.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_path_buf()
}

/// Cargo's target directory: `CARGO_TARGET_DIR`, or `target` in the checkout.
pub fn target_dir() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR").filter(|dir| !dir.is_empty()) {
        Some(dir) => std::path::absolute(&dir).unwrap_or_else(|_| PathBuf::from(dir)),
        None => root().join("target"),
    }
}

/// Where `cargo xtask` installs what the machine lacks.
pub fn tools_dir() -> PathBuf {
    target_dir().join("tools")
}

/// The one configuration of nats-server.
pub fn nats_config() -> PathBuf {
    root().join("nats").join("nats-server.conf")
}

/// What Stripe's Python SDK and its dependencies are pinned to, for the simulator's test.
pub fn stripe_requirements() -> PathBuf {
    root().join("simulators/tests/it/requirements.txt")
}

/// What schemathesis and its dependencies are pinned to, for the test of the API's documentation.
pub fn schemathesis_requirements() -> PathBuf {
    root().join("e2e/tests/it/schemathesis/requirements.txt")
}

/// The program of that name on `PATH`.
pub fn on_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|dir| dir.join(name)).find(|file| is_executable(file))
}

/// Whether this is a file that somebody may execute.
pub fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}
