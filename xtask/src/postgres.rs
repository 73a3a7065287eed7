//! A PostgreSQL cluster of our own, in a private folder and on a free port.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::folder::{self, PrivateFolder};
use crate::identity::{self, Identity};
use crate::process::{ManagedChild, Output, Program, Signal};
use crate::user::{self, User};
use crate::{ports, processes, random};

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// How often another free port is tried before giving up.
const PORT_TRIES: usize = 10;
const POLL: Duration = Duration::from_millis(10);
const SUPERUSER: &str = "postgres";

/// How a cluster is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Whether commits reach the disk. Without, everything is much faster, and a killed process still
    /// loses nothing, because the kernel has what it wrote; only a power cut would.
    pub durable: bool,
    /// The port of 127.0.0.1 to listen on; a free one if none is given.
    pub port: Option<u16>,
    /// What it proves its name with. With it, connections that are not encrypted are refused.
    pub tls: Option<Identity>,
}

/// A cluster, stopped when dropped.
#[derive(Debug)]
pub struct Cluster {
    bin: PathBuf,
    options: Options,
    port: u16,
    password: String,
    user: Option<User>,
    server: Option<ManagedChild>,
    /// Holds `data`, `log` and `password`.
    folder: PathBuf,
    /// Dropped after the server is: fields are dropped in this order.
    owned: Option<PrivateFolder>,
}

impl Cluster {
    /// Makes a new cluster and starts it. Its folder is removed when it is dropped.
    pub fn start(bin: &Path, options: Options) -> Result<Self> {
        let user = user::unprivileged()?;
        let owned = PrivateFolder::create("postgres", user.as_ref())?;
        Self::start_in_private(bin, options, owned, user)
    }

    /// The same, with its folder inside this one.
    pub fn start_in(bin: &Path, base: &Path, options: Options) -> Result<Self> {
        let user = user::unprivileged()?;
        let owned = PrivateFolder::create_in(base, "postgres", user.as_ref())?;
        Self::start_in_private(bin, options, owned, user)
    }

    fn start_in_private(bin: &Path, options: Options, owned: PrivateFolder, user: Option<User>) -> Result<Self> {
        let mut cluster = Self::at(bin, options, owned.path().to_path_buf(), user)?;
        cluster.owned = Some(owned);
        cluster.create()?;
        cluster.start_on_free_port()?;
        Ok(cluster)
    }

    /// Starts the cluster that an earlier call left in this folder (see [`folder::lasting`]); makes a
    /// new one if there is none, or if it doesn't start. The folder stays when it is dropped.
    pub fn open_or_create(bin: &Path, folder: &Path, options: Options) -> Result<Self> {
        let user = user::unprivileged()?;
        folder::ensure(folder, user.as_ref())?;
        let mut cluster = Self::at(bin, options, folder.to_path_buf(), user)?;
        if cluster.reopen().is_ok() {
            return Ok(cluster);
        }
        cluster.clear()?;
        cluster.create()?;
        cluster.start_on_free_port()?;
        Ok(cluster)
    }

