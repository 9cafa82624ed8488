//! The graph that our own clients make of what this store tells them: its degrees, and what is
//! left of it when a third of a crowd vanishes. The store and the rules for dialling
//! (`swarm_core::proto::neighbours`) are the real ones; the network between them always works.

use super::*;
use rand::seq::SliceRandom as _;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use swarm_core::proto::neighbours::{Doorman, MATES_KEPT, MATES_SOUGHT, Neighbours};
use swarm_core::types::PeerId;

const HASH: InfoHash = InfoHash::new([7; 20]);
const CONNECTIONS_MAX: usize = 100;

struct Node {
    id: PeerId,
    neighbours: BTreeSet<usize>,
    candidates: VecDeque<usize>,
    doorman: Doorman,
    announce_at: Moment,
    is_here: bool,
}

/// A crowd around one store.
struct Crowd {
    swarms: Swarms,
    ledger: Ledger,
    now: Moment,
    nodes: Vec<Node>,
    rng: Xoshiro256PlusPlus,
    announces: u32,
}

fn addr(node: usize) -> SocketAddr {
    let [_, _, high, low] = u32::try_from(node).unwrap().to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 6881))
}

fn node_at(addr: SocketAddr) -> usize {
    let IpAddr::V4(ip) = addr.ip() else { unreachable!("all are IPv4") };
    let [_, _, high, low] = ip.octets();
    usize::from(u16::from_be_bytes([high, low]))
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let limits = Limits::default();
        Self {
            swarms: Swarms::new(limits, [seed, 5], seed),
            ledger: Ledger::new(limits.swarms_max as u64, limits.peers_max as u64),
            now: Moment::ZERO + Duration::from_secs(10_000),
            nodes: Vec::new(),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            announces: 0,
        }
    }

    /// Joins one node; the first has everything.
    fn join(&mut self) {
        let number = self.nodes.len();
        let mut id = *b"-SW0100-xxxxxxxxxxxx";
        id[12..].copy_from_slice(&(number as u64).to_be_bytes());
        self.nodes.push(Node {
            id: PeerId::new(id),
            neighbours: BTreeSet::new(),
            candidates: VecDeque::new(),
            doorman: Doorman::default(),
            announce_at: self.now,
            is_here: true,
        });
        self.announce(number, AnnounceEvent::Started);
        self.dial(number);
    }

    fn announce(&mut self, node: usize, event: AnnounceEvent) {
        let mut announce = Announce::new(HASH, self.nodes[node].id, addr(node).port());
        announce.event = event;
        announce.left = u64::from(node > 0);
        announce.numwant = Some(if self.lacks(node) > 0 { 200 } else { 50 });
        let source = addr(node).ip();
        let visit = Visit { announce: &announce, source, channel: Channel::Udp { host: None } };
        let mut named = Vec::new();
        let reply = self.swarms.announce(self.now, &visit, &self.ledger, &mut named);
        named.shuffle(&mut self.rng);
        self.announces += 1;
        let known = &mut self.nodes[node];
        known.announce_at = self.now + reply.intervals.interval;
        known.candidates.extend(named.into_iter().map(node_at));
    }

    /// How many neighbours a node looks for.
    fn lacks(&self, node: usize) -> usize {
        let mates = self.nodes[node].neighbours.len();
        Neighbours { mates, ..Neighbours::default() }.room(CONNECTIONS_MAX, 0)
    }

    fn dial(&mut self, from: usize) {
        let mut sent_on = VecDeque::new();
        while self.lacks(from) > 0 {
            let Some(to) = self.nodes[from].candidates.pop_front() else { break };
            let is_new = to != from && !self.nodes[from].neighbours.contains(&to);
            if !is_new || !self.nodes[to].is_here {
                continue;
            }
            let (id, mates) = (self.nodes[from].id, self.nodes[to].neighbours.len());
            let has_room = mates < CONNECTIONS_MAX;
            if has_room && self.nodes[to].doorman.admits(self.now, id, mates) {
                self.nodes[from].neighbours.insert(to);
                self.nodes[to].neighbours.insert(from);
            } else {
                sent_on.push_back(to);
            }
        }
        // They are tried again a second later, after all others.
        self.nodes[from].candidates.extend(sent_on);
    }

    /// A second passes: whoever is due announces, whoever lacks neighbours dials.
    fn second(&mut self) {
        self.now += Duration::from_secs(1);
        for node in 0..self.nodes.len() {
            if !self.nodes[node].is_here {
                continue;
            }
            if self.nodes[node].announce_at <= self.now {
                self.announce(node, AnnounceEvent::None);
            }
            self.dial(node);
        }
    }

    fn here(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|node| self.nodes[*node].is_here)
    }

    /// Takes nodes away without a word.
    fn lose(&mut self, percent: usize) {
        let mut here: Vec<usize> = self.here().collect();
        here.shuffle(&mut self.rng);
        here.truncate(here.len() * percent / 100);
        for gone in here {
            self.nodes[gone].is_here = false;
            for other in std::mem::take(&mut self.nodes[gone].neighbours) {
                self.nodes[other].neighbours.remove(&gone);
            }
        }
    }

    /// Least, mean and most neighbours.
    fn degrees(&self) -> (usize, f64, usize) {
        let degrees: Vec<usize> = self.here().map(|n| self.nodes[n].neighbours.len()).collect();
        let mean = degrees.iter().sum::<usize>() as f64 / degrees.len() as f64;
        (*degrees.iter().min().unwrap(), mean, *degrees.iter().max().unwrap())
    }

    /// Steps from one node to each that it reaches.
    fn steps(&self, from: usize) -> BTreeMap<usize, u32> {
        let (mut steps, mut line) = (BTreeMap::from([(from, 0)]), VecDeque::from([from]));
        while let Some(node) = line.pop_front() {
            for next in &self.nodes[node].neighbours {
                if !steps.contains_key(next) {
                    steps.insert(*next, steps[&node] + 1);
                    line.push_back(*next);
                }
            }
        }
        steps
    }

    fn is_connected(&self) -> bool {
        let first = self.here().next().unwrap();
        self.steps(first).len() == self.here().count()
    }

    /// The longest of the shortest ways, from a few nodes to all others.
    fn diameter(&self) -> u32 {
        let far = |node| *self.steps(node).values().max().unwrap();
        self.here().step_by(self.nodes.len() / 10).map(far).max().unwrap()
    }
}

