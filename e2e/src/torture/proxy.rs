//! A TCP proxy between two parts, whose connections can be cut, refused, delayed, or swallowed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use xtask::ports;

const BUFFER: usize = 16 * 1024;
/// How soon a port that could not be had again is tried again.
const BIND_AGAIN: Duration = Duration::from_millis(10);
/// How often another free port is tried before giving up.
const PORT_TRIES: usize = 10;

/// What a proxy does with what passes through it, until it is told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Everything passes.
    #[default]
    Pass,
    /// Nobody listens: new connections are refused. Those that are open stay so.
    Refuse,
    /// Each chunk is late by this much.
    Delay(Duration),
    /// Nothing passes either way, new connections included; later it goes on.
    BlackHole,
    /// Requests pass, and each connection ends in the middle of the answer.
    CutAnswers,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// As when the machine at the other end dies (RST).
    Reset,
    /// As when the program at the other end closes it (FIN).
    Close,
}

/// What a proxy has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Passed {
    /// Connections that were accepted.
    pub connections: u64,
    /// Connections that a fault ended.
    pub cut: u64,
}

/// The proxy. It ends, and all of its connections with it, when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: watch::Sender<Mode>,
    cuts: watch::Sender<Option<Ending>>,
    counts: Arc<Counts>,
    listening: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Counts {
    connections: AtomicU64,
    cut: AtomicU64,
}

/// What every connection knows.
#[derive(Debug, Clone)]
struct Line {
    upstream: SocketAddr,
    mode: watch::Receiver<Mode>,
    cuts: watch::Receiver<Option<Ending>>,
    counts: Arc<Counts>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1 for who wants to reach `upstream`.
    ///
    /// # Errors
    /// When no port is free.
    pub async fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        let (listener, address) = listen_somewhere().await?;
        let (mode, mode_seen) = watch::channel(Mode::Pass);
        let (cuts, cuts_seen) = watch::channel(None);
        let counts = Arc::new(Counts::default());
        let line = Line { upstream, mode: mode_seen, cuts: cuts_seen, counts: Arc::clone(&counts) };
        let listening = tokio::spawn(serve(listener, address, line));
        Ok(Self { address, mode, cuts, counts, listening })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does from now on, with open connections too.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Ends every connection that is open now.
    pub fn cut(&self, ending: Ending) {
        self.cuts.send_replace(Some(ending));
    }

