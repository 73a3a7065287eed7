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
use crate::process::{ManagedChild, Output, Program, Signal};
use crate::user::{self, User};
use crate::{paths, ports};

const START_LIMIT: Duration = Duration::from_secs(30);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const ANSWER_LIMIT: Duration = Duration::from_millis(500);
/// How often other free ports are tried before giving up.
const PORT_TRIES: usize = 10;
const POLL: Duration = Duration::from_millis(10);

/// How a server is set up.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The port of 127.0.0.1 for clients; a free one if none is given.
    pub port: Option<u16>,
    /// The port of 127.0.0.1 for monitoring; a free one if none is given.
    pub monitor_port: Option<u16>,
}

/// A server, stopped when dropped.
#[derive(Debug)]
pub struct NatsServer {
    bin: PathBuf,
    options: Options,
    port: u16,
    monitor_port: u16,
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

    /// Where clients connect.
    pub fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
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
        let mut server =
            Self { bin: bin.to_path_buf(), options, port: 0, monitor_port: 0, user, server: None, folder, owned: None };
        // The checkout may be where an unprivileged user can't go; this folder is not.
        fs::copy(paths::nats_config(), server.config()).context("copying nats/nats-server.conf")?;
        folder::give_to(&server.config(), server.user.as_ref())?;
        if server.user.is_some() && !server.can_execute(bin) {
            server.bin = server.folder.join("nats-server");
            fs::copy(bin, &server.bin).with_context(|| format!("copying {}", bin.display()))?;
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
        Program::new(&self.bin)
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
