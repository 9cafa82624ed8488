//! Addresses from peers: the `ut_pex` message (BEP 11).
//!
//! A message carries the peers its sender has connected to since its last one, with a byte of
//! flags each, and those it has lost. Entries beyond [`ENTRIES_MAX`] are not looked at; an
//! address that cannot be dialled is left out together with its flags.
//!
//! Not here: how often one may come, and who is told of whom (`proto::pex`).

use super::tracker::{Family, pack_peer, unpack_peers};
use crate::bencode::{self, Dict, DictEncoder, Limits};
use bytes::Bytes;
use std::net::SocketAddr;

/// Added peers, and likewise dropped ones, of one message that are looked at (LIMITS B28).
pub const ENTRIES_MAX: usize = 100;

/// What a peer is said to be. Bits without a name here are kept and mean nothing to us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It fetches nothing: a seed, or upload only.
    pub const SEED: Self = Self(0x02);
    /// The sender dialled it: it can be reached.
    pub const REACHABLE: Self = Self(0x10);

    /// Whether every bit of `other` is set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other` set, if `set`.
    #[must_use]
    pub const fn with(self, other: Self, set: bool) -> Self {
        if set { Self(self.0 | other.0) } else { self }
    }
}

/// A peer as another one tells of it. Ordered by address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PexPeer {
    /// Where it takes connections; never port 0.
    pub addr: SocketAddr,
    /// What it is said to be.
    pub flags: PexFlags,
}

/// What changed among the sender's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PexMessage {
    /// Peers it has connected to.
    pub added: Vec<PexPeer>,
    /// Peers it is no longer connected to.
    pub dropped: Vec<SocketAddr>,
}

/// A `ut_pex` message that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PexError {
    /// The payload is no bencode, or too much of it.
    #[error("peer exchange: {0}")]
    Bencode(#[from] bencode::Error),
    /// The payload is some other value than a dictionary.
    #[error("peer exchange is no dictionary")]
    NotADictionary,
}

impl PexMessage {
    /// Reads the payload of a `ut_pex` message.
    ///
    /// # Errors
    /// When it does not begin with a bencoded dictionary of reasonable depth and size.
    pub fn decode(payload: &[u8]) -> Result<Self, PexError> {
        let (document, _ignored) = bencode::parse_prefix(payload, &Limits::WIRE)?;
        let dict = document.root().as_dict().ok_or(PexError::NotADictionary)?;
        let v4 = added(dict, b"added", b"added.f", Family::V4);
        let v6 = added(dict, b"added6", b"added6.f", Family::V6);
        let packed = |key| dict.bytes(key).unwrap_or_default();
        let dropped = unpack_peers(packed(b"dropped"), Family::V4);
        let dropped6 = unpack_peers(packed(b"dropped6"), Family::V6);
        Ok(Self {
            added: v4.chain(v6).take(ENTRIES_MAX).collect(),
            dropped: dropped.chain(dropped6).take(ENTRIES_MAX).collect(),
        })
    }

    /// The payload to send under the id the other side gave to `ut_pex`.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let of = |family| self.added.iter().filter(move |peer| is_of(peer.addr, family));
        let added = |family| {
            let mut packed = Vec::new();
            of(family).for_each(|peer| pack_peer(&mut packed, peer.addr));
            packed
        };
        let flags = |family| of(family).map(|peer| peer.flags.0).collect::<Vec<u8>>();
        let dropped = |family| {
            let mut packed = Vec::new();
            let lost = self.dropped.iter().filter(|addr| is_of(**addr, family));
            lost.for_each(|addr| pack_peer(&mut packed, *addr));
            packed
        };
        // In the order of the keys. The IPv4 lists are there even when empty: some clients
        // take a message without them for a broken one.
        let bytes = bencode::encode_dict(|dict| {
            dict.bytes("added", added(Family::V4));
            dict.bytes("added.f", flags(Family::V4));
            filled(dict, "added6", &added(Family::V6));
            filled(dict, "added6.f", &flags(Family::V6));
            dict.bytes("dropped", dropped(Family::V4));
            filled(dict, "dropped6", &dropped(Family::V6));
        });
        Bytes::from(bytes)
    }
}

fn filled(dict: &mut DictEncoder<'_>, key: &str, value: &[u8]) {
    if !value.is_empty() {
        dict.bytes(key, value);
    }
}

fn is_of(addr: SocketAddr, family: Family) -> bool {
    Family::of(addr.ip()) == family
}

