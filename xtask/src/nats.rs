//! A nats-server of our own, with the configuration that production has, in a private folder and on
//! free ports.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::folder::{self, PrivateFolder};
use crate::identity::{self, Identity};
use crate::process::{ManagedChild, Output, Program, Signal};
use crate::user::{self, User};
use crate::{paths, ports, random};

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// How often other free ports are tried before giving up.
const PORT_TRIES: usize = 10;
const POLL: Duration = Duration::from_millis(10);

/// The users of `nats/nats-server.conf`. The first may do everything in the account that holds our streams.
pub const USERS: [&str; 7] = [ADMIN, "ingress", "recharger", "ledger", "syncer", "viewer", "sys"];
const ADMIN: &str = "setup";

/// How a server is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The port of 127.0.0.1 for clients; a free one if none is given.
    pub port: Option<u16>,
    /// The port of 127.0.0.1 for monitoring; a free one if none is given.
    pub monitor_port: Option<u16>,
    /// What it proves its name with; without, connections are not encrypted.
    pub tls: Option<Identity>,
    /// A configuration instead of `nats/nats-server.conf`.
    pub config: Option<String>,
}

/// A server, stopped when dropped.
#[derive(Debug)]
pub struct NatsServer {
    bin: PathBuf,
    options: Options,
    port: u16,
    monitor_port: u16,
    /// One for each of [`USERS`].
    passwords: Vec<String>,
    user: Option<User>,
    server: Option<ManagedChild>,
    /// Holds `store`, `log` and a copy of the configuration.
    folder: PathBuf,
    /// Dropped after the server is: fields are dropped in this order.
    owned: Option<PrivateFolder>,
}

impl NatsServer {
    /// Starts a server with an empty store. Its folder is removed when it is dropped.
    pub fn start(bin: &Path, options: Options) -> Result<Self> {
        let user = user::unprivileged()?;
        let owned = PrivateFolder::create("nats", user.as_ref())?;
        let mut server = Self::at(bin, options, owned.path().to_path_buf(), user)?;
        server.owned = Some(owned);
        server.start_on_free_ports()?;
        Ok(server)
    }

    /// Starts a server on the store that an earlier call left in this folder (see [`folder::lasting`]),
    /// which is made if there is none. The folder stays when it is dropped.
    pub fn open_or_create(bin: &Path, folder: &Path, options: Options) -> Result<Self> {
        let user = user::unprivileged()?;
        folder::ensure(folder, user.as_ref())?;
        let mut server = Self::at(bin, options, folder.to_path_buf(), user)?;
        server.start_on_free_ports()?;
        Ok(server)
    }

    /// Where the user who may do everything connects.
    pub fn url(&self) -> String {
        self.url_of(ADMIN)
    }

    /// Where one of [`USERS`] connects. For somebody else there is no password in it.
    pub fn url_of(&self, user: &str) -> String {
        let scheme = if self.options.tls.is_some() { "tls" } else { "nats" };
        match self.password_of(user) {
            Some(password) => format!("{scheme}://{user}:{password}@127.0.0.1:{}", self.port),
            None => format!("{scheme}://{user}@127.0.0.1:{}", self.port),
        }
    }

    /// The password of one of [`USERS`].
    pub fn password_of(&self, user: &str) -> Option<&str> {
        let users = USERS.iter().zip(&self.passwords);
        users.into_iter().find(|(name, _)| **name == user).map(|(_, password)| password.as_str())
    }

