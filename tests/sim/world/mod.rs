//! The world: hosts, connections, one queue of events in virtual time.
//!
//! Events are ordered by time and then by the order they were made, so a seed decides the
//! whole run. A scenario adds hosts, lets time pass and meddles: kills hosts, breaks
//! connections. Whenever a core was called, the oracle looks at its host ([`World::settle`]).
//!
//! Not here: what goes over connections (see `links`).

mod links;
mod rng;

pub(super) use rng::Rng;

use super::content::Content;
use super::host::{Conduct, Host, Spec, Start};
use super::net::{Frame, Line};
use super::oracle;
use super::trace::Trace;
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;
use swarm_core::proto::input::{CloseReason, Source, Verification};
use swarm_core::proto::torrent::{Config, Params, Torrent};
use swarm_core::proto::{Event, Input, Output, PeerKey};
use swarm_core::types::{Bitfield, Moment, PeerId, PieceIndex};

/// A simulated swarm.
#[derive(Debug)]
pub(super) struct World {
    pub(super) content: Content,
    pub(super) now: Moment,
    pub(super) hosts: Vec<Host>,
    pub(super) rng: Rng,
    /// Cores are audited (a look at everything) once in so many steps.
    pub(super) audit_every: u64,
    /// Everybody learns of everybody through a tracker.
    pub(super) tracker: bool,
    /// Nobody gets a connection any more.
    parting: bool,
    conns: Vec<Conn>,
    events: BTreeMap<(Moment, u64), Happening>,
    made: u64,
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
    Wake { host: usize, at: Moment },
    Give { host: usize, input: Input },
    Accept { from: usize, to: usize },
    Established { conn: usize },
    Sent { host: usize, peer: PeerKey, batch: Vec<Frame> },
    Arrive { conn: usize, side: usize, batch: Vec<Frame> },
    Closed { conn: usize, side: usize, why: CloseReason },
    Hashed { host: usize, piece: PieceIndex, digests: bool },
    Announce { host: usize, times: u32 },
}