/// The peers of one list with their flags; flags that are missing are none.
fn added<'a>(
    dict: Dict<'a>,
    list: &[u8],
    flags: &[u8],
    family: Family,
) -> impl Iterator<Item = PexPeer> + 'a {
    let packed = dict.bytes(list).unwrap_or_default().chunks_exact(family.peer_len());
    let flags = dict.bytes(flags).unwrap_or_default().iter().copied().chain(std::iter::repeat(0));
    packed.zip(flags).filter_map(move |(peer, flags)| {
        let addr = unpack_peers(peer, family).next()?;
        Some(PexPeer { addr, flags: PexFlags(flags) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(text: &str, flags: u8) -> PexPeer {
        PexPeer { addr: text.parse().unwrap(), flags: PexFlags(flags) }
    }

    /// BEP 11: the keys, and a byte of flags for each added peer.
    #[test]
    fn a_message_is_what_the_standard_says() {
        let message = PexMessage {
            added: vec![peer("1.2.3.4:258", 0x12), peer("[::1]:3", 0x02)],
            dropped: vec!["5.6.7.8:9".parse().unwrap()],
        };
        let mut bytes = b"d5:added6:\x01\x02\x03\x04\x01\x027:added.f1:\x126:added618:".to_vec();
        bytes.extend([0; 15]);
        bytes.extend(b"\x01\x00\x038:added6.f1:\x027:dropped6:\x05\x06\x07\x08\x00\x09e");
        assert_eq!(message.encode(), bytes);
        assert_eq!(PexMessage::decode(&bytes), Ok(message));
    }

    #[test]
    fn an_address_that_cannot_be_dialled_goes_with_its_flags() {
        let payload = b"d5:added18:\x01\x01\x01\x01\x00\x05\x02\x02\x02\x02\x00\x00\x03\x03\x03\x03\x00\x077:added.f3:\x01\x02\x10e";
        let message = PexMessage::decode(payload).unwrap();
        assert_eq!(message.added, [peer("1.1.1.1:5", 1), peer("3.3.3.3:7", 0x10)]);
    }

    #[test]
    fn flags_and_lists_may_be_short_ragged_or_missing() {
        let message = PexMessage::decode(b"d5:added8:\x01\x01\x01\x01\x00\x05\x02\x027:added.f0:e");
        assert_eq!(message.unwrap().added, [peer("1.1.1.1:5", 0)]);
        assert_eq!(PexMessage::decode(b"de"), Ok(PexMessage::default()));
        assert_eq!(PexMessage::decode(b"d5:addedi5ee"), Ok(PexMessage::default()));
        assert_eq!(PexMessage::decode(b"le"), Err(PexError::NotADictionary));
        assert!(PexMessage::decode(b"d5:added").is_err());
    }

    /// LIMITS B28, P30.
    #[test]
    fn a_hundred_thousand_peers_are_a_hundred() {
        let many = PexMessage {
            added: (0..100_000u32)
                .map(|n| peer(&format!("1.0.0.1:{}", n % 65535 + 1), 0))
                .collect(),
            dropped: vec!["1.1.1.1:1".parse().unwrap(); 1000],
        };
        let read = PexMessage::decode(&many.encode()).unwrap();
        assert_eq!((read.added.len(), read.dropped.len()), (ENTRIES_MAX, ENTRIES_MAX));
    }

    fn any_addr() -> impl Strategy<Value = SocketAddr> {
        let v4 = any::<[u8; 4]>().prop_map(std::net::IpAddr::from);
        let v6 = any::<[u8; 16]>().prop_map(std::net::IpAddr::from);
        (prop_oneof![v4, v6], 1u16..).prop_map(|(ip, port)| SocketAddr::new(ip, port))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            added in prop::collection::vec((any_addr(), any::<u8>()), 0..50),
            dropped in prop::collection::vec(any_addr(), 0..50),
        ) {
            // The message holds IPv4 before IPv6.
            let mut added: Vec<PexPeer> = added
                .into_iter()
                .map(|(addr, flags)| PexPeer { addr, flags: PexFlags(flags) })
                .collect();
            added.sort_by_key(|peer| peer.addr.is_ipv6());
            let mut dropped = dropped;
            dropped.sort_by_key(SocketAddr::is_ipv6);
            let message = PexMessage { added, dropped };
            prop_assert_eq!(PexMessage::decode(&message.encode()), Ok(message));
        }

        #[test]
        fn no_bytes_make_it_panic_or_exceed_its_bounds(bytes: Vec<u8>) {
            if let Ok(message) = PexMessage::decode(&bytes) {
                prop_assert!(message.added.len() <= ENTRIES_MAX);
                prop_assert!(message.dropped.len() <= ENTRIES_MAX);
            }
        }
    }
}
