//! What can be done to the system, and to which part of it.

use std::fmt;
use std::time::Duration;

/// One process of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Replica {
    /// The service.
    pub service: &'static str,
    /// Which of its processes, from 1.
    pub number: usize,
}

/// What a service talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    /// NATS.
    Broker,
    /// PostgreSQL.
    Database,
    /// Stripe.
    Stripe,
    /// The KMS.
    Kms,
}

/// A way between two parts, with a proxy on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// From a process to what it talks to.
    To(Replica, Peer),
    /// From who sends webhooks to this ingress.
    Door(Replica),
}

/// What is done to a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// Every open connection is reset.
    Reset,
    /// Every open connection is closed.
    Close,
    /// New connections are refused for a while.
    Refuse,
    /// Each chunk is late by this much for a while.
    Delay(Duration),
    /// Nothing passes for a while; then it goes on, or is cut.
    BlackHole {
        /// Whether what was open is cut at the end.
        cut: bool,
    },
    /// Requests pass and answers are cut in the middle for a while.
    CutAnswers,
}

/// One fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Killed, and started again after a while.
    Kill(Replica),
    /// Killed again and again, as soon as it has begun to work.
    Storm(Replica),
    /// Frozen (SIGSTOP), and let go on (SIGCONT) after a while.
    Freeze(Replica),
    /// Frozen until the broker has brought its messages to somebody else, then killed where it stood.
    FreezeAndKill(Replica),
    /// Asked to stop, as in a deployment, and started again.
    Restart(Replica),
    /// Every process of the ledger is away for longer than a credit may take.
    LedgerAway {
        /// Frozen, with what it has in its hands; else killed.
        frozen: bool,
    },
    /// The broker is killed, and started again on the same store.
    BrokerKilled,
    /// The broker is frozen for a while.
    BrokerFrozen,
    /// PostgreSQL is killed, and started again on the same data.
    DatabaseKilled,
    /// PostgreSQL is frozen for a while.
    DatabaseFrozen,
    /// Something is done to a link.
    Link(Link, Harm),
    /// Stripe's next calls of a route go wrong in this way, in the simulator's words.
    Stripe {
        /// The route, as in `POST /v1/refunds`.
        route: &'static str,
        /// The simulator's word, as in `drop_after`.
        fault: &'static str,
        /// How many calls.
        times: u32,
    },
    /// Stripe refuses so many refunds.
    RefundsRefused(u32),
    /// Stripe is away for a while.
    StripeDown,
    /// What Stripe would tell by webhook is never told for a while.
    WebhooksLost,
    /// The KMS' next calls that change something go wrong in this way, in the simulator's words.
    Kms {
        /// The simulator's word.
        fault: &'static str,
        /// How many calls.
        times: u32,
    },
    /// The KMS is away for a while.
    KmsDown,
    /// The KMS is away for longer than a push may take.
    KmsAway,
    /// So many messages of the streams are published again, under other ids.
    Repeat(u32),
}

/// What may suffer one fault at a time: its end would be the end of the other one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// A process.
    Process(Replica),
    /// The broker.
    Broker,
    /// The database.
    Database,
    /// A proxy.
    Link(Link),
    /// Stripe as a whole.
    Stripe,
    /// Stripe's webhooks.
    Webhooks,
    /// The KMS as a whole.
    Kms,
}

impl Fault {
    /// What must not suffer another fault meanwhile.
    #[must_use]
    pub fn targets(&self, replicas: usize) -> Vec<Target> {
        match self {
            Self::Kill(replica)
            | Self::Storm(replica)
            | Self::Freeze(replica)
            | Self::FreezeAndKill(replica)
            | Self::Restart(replica) => vec![Target::Process(*replica)],
            Self::LedgerAway { .. } => {
                (1..=replicas).map(|number| Target::Process(Replica { service: "ledger", number })).collect()
            }
            Self::BrokerKilled | Self::BrokerFrozen => vec![Target::Broker],
            Self::DatabaseKilled | Self::DatabaseFrozen => vec![Target::Database],
            Self::Link(link, _) => vec![Target::Link(*link)],
            Self::StripeDown => vec![Target::Stripe],
            Self::WebhooksLost => vec![Target::Webhooks],
            Self::KmsDown | Self::KmsAway => vec![Target::Kms],
            Self::Stripe { .. } | Self::RefundsRefused(_) | Self::Kms { .. } | Self::Repeat(_) => Vec::new(),
        }
    }