    /// How to reach a database in it, as its superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/{database}", self.password, self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the postmaster, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(ManagedChild::pid)
    }

    /// What the server says.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Stops it in order: open transactions are rolled back.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        resume_all(&mut server)?;
        // SIGINT is PostgreSQL's "fast" shutdown; SIGTERM would wait for its clients to leave.
        server.end_with(Signal::Interrupt, STOP_LIMIT)?;
        Ok(())
    }

    /// Kills every process of it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        let children = processes::descendants(server.pid());
        server.kill9()?;
        Signal::Kill.send(&children)?;
        wait_until_gone(&children)
    }

    /// Starts it after [`stop`](Self::stop) or [`kill`](Self::kill), with the same data on the same port.
    pub fn start_again(&mut self) -> Result<()> {
        if self.server.is_some() {
            bail!("PostgreSQL on port {} runs already", self.port);
        }
        let started = Instant::now();
        loop {
            match self.start_server() {
                Err(Failure::PortTaken) if started.elapsed() < STOP_LIMIT => thread::sleep(POLL * 10),
                outcome => return outcome.map_err(|failure| failure.explain(self.port)),
            }
        }
    }

    /// Freezes every process of it: connections stay open and nothing answers.
    pub fn pause(&mut self) -> Result<()> {
        let Some(server) = &mut self.server else { bail!("PostgreSQL doesn't run") };
        // The postmaster first, so that it starts no more of them.
        server.pause()?;
        Signal::Stop.send(&processes::descendants(server.pid()))
    }

    /// Lets it go on.
    pub fn resume(&mut self) -> Result<()> {
        let Some(server) = &mut self.server else { bail!("PostgreSQL doesn't run") };
        resume_all(server)
    }

    fn at(bin: &Path, options: Options, folder: PathBuf, user: Option<User>) -> Result<Self> {
        let password = random_password()?;
        Ok(Self { bin: bin.to_path_buf(), options, port: 0, password, user, server: None, folder, owned: None })
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn password_file(&self) -> PathBuf {
        self.folder.join("password")
    }

    fn reopen(&mut self) -> Result<()> {
        self.password = fs::read_to_string(self.password_file())?.trim().to_owned();
        self.start_on_free_port()
    }

    fn clear(&self) -> Result<()> {
        for path in [self.data(), self.password_file(), self.log()] {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(error).with_context(|| format!("removing {}", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn create(&self) -> Result<()> {
        let mut file = File::options().write(true).create_new(true).mode(0o600).open(self.password_file())?;
        writeln!(file, "{}", self.password)?;
        folder::give_to(&self.password_file(), self.user.as_ref())?;
        // A password, because the port is open to every user of the machine; sent in the clear, because
        // hashing it thousands of times for each connection is slow in a debug build.
        let initdb = self
            .program("initdb")
            .arg("--pgdata")
            .arg(self.data())
            .arg("--pwfile")
            .arg(self.password_file())
            .args(["--username", SUPERUSER, "--auth=password", "--encoding=UTF8", "--no-locale", "--no-instructions"]);
        let initdb = if self.options.durable { initdb } else { initdb.arg("--no-sync") };
        initdb.run().context("making a PostgreSQL cluster")?;
        if let Some(identity) = &self.options.tls {
            identity.write(&self.folder, self.user.as_ref())?;
            // In the place of what `--auth` above wrote there.
            fs::write(self.data().join("pg_hba.conf"), "hostssl all all 127.0.0.1/32 password\n")?;
        }
        Ok(())
    }

    fn start_on_free_port(&mut self) -> Result<()> {
        for _ in 0..PORT_TRIES {
            self.port = self.options.port.map_or_else(ports::free_port, Ok)?;
            match self.start_server() {
                Err(Failure::PortTaken) if self.options.port.is_none() => {}
                outcome => return outcome.map_err(|failure| failure.explain(self.port)),
            }
        }
        bail!("no free port for PostgreSQL in {PORT_TRIES} tries")
    }

    fn start_server(&mut self) -> Result<(), Failure> {
        // Only what this start says counts below.
        let _ = fs::remove_file(self.log());
        let mut server = self.server_program().spawn()?;
        let started = Instant::now();
        while !self.is_ready(server.pid()) {
            if server.try_wait()?.is_some() {
                return Err(Failure::ended(&server));
            }
            if started.elapsed() > START_LIMIT {
                return Err(Failure::Other(anyhow::anyhow!(
                    "PostgreSQL isn't ready after {START_LIMIT:?}{}",
                    server.log_tail()
                )));
            }
            thread::sleep(POLL);
        }
        self.server = Some(server);
        Ok(())
    }

    fn server_program(&self) -> Program {
        let mut settings = vec![
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".to_owned(),
            // No socket file: nothing needs one, and its path has a length limit.
            "unix_socket_directories=".to_owned(),
            "max_connections=400".to_owned(),
            "shared_buffers=64MB".to_owned(),
            "min_wal_size=32MB".to_owned(),
            "max_wal_size=256MB".to_owned(),
        ];
        if !self.options.durable {
            // Not `synchronous_commit=off`: that would lose commits when a process is killed.
            settings.extend(["fsync=off", "full_page_writes=off"].map(str::to_owned));
        }
        if self.options.tls.is_some() {
            settings.push("ssl=on".to_owned());
            settings.push(format!("ssl_cert_file={}", identity::certificate_in(&self.folder).display()));
            settings.push(format!("ssl_key_file={}", identity::key_in(&self.folder).display()));
        }
        // The folder of a private cluster goes anyway; one that lasts is closed in order.
        let death = if self.owned.is_some() { Signal::Quit } else { Signal::Interrupt };
        let settings = settings.iter().flat_map(|setting| ["-c", setting]);
        self.program("postgres").arg("-D").arg(self.data()).args(settings).on_parent_death(death)
    }

    fn program(&self, name: &str) -> Program {
        Program::new(self.bin.join(name))
            .cwd(&self.folder)
            // The caller's locale may not exist here, which PostgreSQL takes badly.
            .env("LC_ALL", "C")
            .output(Output::File(self.log()))
            .as_user(self.user.clone())
            .own_group()
    }

    /// The eighth line of its pid file says "ready" when it takes connections; `pg_ctl` looks there too.
    fn is_ready(&self, pid: u32) -> bool {
        let Ok(text) = fs::read_to_string(self.data().join("postmaster.pid")) else {
            return false;
        };
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        lines.first() == Some(&pid.to_string().as_str()) && lines.get(7) == Some(&"ready")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Nothing useful can be done about a failure here. A private cluster's data is removed next, so
        // it need not be closed in order.
        let _ = if self.owned.is_some() { self.kill() } else { self.stop() };
    }
}

/// Why a server didn't start.
enum Failure {
    PortTaken,
    Other(anyhow::Error),
}

impl Failure {
    fn ended(server: &ManagedChild) -> Self {
        let tail = server.log_tail();
        if tail.contains("Address already in use") {
            return Self::PortTaken;
        }
        Self::Other(anyhow::anyhow!("PostgreSQL ended while starting{tail}"))
    }

    fn explain(self, port: u16) -> anyhow::Error {
        match self {
            Self::PortTaken => {
                anyhow::anyhow!("PostgreSQL can't have port {port}: somebody else listens there")
            }
            Self::Other(error) => error,
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Other(error)
    }
}

fn resume_all(server: &mut ManagedChild) -> Result<()> {
    Signal::Continue.send(&processes::descendants(server.pid()))?;
    server.resume()
}

fn wait_until_gone(pids: &[u32]) -> Result<()> {
    let started = Instant::now();
    while pids.iter().any(|pid| processes::is_running(*pid)) {
        if started.elapsed() > STOP_LIMIT {
            bail!("processes of PostgreSQL still run after being killed: {pids:?}");
        }
        thread::sleep(POLL);
    }
    Ok(())
}

fn random_password() -> Result<String> {
    let bytes: [u8; 16] = random::bytes()?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
