//! Peer exchange and what mates say: bounded lists, no port 0, and the same again from what we
//! write of it.

use swarm_core::wire::mate::{ASSIGN_MAX, MateMessage};
use swarm_core::wire::ut_pex::{ENTRIES_MAX, PexMessage};

/// A kind, then the payload of a message.
pub fn run(bytes: &[u8]) {
    let Some((kind, payload)) = bytes.split_first() else { return };
    if kind & 1 == 0 { exchange(payload) } else { mate(payload) }
}

fn exchange(payload: &[u8]) {
    let Ok(read) = PexMessage::decode(payload) else { return };
    assert!(read.added.len() <= ENTRIES_MAX && read.dropped.len() <= ENTRIES_MAX);
    assert!(read.added.iter().all(|peer| peer.addr.port() != 0));
    assert!(read.dropped.iter().all(|addr| addr.port() != 0));
    let written = read.encode();
    let again = PexMessage::decode(&written).expect("what we write is read");
    // In a message IPv4 comes before IPv6, so the order may change, and then not again.
    let sorted = |message: &PexMessage| {
        let (mut added, mut dropped) = (message.added.clone(), message.dropped.clone());
        added.sort_unstable();
        dropped.sort_unstable();
        (added, dropped)
    };
    assert_eq!(sorted(&again), sorted(&read));
    assert_eq!(again.encode(), written);
}

fn mate(payload: &[u8]) {
    let Some(read) = MateMessage::decode(payload) else { return };
    if let MateMessage::Assign(pieces) = &read {
        assert!(pieces.len() <= ASSIGN_MAX);
    }
    let written = read.encode();
    assert!(payload.starts_with(&written), "it is the beginning of what was read");
    assert_eq!(MateMessage::decode(&written), Some(read));
}
