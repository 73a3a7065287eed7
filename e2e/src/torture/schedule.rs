//! Which faults, when, for how long. Pure: the same seed gives the same list.

use std::collections::BTreeMap;
use std::time::Duration;

use super::fault::{Fault, Harm, Link, Peer, Replica, Target};
use crate::random::Random;
use crate::stack::SERVICES;

/// What the schedule depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// How long there are faults; every one has ended by then.
    pub length: Duration,
    /// How many processes of each service.
    pub replicas: usize,
    /// The longer of the deadlines for a credit and for a push: what is away for longer than this is undone.
    pub deadline: Duration,
}

/// One fault at its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Injection {
    /// When it begins, from the start of the campaign.
    pub at: Duration,
    /// How long until it ends; nothing for what has no end.
    pub lasts: Duration,
    /// What it is.
    pub fault: Fault,
}

/// The kinds of faults as they are dealt; how often each is in the deck is in [`DECK`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Card {
    Kill,
    Storm,
    Freeze,
    FreezeAndKill,
    Restart,
    BrokerKilled,
    BrokerFrozen,
    DatabaseKilled,
    DatabaseFrozen,
    Reset,
    Close,
    Refuse,
    Delay,
    BlackHole,
    CutAnswers,
    Charge,
    Refund,
    RefundsRefused,
    StripeDown,
    WebhooksLost,
    Kms,
    KmsDown,
    Repeat,
}

const DECK: [(Card, usize); 23] = [
    (Card::Kill, 6),
    (Card::Storm, 4),
    (Card::Freeze, 4),
    (Card::FreezeAndKill, 3),
    (Card::Restart, 2),
    (Card::BrokerKilled, 1),
    (Card::BrokerFrozen, 1),
    (Card::DatabaseKilled, 1),
    (Card::DatabaseFrozen, 1),
    (Card::Reset, 3),
    (Card::Close, 2),
    (Card::Refuse, 2),
    (Card::Delay, 2),
    (Card::BlackHole, 3),
    (Card::CutAnswers, 3),
    (Card::Charge, 6),
    (Card::Refund, 5),
    (Card::RefundsRefused, 1),
    (Card::StripeDown, 1),
    (Card::WebhooksLost, 3),
    (Card::Kms, 4),
    (Card::KmsDown, 1),
    (Card::Repeat, 3),
];

/// What the simulators can do to a call.
const SIMULATED: [&str; 7] = ["drop_before", "drop_after", "500_before", "500_after", "html502", "429", "slow:3000"];
/// From one fault to the next, in milliseconds.
const PAUSE: (u64, u64) = (100, 900);
/// The first outage that is longer than a deadline, and the rest between two of them, in milliseconds.
const FIRST_OUTAGE: (u64, u64) = (1_000, 3_000);
const REST: (u64, u64) = (8_000, 30_000);
/// By how much such an outage is longer than the deadline, in milliseconds.
const PAST: (u64, u64) = (1_500, 4_000);

/// The faults of a campaign, in the order of their beginning.
#[must_use]
pub fn schedule(plan: &Plan) -> Vec<Injection> {
    let mut dealer = Dealer {
        plan: *plan,
        random: Random::new(plan.seed),
        deck: Vec::new(),
        busy: BTreeMap::new(),
        list: Vec::new(),
    };
    dealer.outages();
    dealer.deal_all();
    let mut list = dealer.list;
    list.sort_by_key(|injection| injection.at);
    list
}

struct Dealer {
    plan: Plan,
    random: Random,
    deck: Vec<Card>,
    busy: BTreeMap<Target, Vec<(Duration, Duration)>>,
    list: Vec<Injection>,
}

impl Dealer {
    fn milliseconds(&mut self, (least, most): (u64, u64)) -> Duration {
        Duration::from_millis(self.random.between(least, most))
    }

    /// The outages that are longer than a deadline, of the ledger and of the KMS in turn, with a rest between them.
    fn outages(&mut self) {
        let mut at = self.milliseconds(FIRST_OUTAGE);
        let mut ledger = self.random.percent(50);
        // In a short campaign the rest is short too, so that there is one of each.
        let rest = (REST.0.min(millis(self.plan.length) / 12), REST.1.min(millis(self.plan.length) / 6));
        loop {
            let lasts = self.plan.deadline + self.milliseconds(PAST);
            let fault = if ledger { Fault::LedgerAway { frozen: self.random.percent(50) } } else { Fault::KmsAway };
            if at + lasts > self.plan.length {
                return;
            }
            self.add(at, lasts, fault);
            ledger = !ledger;
            at += lasts + self.milliseconds(rest);
        }
    }

