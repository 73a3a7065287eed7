//! Writes the contract's generated files into `nats/`. `--check` writes nothing and fails when they differ.
#![forbid(unsafe_code)]

use std::path::Path;
use std::process::ExitCode;

fn main() -> std::io::Result<ExitCode> {
    let check = std::env::args().any(|argument| argument == "--check");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../nats");
    let mut different = Vec::new();
    for (path, content) in common::contract::schemas::generate() {
        let file = root.join(&path);
        if std::fs::read_to_string(&file).ok().as_deref() == Some(content.as_str()) {
            continue;
        }
        if !check {
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&file, content)?;
        }
        different.push(path);
    }
    report(check, &different);
    Ok(if check && !different.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

#[expect(clippy::print_stdout, reason = "a command-line program")]
fn report(check: bool, different: &[String]) {
    let verb = if check { "differs" } else { "written" };
    for path in different {
        println!("{verb}: nats/{path}");
    }
    println!("{} generated files, {} {verb}", common::contract::schemas::generate().len(), different.len());
}
