//! The world: hosts, connections, one queue of events in virtual time.
//!
//! Events are ordered by time and then by the order they were made, so a seed decides the
//! whole run. A scenario adds hosts, lets time pass and meddles: kills hosts, breaks
//! connections. Whenever a core was called, the oracle looks at its host.
//!
//! Not here: how connections come and go (`dial`), what goes over them (`links`), what a core
//! is told and tells (`drive`), what scenarios do (`meddle`), who names whom (`tracker`).

mod conduct;
mod dial;
mod drive;
mod links;
mod meddle;
mod queue;
mod rng;
mod tracker;

pub(super) use rng::Rng;

use super::content::Content;
use super::core::Core;
use super::disk::Disk;
use super::foreign::Foreign;
use super::host::{Host, Peers, Totals};
use super::net::{Batch, Line, Wire};
use super::spec::{Software, Spec, Start};
use super::trace::Trace;
use queue::Events;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use swarm_core::proto::announce::{AnnounceInput, Announcement};
use swarm_core::proto::input::CloseReason;
use swarm_core::proto::torrent::{Config, Params, Torrent};
use swarm_core::proto::{Input, PeerKey};
use swarm_core::types::{Bitfield, Moment, PeerId, PieceIndex, Span};
use swarm_tracker::model::Model;

/// A simulated swarm.
#[derive(Debug)]
pub(super) struct World {
    pub(super) content: Content,
    pub(super) now: Moment,
    pub(super) hosts: Vec<Host>,
    pub(super) rng: Rng,
    /// What takes a look at everything is done once in so many steps.
    pub(super) audit_every: u64,
    /// Everybody announces itself to a tracker.
    pub(super) tracker: bool,
    /// What a byte costs on every line.
    pub(super) wire: Wire,
    /// The lines that racks share to the world outside, and from it.
    pub(super) racks: Vec<[Line; 2]>,
    /// Nobody gets a connection any more.
    parting: bool,
    conns: Vec<Conn>,
    events: Events,
    /// What cannot get from one island to another.
    stranded: Vec<Happening>,
    /// Whose each address is now.
    tenants: Vec<usize>,
    registry: Model,
    trace: Trace,
}

/// A connection: its two ends.
#[derive(Debug)]
struct Conn {
    ends: [(usize, PeerKey); 2],
    /// Whatever is sent vanishes.
    silent: bool,
    /// A byte a second comes, and nothing else.
    dripping: bool,
}

#[derive(Debug)]
enum Happening {
    Wake {
        host: usize,
    },
    Give {
        host: usize,
        input: Input,
    },
    Accept {
        from: usize,
        to: usize,
    },
    Established {
        conn: usize,
    },
    /// Blocks are out of the uplink.
    Sent {
        host: usize,
        peer: PeerKey,
        batch: Batch,
    },
    /// A block is in the socket's hands.
    Out {
        host: usize,
        peer: PeerKey,
        span: Span,
    },
    /// At the line of the receiver's rack.
    Enter {
        conn: usize,
        side: usize,
        batch: Batch,
    },
    /// At the downlink of the end on this side.
    Reach {
        conn: usize,
        side: usize,
        batch: Batch,
    },
    Arrive {
        conn: usize,
        side: usize,
        batch: Batch,
    },
    /// The end of the connection is at the downlink.
    Ending {
        conn: usize,
        side: usize,
        why: CloseReason,
    },
    Closed {
        conn: usize,
        side: usize,
        why: CloseReason,
    },
    /// One byte of a block.
    Drip {
        host: usize,
        peer: PeerKey,
    },
    Hashed {
        host: usize,
        piece: PieceIndex,
        digests: bool,
    },
    Join {
        host: usize,
    },
    AnnounceWake {
        host: usize,
    },
    /// At the tracker's.
    Announce {
        host: usize,
        announcement: Box<Announcement>,
    },
    Answer {
        host: usize,
        reply: Box<AnnounceInput>,
    },
}

