//! The world: hosts, connections, one queue of events in virtual time.
//!
//! Events are ordered by time and then by the order they were made, so a seed decides the
//! whole run. A scenario adds hosts, lets time pass and meddles: kills hosts, breaks
//! connections. Whenever a core was called, the oracle looks at its host.
//!
//! Not here: how connections come and go (`dial`), what goes over them (`links`), what a core
//! is told and tells (`drive`).

mod dial;
mod drive;
mod links;
mod queue;
mod rng;

pub(super) use rng::Rng;

use super::content::Content;
use super::host::{Host, Peers, Spec, Start};
use super::net::{Batch, Line};
use super::oracle;
use super::trace::{self, Trace};
use queue::Events;
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use swarm_core::proto::input::{CloseReason, Source};
use swarm_core::proto::torrent::{Config, Params, Torrent};
use swarm_core::proto::{Input, PeerKey};
use swarm_core::types::{Bitfield, Moment, PeerId, PieceIndex};

/// A simulated swarm.
#[derive(Debug)]
pub(super) struct World {
    pub(super) content: Content,
    pub(super) now: Moment,
    pub(super) hosts: Vec<Host>,
    pub(super) rng: Rng,
    /// What takes a look at everything is done once in so many steps.
    pub(super) audit_every: u64,
    /// Everybody learns of everybody through a tracker.
    pub(super) tracker: bool,
    /// Nobody gets a connection any more.
    parting: bool,
    conns: Vec<Conn>,
    events: Events,
    trace: Trace,
}

/// A connection: its two ends.
#[derive(Debug)]
struct Conn {
    ends: [(usize, PeerKey); 2],
    /// Whatever is sent vanishes.
    silent: bool,
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
    Hashed {
        host: usize,
        piece: PieceIndex,
        digests: bool,
    },
    Announce {
        host: usize,
        times: u32,
    },
}

/// Everybody listens here.
const PORT: u16 = 6881;
/// A dial into nowhere gives up.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Peers a tracker names at once.
const TRACKER_PEERS: usize = 50;

impl World {
    pub(super) fn new(seed: u64, content: Content) -> Self {
        Self {
            content,
            now: Moment::ZERO,
            hosts: Vec::new(),
            rng: Rng::new(seed),
            audit_every: 1,
            tracker: false,
            parting: false,
            conns: Vec::new(),
            events: Events::default(),
            trace: Trace::new(seed),
        }
    }

    /// Adds a host and starts its core. With a tracker it announces itself at once.
    pub(super) fn add(&mut self, spec: Spec) -> usize {
        let host = self.hosts.len();
        let id = self.peer_id(host);
        let mut config = Config::default();
        config.send_budget = spec.send_budget;
        let params = Params {
            info_hash: self.content.info_hash,
            peer_id: id,
            client: "sim".to_owned(),
            listen_port: Some(PORT),
            config,
            seed: self.rng.next(),
        };
        let have = spec.initial(&self.content);
        let knows_metadata = !matches!(spec.start, Start::Magnet);
        self.hosts.push(Host {
            addr: dial::addr_of(host),
            id,
            core: Torrent::new(params, self.now),
            alive: true,
            uplink: Line::new(spec.up),
            downlink: Line::new(spec.down),
            peers: Peers::default(),
            turn: VecDeque::new(),
            sending: false,
            touched: Vec::new(),
            have,
            open: BTreeMap::new(),
            open_bytes: 0,
            hasher_free: self.now,
            alarm: None,
            woken: (self.now, 0),
            knows_metadata,
            phase: None,
            totals: super::host::Totals::default(),
            banned: Vec::new(),
            done_at: None,
            spec,
        });
        let capacity = self.hosts[host].spec.capacity;
        self.give(host, Input::Capacity { bytes: capacity });
        if knows_metadata {
            self.learn(host);
        }
        if self.tracker {
            self.push(Duration::ZERO, Happening::Announce { host, times: 0 });
        }
        host
    }

    /// One of ours (BEP 20), in no order: who of two stays connected is decided by ids.
    fn peer_id(&mut self, host: usize) -> PeerId {
        let mut id = *b"-SW0001-............";
        id[8..12].copy_from_slice(&self.rng.next().to_be_bytes()[..4]);
        id[12..].copy_from_slice(&(host as u64).to_be_bytes());
        PeerId::new(id)
    }

    /// Tells `host` the addresses of others.
    pub(super) fn introduce(&mut self, host: usize, others: &[usize]) {
        let addrs = others.iter().map(|other| self.hosts[*other].addr).collect();
        self.give(host, Input::Candidates { source: Source::User, addrs });
    }

    /// The host vanishes; its peers notice that their connections end.
    pub(super) fn kill(&mut self, host: usize) {
        self.trace.note(self.now, host, trace::Line::Killed);
        self.hosts[host].alive = false;
        self.hosts[host].turn.clear();
        for key in self.hosts[host].peers.keys() {
            let peer = self.hosts[host].peers.remove(key).expect("one of its keys");
            self.tell_closed(host, peer.conn, 1 - peer.side, CloseReason::Lost);
        }
    }

    /// Breaks one random connection of the host, if it has any.
    pub(super) fn break_a_connection(&mut self, host: usize) {
        let peers = self.hosts[host].peers.keys();
        let Some(key) = self.rng.choose(&peers) else { return };
        let conn = self.hosts[host].peers.get(key).expect("one of its keys").conn;
        for side in 0..2 {
            self.push(Duration::ZERO, Happening::Closed { conn, side, why: CloseReason::Lost });
        }
    }

    /// From now on nothing gets through on the host's connections, and nobody is told.
    pub(super) fn silence(&mut self, host: usize) {
        for peer in self.hosts[host].peers.values() {
            self.conns[peer.conn].silent = true;
        }
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
        let missing: Vec<(usize, u32)> = left
            .iter()
            .filter(|host| !self.hosts[**host].is_complete())
            .map(|host| (*host, self.hosts[*host].have.count()))
            .collect();
        assert!(missing.is_empty(), "unfinished after {limit:?}: (host, pieces) {missing:?}");
    }

    /// Ends every connection of everybody and looks whether anything is left.
    pub(super) fn part(&mut self) {
        self.tracker = false;
        self.parting = true;
        for conn in 0..self.conns.len() {
            for side in 0..2 {
                let happening = Happening::Closed { conn, side, why: CloseReason::Remote };
                self.push(Duration::ZERO, happening);
            }
        }
        self.run_for(Duration::from_millis(1));
        for host in 0..self.hosts.len() {
            oracle::check_empty(&mut self.hosts[host], &self.content, self.now)
                .unwrap_or_else(|broken| panic!("#{host} {broken}"));
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
            Happening::Reach { conn, side, batch } => self.reach(conn, side, batch),
            Happening::Arrive { conn, side, batch } => self.arrive(conn, side, batch),
            Happening::Ending { conn, side, why } => self.ending(conn, side, why),
            Happening::Closed { conn, side, why } => self.closed(conn, side, why),
            Happening::Hashed { host, piece, digests } => self.hashed(host, piece, digests),
            Happening::Announce { host, times } => self.announce(host, times),
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
