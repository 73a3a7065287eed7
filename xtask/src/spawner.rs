//! The thread that starts every child.
//!
//! A child's death signal (`PR_SET_PDEATHSIG`) is sent when the *thread* that started it ends, not its
//! process. A test's own thread ends with the test and an async runtime's blocking threads come and
//! go, so one thread does all the starting, and lives as long as the process.

use std::io;
use std::process::{Child, Command};
use std::sync::OnceLock;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

type Started = io::Result<Child>;
type Job = (Command, Sender<Started>);

/// Starts the command from the thread that lives as long as the process.
pub(crate) fn spawn(command: Command) -> Started {
    static JOBS: OnceLock<Sender<Job>> = OnceLock::new();
    let jobs = JOBS.get_or_init(start_thread);
    let (reply, started) = mpsc::channel();
    jobs.send((command, reply)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

fn start_thread() -> Sender<Job> {
    let (jobs, inbox) = mpsc::channel();
    // Should the thread not start, the inbox is dropped with it, and every send says so.
    let _ = thread::Builder::new().name("spawner".to_owned()).spawn(move || run(inbox));
    jobs
}

fn run(inbox: Receiver<Job>) {
    for (mut command, reply) in inbox {
        // Who asked may have given up.
        let _ = reply.send(command.spawn());
    }
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts children is gone")
}