/// Everybody listens here.
const PORT: u16 = 6881;
/// A dial into nowhere gives up.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);
/// Peers a tracker names at once.
const TRACKER_PEERS: usize = 50;
/// A core that asks to be woken at the same moment again and again spins.
const WAKES_AT_ONE_MOMENT: u32 = 100;

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
            events: BTreeMap::new(),
            made: 0,
            trace: Trace::new(seed),
        }
    }

    /// Adds a host and starts its core. With a tracker it announces itself at once.
    pub(super) fn add(&mut self, spec: Spec) -> usize {
        let host = self.hosts.len();
        let number = u8::try_from(host % 256).expect("below 256");
        let block = u8::try_from(host / 256).expect("fewer than 65,536 hosts");
        let id = PeerId::new(std::array::from_fn(|at| if at % 2 == 0 { number } else { block }));
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
            addr: SocketAddr::from(([10, 1, block, number], PORT)),
            id,
            core: Torrent::new(params, self.now),
            alive: true,
            uplink: Line::new(spec.up),
            downlink: Line::new(spec.down),
            peers: BTreeMap::new(),
            turn: VecDeque::new(),
            sending: false,
            next_key: 0,
            have,
            open: BTreeMap::new(),
            hasher_free: self.now,
            wake: None,
            wakes_at_once: 0,
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

    /// Tells `host` the addresses of others.
    pub(super) fn introduce(&mut self, host: usize, others: &[usize]) {
        let addrs = others.iter().map(|other| self.hosts[*other].addr).collect();
        self.give(host, Input::Candidates { source: Source::User, addrs });
    }

    /// The host vanishes; its peers notice that their connections end.
    pub(super) fn kill(&mut self, host: usize) {
        self.note(host, format_args!("killed"));
        self.hosts[host].alive = false;
        let peers = std::mem::take(&mut self.hosts[host].peers);
        self.hosts[host].turn.clear();
        for peer in peers.into_values() {
            self.tell_closed(host, peer.conn, 1 - peer.side, CloseReason::Lost);
        }
    }

    /// Breaks one random connection of the host, if it has any.
    pub(super) fn break_a_connection(&mut self, host: usize) {
        let peers: Vec<PeerKey> = self.hosts[host].peers.keys().copied().collect();
        let Some(key) = self.rng.choose(&peers) else { return };
        let conn = self.hosts[host].peers[&key].conn;
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
        while self.events.first_key_value().is_some_and(|((at, _), _)| *at <= end) {
            self.step();
        }
        self.now = end;
    }

    /// Runs until `done` or for `limit`; whether it was done.
    pub(super) fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !done(self) {
            match self.events.first_key_value() {
                Some(((at, _), _)) if *at <= end => self.step(),
                _ => return false,
            }
        }
        true
    }

    /// Runs until the hosts have all they want; fails the test when that takes over `limit`.
    pub(super) fn finish(&mut self, hosts: &[usize], limit: Duration) {
        let ended =
            self.run_until(limit, |world| hosts.iter().all(|h| world.hosts[*h].is_complete()));
        let missing: Vec<(usize, u32)> = hosts
            .iter()
            .filter(|host| !self.hosts[**host].is_complete())
            .map(|host| (*host, self.hosts[*host].have.count()))
            .collect();
        assert!(ended, "unfinished after {limit:?}: (host, pieces) {missing:?}");
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
            oracle::check_empty(&self.hosts[host], &self.content, self.now)
                .unwrap_or_else(|broken| panic!("#{host} {broken}"));
        }
    }

    pub(super) fn trace(&self) -> &Trace {
        &self.trace
    }

    fn step(&mut self) {
        let Some(((at, _), happening)) = self.events.pop_first() else { return };
        self.now = at;
        match happening {
            Happening::Wake { host, at } => self.wake(host, at),
            Happening::Give { host, input } => self.give(host, input),
            Happening::Accept { from, to } => self.accept(from, to),
            Happening::Established { conn } => self.established(conn),
            Happening::Sent { host, peer, batch } => self.sent(host, peer, batch),
            Happening::Arrive { conn, side, batch } => self.arrive(conn, side, batch),
            Happening::Closed { conn, side, why } => self.closed(conn, side, why),
            Happening::Hashed { host, piece, digests } => self.hashed(host, piece, digests),
            Happening::Announce { host, times } => self.announce(host, times),
        }
    }

    /// The only place that calls a core (but for [`Self::receive`]).
    fn give(&mut self, host: usize, input: Input) {
        if !self.hosts[host].alive {
            return;
        }
        self.note(host, format_args!("<- {input:?}"));
        let at = &mut self.hosts[host];
        at.core.handle(self.now, input);
        self.settle(host);
    }

    /// Takes every output, then sets the alarm and lets the oracle look.
    fn settle(&mut self, host: usize) {
        while let Some(output) = self.hosts[host].core.poll() {
            self.note(host, format_args!("-> {output:?}"));
            self.obey(host, output);
        }
        let deadline = self.hosts[host].core.deadline().map(|at| at.max(self.now));
        if let Some(at) = deadline.filter(|_| self.hosts[host].wake != deadline) {
            self.events.insert((at, self.made), Happening::Wake { host, at });
            self.made += 1;
        }
        self.hosts[host].wake = deadline;
        let thorough = self.trace.events().is_multiple_of(self.audit_every);
        oracle::check(&self.hosts[host], &self.content, self.now, thorough)
            .unwrap_or_else(|broken| panic!("#{host} at {:?}: {broken}", self.now));
    }

    fn wake(&mut self, host: usize, at: Moment) {
        if self.hosts[host].wake != Some(at) {
            return;
        }
        self.hosts[host].wake = None;
        self.give(host, Input::Wake);
        let again = self.hosts[host].wake == Some(at);
        let wakes = &mut self.hosts[host].wakes_at_once;
        *wakes = if again { *wakes + 1 } else { 0 };
        assert!(*wakes < WAKES_AT_ONE_MOMENT, "#{host} spins: its deadline does not move");
    }

    fn obey(&mut self, host: usize, output: Output) {
        let verdict = match output {
            Output::Connect { addr } => {
                self.dial(host, addr);
                Ok(())
            }
            Output::Send { peer, message } => self.send(host, peer, message),
            Output::Serve { peer, span } => self.serve(host, peer, span),
            Output::Verify { piece, digests } => {
                self.hosts[host].verify(&self.content, self.now, piece).map(|done| {
                    self.push_at(done, Happening::Hashed { host, piece, digests });
                })
            }
            Output::Discard { piece } => {
                let open = self.hosts[host].open.remove(&piece);
                let blocks = open.map_or_else(Vec::new, |open| open.blocks);
                let kept = blocks.iter().flatten().count() as u64;
                self.hosts[host].totals.spoilt += kept;
                Ok(())
            }
            Output::Disconnect { peer, why } => self.disconnect(host, peer, why),
            Output::Metadata { info } => {
                assert_eq!(info, self.content.info, "metadata that does not hash to the name");
                self.learn(host);
                Ok(())
            }
            Output::Emit(event) => self.emitted(host, event),
            other => Err(format!("an output this driver does not know: {other:?}")),
        };
        verdict.unwrap_or_else(|broken| panic!("#{host} at {:?}: {broken}", self.now));
    }

    /// The metadata is known: it is parsed, then what is there is checked.
    fn learn(&mut self, host: usize) {
        let parse = Duration::from_millis(1);
        let metainfo = self.content.metainfo.clone();
        self.push(parse, Happening::Give { host, input: Input::Metainfo(metainfo) });
        if let Some(wanted) = self.hosts[host].spec.wanted.clone() {
            self.push(parse, Happening::Give { host, input: Input::Wanted(wanted) });
        }
        let have = self.hosts[host].have.clone();
        self.push(parse * 2, Happening::Give { host, input: Input::Checked { have } });
        self.hosts[host].knows_metadata = true;
    }

    fn hashed(&mut self, host: usize, piece: PieceIndex, digests: bool) {
        if !self.hosts[host].alive {
            return;
        }
        let at = &mut self.hosts[host];
        let open = at.open.remove(&piece).expect("a piece is closed once, after its hash");
        let good = open.is_good();
        if good {
            at.have.insert(piece);
        } else {
            at.totals.spoilt += open.blocks.len() as u64;
        }
        if at.done_at.is_none() && at.is_complete() {
            at.done_at = Some(self.now);
        }
        let digests = if digests || !good { open.digests() } else { Vec::new() };
        let outcome = if good { Verification::Good } else { Verification::Bad };
        self.give(host, Input::Verified { piece, outcome, digests });
    }

    fn emitted(&mut self, host: usize, event: Event) -> Result<(), String> {
        match event {
            Event::Phase(phase) => self.hosts[host].phase = Some(phase),
            Event::PeerBanned { addr } => {
                let banned = self.hosts.iter().find(|other| other.addr.ip() == addr.ip());
                let innocent =
                    banned.is_none_or(|other| !matches!(other.spec.conduct, Conduct::Liar { .. }));
                if innocent {
                    return Err(format!("honest-not-banned: {addr} is banned"));
                }
                self.hosts[host].banned.push(addr);
            }
            _ => {}
        }
        Ok(())
    }

    /// A tracker's answer: some of the others, and soon again while the swarm is young.
    fn announce(&mut self, host: usize, times: u32) {
        if !self.tracker || !self.hosts[host].alive {
            return;
        }
        let mut others: Vec<usize> = (0..self.hosts.len())
            .filter(|other| *other != host && self.hosts[*other].alive)
            .collect();
        self.rng.shuffle(&mut others);
        let addrs: Vec<SocketAddr> =
            others.iter().take(TRACKER_PEERS).map(|other| self.hosts[*other].addr).collect();
        self.give(host, Input::Candidates { source: Source::Tracker, addrs });
        let pause = Duration::from_secs(if times < 5 { 2 } else { 30 });
        self.push(pause, Happening::Announce { host, times: times + 1 });
    }

    fn latency(&self, a: usize, b: usize) -> Duration {
        self.hosts[a].spec.latency + self.hosts[b].spec.latency
    }

    fn push(&mut self, after: Duration, happening: Happening) {
        self.push_at(self.now + after, happening);
    }

    fn push_at(&mut self, at: Moment, happening: Happening) {
        self.events.insert((at, self.made), happening);
        self.made += 1;
    }

    fn note(&mut self, host: usize, what: std::fmt::Arguments<'_>) {
        self.trace.note(self.now, host, what);
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
