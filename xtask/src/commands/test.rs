//! `cargo xtask test`: the whole suite, on parts of its own, leaving nothing behind.
//!
//! It goes in two steps, which are two programs one after the other in the same process. The first
//! finds the parts and builds; Ctrl-C ends it at once, and cargo with it. The second runs the tests,
//! and there Ctrl-C is for the runner, which ends its tests; we must stay to stop PostgreSQL and see
//! that nothing is left. So the second step starts with SIGINT ignored, which only `env` can do for us
//! (std has no call for it), and gives the runner SIGINT back in the same way.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use xtask::folder::{self, PrivateFolder};
use xtask::postgres::{self, Cluster};
use xtask::process::{Program, Signal};
use xtask::tools::{self, Tools};
use xtask::{paths, processes, say};

use crate::cargo;

/// The name of the second step; not for people.
pub(crate) const SUPERVISE: &str = "__supervise-tests";

/// How many tests cargo-nextest runs at once.
const TEST_THREADS: &str = "NEXTEST_TEST_THREADS";

/// How long what the tests started may take to notice that they are over.
const LEAVE_LIMIT: Duration = Duration::from_secs(10);

/// The first step: finds the parts, builds, and becomes the second step.
pub(crate) fn prepare(args: &[OsString]) -> Result<ExitCode> {
    let abandoned = folder::sweep();
    if abandoned > 0 {
        say(format_args!("removed {abandoned} folders that a killed run had left"));
    }
    let started = Instant::now();
    let tools = Tools::find_or_install_for_tests()?;
    let found = started.elapsed();
    build()?;
    let built = started.elapsed() - found;
    let mut second = second_step()?;
    second.args([SUPERVISE, &seconds(found), &seconds(built)]).args(args).envs(tools.envs());
    // Returns only if it fails.
    Err(second.exec()).context("starting the second step")
}

/// Programs and tests in one go: built apart, their dependencies would get different features, and
/// be compiled twice.
fn build() -> Result<()> {
    say("building programs and tests …");
    let build = cargo::program().args(["build", "--workspace", "--lib", "--bins", "--tests", "--examples"]);
    build.run().context("building the tests")
}

/// This program again, deaf to SIGINT if `env` can arrange that.
fn second_step() -> Result<Command> {
    let this = env::current_exe().context("finding this program")?;
    if !can_set_signals() {
        return Ok(Command::new(this));
    }
    let mut command = Command::new("env");
    command.arg("--ignore-signal=INT").arg(this);
    Ok(command)
}

/// GNU coreutils 8.31 and newer can.
fn can_set_signals() -> bool {
    let quiet =
        |command: &mut Command| command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    quiet(Command::new("env").args(["--default-signal=INT", "true"])).is_ok_and(|status| status.success())
}

/// The second step: starts PostgreSQL, runs the tests, and looks that nothing is left.
pub(crate) fn supervise(args: &[OsString]) -> Result<ExitCode> {
    let [found, built, args @ ..] = args else {
        anyhow::bail!("{SUPERVISE} is not for people: run `cargo xtask test`")
    };
    let tools = Tools::from_env()?;
    let run = PrivateFolder::create_for_run()?;
    let started = Instant::now();
    let mut cluster = Cluster::start_in(&tools.postgres_bin, run.path(), postgres::Options::default())?;
    let ready = started.elapsed();
    let outcome = run_tests(&tools, &cluster, run.path(), args);
    let tested = started.elapsed() - ready;
    let at_leave = Instant::now();
    cluster.stop()?;
    drop(cluster);
    let left = end_survivors(run.path())?;
    say(format_args!(
        "cargo xtask test: tools {} s, build {} s, PostgreSQL {} s, tests {} s, stopping {} s; {}",
        found.to_string_lossy(),
        built.to_string_lossy(),
        seconds(ready),
        seconds(tested),
        seconds(at_leave.elapsed()),
        if left { "PROCESSES WERE LEFT (see above)" } else { "no process left" },
    ));
    let code = exit_code(outcome?);
    Ok(if left && code == ExitCode::SUCCESS { ExitCode::FAILURE } else { code })
}

fn run_tests(tools: &Tools, cluster: &Cluster, run: &Path, args: &[OsString]) -> Result<ExitStatus> {
    let cargo = cargo::path();
    let runner: &[&str] = if has_nextest() { &["nextest", "run"] } else { &["test"] };
    let chooses = args.iter().any(|arg| arg == "-p" || arg.to_string_lossy().starts_with("--package"));
    let workspace: &[&str] = if chooses { &[] } else { &["--workspace"] };
    let program = if can_set_signals() {
        Program::new("env").arg("--default-signal=INT").arg(cargo)
    } else {
        Program::new(cargo)
    };
    let program = cargo::clean(program.args(runner).args(workspace).args(args))
        .cwd(paths::root())
        .env(tools::TEST_DATABASE_URL, cluster.url("postgres"))
        .env(tools::BIN_DIR, paths::target_dir().join("debug"))
        .env(folder::RUN_DIR, run)
        .env(TEST_THREADS, env::var_os(TEST_THREADS).unwrap_or_else(|| tests_at_once().into()));
    let program = tools.envs().into_iter().fold(program, |program, (name, value)| program.env(name, value));
    program.spawn()?.wait()
}

/// Twice as many tests as processors: most of them wait for a database or a broker most of the time. Those that start a
/// whole system count for two (`.config/nextest.toml`).
fn tests_at_once() -> String {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    (2 * processors).to_string()
}

fn has_nextest() -> bool {
    let version = cargo::program().args(["nextest", "--version"]).output(xtask::process::Output::Null);
    version.run().is_ok()
}

/// Waits for what the tests started to end, then names and kills what hasn't. Returns whether there was
/// any.
fn end_survivors(run: &Path) -> Result<bool> {
    let started = Instant::now();
    let mut left = processes::belonging_to(run);
    while !left.is_empty() && started.elapsed() < LEAVE_LIMIT {
        thread::sleep(Duration::from_millis(100));
        left = processes::belonging_to(run);
    }
    for pid in &left {
        say(format_args!("still running after the tests, killed: {pid} {}", processes::command_line(*pid)));
    }
    Signal::Kill.send(&left)?;
    Ok(!left.is_empty())
}

/// The runner's, or failure if a signal ended it.
fn exit_code(status: ExitStatus) -> ExitCode {
    status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}

fn seconds(duration: Duration) -> String {
    format!("{}.{}", duration.as_secs(), duration.subsec_millis() / 100)
}
