//! A handshake that arrives byte by byte: it is refused at its first wrong byte and not
//! before, never changes its mind, and what was read is what was sent.

use swarm_core::wire::handshake::{HANDSHAKE_LEN, HANDSHAKE_OPENING_LEN};
use swarm_core::wire::{Handshake, HandshakeProgress};

/// Given to every second input, since it is too long to be found by chance.
const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

/// One input.
pub fn run(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let bytes = if kind & 1 == 0 { [PROTOCOL, rest].concat() } else { rest.to_vec() };
    let mut refused = None;
    for len in 0..=bytes.len().min(HANDSHAKE_LEN + 1) {
        match Handshake::parse(&bytes[..len]) {
            Err(fault) => {
                assert_eq!(fault.at, refused.unwrap_or(len - 1), "it was wrong before");
                refused = Some(fault.at);
            }
            Ok(progress) => {
                assert_eq!(refused, None, "what was refused is taken");
                check(&bytes[..len], progress);
            }
        }
    }
}

fn check(bytes: &[u8], progress: HandshakeProgress) {
    match progress {
        HandshakeProgress::Partial => assert!(bytes.len() < HANDSHAKE_OPENING_LEN),
        HandshakeProgress::Opening { info_hash, .. } => {
            assert!((HANDSHAKE_OPENING_LEN..HANDSHAKE_LEN).contains(&bytes.len()));
            assert_eq!(info_hash.as_bytes(), &bytes[28..48]);
        }
        HandshakeProgress::Whole(handshake) => {
            let sent = handshake.encode();
            assert_eq!((&sent[..20], &sent[28..]), (&bytes[..20], &bytes[28..HANDSHAKE_LEN]));
            assert_eq!(Handshake::parse(&sent), Ok(progress));
        }
    }
}
