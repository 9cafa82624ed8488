//! How connections come to be, and to an end.

use super::{Conn, DIAL_TIMEOUT, Happening, PORT, World};
use crate::sim::host::Peer;
use crate::sim::ledger::Ledger;
use crate::sim::net::Queue;
use crate::sim::spec::Reach;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use swarm_core::proto::announce::AnnounceInput;
use swarm_core::proto::input::{CloseReason, DialError, Direction, Reserved};
use swarm_core::proto::{Input, PeerKey};

/// Hosts have addresses from here on, one after another.
const FIRST_ADDR: u32 = u32::from_be_bytes([10, 1, 0, 0]);

/// Where the host of this number listens.
pub(super) fn addr_of(number: usize) -> SocketAddr {
    let number = u32::try_from(number).expect("fewer hosts than addresses");
    SocketAddr::from(((FIRST_ADDR + number).to_be_bytes(), PORT))
}

/// Which of our addresses it is, if any.
pub(super) fn number_of(ip: IpAddr) -> Option<usize> {
    let IpAddr::V4(ip) = ip else { return None };
    usize::try_from(u32::from(ip).checked_sub(FIRST_ADDR)?).ok()
}

impl World {
    /// The host at an address.
    pub(super) fn tenant(&self, ip: IpAddr) -> Option<usize> {
        self.tenants.get(number_of(ip)?).copied()
    }

    pub(super) fn dial(&mut self, host: usize, addr: SocketAddr) {
        let found = self.tenant(addr.ip()).filter(|_| addr.port() == PORT);
        let Some(to) = found.filter(|to| *to == host || self.is_reachable(host, *to)) else {
            let input = Input::DialFailed { addr, why: DialError::TimedOut };
            return self.push(DIAL_TIMEOUT, Happening::Give { host, input });
        };
        if to == host {
            let input = Input::DialFailed { addr, why: DialError::Ourselves };
            return self.push(Duration::ZERO, Happening::Give { host, input });
        }
        // SYN, its answer, our handshake: then they know us.
        let latency = self.latency(host, to);
        self.push(latency * 3, Happening::Accept { from: host, to });
    }

    fn is_reachable(&self, from: usize, to: usize) -> bool {
        let there = &self.hosts[to];
        there.alive && there.spec.reach == Reach::Everybody && !self.is_cut(from, to)
    }

    pub(super) fn accept(&mut self, from: usize, to: usize) {
        let addr = self.hosts[to].addr;
        if !self.hosts[to].alive || self.parting {
            let input = Input::DialFailed { addr, why: DialError::Refused };
            return self.push(Duration::ZERO, Happening::Give { host: from, input });
        }
        let conn = self.conns.len();
        let ends = [from, to].map(|host| (host, self.hosts[host].peers.reserve()));
        self.conns.push(Conn { ends, silent: false, dripping: false });
        self.push(self.latency(from, to), Happening::Established { conn });
        // An incoming connection shows the port of the dialler's socket, not the one it listens on.
        let port = 20_000 + u16::try_from(conn % 40_000).expect("below 40,000");
        let seen = SocketAddr::new(self.hosts[from].addr.ip(), port);
        self.connected(conn, 1, seen, Direction::Incoming);
    }

    pub(super) fn established(&mut self, conn: usize) {
        let [(from, _), (to, key)] = self.conns[conn].ends;
        let addr = self.hosts[to].addr;
        if !self.hosts[from].alive {
            return self.tell_closed(from, conn, 1, CloseReason::Lost);
        }
        if self.hosts[to].peers.get(key).is_none() {
            return self.give(from, Input::DialFailed { addr, why: DialError::Handshake });
        }
        self.connected(conn, 0, addr, Direction::Outgoing);
    }

    fn connected(&mut self, conn: usize, side: usize, addr: SocketAddr, direction: Direction) {
        let (host, key) = self.conns[conn].ends[side];
        let (remote, _) = self.conns[conn].ends[1 - side];
        let fast = self.hosts[host].spec.fast && self.hosts[remote].spec.fast;
        let queue = Queue::default();
        let peer = Peer { conn, side, remote, queue, ledger: Ledger::new(fast), in_flight: 0 };
        self.hosts[host].peers.insert(key, peer);
        let id = self.hosts[remote].id;
        let reserved = Reserved { fast, extended: true };
        self.give(host, Input::Connected { peer: key, addr, direction, id, reserved });
    }

    pub(super) fn disconnect(
        &mut self,
        host: usize,
        key: PeerKey,
        why: CloseReason,
    ) -> Result<(), String> {
        let Some(peer) = self.hosts[host].peers.remove(key) else {
            return Err(format!("disconnects {key:?}, which is gone"));
        };
        let blamed =
            matches!(why, CloseReason::Banned | CloseReason::Misbehaved | CloseReason::Malformed);
        if blamed && !self.hosts[peer.remote].spec.conduct.may_be_blamed() {
            return Err(format!("honest-not-banned: closes on #{} as {why:?}", peer.remote));
        }
        self.tell_closed(host, peer.conn, 1 - peer.side, CloseReason::Remote);
        self.consult(host, AnnounceInput::Wake);
        Ok(())
    }

    /// The end of a connection travels behind everything that is on its way.
    pub(super) fn tell_closed(&mut self, from: usize, conn: usize, side: usize, why: CloseReason) {
        if self.conns[conn].silent {
            return;
        }
        let (to, _) = self.conns[conn].ends[side];
        let out = self.hosts[from].uplink.take(self.now, 0);
        let latency = self.latency(from, to);
        self.events.push(out + latency, Happening::Ending { conn, side, why });
    }

    pub(super) fn ending(&mut self, conn: usize, side: usize, why: CloseReason) {
        let [(host, _), (remote, _)] = self.ends(conn, side);
        if self.is_cut(host, remote) {
            return self.stranded.push(Happening::Ending { conn, side, why });
        }
        let at = self.hosts[host].downlink.take(self.now, 0);
        self.events.push(at, Happening::Closed { conn, side, why });
    }

    pub(super) fn closed(&mut self, conn: usize, side: usize, why: CloseReason) {
        let (host, key) = self.conns[conn].ends[side];
        if self.hosts[host].peers.remove(key).is_some() {
            self.give(host, Input::Disconnected { peer: key, why });
            self.consult(host, AnnounceInput::Wake);
        }
    }
}