    /// What it has done so far.
    #[must_use]
    pub fn passed(&self) -> Passed {
        Passed {
            connections: self.counts.connections.load(Ordering::Relaxed),
            cut: self.counts.cut.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn listen_somewhere() -> anyhow::Result<(TcpListener, SocketAddr)> {
    let mut last = None;
    for _ in 0..PORT_TRIES {
        let address = SocketAddr::from(([127, 0, 0, 1], ports::free_port()?));
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok((listener, address)),
            Err(error) => last = Some(error),
        }
    }
    let last = last.map_or_else(|| anyhow::anyhow!("no port was tried"), anyhow::Error::from);
    Err(last).context("no port is free for a proxy")
}

/// Accepts, unless connections are to be refused: then nobody listens.
async fn serve(first: TcpListener, address: SocketAddr, mut line: Line) {
    let mut listener = Some(first);
    loop {
        let refusing = *line.mode.borrow_and_update() == Mode::Refuse;
        if refusing {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let again = !refusing && listener.is_none();
        tokio::select! {
            changed = line.mode.changed() => if changed.is_err() { return },
            accepted = accept(listener.as_ref()) => if let Ok((client, _)) = accepted {
                line.counts.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(connection(client, line.clone()));
            },
            () = tokio::time::sleep(BIND_AGAIN), if again => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> std::io::Result<(TcpStream, SocketAddr)> {
    match listener {
        Some(listener) => listener.accept().await,
        None => std::future::pending().await,
    }
}

/// One connection, until either end closes it or a fault does.
async fn connection(mut client: TcpStream, mut line: Line) {
    line.cuts.mark_unchanged();
    let mut cuts = line.cuts.clone();
    let mut server = None;
    let ending = tokio::select! {
        ending = cut(&mut cuts) => Some(ending),
        ending = relay(&mut client, &mut server, &line) => ending,
    };
    let Some(ending) = ending else { return };
    line.counts.cut.fetch_add(1, Ordering::Relaxed);
    if ending == Ending::Reset {
        for stream in [Some(&client), server.as_ref()].into_iter().flatten() {
            // What is closed already can't be reset.
            let _ = stream.set_zero_linger();
        }
    }
}

/// Waits until connections are cut; for ever, where nobody can cut them any more.
async fn cut(cuts: &mut watch::Receiver<Option<Ending>>) -> Ending {
    match cuts.changed().await {
        Ok(()) => cuts.borrow_and_update().unwrap_or(Ending::Close),
        // The proxy is gone.
        Err(_) => Ending::Close,
    }
}

/// Carries both directions. Returns how a fault ended it, or nothing when it ended by itself.
async fn relay(client: &mut TcpStream, server: &mut Option<TcpStream>, line: &Line) -> Option<Ending> {
    let mut mode = line.mode.clone();
    if !passes(&mut mode).await {
        return None;
    }
    let Ok(stream) = TcpStream::connect(line.upstream).await else {
        // As if nobody had listened, as far as that can still be said.
        let _ = client.set_zero_linger();
        return None;
    };
    let _ = (stream.set_nodelay(true), client.set_nodelay(true));
    let server = server.insert(stream);
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let there = pump(from_client, to_server, mode.clone(), false);
    let back = pump(from_server, to_client, mode, true);
    // One end may close its direction and still listen; anything else ends both.
    tokio::try_join!(there, back).err().flatten()
}

/// Waits while nothing passes; `false` when the proxy is gone.
async fn passes(mode: &mut watch::Receiver<Mode>) -> bool {
    mode.wait_for(|mode| *mode != Mode::BlackHole).await.is_ok()
}

/// Carries one direction to its end. Fails when both directions are to end: by a fault, or because an end is gone.
async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut mode: watch::Receiver<Mode>,
    answers: bool,
) -> Result<(), Option<Ending>> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await;
        if !passes(&mut mode).await {
            return Err(None);
        }
        let length = read.map_err(|_| None)?;
        if length == 0 {
            return to.shutdown().await.map_err(|_| None);
        }
        let now = *mode.borrow();
        if let Mode::Delay(delay) = now {
            tokio::time::sleep(delay).await;
        }
        let cut = answers && now == Mode::CutAnswers;
        let passing = if cut { length / 2 } else { length };
        to.write_all(buffer.get(..passing).unwrap_or_default()).await.map_err(|_| None)?;
        if cut {
            return Err(Some(Ending::Close));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Instant;

    use super::*;
    use crate::wait;

    /// Answers every chunk with the same chunk, and counts the bytes that arrived.
    async fn echo() -> (SocketAddr, Arc<AtomicU64>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let arrived = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&arrived);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let counter = Arc::clone(&counter);
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        counter.fetch_add(length as u64, Ordering::SeqCst);
                        if stream.write_all(&buffer[..length]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        (address, arrived)
    }

    async fn say(stream: &mut TcpStream, words: &str) -> std::io::Result<String> {
        stream.write_all(words.as_bytes()).await?;
        hear(stream, words.len()).await
    }

    async fn hear(stream: &mut TcpStream, length: usize) -> std::io::Result<String> {
        let mut buffer = vec![0; length];
        stream.read_exact(&mut buffer).await?;
        Ok(String::from_utf8(buffer).unwrap())
    }

    #[tokio::test]
    async fn everything_passes_until_it_is_cut() {
        for ending in [Ending::Reset, Ending::Close] {
            let (upstream, _) = echo().await;
            let proxy = Proxy::start(upstream).await.unwrap();
            let mut one = TcpStream::connect(proxy.address()).await.unwrap();
            let mut two = TcpStream::connect(proxy.address()).await.unwrap();
            assert_eq!(say(&mut one, "hello").await.unwrap(), "hello");
            assert_eq!(say(&mut two, "world").await.unwrap(), "world");
            proxy.cut(ending);
            let want = if ending == Ending::Reset { ErrorKind::ConnectionReset } else { ErrorKind::UnexpectedEof };
            for stream in [&mut one, &mut two] {
                assert_eq!(hear(stream, 1).await.unwrap_err().kind(), want);
            }
            let mut three = TcpStream::connect(proxy.address()).await.unwrap();
            assert_eq!(say(&mut three, "again").await.unwrap(), "again");
            assert_eq!(proxy.passed(), Passed { connections: 3, cut: 2 });
        }
    }

    #[tokio::test]
    async fn who_comes_while_it_refuses_finds_nobody() {
        let (upstream, _) = echo().await;
        let proxy = Proxy::start(upstream).await.unwrap();
        let mut open = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut open, "hello").await.unwrap(), "hello");
        proxy.set(Mode::Refuse);
        wait::until("the listener to be gone", || async {
            let refused = TcpStream::connect(proxy.address()).await.map_err(|error| error.kind());
            anyhow::ensure!(matches!(refused, Err(ErrorKind::ConnectionRefused)), "{refused:?}");
            Ok(())
        })
        .await
        .unwrap();
        assert_eq!(say(&mut open, "still here").await.unwrap(), "still here");
        proxy.set(Mode::Pass);
        let again = wait::until("the listener", || async { Ok(TcpStream::connect(proxy.address()).await?) });
        assert_eq!(say(&mut again.await.unwrap(), "back").await.unwrap(), "back");
    }

    #[tokio::test]
    async fn each_chunk_is_late() {
        let (upstream, _) = echo().await;
        let proxy = Proxy::start(upstream).await.unwrap();
        proxy.set(Mode::Delay(Duration::from_millis(30)));
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        let started = Instant::now();
        assert_eq!(say(&mut stream, "hello").await.unwrap(), "hello");
        // There, and back.
        assert!(started.elapsed() >= Duration::from_millis(60), "{:?}", started.elapsed());
    }

    #[tokio::test]
    async fn what_was_swallowed_goes_on_later_or_is_cut() {
        let (upstream, arrived) = echo().await;
        let proxy = Proxy::start(upstream).await.unwrap();
        let mut open = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut open, "hello").await.unwrap(), "hello");
        proxy.set(Mode::BlackHole);
        open.write_all(b"lost?").await.unwrap();
        let mut new = TcpStream::connect(proxy.address()).await.unwrap();
        let silence = Duration::from_millis(50);
        assert!(tokio::time::timeout(silence, hear(&mut open, 1)).await.is_err());
        assert!(tokio::time::timeout(silence, say(&mut new, "anybody?")).await.is_err());
        assert_eq!(arrived.load(Ordering::SeqCst), 5);
        proxy.set(Mode::Pass);
        assert_eq!(hear(&mut open, 5).await.unwrap(), "lost?");
        assert_eq!(hear(&mut new, 8).await.unwrap(), "anybody?");
        proxy.set(Mode::BlackHole);
        open.write_all(b"gone").await.unwrap();
        proxy.cut(Ending::Reset);
        assert_eq!(hear(&mut open, 1).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        assert_eq!(arrived.load(Ordering::SeqCst), 18);
    }

    #[tokio::test]
    async fn an_answer_is_cut_in_the_middle_and_the_request_had_arrived() {
        let (upstream, arrived) = echo().await;
        let proxy = Proxy::start(upstream).await.unwrap();
        proxy.set(Mode::CutAnswers);
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        stream.write_all(b"charge!!").await.unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).await.unwrap();
        assert_eq!((heard.as_slice(), arrived.load(Ordering::SeqCst)), (b"char".as_slice(), 8));
        assert_eq!(proxy.passed(), Passed { connections: 1, cut: 1 });
    }

    #[tokio::test]
    async fn nobody_upstream_and_no_proxy_end_the_connection() {
        let (upstream, _) = echo().await;
        let proxy = Proxy::start(upstream).await.unwrap();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(say(&mut stream, "hello").await.unwrap(), "hello");
        drop(proxy);
        assert!(hear(&mut stream, 1).await.is_err());
        let nobody = Proxy::start(SocketAddr::from(([127, 0, 0, 1], ports::free_port().unwrap()))).await.unwrap();
        let mut stream = TcpStream::connect(nobody.address()).await.unwrap();
        assert!(say(&mut stream, "hello").await.is_err());
    }
}