/// Everybody listens here.
const PORT: u16 = 6881;
/// A dial into nowhere gives up.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Metadata is parsed, then what is on the disk is checked, for so long each.
const PARSING: Duration = Duration::from_millis(1);

impl World {
    pub(super) fn new(seed: u64, content: Content) -> Self {
        Self {
            content,
            now: Moment::ZERO,
            hosts: Vec::new(),
            rng: Rng::new(seed),
            audit_every: 1,
            tracker: false,
            wire: Wire::Bare,
            racks: Vec::new(),
            parting: false,
            conns: Vec::new(),
            events: Events::default(),
            stranded: Vec::new(),
            tenants: Vec::new(),
            registry: Model::new(seed),
            trace: Trace::new(seed),
        }
    }

    /// Adds a host and starts its core. With a tracker it announces itself at once.
    pub(super) fn add(&mut self, spec: Spec) -> usize {
        let addr = dial::addr_of(self.tenants.len());
        self.tenants.push(self.hosts.len());
        self.add_at(addr, spec)
    }

    fn add_at(&mut self, addr: SocketAddr, spec: Spec) -> usize {
        let host = self.hosts.len();
        let number = dial::number_of(addr.ip()).expect("one of ours");
        self.tenants[number] = host;
        let id = self.peer_id(host, spec.software);
        let knows_metadata = !matches!(spec.start, Start::Magnet);
        let core = self.core(id, &spec);
        self.hosts.push(Host {
            addr,
            id,
            core,
            alive: true,
            uplink: Line::new(spec.up),
            downlink: Line::new(spec.down),
            peers: Peers::default(),
            turn: VecDeque::new(),
            held: Vec::new(),
            sending: false,
            island: 0,
            touched: Vec::new(),
            disk: Disk::new(spec.initial(&self.content), self.now),
            have: spec.initial(&self.content),
            open: BTreeMap::new(),
            open_bytes: 0,
            hasher_free: self.now,
            announcer: None,
            announces_at: None,
            alarm: None,
            woken: (self.now, 0),
            knows_metadata,
            phase: None,
            totals: Totals::default(),
            banned: Vec::new(),
            spoilt_by: BTreeMap::new(),
            wakes: 0,
            born_at: self.now,
            done_at: None,
            spec,
        });
        let capacity = self.hosts[host].spec.capacity;
        self.give(host, Input::Capacity { bytes: capacity });
        if knows_metadata {
            self.learn(host);
        }
        if self.tracker {
            let after = if knows_metadata { PARSING * 2 } else { Duration::ZERO };
            self.push(after, Happening::Join { host });
        }
        host
    }

    fn core(&mut self, id: PeerId, spec: &Spec) -> Core {
        let seed = self.rng.next();
        if spec.software == Software::Foreign {
            return Core::Foreign(Box::new(Foreign::new(id, seed, self.now)));
        }
        let mut config = Config::default();
        config.send_budget = spec.send_budget;
        let params = Params {
            info_hash: self.content.info_hash,
            peer_id: id,
            client: "sim".to_owned(),
            listen_port: Some(PORT),
            config,
            seed,
        };
        Core::Ours(Box::new(Torrent::new(params, self.now)))
    }

    /// In no order, for ids decide who of two stays connected; with the name of the software
    /// in front (BEP 20).
    fn peer_id(&mut self, host: usize, software: Software) -> PeerId {
        let mut id = match software {
            Software::Ours => *b"-SW0001-............",
            Software::Foreign => *b"-ZZ0001-............",
        };
        id[8..12].copy_from_slice(&self.rng.next().to_be_bytes()[..4]);
        id[12..].copy_from_slice(&(host as u64).to_be_bytes());
        PeerId::new(id)
    }

