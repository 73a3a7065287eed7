//! Children that never outlive their parent.
//!
//! Two things see to that. Dropping a [`ManagedChild`] ends it, which covers returns, errors and
//! panics. And where `setpriv` (util-linux) is there, the kernel signals the child when this process
//! dies without dropping anything, as with `kill -9`.

mod child;

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use anyhow::{Context, Result, bail};

pub use child::ManagedChild;

use crate::user::User;
use crate::{paths, say, spawner};

/// The signals used here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT, what Ctrl-C sends.
    Interrupt,
    /// SIGQUIT
    Quit,
    /// SIGTERM
    Terminate,
    /// SIGKILL, which can't be caught.
    Kill,
    /// SIGSTOP, which freezes a process.
    Stop,
    /// SIGCONT, which lets it go on.
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "INT",
            Self::Quit => "QUIT",
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }

    /// Sends it to processes, through the shell's own `kill`: slim systems lack the program. Those that
    /// have ended meanwhile are no error.
    pub fn send(self, pids: &[u32]) -> Result<()> {
        if pids.is_empty() {
            return Ok(());
        }
        let mut shell = Command::new("sh");
        shell.args(["-c", r#"for pid in "$@"; do kill -s "$0" "$pid"; done"#, self.name()]);
        shell.args(pids.iter().map(u32::to_string));
        shell.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.status().context("running sh to send a signal")?;
        Ok(())
    }
}

/// Where a child's output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// To this process's own.
    Inherit,
    /// To this process's stdout, each line after a word that tells whose it is.
    Prefixed(String),
    /// Appended to a file.
    File(PathBuf),
    /// Nowhere.
    Null,
}

/// A program to start.
#[derive(Debug, Clone)]
pub struct Program {
    program: PathBuf,
    args: Vec<OsString>,
    envs: Vec<(OsString, Option<OsString>)>,
    cwd: Option<PathBuf>,
    output: Output,
    user: Option<User>,
    death_signal: Signal,
    own_group: bool,
}

impl Program {
    /// A program with this process's environment and output, no input, and SIGTERM as its death signal.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            envs: Vec::new(),
            cwd: None,
            output: Output::Inherit,
            user: None,
            death_signal: Signal::Terminate,
            own_group: false,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), Some(value.as_ref().to_owned())));
        self
    }

    /// Keeps a variable of this process's environment from it.
    #[must_use]
    pub fn env_remove(mut self, name: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.as_ref().to_owned(), None));
        self
    }

    /// Where it works.
    #[must_use]
    pub fn cwd(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cwd = Some(folder.into());
        self
    }

    /// Where its output goes.
    #[must_use]
    pub fn output(mut self, output: Output) -> Self {
        self.output = output;
        self
    }

    /// Runs it as another user, which only root can.
    #[must_use]
    pub fn as_user(mut self, user: Option<User>) -> Self {
        self.user = user;
        self
    }

    /// What the kernel sends it should this process die without ending it.
    #[must_use]
    pub fn on_parent_death(mut self, signal: Signal) -> Self {
        self.death_signal = signal;
        self
    }

    /// Keeps a terminal's Ctrl-C from it: who started it ends it, in its own order.
    #[must_use]
    pub fn own_group(mut self) -> Self {
        self.own_group = true;
        self
    }

    /// Starts it.
    pub fn spawn(self) -> Result<ManagedChild> {
        let name = self.name();
        let mut command = self.command()?;
        let prefix = match &self.output {
            Output::Prefixed(prefix) => Some(prefix.clone()),
            _ => None,
        };
        set_output(&mut command, &self.output)?;
        let mut child = spawner::spawn(command).with_context(|| format!("starting {}", self.program.display()))?;
        if let Some(prefix) = prefix {
            forward(child.stdout.take(), &prefix);
            forward(child.stderr.take(), &prefix);
        }
        let log = match self.output {
            Output::File(file) => Some(file),
            _ => None,
        };
        Ok(ManagedChild::new(name, child, log))
    }

    /// Runs it to its end, and fails unless it succeeds.
    pub fn run(self) -> Result<()> {
        let mut child = self.spawn()?;
        let status = child.wait()?;
        if !status.success() {
            bail!("{} failed ({status}){}", child.name(), child.log_tail());
        }
        Ok(())
    }

    fn name(&self) -> String {
        self.program.file_name().unwrap_or(self.program.as_os_str()).to_string_lossy().into_owned()
    }

    fn command(&self) -> Result<Command> {
        let mut command = match setpriv() {
            Some(setpriv) => wrapped(setpriv, self),
            None if self.user.is_some() => {
                bail!("running {} as another user than root needs `setpriv` of util-linux 2.33 or newer", self.name())
            }
            None => Command::new(&self.program),
        };
        command.args(&self.args);
        for (name, value) in &self.envs {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        if self.own_group {
            command.process_group(0);
        }
        command.stdin(Stdio::null());
        Ok(command)
    }
}

/// `setpriv` gives up what it has to, asks for the death signal, and becomes the program: same pid.
fn wrapped(setpriv: &Path, program: &Program) -> Command {
    let mut command = Command::new(setpriv);
    command.arg(format!("--pdeathsig={}", program.death_signal.name()));
    if let Some(user) = &program.user {
        command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid));
        command.args(["--clear-groups", "--inh-caps=-all"]);
    }
    command.arg("--").arg(&program.program);
    command
}

/// `setpriv`, if it is there and can set a death signal.
fn setpriv() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find = || {
        let file = paths::on_path("setpriv")?;
        let help = Command::new(&file).arg("--help").stdin(Stdio::null()).output().ok()?;
        String::from_utf8_lossy(&help.stdout).contains("--pdeathsig").then_some(file)
    };
    FOUND.get_or_init(find).as_deref()
}

fn set_output(command: &mut Command, output: &Output) -> Result<()> {
    match output {
        Output::Inherit => command.stdout(Stdio::inherit()).stderr(Stdio::inherit()),
        Output::Prefixed(_) => command.stdout(Stdio::piped()).stderr(Stdio::piped()),
        Output::Null => command.stdout(Stdio::null()).stderr(Stdio::null()),
        Output::File(path) => {
            let log = open_log(path).with_context(|| format!("opening {}", path.display()))?;
            command.stdout(log.try_clone()?).stderr(log)
        }
    };
    Ok(())
}

fn open_log(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn forward(stream: Option<impl Read + Send + 'static>, prefix: &str) {
    let Some(stream) = stream else { return };
    let prefix = prefix.to_owned();
    // Ends with the stream, that is with the child.
    thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            say(format_args!("{prefix} {}", String::from_utf8_lossy(&line)));
        }
    });
}
