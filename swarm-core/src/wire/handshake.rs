//! The 68 bytes that open a connection (BEP 3), and the promises in their reserved bits.
//!
//! [`Handshake::parse`] looks at whatever has arrived so far. It refuses at the first byte
//! that is not the protocol's own (LIMITS B41), so that HTTP or TLS on a peer port costs one
//! read; and it gives the info hash as soon as that is in, so that the side that was dialled
//! can look the torrent up before it reveals anything (LIMITS B22).
//!
//! Not here: how long a handshake may take, whether the torrent or the peer id is welcome.

use crate::types::{InfoHash, PeerId};

/// Bytes in a handshake.
pub const HANDSHAKE_LEN: usize = 68;
/// Bytes after which the info hash is known.
pub const HANDSHAKE_OPENING_LEN: usize = 48;

/// The length of the protocol's name, then the name.
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";
/// BEP 10: bit 20 from the right.
const EXTENDED: (usize, u8) = (5, 0x10);
/// BEP 6: the third bit from the right.
const FAST: (usize, u8) = (7, 0x04);

/// One side's handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// Extensions the sender speaks.
    pub reserved: Reserved,
    /// The torrent the connection is for.
    pub info_hash: InfoHash,
    /// Who the sender says it is.
    pub peer_id: PeerId,
}

/// What the reserved bytes promise, of what we know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reserved {
    /// Fast extension (BEP 6).
    pub fast: bool,
    /// Extension protocol (BEP 10).
    pub extended: bool,
}

/// How much of a handshake the bytes received so far make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeProgress {
    /// Right so far; the info hash is not complete.
    Partial,
    /// The first 48 bytes are in: the torrent is known, the peer id is not.
    Opening {
        /// Extensions the sender speaks.
        reserved: Reserved,
        /// The torrent the connection is for.
        info_hash: InfoHash,
    },
    /// All 68 bytes are in. Bytes after them are the first messages.
    Whole(Handshake),
}

/// Bytes that do not begin a BitTorrent handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a BitTorrent handshake: byte {at} differs")]
#[non_exhaustive]
pub struct NotAHandshake {
    /// Place of the first byte that is wrong, from 0.
    pub at: usize,
}

impl Reserved {
    /// Every extension this crate speaks: what we send.
    pub const OURS: Self = Self { fast: true, extended: true };

    fn from_bytes(bytes: [u8; 8]) -> Self {
        let has = |(at, mask): (usize, u8)| bytes.get(at).is_some_and(|byte| byte & mask != 0);
        Self { fast: has(FAST), extended: has(EXTENDED) }
    }

    fn to_bytes(self) -> [u8; 8] {
        let mut bytes = [0; 8];
        for (on, (at, mask)) in [(self.fast, FAST), (self.extended, EXTENDED)] {
            if let (true, Some(byte)) = (on, bytes.get_mut(at)) {
                *byte |= mask;
            }
        }
        bytes
    }
}

impl Handshake {
    /// The bytes to send. The side that was dialled sends them only once it knows the torrent.
    #[must_use]
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let parts = PROTOCOL
            .iter()
            .copied()
            .chain(self.reserved.to_bytes())
            .chain(*self.info_hash.as_bytes())
            .chain(*self.peer_id.as_bytes());
        let mut bytes = [0; HANDSHAKE_LEN];
        for (to, from) in bytes.iter_mut().zip(parts) {
            *to = from;
        }
        bytes
    }

    /// Reads a handshake from the bytes received so far; what follows it is not looked at.
    ///
    /// Unknown reserved bits are ignored, as BEP 3 asks.
    ///
    /// # Errors
    /// [`NotAHandshake`] as soon as a byte differs from the protocol's name.
    pub fn parse(bytes: &[u8]) -> Result<HandshakeProgress, NotAHandshake> {
        if let Some(at) = bytes.iter().zip(PROTOCOL).position(|(found, due)| found != due) {
            return Err(NotAHandshake { at });
        }
        let Some((reserved, info_hash, rest)) = split_opening(bytes) else {
            return Ok(HandshakeProgress::Partial);
        };
        Ok(match rest.first_chunk() {
            None => HandshakeProgress::Opening { reserved, info_hash },
            Some(id) => {
                HandshakeProgress::Whole(Self { reserved, info_hash, peer_id: PeerId::new(*id) })
            }
        })
    }
}

/// Reserved bits, info hash and what follows, once they are all in.
fn split_opening(bytes: &[u8]) -> Option<(Reserved, InfoHash, &[u8])> {
    let rest = bytes.get(PROTOCOL.len()..)?;
    let (reserved, rest) = rest.split_first_chunk()?;
    let (info_hash, rest) = rest.split_first_chunk()?;
    Some((Reserved::from_bytes(*reserved), InfoHash::new(*info_hash), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample(reserved: Reserved) -> Handshake {
        Handshake { reserved, info_hash: InfoHash::new([1; 20]), peer_id: PeerId::new([2; 20]) }
    }

    #[test]
    fn the_bytes_are_those_of_bep_3_6_and_10() {
        let bytes = sample(Reserved::OURS).encode();
        assert_eq!(bytes[..20], *b"\x13BitTorrent protocol");
        assert_eq!(bytes[20..28], [0, 0, 0, 0, 0, 0x10, 0, 0x04]);
        assert_eq!(bytes[28..48], [1; 20]);
        assert_eq!(bytes[48..], [2; 20]);
        assert_eq!(sample(Reserved::default()).encode()[20..28], [0; 8]);
    }

    #[test]
    fn bits_we_do_not_know_are_ignored() {
        let mut bytes = sample(Reserved::default()).encode();
        bytes[20..28].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xef, 0xff, 0xfb]);
        assert_eq!(
            Handshake::parse(&bytes),
            Ok(HandshakeProgress::Whole(sample(Reserved::default())))
        );
    }

    #[test]
    fn http_and_tls_are_refused_at_their_first_byte() {
        assert_eq!(Handshake::parse(b"G"), Err(NotAHandshake { at: 0 }));
        assert_eq!(Handshake::parse(&[0x16, 0x03, 0x01]), Err(NotAHandshake { at: 0 }));
        for at in 0..PROTOCOL.len() {
            let mut bytes = sample(Reserved::OURS).encode();
            bytes[at] ^= 1;
            assert_eq!(Handshake::parse(&bytes), Err(NotAHandshake { at }));
            assert_eq!(Handshake::parse(&bytes[..=at]), Err(NotAHandshake { at }));
            assert_eq!(Handshake::parse(&bytes[..at]), Ok(HandshakeProgress::Partial));
        }
    }

    #[test]
    fn the_info_hash_is_known_before_the_peer_id() {
        let handshake = sample(Reserved::OURS);
        let bytes = handshake.encode();
        for len in 0..HANDSHAKE_LEN {
            let due = if len < HANDSHAKE_OPENING_LEN {
                HandshakeProgress::Partial
            } else {
                let Handshake { reserved, info_hash, .. } = handshake;
                HandshakeProgress::Opening { reserved, info_hash }
            };
            assert_eq!(Handshake::parse(&bytes[..len]), Ok(due), "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_parsed(hash: [u8; 20], id: [u8; 20], fast: bool, extended: bool, more: Vec<u8>) {
            let handshake = Handshake {
                reserved: Reserved { fast, extended },
                info_hash: InfoHash::new(hash),
                peer_id: PeerId::new(id),
            };
            let mut bytes = handshake.encode().to_vec();
            bytes.extend(more);
            prop_assert_eq!(Handshake::parse(&bytes), Ok(HandshakeProgress::Whole(handshake)));
        }
    }
}