    /// Lets time pass.
    pub(super) fn run_for(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until `done` or for `limit`; whether it was done.
    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            if !self.step(end) {
                return false;
            }
        }
        true
    }

    /// Runs until the hosts have all they want; fails the test when that takes over `limit`.
    pub(super) fn finish(&mut self, hosts: &[usize], limit: Duration) {
        let end = self.now + limit;
        // Who is complete stays so: nobody is looked at twice.
        let mut left = hosts;
        while let [first, rest @ ..] = left {
            if self.hosts[*first].is_complete() {
                left = rest;
            } else if !self.step(end) {
                break;
            }
        }
        let missing: Vec<usize> =
            left.iter().copied().filter(|host| !self.hosts[*host].is_complete()).collect();
        missing.iter().for_each(|host| self.describe(*host));
        assert!(missing.is_empty(), "unfinished after {limit:?}: {missing:?}");
    }

    /// How a host stands, for the reader of a failure.
    fn describe(&self, host: usize) {
        let at = &self.hosts[host];
        let lacks = self.pieces(|piece| !at.have.contains(PieceIndex::new(piece)));
        let lacks: Vec<PieceIndex> = lacks.iter().collect();
        eprintln!("#{host} {:?} {:?} lacks {lacks:?}", at.phase, at.spec.conduct);
        for (key, peer) in at.peers.iter() {
            let other = &self.hosts[peer.remote];
            let gives = lacks.iter().filter(|piece| other.have.contains(**piece)).count();
            let (whom, conduct) = (peer.remote, other.spec.conduct);
            let waiting = peer.ledger.unanswered();
            eprintln!(
                "  {key:?} #{whom} {conduct:?} has {gives} of them, owes {waiting}, {}",
                peer.ledger
            );
        }
    }

    pub(super) fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Lets the next thing happen unless it comes after `end`; whether there was one.
    fn step(&mut self, end: Moment) -> bool {
        let Some((at, happening)) = self.events.pop(end) else { return false };
        self.now = at;
        match happening {
            Happening::Wake { host } => self.wake(host),
            Happening::Give { host, input } => self.give(host, input),
            Happening::Accept { from, to } => self.accept(from, to),
            Happening::Established { conn } => self.established(conn),
            Happening::Sent { host, peer, batch } => self.sent(host, peer, batch),
            Happening::Out { host, peer, span } => self.out(host, peer, span),
            Happening::Enter { conn, side, batch } => self.enter(conn, side, batch),
            Happening::Reach { conn, side, batch } => self.reach(conn, side, batch),
            Happening::Arrive { conn, side, batch } => self.arrive(conn, side, batch),
            Happening::Ending { conn, side, why } => self.ending(conn, side, why),
            Happening::Closed { conn, side, why } => self.closed(conn, side, why),
            Happening::Drip { host, peer } => self.drip(host, peer),
            Happening::Hashed { host, piece, digests } => self.hashed(host, piece, digests),
            Happening::Join { host } => self.join(host),
            Happening::AnnounceWake { host } => self.announce_wake(host),
            Happening::Announce { host, announcement } => self.announce(host, &announcement),
            Happening::Answer { host, reply } => self.consult(host, *reply),
        }
        true
    }

    fn latency(&self, a: usize, b: usize) -> Duration {
        self.hosts[a].spec.latency + self.hosts[b].spec.latency
    }

    fn push(&mut self, after: Duration, happening: Happening) {
        self.events.push(self.now + after, happening);
    }

    /// Whether this step is one of those that are looked at closely.
    fn is_thorough(&self) -> bool {
        self.trace.events().is_multiple_of(self.audit_every)
    }

    /// A set of pieces of this content by a rule.
    pub(super) fn pieces(&self, rule: impl Fn(u32) -> bool) -> Bitfield {
        let mut set = Bitfield::none(self.content.geometry().piece_count());
        for piece in self.content.geometry().pieces().filter(|piece| rule(piece.get())) {
            set.insert(piece);
        }
        set
    }
}
