//! Server-sent events: whenever the broker says that something happened to an organization, its pages look again. What is
//! sent is no more than that, so that nothing has to be kept in order, and a page that missed something misses nothing: it
//! looks again when it is connected again.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::shutdown::Shutdown;
use futures_util::{StreamExt, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::mpsc;
use warp::reply::{Reply, Response};
use warp::sse::Event;

use super::session::{self, Session, Viewer};
use crate::app::App;
use crate::http::{Problem, Request};

/// So many hints may wait for a connection that is slow; one that is slower looks again once for all that it missed.
const WAITING: usize = 256;
/// So many pages may be open at one replica; more are told to come again.
const MOST_OPEN: usize = 2_000;
/// How often something is sent at least, so that proxies keep the connection, and the session is looked at.
const ALIVE: Duration = Duration::from_secs(15);
/// How long hints of one organization are gathered: the steps of a chain come in bursts.
const GATHER: Duration = Duration::from_millis(60);
/// How soon a browser that lost the connection comes again.
const RETRY: Duration = Duration::from_secs(2);

/// That something happened, to whom.
#[derive(Debug, Clone)]
struct Hint {
    organization: Option<Arc<str>>,
}

/// Who is told. Clones share it.
#[derive(Clone)]
pub(crate) struct Hints {
    sender: broadcast::Sender<Hint>,
    open: Arc<AtomicUsize>,
}

impl Default for Hints {
    fn default() -> Self {
        Self { sender: broadcast::Sender::new(WAITING), open: Arc::default() }
    }
}

impl Hints {
    /// Something happened to an organization, or to nobody in particular.
    pub(crate) fn tell(&self, organization: Option<&str>) {
        // That nobody listens is no fault.
        drop(self.sender.send(Hint { organization: organization.map(Arc::from) }));
    }
}

/// One open page; counted while it is.
struct Listener {
    app: Arc<App>,
    /// `None`: every organization.
    organization: Option<String>,
    session: Option<Session>,
    shutdown: Shutdown,
    open: Arc<AtomicUsize>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `GET /console/live?organization=`
pub(super) fn answer(app: &Arc<App>, request: &Request, viewer: &Viewer) -> Result<Response, Problem> {
    let organization = request.query.get("organization").map(str::to_owned);
    if !viewer.caller.grant.sees(organization.as_deref()) {
        return Err(Problem::no_route());
    }
    let open = app.hints.open.clone();
    if open.fetch_add(1, Ordering::Relaxed) >= MOST_OPEN {
        open.fetch_sub(1, Ordering::Relaxed);
        return Err(Problem::unavailable("too_many_pages", "Too many pages are open at the same time"));
    }
    let (session, shutdown) = (viewer.session, app.shutdown.clone());
    let listener = Listener { app: app.clone(), organization, session, shutdown, open };
    let hints = app.hints.sender.subscribe();
    let (sender, mut receiver) = mpsc::channel(4);
    tokio::spawn(listener.speak(hints, sender));
    let events = stream::poll_fn(move |context| receiver.poll_recv(context)).map(Ok::<_, Infallible>);
    Ok(warp::sse::reply(events).into_response())
}

impl Listener {
    /// Speaks until nobody listens any more, the session is over, or the service stops.
    async fn speak(self, mut hints: broadcast::Receiver<Hint>, sender: mpsc::Sender<Event>) {
        let hello = Event::default().event("hello").data("").retry(RETRY);
        if sender.send(hello).await.is_err() {
            return;
        }
        let mut alive = tokio::time::interval(ALIVE);
        alive.tick().await;
        loop {
            let said = tokio::select! {
                heard = self.hear(&mut hints) => {
                    if heard.is_none() {
                        return;
                    }
                    tokio::time::sleep(GATHER).await;
                    // What came meanwhile, about whomever, is told by the same event.
                    while hints.try_recv().is_ok() {}
                    sender.send(Event::default().event("changed").data("")).await
                }
                _ = alive.tick() => {
                    if !self.lasts().await {
                        // The page asks for itself then, and is sent to the sign-in page.
                        drop(sender.send(Event::default().event("changed").data("")).await);
                        return;
                    }
                    sender.send(self.alive()).await
                }
                () = self.shutdown.wait() => {
                    drop(sender.send(Event::default().event("bye").data("")).await);
                    return;
                }
                () = sender.closed() => return,
            };
            if said.is_err() {
                return;
            }
        }
    }

    /// Waits until something happens that concerns the page. `None`: nothing ever will.
    async fn hear(&self, hints: &mut broadcast::Receiver<Hint>) -> Option<()> {
        loop {
            match hints.recv().await {
                Ok(hint) if !self.concerns(&hint) => {}
                // Too many to keep: surely one of them was about this page.
                Ok(_) | Err(RecvError::Lagged(_)) => return Some(()),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// Not everything is said by an event: how far the pipeline is behind, say. Pages about all organizations look now and
    /// then by themselves.
    fn alive(&self) -> Event {
        match self.organization {
            None => Event::default().event("changed").data(""),
            Some(_) => Event::default().comment("alive"),
        }
    }

    fn concerns(&self, hint: &Hint) -> bool {
        match (&self.organization, &hint.organization) {
            (Some(own), Some(other)) => **own == **other,
            (None, _) => true,
            (Some(_), None) => false,
        }
    }

    async fn lasts(&self) -> bool {
        match self.session {
            Some(session) => session::lasts(&self.app, session).await,
            None => true,
        }
    }
}
