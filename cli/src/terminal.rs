//! The terminal: what is written and asked there.

use std::io::{BufRead, ErrorKind, IsTerminal, Write};

use chrono::Local;

use crate::show::Show;

/// How answers are shown here: in this machine's time zone, and as wide as the terminal, if it is one.
pub(crate) fn show() -> Show {
    let is_terminal = std::io::stdout().is_terminal();
    let width = terminal_size::terminal_size().filter(|_| is_terminal).map(|(width, _)| width.0);
    Show { zone: |at| at.with_timezone(&Local).fixed_offset(), width }
}

/// Writes to the standard output. A reader that went away (`bill … | head`) has what it wanted.
pub(crate) fn write(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(format!("writing the answer: {error}")),
        _ => Ok(()),
    }
}

/// Tells something beside the answer. When nobody can read it, nothing is lost that the exit code does not say.
pub(crate) fn note(text: &str) {
    let mut err = std::io::stderr().lock();
    drop(err.write_all(text.as_bytes()).and_then(|()| err.flush()));
}

/// Asks a person; a program is not asked. No answer is a no.
pub(crate) fn confirms(question: &str) -> bool {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return true;
    }
    note(&format!("{question} [y/N] "));
    let mut answer = String::new();
    let read = stdin.lock().read_line(&mut answer);
    read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}
