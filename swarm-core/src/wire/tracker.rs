//! What HTTP and UDP trackers have in common: the announce itself and packed peer addresses.
//!
//! Both protocols carry the same facts in different clothes. Client and tracker speak of
//! them with the types of this file; `tracker_http` and `tracker_udp` only dress them.
//!
//! Not here: when to announce (`proto`), whom to hand out (the tracker crate).

use crate::types::{InfoHash, PeerId};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Peers of one reply that a client keeps (LIMITS C07).
pub const PEERS_PER_REPLY_MAX: usize = 200;
/// Bytes of a packed IPv4 peer: address, then port (BEP 23).
pub const PEER_V4_LEN: usize = 6;
/// Bytes of a packed IPv6 peer: address, then port (BEP 7).
pub const PEER_V6_LEN: usize = 18;

/// A peer telling a tracker about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The swarm.
    pub info_hash: InfoHash,
    /// The peer's identity; all zero when an HTTP client did not say.
    pub peer_id: PeerId,
    /// TCP port the peer listens on; 0 when it does not listen.
    pub port: u16,
    /// Bytes sent to peers since `started`.
    pub uploaded: u64,
    /// Bytes received from peers since `started`.
    pub downloaded: u64,
    /// Bytes it still needs; 0 makes it a seed. [`Announce::LEFT_UNKNOWN`] before it knows.
    pub left: u64,
    /// Why it announces now.
    pub event: AnnounceEvent,
    /// Lets a tracker recognise a client that announces from two addresses (BEP 7).
    pub key: u32,
    /// Peers it asks for; `None` leaves the number to the tracker.
    pub numwant: Option<u32>,
}

impl Announce {
    /// `left` of a peer that does not know the torrent's length yet. It is the largest
    /// number that every tracker's signed field holds.
    pub const LEFT_UNKNOWN: u64 = i64::MAX as u64;

    /// An ordinary announce of a peer: no event, nothing transferred, `left` unknown.
    #[must_use]
    pub const fn new(info_hash: InfoHash, peer_id: PeerId, port: u16) -> Self {
        Self {
            info_hash,
            peer_id,
            port,
            uploaded: 0,
            downloaded: 0,
            left: Self::LEFT_UNKNOWN,
            event: AnnounceEvent::None,
            key: 0,
            numwant: None,
        }
    }
}

/// Why a peer announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnnounceEvent {
    /// The interval has passed.
    #[default]
    None,
    /// It has just become complete.
    Completed,
    /// It has just joined.
    Started,
    /// It is leaving.
    Stopped,
    /// It is a partial seed: incomplete, and not fetching (BEP 21).
    Paused,
}

/// Statistics of one swarm (BEP 15, BEP 48).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ScrapeEntry {
    /// Peers that have everything.
    pub complete: u32,
    /// Times a peer became complete.
    pub downloaded: u32,
    /// Peers that do not have everything, partial seeds included.
    pub incomplete: u32,
    /// Of the incomplete, those that fetch (BEP 21). UDP does not carry it: a reply read from
    /// there repeats `incomplete`.
    pub downloaders: u32,
}

/// The address family of packed peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// Six bytes a peer.
    V4,
    /// Eighteen bytes a peer.
    V6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    /// Bytes of one packed peer.
    #[must_use]
    pub const fn peer_len(self) -> usize {
        match self {
            Self::V4 => PEER_V4_LEN,
            Self::V6 => PEER_V6_LEN,
        }
    }
}

/// Appends one packed peer: 6 bytes for IPv4, 18 for IPv6.
pub fn pack_peer(out: &mut Vec<u8>, peer: SocketAddr) {
    match peer.ip() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&peer.port().to_be_bytes());
}

/// The whole packed peers in `packed`. A ragged tail is not a peer; port 0 cannot be dialled
/// and is left out.
pub fn unpack_peers(packed: &[u8], family: Family) -> impl Iterator<Item = SocketAddr> + '_ {
    packed.chunks_exact(family.peer_len()).filter_map(unpack_peer).filter(|peer| peer.port() != 0)
}

fn unpack_peer(packed: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = packed.split_last_chunk::<2>()?;
    let ip = if let Ok(octets) = <[u8; 4]>::try_from(ip) {
        IpAddr::V4(Ipv4Addr::from(octets))
    } else {
        IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(ip).ok()?))
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_of_both_families_survive_packing() {
        for text in ["1.2.3.4:5", "[2001:db8::9]:65535"] {
            let peer: SocketAddr = text.parse().unwrap();
            let mut packed = Vec::new();
            pack_peer(&mut packed, peer);
            let family = Family::of(peer.ip());
            assert_eq!(packed.len(), family.peer_len());
            assert_eq!(unpack_peers(&packed, family).collect::<Vec<_>>(), [peer]);
        }
    }

    #[test]
    fn a_ragged_tail_and_port_zero_are_no_peers() {
        let packed = [1, 2, 3, 4, 0, 9, 5, 6, 7, 8, 0, 0, 1, 1];
        let peers: Vec<_> = unpack_peers(&packed, Family::V4).collect();
        assert_eq!(peers, ["1.2.3.4:9".parse().unwrap()]);
        assert_eq!(unpack_peers(&packed, Family::V6).count(), 0);
    }
}