    /// The rest, from a deck that is shuffled whenever it has been dealt: a short campaign has some of everything.
    fn deal_all(&mut self) {
        let mut at = Duration::ZERO;
        loop {
            at += self.milliseconds(PAUSE);
            if at >= self.plan.length {
                return;
            }
            let card = self.deal();
            let fault = self.fault(card);
            let lasts = self.lasts(card).min(self.plan.length.saturating_sub(at));
            self.add(at, lasts, fault);
        }
    }

    fn deal(&mut self) -> Card {
        if self.deck.is_empty() {
            self.deck = DECK.iter().flat_map(|(card, times)| std::iter::repeat_n(*card, *times)).collect();
            self.random.shuffle(&mut self.deck);
        }
        self.deck.pop().unwrap_or(Card::Kill)
    }

    /// Adds a fault, unless what it would befall suffers another one meanwhile.
    fn add(&mut self, at: Duration, lasts: Duration, fault: Fault) {
        // What has just been started again is left alone for a moment, so that its end is not mixed up with the next.
        let (from, to) = (at, at + lasts + Duration::from_millis(500));
        let targets = fault.targets(self.plan.replicas);
        let is_free = |target: &Target| {
            self.busy.get(target).is_none_or(|spans| spans.iter().all(|(begin, end)| to <= *begin || *end <= from))
        };
        if targets.iter().all(is_free) {
            for target in targets {
                self.busy.entry(target).or_default().push((from, to));
            }
            self.list.push(Injection { at, lasts, fault });
        }
    }

    fn fault(&mut self, card: Card) -> Fault {
        let times = u32::try_from(self.random.between(1, 3)).unwrap_or(1);
        match card {
            Card::Kill => Fault::Kill(self.replica()),
            Card::Storm => Fault::Storm(self.replica()),
            Card::Freeze => Fault::Freeze(self.replica()),
            Card::FreezeAndKill => Fault::FreezeAndKill(self.replica()),
            Card::Restart => Fault::Restart(self.replica()),
            Card::BrokerKilled => Fault::BrokerKilled,
            Card::BrokerFrozen => Fault::BrokerFrozen,
            Card::DatabaseKilled => Fault::DatabaseKilled,
            Card::DatabaseFrozen => Fault::DatabaseFrozen,
            Card::Reset => Fault::Link(self.link(), Harm::Reset),
            Card::Close => Fault::Link(self.link(), Harm::Close),
            Card::Refuse => Fault::Link(self.link(), Harm::Refuse),
            Card::Delay => {
                let delay = self.milliseconds((10, 400));
                Fault::Link(self.link(), Harm::Delay(delay))
            }
            Card::BlackHole => {
                let cut = self.random.percent(50);
                Fault::Link(self.link(), Harm::BlackHole { cut })
            }
            Card::CutAnswers => Fault::Link(self.link(), Harm::CutAnswers),
            Card::Charge => Fault::Stripe { route: "POST /v1/payment_intents", fault: self.simulated(), times },
            Card::Refund => Fault::Stripe { route: "POST /v1/refunds", fault: self.simulated(), times },
            Card::RefundsRefused => Fault::RefundsRefused(times),
            Card::StripeDown => Fault::StripeDown,
            Card::WebhooksLost => Fault::WebhooksLost,
            Card::Kms => Fault::Kms { fault: self.simulated(), times },
            Card::KmsDown => Fault::KmsDown,
            Card::Repeat => Fault::Repeat(times * 10),
        }
    }

    fn lasts(&mut self, card: Card) -> Duration {
        match card {
            Card::Kill | Card::BrokerKilled | Card::DatabaseKilled => self.milliseconds((100, 2_500)),
            Card::Storm => self.milliseconds((1_500, 5_000)),
            // Most are longer than the broker waits for an acknowledgement.
            Card::Freeze | Card::FreezeAndKill => self.milliseconds((1_000, 8_000)),
            Card::BrokerFrozen | Card::DatabaseFrozen => self.milliseconds((500, 4_000)),
            Card::Restart => self.milliseconds((0, 500)),
            Card::Refuse | Card::Delay | Card::StripeDown | Card::KmsDown => self.milliseconds((500, 4_000)),
            Card::WebhooksLost => self.milliseconds((5_000, 15_000)),
            Card::BlackHole => self.milliseconds((500, 6_000)),
            Card::CutAnswers => self.milliseconds((200, 2_000)),
            Card::Reset
            | Card::Close
            | Card::Charge
            | Card::Refund
            | Card::RefundsRefused
            | Card::Kms
            | Card::Repeat => Duration::ZERO,
        }
    }

