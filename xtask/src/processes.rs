//! Looking at the machine's processes, through /proc. Where there is none, nothing is seen.

use std::fs;
use std::path::{Path, PathBuf};

/// A running process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its process id.
    pub pid: u32,
    /// The process that started it, or adopted it.
    pub parent: u32,
}

/// Every process that runs. Those that have ended and wait to be reaped are left out.
pub fn all() -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| parse_stat(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .collect()
}

/// Every process that descends from this one, without itself.
pub fn descendants(ancestor: u32) -> Vec<u32> {
    let all = all();
    let mut found = vec![ancestor];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(all.iter().filter(|process| process.parent == parent).map(|process| process.pid));
        next += 1;
    }
    found.split_off(1)
}

/// Whether it runs. One that has ended and waits to be reaped doesn't.
pub fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| parse_stat(pid, &stat).is_some())
}

/// The processes that were told of this folder in their environment, or work inside it.
pub fn belonging_to(folder: &Path) -> Vec<u32> {
    all()
        .into_iter()
        .map(|process| process.pid)
        .filter(|pid| works_in(*pid, folder) || was_told_of(*pid, folder))
        .collect()
}

/// How a process was called, for a person.
pub fn command_line(pid: u32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned()
}

fn works_in(pid: u32, folder: &Path) -> bool {
    fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd: PathBuf| cwd.starts_with(folder))
}

fn was_told_of(pid: u32, folder: &Path) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let folder = folder.as_os_str().as_encoded_bytes();
    environment.windows(folder.len()).any(|bytes| bytes == folder)
}

/// `pid (name, which may hold anything) state parent …`; `None` for a process that has ended.
fn parse_stat(pid: u32, stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(Process { pid, parent })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        assert_eq!(parse_stat(7, "7 (a) S 1 (b) R 42 7"), Some(Process { pid: 7, parent: 42 }));
    }

    #[test]
    fn the_ended_are_left_out() {
        assert_eq!(parse_stat(7, "7 (sleep) Z 1 7"), None);
        assert_eq!(parse_stat(7, ""), None);
    }

    #[test]
    fn this_process_runs() {
        assert!(is_running(std::process::id()));
        assert!(all().iter().any(|process| process.pid == std::process::id()));
    }
}
