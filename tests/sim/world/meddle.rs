//! What a scenario does to a world: hosts that leave, lines that break, networks that part.

use super::{Happening, World};
use crate::sim::host::Host;
use crate::sim::oracle;
use crate::sim::spec::Start;
use crate::sim::trace::Line;
use std::time::Duration;
use swarm_core::proto::Input;
use swarm_core::proto::announce::AnnounceInput;
use swarm_core::proto::input::{CloseReason, Source};
use swarm_core::types::Bitfield;

/// In this time the last snub, the last dial and the last round of the choker are over.
const SETTLING: Duration = Duration::from_secs(180);
/// For so long nothing may happen then.
const SLEEP: Duration = Duration::from_secs(60);

impl World {
    /// Tells `host` the addresses of others.
    pub(in crate::sim) fn introduce(&mut self, host: usize, others: &[usize]) {
        let addrs = others.iter().map(|other| self.hosts[*other].addr).collect();
        self.give(host, Input::Candidates { source: Source::User, addrs });
    }

    /// The host vanishes; its peers notice that their connections end.
    pub(in crate::sim) fn kill(&mut self, host: usize) {
        self.end(host, CloseReason::Lost);
    }

    /// The host leaves as it should: it tells the tracker and closes its connections.
    pub(in crate::sim) fn leave(&mut self, host: usize) {
        if self.hosts[host].announcer.is_some() {
            self.consult(host, AnnounceInput::Stop);
        }
        self.end(host, CloseReason::Remote);
    }

    fn end(&mut self, host: usize, why: CloseReason) {
        self.trace.note(self.now, host, Line::Killed);
        self.hosts[host].alive = false;
        self.hosts[host].announcer = None;
        self.hosts[host].turn.clear();
        self.hosts[host].held.clear();
        for key in self.hosts[host].peers.keys() {
            let peer = self.hosts[host].peers.remove(key).expect("one of its keys");
            self.tell_closed(host, peer.conn, 1 - peer.side, why);
        }
    }

    /// The host's machine fails: what the disk will turn out to hold.
    pub(in crate::sim) fn crash(&mut self, host: usize) -> Bitfield {
        self.kill(host);
        self.hosts[host].disk.after_crash(&mut self.rng)
    }

    /// A dead host comes back with what its disk holds: the same machine and address, another
    /// process, so another host here.
    pub(in crate::sim) fn restart(&mut self, host: usize, have: Bitfield) -> usize {
        assert!(!self.hosts[host].alive, "only the dead come back");
        let mut spec = self.hosts[host].spec.clone();
        if self.hosts[host].knows_metadata {
            spec.start = Start::Partial(have);
        }
        let addr = self.hosts[host].addr;
        self.add_at(addr, spec)
    }

    /// Breaks one random connection of the host, if it has any.
    pub(in crate::sim) fn break_a_connection(&mut self, host: usize) {
        let peers = self.hosts[host].peers.keys();
        let Some(key) = self.rng.choose(&peers) else { return };
        let conn = self.hosts[host].peers.get(key).expect("one of its keys").conn;
        for side in 0..2 {
            self.push(Duration::ZERO, Happening::Closed { conn, side, why: CloseReason::Lost });
        }
    }

    /// From now on nothing gets through on the host's connections, and nobody is told.
    pub(in crate::sim) fn silence(&mut self, host: usize) {
        for peer in self.hosts[host].peers.values() {
            self.conns[peer.conn].silent = true;
        }
    }

    /// Puts every host on an island: nothing gets from one to another, though connections last.
    pub(in crate::sim) fn divide(&mut self, island_of: impl Fn(usize) -> u8) {
        for (number, host) in self.hosts.iter_mut().enumerate() {
            host.island = island_of(number);
        }
    }

    /// One network again: what waited goes on.
    pub(in crate::sim) fn heal(&mut self) {
        self.divide(|_| 0);
        for happening in std::mem::take(&mut self.stranded) {
            self.push(Duration::ZERO, happening);
        }
        for host in 0..self.hosts.len() {
            self.release(host);
        }
    }

    /// When everybody has everything: nobody does anything any more (`quiescent`). Who makes
    /// believe to serve waits for ever for its own driver to say that a block is out.
    pub(in crate::sim) fn rest(&mut self) {
        let restless = |host: &Host| !host.is_complete() || host.spec.conduct.is_silent();
        if self.hosts.iter().any(|host| host.alive && restless(host)) {
            return;
        }
        self.run_for(SETTLING);
        let before: Vec<u64> = self.hosts.iter().map(|host| host.wakes).collect();
        self.run_for(SLEEP);
        for (number, host) in self.hosts.iter().enumerate() {
            oracle::check_quiet(host, before[number], SLEEP)
                .unwrap_or_else(|broken| panic!("#{number} {broken}"));
        }
    }

    /// Ends every connection of everybody and looks whether anything is left.
    pub(in crate::sim) fn part(&mut self) {
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
}
