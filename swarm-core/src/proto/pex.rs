//! Peer exchange with one peer (BEP 11): what it is told, and what of its word is believed.
//!
//! A peer is told of those we are connected to: of the ones we dialled, and of the ones that
//! dialled us and said where they listen. The first message goes out a moment after there is
//! something to tell, so that a newcomer learns of everybody at once; after that comes at most
//! one a minute, with what has changed. Nobody is told of an address that would mean another
//! machine to it: loopback stays on loopback, a private network inside.
//!
//! What a peer tells is hearsay. A message that comes too soon is not read, and whoever goes
//! on is a flood; one message names a bounded number of addresses, of one network few, and one
//! peer in its whole connection no more than [`NAMED_MAX`]; none may be a low port, or point
//! into a network that is not the teller's own. What is left competes with everybody else's
//! candidates, later than what a tracker named and within the share of its source.
//!
//! That a peer dropped somebody is no news to us: whether to dial him is found out by dialling.
//!
//! Not here: the bytes (`wire::ut_pex`), whether a torrent exchanges peers at all (`torrent`;
//! a private one must not, BEP 27).

use super::candidates::scope::Scope;
use crate::types::Moment;
use crate::wire::ut_pex::{PexMessage, PexPeer};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Between a connection's beginning and its first message: neighbours gather meanwhile.
pub const FIRST_DELAY: Duration = Duration::from_secs(1);
/// Between two messages to one peer.
pub const SEND_GAP: Duration = Duration::from_secs(60);
/// Shortest time between two messages of one peer that are read (LIMITS B28).
pub const TAKE_GAP: Duration = Duration::from_secs(50);
/// Messages too soon after the last one that was read before the peer is cut off.
pub const EARLY_MAX: u8 = 8;
/// Peers a first message may add.
pub const FIRST_MAX: usize = 100;
/// Peers a later message may add, and any message may drop.
pub const LATER_MAX: usize = 50;
/// Addresses taken from one peer during its connection.
pub const NAMED_MAX: usize = 250;
/// Addresses of one message in one IPv4 /24 or IPv6 /48 that are taken, private networks
/// excepted.
pub const NAMED_PER_NET_MAX: u8 = 8;
/// Lowest port that is dialled on a peer's word: below, other services listen (LIMITS B29).
pub const PORT_MIN: u16 = 1024;

/// Until a peer without news is looked at again.
const RECHECK: Duration = Duration::from_secs(5);

/// The exchange with one peer.
#[derive(Debug)]
pub(crate) struct Exchange {
    /// Addresses it was told of and not that they are gone, in order. At most as many as the
    /// torrent has connections, and [`LATER_MAX`] that wait for their turn to be dropped.
    told: Vec<SocketAddr>,
    /// When it may be told more.
    next: Moment,
    has_told: bool,
    heard: Option<Moment>,
    named: usize,
    early: u8,
}

/// The peer sends far more often than it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Flood;

impl Exchange {
    pub(crate) fn new(now: Moment) -> Self {
        Self {
            told: Vec::new(),
            next: now + FIRST_DELAY,
            has_told: false,
            heard: None,
            named: 0,
            early: 0,
        }
    }

    /// Whether [`Self::news`] is worth a call.
    pub(crate) fn is_due(&self, now: Moment) -> bool {
        now >= self.next
    }

    /// What to tell the peer at `listener`, where `current` is everybody who can be told of,
    /// in the order of addresses and without repetition.
    pub(crate) fn news(
        &mut self,
        now: Moment,
        listener: SocketAddr,
        current: &[PexPeer],
    ) -> Option<PexMessage> {
        if !self.is_due(now) {
            return None;
        }
        let most = if self.has_told { LATER_MAX } else { FIRST_MAX };
        let is_new = |peer: &&PexPeer| {
            self.told.binary_search(&peer.addr).is_err() && may_name(peer.addr, listener)
        };
        let added: Vec<PexPeer> = current.iter().filter(is_new).take(most).copied().collect();
        let is_gone =
            |addr: &&SocketAddr| current.binary_search_by_key(*addr, |peer| peer.addr).is_err();
        let dropped: Vec<SocketAddr> =
            self.told.iter().filter(is_gone).take(LATER_MAX).copied().collect();
        if added.is_empty() && dropped.is_empty() {
            self.next = now + RECHECK;
            return None;
        }
        self.told.retain(|addr| dropped.binary_search(addr).is_err());
        self.told.extend(added.iter().map(|peer| peer.addr));
        self.told.sort_unstable();
        self.has_told = true;
        self.next = now + SEND_GAP;
        Some(PexMessage { added, dropped })
    }

    /// Whether a message that comes now comes too soon to be read.
    pub(crate) fn is_early(&self, now: Moment) -> bool {
        self.heard.is_some_and(|heard| now.since(heard) < TAKE_GAP)
    }

    /// Those of a message from `teller` that may become candidates.
    pub(crate) fn take(
        &mut self,
        now: Moment,
        teller: SocketAddr,
        message: &PexMessage,
    ) -> Result<Vec<PexPeer>, Flood> {
        if self.is_early(now) {
            self.early += 1;
            return if self.early > EARLY_MAX { Err(Flood) } else { Ok(Vec::new()) };
        }
        let most = if self.heard.is_none() { FIRST_MAX } else { LATER_MAX };
        self.heard = Some(now);
        self.early = 0;
        let room = most.min(NAMED_MAX - self.named);
        let mut crowd = Crowd::default();
        let believed = |peer: &&PexPeer| {
            peer.addr.port() >= PORT_MIN && may_name(peer.addr, teller) && crowd.admits(peer.addr)
        };
        let taken: Vec<PexPeer> =
            message.added.iter().filter(believed).take(room).copied().collect();
        self.named += taken.len();
        Ok(taken)
    }
}

/// Whether an address means the same machine to both ends of a connection with `other`.
fn may_name(subject: SocketAddr, other: SocketAddr) -> bool {
    Scope::of(subject.ip()) >= Scope::of(other.ip()) && subject != other
}

/// Bounds what one message says of one network; inside private ones there is no bound.
#[derive(Debug, Default)]
struct Crowd {
    hosts: BTreeSet<IpAddr>,
    nets: BTreeMap<[u8; 6], u8>,
}

impl Crowd {
    fn admits(&mut self, addr: SocketAddr) -> bool {
        let ip = addr.ip().to_canonical();
        if Scope::of(ip) != Scope::Global {
            return true;
        }
        let count = self.nets.entry(net(ip)).or_default();
        if *count >= NAMED_PER_NET_MAX {
            return false;
        }
        // BEP 11: an address that comes again with another port is ignored.
        let is_new = self.hosts.insert(ip);
        *count += u8::from(is_new);
        is_new
    }
}

/// The /24 of an IPv4 address, the /48 of an IPv6 address.
fn net(ip: IpAddr) -> [u8; 6] {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            // Nothing in IPv6 begins like this: it would be an IPv4 address in disguise.
            [0, 0, 0, a, b, c]
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, ..] = ip.octets();
            [a, b, c, d, e, f]
        }
    }
}

#[cfg(test)]
mod tests;