    /// Its kind in words, as it is counted.
    #[must_use]
    pub fn kind(&self) -> String {
        match self {
            Self::Kill(replica) => format!("kill -9 of {}", replica.service),
            Self::Storm(replica) => format!("kill -9 of {}, again and again", replica.service),
            Self::Freeze(replica) => format!("SIGSTOP of {}", replica.service),
            Self::FreezeAndKill(replica) => format!("SIGSTOP, then kill -9 of {}", replica.service),
            Self::Restart(replica) => format!("graceful restart of {}", replica.service),
            Self::LedgerAway { frozen: true } => "every ledger frozen past CREDIT_DEADLINE".to_owned(),
            Self::LedgerAway { frozen: false } => "every ledger down past CREDIT_DEADLINE".to_owned(),
            Self::BrokerKilled => "broker killed".to_owned(),
            Self::BrokerFrozen => "broker frozen".to_owned(),
            Self::DatabaseKilled => "database killed".to_owned(),
            Self::DatabaseFrozen => "database frozen".to_owned(),
            Self::Link(link, harm) => format!("link to {}: {harm}", link.far_end()),
            Self::Stripe { route, fault, .. } => format!("Stripe {route}: {fault}"),
            Self::RefundsRefused(_) => "Stripe refuses refunds".to_owned(),
            Self::StripeDown => "Stripe down".to_owned(),
            Self::WebhooksLost => "Stripe's webhooks lost".to_owned(),
            Self::Kms { fault, .. } => format!("KMS: {fault}"),
            Self::KmsDown => "KMS down".to_owned(),
            Self::KmsAway => "KMS down past SYNC_DEADLINE".to_owned(),
            Self::Repeat(_) => "messages published again".to_owned(),
        }
    }
}

impl Link {
    /// What is reached through it.
    #[must_use]
    pub const fn far_end(&self) -> &'static str {
        match self {
            Self::To(_, Peer::Broker) => "broker",
            Self::To(_, Peer::Database) => "database",
            Self::To(_, Peer::Stripe) => "Stripe",
            Self::To(_, Peer::Kms) => "KMS",
            Self::Door(_) => "ingress",
        }
    }
}

impl fmt::Display for Replica {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.service, self.number)
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::To(replica, _) => write!(f, "{replica} -> {}", self.far_end()),
            Self::Door(replica) => write!(f, "sender -> {replica}"),
        }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reset => "reset",
            Self::Close => "closed",
            Self::Refuse => "refused",
            Self::Delay(_) => "delayed",
            Self::BlackHole { cut: true } => "black hole, then cut",
            Self::BlackHole { cut: false } => "black hole, then on",
            Self::CutAnswers => "answers cut in the middle",
        })
    }
}

/// With whom exactly, and how: one line of the log.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(replica) => write!(f, "kill -9 of {replica}"),
            Self::Storm(replica) => write!(f, "kill -9 of {replica}, again and again"),
            Self::Freeze(replica) => write!(f, "SIGSTOP of {replica}"),
            Self::FreezeAndKill(replica) => write!(f, "SIGSTOP, then kill -9 of {replica}"),
            Self::Restart(replica) => write!(f, "graceful restart of {replica}"),
            Self::Link(link, Harm::Delay(delay)) => write!(f, "{link}: delayed by {delay:?}"),
            Self::Link(link, harm) => write!(f, "{link}: {harm}"),
            Self::Stripe { times, .. } | Self::Kms { times, .. } => write!(f, "{} ({times} times)", self.kind()),
            Self::RefundsRefused(times) | Self::Repeat(times) => write!(f, "{} ({times})", self.kind()),
            _ => f.write_str(&self.kind()),
        }
    }
}