    fn simulated(&mut self) -> &'static str {
        self.random.pick::<&'static str>(&SIMULATED)
    }

    fn replica(&mut self) -> Replica {
        *self.random.pick(&replicas(self.plan.replicas))
    }

    fn link(&mut self) -> Link {
        *self.random.pick(&links(self.plan.replicas))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Every process.
#[must_use]
pub fn replicas(of_each: usize) -> Vec<Replica> {
    SERVICES.into_iter().flat_map(|service| (1..=of_each).map(move |number| Replica { service, number })).collect()
}

/// Every link: from each process to what it talks to, and from the sender to each ingress.
#[must_use]
pub fn links(of_each: usize) -> Vec<Link> {
    let mut links = Vec::new();
    for replica in replicas(of_each) {
        let peers: &[Peer] = match replica.service {
            "ingress" | "recharger" => &[Peer::Broker, Peer::Database, Peer::Stripe],
            "syncer" => &[Peer::Broker, Peer::Database, Peer::Kms],
            _ => &[Peer::Broker, Peer::Database],
        };
        links.extend(peers.iter().map(|peer| Link::To(replica, *peer)));
        if replica.service == "ingress" {
            links.push(Link::Door(replica));
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn plan(seed: u64, seconds: u64) -> Plan {
        let deadline = Duration::from_secs(if seconds < 60 { 6 } else { 12 });
        Plan { seed, length: Duration::from_secs(seconds), replicas: 2, deadline }
    }

    #[test]
    fn a_seed_tells_what_is_injected() {
        assert_eq!(schedule(&plan(7, 120)), schedule(&plan(7, 120)));
        assert_ne!(schedule(&plan(7, 120)), schedule(&plan(8, 120)));
    }

    #[test]
    fn faults_begin_in_order_and_end_in_time() {
        for seed in 0..50 {
            let plan = plan(seed, 60);
            let list = schedule(&plan);
            assert!(list.windows(2).all(|pair| pair[0].at <= pair[1].at), "{seed}");
            assert!(list.iter().all(|one| one.at + one.lasts <= plan.length), "{seed}");
        }
    }

    #[test]
    fn nothing_suffers_two_faults_at_once() {
        for seed in 0..50 {
            let list = schedule(&plan(seed, 120));
            for (index, one) in list.iter().enumerate() {
                for other in &list[index + 1..] {
                    let shared =
                        one.fault.targets(2).into_iter().any(|target| other.fault.targets(2).contains(&target));
                    assert!(!shared || other.at >= one.at + one.lasts, "{seed}: {one:?} and {other:?}");
                }
            }
        }
    }

    #[test]
    fn a_long_campaign_has_every_kind_and_faults_that_overlap() {
        let list = schedule(&plan(1, 1200));
        let kinds: BTreeSet<String> = list.iter().map(|one| one.fault.kind()).collect();
        for service in SERVICES {
            for kind in ["kill -9", "SIGSTOP", "SIGSTOP, then kill -9", "graceful restart"] {
                assert!(kinds.contains(&format!("{kind} of {service}")), "{kind} of {service}: {kinds:#?}");
            }
        }
        for word in SIMULATED {
            for at in ["Stripe POST /v1/payment_intents", "Stripe POST /v1/refunds", "KMS"] {
                assert!(kinds.contains(&format!("{at}: {word}")), "{at}: {word}: {kinds:#?}");
            }
        }
        let rest = [
            "broker killed",
            "database killed",
            "Stripe down",
            "KMS down past SYNC_DEADLINE",
            "messages published again",
        ];
        assert!(rest.iter().all(|kind| kinds.contains(*kind)), "{kinds:#?}");
        let harmed: BTreeSet<Link> = list
            .iter()
            .filter_map(|one| match one.fault {
                Fault::Link(link, _) => Some(link),
                _ => None,
            })
            .collect();
        assert_eq!(harmed, links(2).into_iter().collect());
        assert!(list.windows(2).any(|pair| pair[0].at + pair[0].lasts > pair[1].at));
    }

    #[test]
    fn even_a_short_one_has_both_outages_that_are_longer_than_a_deadline() {
        for seed in 0..50 {
            let list = schedule(&plan(seed, 26));
            let ledger = list
                .iter()
                .any(|one| matches!(one.fault, Fault::LedgerAway { .. }) && one.lasts > Duration::from_secs(6));
            let kms = list.iter().any(|one| one.fault == Fault::KmsAway && one.lasts > Duration::from_secs(6));
            assert!(ledger && kms, "{seed}: {list:#?}");
        }
    }

    #[test]
    fn every_way_between_two_parts_is_a_link() {
        let all = links(2);
        assert_eq!(all.len(), 2 * (4 + 3 + 2 + 3));
        assert!(all.contains(&Link::To(Replica { service: "syncer", number: 2 }, Peer::Kms)));
    }
}
