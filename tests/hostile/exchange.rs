//! What peers tell of the torrent and of each other: P27, P30.

use super::attacker::{Attacker, any_id, extended, extended_handshake};
use super::victim::{Goods, Victim};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use swarm_core::PeerId;
use swarm_core::wire::extended::Extension;
use swarm_core::wire::ut_pex::{PexFlags, PexMessage, PexPeer};
use swarm_core::wire::{Message, MetadataMessage};

fn metadata_size() -> i64 {
    i64::try_from(Goods::get().metainfo.info_bytes().len()).unwrap()
}

/// Answers requests for metadata until the connection ends.
fn answers(mut peer: Attacker, answer: impl Fn(u32) -> Option<MetadataMessage>) {
    while let Some(message) = peer.hear() {
        // Its requests come under the number that we gave.
        let Message::Extended { id: 9, payload } = message else { continue };
        let Ok(MetadataMessage::Request { piece }) = MetadataMessage::decode(&payload) else {
            continue;
        };
        if let Some(answer) = answer(piece)
            && !peer.send(&extended(Extension::UtMetadata.local_id(), &answer.encode()))
        {
            return;
        }
    }
}

/// A peer that says it has so much metadata.
fn offers(victim: &Victim, id: PeerId, size: i64) -> Attacker {
    let mut peer = Attacker::join_as(victim, id);
    peer.send(&extended_handshake(size));
    peer
}

#[test]
fn p27_a_size_of_metadata_that_cannot_be_is_not_asked_for() {
    let victim = Victim::resolves();
    let absurd = [1 << 31, i64::MAX, -1, 0, (16 << 20) + 1];
    let mut peers: Vec<Attacker> =
        absurd.iter().map(|size| offers(&victim, any_id(), *size)).collect();
    for peer in &mut peers {
        let asked = |message: &Message| matches!(message, Message::Extended { id: 9, .. });
        // It answers what comes later without having asked for metadata.
        peer.say(&Message::Request(super::attacker::span(5, 0, 1)));
        peer.hear_for(|message| {
            assert!(!asked(message), "asked for absurd metadata");
            matches!(message, Message::Extended { id: 0, .. }).then_some(())
        });
    }
    victim.survives("not asked");
    drop(peers);
}

#[test]
fn p27_who_gives_wrong_metadata_is_banned_and_another_is_asked() {
    let mut victim = Victim::resolves();
    let size = u32::try_from(metadata_size()).unwrap();
    let liar = offers(&victim, any_id(), metadata_size());
    let addr = liar.stream.local_addr().unwrap();
    thread::spawn(move || {
        answers(liar, |piece| {
            let bytes = vec![b'x'; size as usize].into();
            Some(MetadataMessage::Data { piece, total_size: size, bytes })
        });
    });
    assert_eq!(victim.bans(1), [addr]);
    victim.survives("banned");
}

/// More of them than are asked at a time, and there first.
pub(super) fn p27_peers_that_promise_metadata_and_send_none_do_not_keep_it_from_us() {
    let victim = Victim::resolves();
    let mute: Vec<Attacker> = (0..6).map(|_| offers(&victim, any_id(), metadata_size())).collect();
    victim.survives("given up after 5 s");
    drop(mute);
}

pub(super) fn p27_peers_that_refuse_metadata_or_trickle_it_do_not_keep_it_from_us() {
    let victim = Victim::resolves();
    for _ in 0..3 {
        let peer = offers(&victim, any_id(), metadata_size());
        thread::spawn(move || answers(peer, |piece| Some(MetadataMessage::Reject { piece })));
        // A kilobyte of promises, one piece given, and then one a long time later.
        let peer = offers(&victim, any_id(), 16 << 20);
        thread::spawn(move || {
            answers(peer, |piece| {
                let data = || MetadataMessage::Data {
                    piece,
                    total_size: 16 << 20,
                    bytes: vec![0; 16 << 10].into(),
                };
                (piece == 0).then(data)
            });
        });
    }
    victim.survives("given up");
}

fn pex(peers: &[SocketAddr]) -> Vec<u8> {
    let added = peers.iter().map(|addr| PexPeer { addr: *addr, flags: PexFlags(0x10) }).collect();
    extended(Extension::UtPex.local_id(), &PexMessage { added, dropped: Vec::new() }.encode())
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn p30_addresses_that_nobody_has_are_not_dialled_and_floods_of_them_are_closed() {
    let victim = Victim::fetches();
    let (real, unreal) = (listener(), listener());
    let nowhere = SocketAddr::from(([0, 0, 0, 0], unreal.local_addr().unwrap().port()));
    let mut named = vec![nowhere, victim.addr, "127.0.0.1:25".parse().unwrap()];
    named.extend((1..40).map(|n| SocketAddr::from(([224, 0, 0, n], 6881))));
    named.push(real.local_addr().unwrap());
    let mut teller = Attacker::join(&victim);
    teller.send(&extended_handshake(0));
    teller.send(&pex(&named));
    // Within this machine the word of who is on it counts.
    drop(real.accept().unwrap());
    // Later messages of the same minute are not read, and a flood of them ends it.
    teller.flood(&pex(&named), 1_000);
    teller.is_closed();
    // So many that the frame is the longest there is: a hundred of them are looked at.
    let crowd = |n: u16| SocketAddr::from(([127, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]], 9));
    let crowd: Vec<SocketAddr> = (0..35_000).map(crowd).collect();
    let mut teller = Attacker::join(&victim);
    teller.send(&pex(&crowd));
    teller.is_kept();
    // Beyond that it is no message.
    let crowd = crowd.repeat(3);
    teller.send(&pex(&crowd));
    teller.is_closed();
    victim.survives("not dialled; closed at 9 too many");
    unreal.set_nonblocking(true).unwrap();
    assert!(unreal.accept().is_err(), "0.0.0.0 is nobody's address");
}