/// How a crowd comes.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    /// All in one second.
    AtOnce,
    /// This many a second.
    InOrder(usize),
}

fn crowd(seed: u64, count: usize, arrival: Arrival) -> Crowd {
    let mut crowd = Crowd::new(seed);
    for number in 0..count {
        crowd.join();
        if let Arrival::InOrder(a_second) = arrival
            && number % a_second == 0
        {
            crowd.second();
        }
    }
    for _ in 0..5 {
        crowd.second();
    }
    crowd
}

fn each_case(check: impl Fn(&mut Crowd, usize, &str)) {
    for count in [20, 200, 1000] {
        for arrival in [Arrival::AtOnce, Arrival::InOrder(1), Arrival::InOrder(20)] {
            for seed in [1, 2] {
                let mut crowd = crowd(seed, count, arrival);
                let (least, mean, most) = crowd.degrees();
                let name = format!("{count} nodes {arrival:?}, seed {seed}");
                println!(
                    "{name}: degree {least}..{mean:.1}..{most}, diameter {}, {} announces",
                    crowd.diameter(),
                    crowd.announces
                );
                check(&mut crowd, count, &name);
            }
        }
    }
}

#[test]
fn whatever_the_order_of_joining_the_graph_is_nearly_regular_and_small() {
    each_case(|crowd, count, name| {
        let (least, mean, most) = crowd.degrees();
        assert!(least >= MATES_SOUGHT, "{name}: somebody has {least} neighbours");
        assert!((10.0..=20.5).contains(&mean), "{name}: {mean} neighbours on average");
        assert!(most <= MATES_KEPT + 2, "{name}: somebody has {most} neighbours");
        assert!(crowd.is_connected(), "{name}");
        assert!(crowd.diameter() <= if count > 200 { 4 } else { 3 }, "{name}");
    });
}

/// The first to come are not a clique that carries every link to the rest.
#[test]
fn the_first_to_come_have_no_more_than_twice_the_neighbours_of_the_last() {
    each_case(|crowd, count, name| {
        let mean = |nodes: std::ops::Range<usize>| {
            let count = nodes.len();
            nodes.map(|n| crowd.nodes[n].neighbours.len()).sum::<usize>() as f64 / count as f64
        };
        let (first, last) = (mean(0..count / 10), mean(count - count / 10..count));
        assert!(first <= 3.0 * last, "{name}: {first} against {last}");
        let early = 0..count / 10;
        let among: usize = early
            .clone()
            .map(|n| crowd.nodes[n].neighbours.iter().filter(|m| early.contains(m)).count())
            .sum();
        let share = among as f64 / (first * early.len() as f64);
        assert!(count == 20 || share < 0.67, "{name}: {share} of their links stay among them");
    });
}

#[test]
fn a_crowd_that_loses_a_third_stays_one_and_mends_itself_within_seconds() {
    each_case(|crowd, count, name| {
        crowd.lose(30);
        assert!(crowd.is_connected(), "{name}: cut in two");
        crowd.second();
        crowd.second();
        let (least, ..) = crowd.degrees();
        let enough = if count == 20 { crowd.here().count() - 1 } else { MATES_SOUGHT };
        assert!(least >= enough.min(MATES_SOUGHT), "{name}: somebody has {least} neighbours");
    });
}

/// Peers that nobody can dial are taken in by the one that can be.
#[test]
fn behind_one_hub_everybody_is_taken_in_up_to_the_hubs_connections() {
    let mut crowd = Crowd::new(3);
    for _ in 0..CONNECTIONS_MAX {
        crowd.join();
        let last = crowd.nodes.len() - 1;
        // Only the first can be dialled.
        for other in std::mem::take(&mut crowd.nodes[last].neighbours) {
            crowd.nodes[other].neighbours.remove(&last);
        }
        if last > 0 {
            crowd.nodes[last].candidates = VecDeque::from([0]);
            crowd.dial(last);
            crowd.dial(last);
        }
    }
    assert_eq!(crowd.nodes[0].neighbours.len(), CONNECTIONS_MAX - 1);
}