    /// Where its health and statistics are.
    pub fn monitor_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.monitor_port)
    }

    /// The port for clients.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its process id, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref().map(ManagedChild::pid)
    }

    /// What the server says.
    pub fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Stops it in order.
    pub fn stop(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.terminate(STOP_LIMIT)?;
        }
        Ok(())
    }

    /// Kills it, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut server) = self.server.take() {
            server.kill9()?;
        }
        Ok(())
    }

    /// Starts it after [`stop`](Self::stop) or [`kill`](Self::kill), with the same store on the same ports.
    pub fn start_again(&mut self) -> Result<()> {
        if self.server.is_some() {
            bail!("nats-server on port {} runs already", self.port);
        }
        let started = Instant::now();
        while !(ports::is_free(self.port) && ports::is_free(self.monitor_port)) && started.elapsed() < STOP_LIMIT {
            thread::sleep(POLL * 10);
        }
        self.start_server()
    }

    /// Freezes it: connections stay open and nothing answers.
    pub fn pause(&mut self) -> Result<()> {
        self.server.as_mut().context("nats-server doesn't run")?.pause()
    }

    /// Lets it go on.
    pub fn resume(&mut self) -> Result<()> {
        self.server.as_mut().context("nats-server doesn't run")?.resume()
    }

    /// Whether it and its JetStream are healthy.
    pub fn is_healthy(&self) -> bool {
        answers_ok(self.monitor_port, "/healthz?js-enabled-only=true")
    }

    fn at(bin: &Path, options: Options, folder: PathBuf, user: Option<User>) -> Result<Self> {
        let passwords = USERS.iter().map(|_| password()).collect::<Result<_>>()?;
        let bin = bin.to_path_buf();
        let mut server =
            Self { bin, options, port: 0, monitor_port: 0, passwords, user, server: None, folder, owned: None };
        // The checkout may be where an unprivileged user can't go; this folder is not.
        let config = match &server.options.config {
            Some(config) => config.clone(),
            None => fs::read_to_string(paths::nats_config()).context("reading nats/nats-server.conf")?,
        };
        fs::write(server.config(), config).context("writing nats-server.conf")?;
        folder::give_to(&server.config(), server.user.as_ref())?;
        if let Some(identity) = &server.options.tls {
            identity.write(&server.folder, server.user.as_ref())?;
        }
        if server.user.is_some() && !server.can_execute(&server.bin) {
            let bin = server.folder.join("nats-server");
            fs::copy(&server.bin, &bin).with_context(|| format!("copying {}", server.bin.display()))?;
            server.bin = bin;
            folder::give_to(&server.bin, server.user.as_ref())?;
        }
        Ok(server)
    }

    fn config(&self) -> PathBuf {
        self.folder.join("nats-server.conf")
    }

    fn can_execute(&self, bin: &Path) -> bool {
        let version = Program::new(bin).arg("--version").cwd(&self.folder).output(Output::Null);
        version.as_user(self.user.clone()).run().is_ok()
    }

    fn start_on_free_ports(&mut self) -> Result<()> {
        let fixed = self.options.port.is_some() || self.options.monitor_port.is_some();
        for _ in 0..PORT_TRIES {
            self.port = self.options.port.map_or_else(ports::free_port, Ok)?;
            self.monitor_port = self.options.monitor_port.map_or_else(ports::free_port, Ok)?;
            match self.start_server() {
                Err(error) if !fixed && format!("{error:#}").contains("address already in use") => {}
                outcome => return outcome,
            }
        }
        bail!("no free ports for nats-server in {PORT_TRIES} tries")
    }

    fn start_server(&mut self) -> Result<()> {
        // Only what this start says counts below.
        let _ = fs::remove_file(self.log());
        let mut server = self.program().spawn()?;
        let started = Instant::now();
        while !(says_ready(&server) && self.is_healthy()) {
            if server.try_wait()?.is_some() {
                bail!(
                    "nats-server ended while starting on ports {} and {}{}",
                    self.port,
                    self.monitor_port,
                    server.log_tail()
                );
            }
            if started.elapsed() > START_LIMIT {
                bail!("nats-server isn't healthy after {START_LIMIT:?}{}", server.log_tail());
            }
            thread::sleep(POLL);
        }
        self.server = Some(server);
        Ok(())
    }

    fn program(&self) -> Program {
        let mut program = Program::new(&self.bin);
        for (user, password) in USERS.iter().zip(&self.passwords) {
            program = program.env(format!("NATS_{}_PASSWORD", user.to_uppercase()), password);
        }
        if self.options.tls.is_some() {
            program = program.arg("--tls");
            program = program.arg("--tlscert").arg(identity::certificate_in(&self.folder));
            program = program.arg("--tlskey").arg(identity::key_in(&self.folder));
        }
        program
            .arg("-c")
            .arg(self.config())
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-m", &self.monitor_port.to_string()])
            .env("NATS_STORE_DIR", self.folder.join("store"))
            .cwd(&self.folder)
            .output(Output::File(self.log()))
            .as_user(self.user.clone())
            .on_parent_death(Signal::Terminate)
            .own_group()
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        // Nothing useful can be done about a failure here. A private store is removed next, so it need
        // not be closed in order.
        let _ = if self.owned.is_some() { self.kill() } else { self.stop() };
    }
}

/// The server reads its configuration after it has put passwords into it: what begins with a letter stays a word.
fn password() -> Result<String> {
    let bytes: [u8; 16] = random::bytes()?;
    Ok(bytes.iter().fold("p".to_owned(), |password, byte| format!("{password}{byte:02x}")))
}

/// Its own word, because the port that answers may turn out to be somebody else's.
fn says_ready(server: &ManagedChild) -> bool {
    let log = server.log().and_then(|log| fs::read_to_string(log).ok());
    log.is_some_and(|log| log.contains("Server is ready"))
}

/// Whether `GET path` on this port of loopback answers 200. A client library would be too much for it.
fn answers_ok(port: u16, path: &str) -> bool {
    let status = || -> std::io::Result<[u8; 12]> {
        let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), ANSWER_LIMIT)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
        let mut start = [0_u8; 12];
        stream.read_exact(&mut start)?;
        Ok(start)
    };
    status().is_ok_and(|start| &start == b"HTTP/1.1 200")
}
