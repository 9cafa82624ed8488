//! What comes before the first message: P01 to P05, P31, and connections that break.

use super::attacker::{Attacker, any_id, encoded, extended, raw, span};
use super::victim::{Victim, hash};
use std::net::TcpListener;
use std::time::Duration;
use swarm_core::InfoHash;
use swarm_core::types::PieceIndex;
use swarm_core::wire::handshake::HANDSHAKE_LEN;
use swarm_core::wire::{Handshake, Message, Reserved};

fn handshake() -> [u8; HANDSHAKE_LEN] {
    Handshake { reserved: Reserved::OURS, info_hash: hash(), peer_id: any_id() }.encode()
}

pub(super) fn p01_a_connection_that_says_nothing_is_closed() {
    let victim = Victim::fetches();
    let mut dumb: Vec<Attacker> = (0..8).map(|_| Attacker::connect(victim.addr)).collect();
    dumb.iter_mut().for_each(Attacker::is_closed_in_silence);
    victim.survives("closed after 10 s, told nothing");
}

/// The bound is on the whole: at this pace all of it would take half a minute.
pub(super) fn p02_a_handshake_that_trickles_is_closed_before_it_is_whole() {
    let victim = Victim::fetches();
    let mut slow = Attacker::connect(victim.addr);
    let bytes = handshake();
    let mut sent = 0;
    while sent < HANDSHAKE_LEN && !slow.closes_within(Duration::from_millis(500)) {
        slow.send(&bytes[sent..=sent]);
        sent += 1;
    }
    assert!(sent < HANDSHAKE_LEN, "it was taken in");
    victim.survives("closed after 10 s in all");
}

#[test]
fn p03_what_is_no_handshake_is_closed_at_its_first_wrong_byte() {
    let victim = Victim::fetches();
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03];
    for wrong in [&b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..], &hello, b"\x13BitTorrent protocoX"] {
        let mut stranger = Attacker::connect(victim.addr);
        stranger.send(wrong);
        stranger.is_closed_in_silence();
    }
    victim.survives("closed at the first wrong byte");
}

#[test]
fn p04_who_asks_for_another_torrent_learns_nothing() {
    let victim = Victim::fetches();
    let mut prober = Attacker::connect(victim.addr);
    let (info_hash, peer_id) = (InfoHash::new([7; 20]), any_id());
    prober.send(&Handshake { reserved: Reserved::OURS, info_hash, peer_id }.encode());
    prober.is_closed_in_silence();
    victim.survives("closed, told nothing");
}

#[test]
fn p05_an_address_that_answers_with_our_own_id_is_not_dialled_again() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let victim = Victim::fetches_from(&[listener.local_addr().unwrap()]);
    let mut mirror = Attacker::connect_of(&listener);
    let ours = mirror.await_handshake();
    mirror.send(&ours.encode());
    assert!(mirror.is_closed().is_empty(), "it talks to itself");
    // One that dials with our id has no more luck.
    let mut mirror = Attacker::join_as(&victim, ours.peer_id);
    assert!(mirror.is_closed().is_empty(), "it talks to itself");
    victim.survives("closed, not dialled again");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "dialled again");
}

/// Encrypted handshakes (MSE) are not spoken: bytes that look like one are no handshake.
#[test]
fn p31_ten_megabytes_of_noise_are_closed_at_their_first_byte() {
    let victim = Victim::fetches();
    let mut noise = Attacker::connect(victim.addr);
    noise.flood(&[0x9c; 4096], 2560);
    noise.is_closed_in_silence();
    let mut noise = Attacker::connect(victim.addr);
    noise.flood(&[0x13; 4096], 2560);
    noise.is_closed_in_silence();
    victim.survives("closed at the first wrong byte");
}

/// The victim's greeting was not read, so the end is a reset.
#[test]
fn p37_a_reset_in_the_middle_of_any_message_is_clean() {
    let victim = Victim::fetches();
    let piece = PieceIndex::new(0);
    let mut messages: Vec<Vec<u8>> = [
        Message::KeepAlive,
        Message::Choke,
        Message::Have(piece),
        Message::Request(span(0, 0, 16_384)),
        Message::Cancel(span(0, 0, 16_384)),
        Message::Port(1),
        Message::Suggest(piece),
        Message::HaveAll,
        Message::Reject(span(0, 0, 16_384)),
        Message::AllowedFast(piece),
    ]
    .iter()
    .map(encoded)
    .collect();
    messages.extend([raw(5, &[0; 3]), extended(0, b"de"), raw(99, &[0; 9])]);
    messages.push(super::attacker::block(span(0, 0, 16_384)));
    messages.push(handshake().to_vec());
    for message in messages {
        for cut in [1, message.len() / 2, message.len() - 1] {
            let mut breaker = Attacker::connect(victim.addr);
            breaker.send(&handshake());
            breaker.send(&message[..cut]);
        }
    }
    victim.survives("forgotten");
}
