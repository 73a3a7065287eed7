use std::path::PathBuf;
use std::time::Duration;
use std::{fs, thread};

use xtask::folder::PrivateFolder;
use xtask::process::{Output, Program};
use xtask::processes;

fn sh(script: &str) -> Program {
    Program::new("sh").args(["-c", script]).output(Output::Null)
}

#[test]
fn a_dropped_child_ends_even_when_frozen() {
    let mut child = sh("exec sleep 60").spawn().unwrap();
    child.pause().unwrap();
    let pid = child.pid();
    drop(child);
    assert!(!processes::is_running(pid));
}

#[test]
fn a_deaf_child_is_killed_after_the_grace() {
    let folder = PrivateFolder::create("process", None).unwrap();
    let ready: PathBuf = folder.path().join("ready");
    let mut child =
        sh(&format!("trap '' TERM; touch {}; while :; do sleep 0.1; done", ready.display())).spawn().unwrap();
    while !ready.exists() {
        thread::sleep(Duration::from_millis(5));
    }
    let status = child.terminate(Duration::from_millis(200)).unwrap();
    assert!(!status.success());
}

/// A child must not die with the thread that asked for it, only with the process.
#[test]
fn a_child_outlives_the_thread_that_asked_for_it() {
    let mut child = thread::spawn(|| sh("exec sleep 60").spawn().unwrap()).join().unwrap();
    thread::sleep(Duration::from_millis(200));
    assert!(child.is_running());
}

#[test]
fn a_failure_shows_the_end_of_the_log() {
    let folder = PrivateFolder::create("process", None).unwrap();
    let log = folder.path().join("log");
    let error = sh("echo the reason; exit 3").output(Output::File(log.clone())).run().unwrap_err();
    assert!(format!("{error:#}").contains("the reason"), "{error:#}");
    assert_eq!(fs::read_to_string(log).unwrap(), "the reason\n");
}

#[test]
fn a_missing_program_is_named() {
    let error = Program::new("/nowhere/at-all").output(Output::Null).run().unwrap_err();
    assert!(format!("{error:#}").contains("at-all"), "{error:#}");
}
