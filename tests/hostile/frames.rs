//! Messages that cannot be, or not here: P06, P07, P09 to P11, P14 to P16, P29, P32, P33.

use super::attacker::{Attacker, block, encoded, extended, raw, span};
use super::victim::{Goods, Victim};
use bytes::Bytes;
use swarm_core::types::{PieceIndex, Span};
use swarm_core::wire::{Handshake, Message, frame};

/// Each of these ends its connection.
fn each_is_closed(victim: &Victim, openings: &[&[u8]]) {
    for opening in openings {
        let mut attacker = Attacker::join(victim);
        attacker.send(opening);
        attacker.is_closed();
    }
}

#[test]
fn p06_a_frame_of_four_gigabytes_is_refused_on_its_prefix() {
    let victim = Victim::fetches();
    let mut attacker = Attacker::join(&victim);
    attacker.send(&u32::MAX.to_be_bytes());
    let mut sent = 0;
    while sent < 1 << 30 && attacker.send(&[0; 1 << 16]) {
        sent += 1 << 16;
    }
    // What the kernel's buffers take before the end has come through.
    assert!(sent < 64 << 20, "it took {sent} bytes of it");
    attacker.is_closed();
    victim.survives("closed on the prefix");
}

/// Of a kind nobody knows a megabyte is too much, and so are a quarter of that 65 times.
#[test]
fn p07_large_frames_of_unknown_kind_are_bounded_in_length_and_number() {
    let victim = Victim::fetches();
    let mut attacker = Attacker::join(&victim);
    attacker.send(&(1_u32 << 20).to_be_bytes());
    attacker.send(&[99]);
    attacker.is_closed();
    let mut attacker = Attacker::join(&victim);
    let longest = raw(99, &vec![0; frame::FRAME_UNKNOWN_MAX as usize - 1]);
    for _ in 0..64 {
        assert!(attacker.send(&longest));
    }
    attacker.is_kept();
    attacker.send(&longest);
    attacker.is_closed();
    victim.survives("closed on the prefix; closed at 65");
}

#[test]
fn p09_a_bitfield_too_short_or_long_or_with_spare_bits_is_refused() {
    let victim = Victim::fetches();
    let bytes = Goods::get().pieces().div_ceil(8) as usize;
    let mut spare = vec![0; bytes];
    spare[bytes - 1] = 1;
    let wrong = [&vec![0; bytes - 1], &vec![0; bytes + 1], &spare].map(|bits| raw(5, bits));
    each_is_closed(&victim, &wrong.each_ref().map(Vec::as_slice));
    victim.survives("closed");
}

/// Decided otherwise: a second bitfield takes the place of the first, for a client in wide use
/// sends them. What is bounded is how often.
#[test]
fn p10_bitfields_may_come_again_and_not_for_ever() {
    let victim = Victim::fetches();
    let bits = Bytes::from(vec![0; Goods::get().pieces().div_ceil(8) as usize]);
    let bitfield = Message::Bitfield(bits);
    let mut attacker = Attacker::join(&victim);
    attacker.say(&Message::Have(PieceIndex::new(1)));
    attacker.say(&bitfield);
    attacker.say(&bitfield);
    attacker.is_kept();
    attacker.flood(&encoded(&bitfield), 10_000);
    attacker.is_closed();
    victim.survives("closed by a bucket");
}

#[test]
fn p11_a_have_for_a_piece_that_does_not_exist_is_refused() {
    let victim = Victim::fetches();
    let wrong = [u32::MAX, Goods::get().pieces()];
    let wrong = wrong.map(|piece| encoded(&Message::Have(PieceIndex::new(piece))));
    each_is_closed(&victim, &wrong.each_ref().map(Vec::as_slice));
    victim.survives("closed");
}

#[test]
fn p14_blocks_that_nobody_asked_for_are_dropped_and_end_the_connection() {
    let victim = Victim::fetches();
    for is_right in [true, false] {
        let mut pusher = Attacker::join(&victim);
        pusher.say(&Message::HaveAll);
        let mut bytes = block(span(0, 0, 16_384));
        bytes[100] ^= u8::from(!is_right);
        for _ in 0..32 {
            assert!(pusher.send(&bytes));
        }
        pusher.is_kept();
        pusher.send(&bytes);
        pusher.is_closed();
    }
    let done = victim.survives("closed at 33");
    assert!(done["wasted"].as_u64().unwrap() <= 2 << 20, "{done}");
}

#[test]
fn p15_a_block_outside_of_the_torrent_or_its_piece_is_refused() {
    let victim = Victim::fetches();
    let piece = Goods::get().metainfo.geometry().piece_length();
    let with_length = |span: Span| {
        let mut frame = frame::piece_header(span).to_vec();
        frame.resize(frame.len() + span.length.min(1 << 14) as usize, 0);
        frame
    };
    let absurd = [
        span(u32::MAX, 0, 16_384),
        span(Goods::get().pieces(), 0, 16_384),
        span(0, u32::MAX, 16_384),
        span(0, piece - 16_384 + 1, 16_384),
        span(0, piece, 16_384),
        span(0, 0, 0),
        span(0, 0, 1 << 31),
        span(u32::MAX, u32::MAX, u32::MAX - 9),
    ];
    for span in absurd {
        let mut attacker = Attacker::join(&victim);
        // It is asked for something, so that there is a place for a block.
        attacker.is_asked();
        attacker.send(&with_length(span));
        attacker.is_closed();
    }
    victim.survives("closed");
}

#[test]
fn p16_a_block_one_byte_short_or_long_is_refused() {
    let victim = Victim::fetches();
    for more in [-1, 1] {
        let mut attacker = Attacker::join(&victim);
        let asked = attacker.is_asked();
        let length = asked.length.checked_add_signed(more).unwrap();
        let mut wrong = frame::piece_header(Span { length, ..asked }).to_vec();
        wrong.resize(wrong.len() + length as usize, 0);
        attacker.send(&wrong);
        attacker.is_closed();
    }
    victim.survives("closed");
}

#[test]
fn p29_an_extension_handshake_too_long_too_rich_or_too_deep_is_refused() {
    let victim = Victim::fetches();
    let long = extended(0, &vec![b'x'; 1 << 20]);
    let mut rich = b"d1:md".to_vec();
    (0..20_000).for_each(|n| rich.extend(format!("5:{n:05}i1e").bytes()));
    rich.extend(b"ee");
    let mut deep = b"d1:m".to_vec();
    deep.extend([b'l'; 100_000]);
    deep.extend([b'e'; 100_001]);
    let wrong = [long, extended(0, &rich), extended(0, &deep), extended(0, b"i5e")];
    each_is_closed(&victim, &wrong.each_ref().map(Vec::as_slice));
    // Right ones without end, and as long as may be.
    let right = extended(0, &[&b"d1:v250000:"[..], &[b'x'; 250_000], b"e"].concat());
    let mut attacker = Attacker::join(&victim);
    attacker.flood(&right, 200);
    attacker.is_closed();
    victim.survives("closed");
}

/// Torrents of version 2 are not transferred: its messages are of unknown kind.
#[test]
fn p32_a_claim_to_speak_version_2_changes_nothing() {
    let victim = Victim::fetches();
    let mut attacker = Attacker::connect(victim.addr);
    let mut greeting = Handshake {
        reserved: swarm_core::wire::Reserved::OURS,
        info_hash: super::victim::hash(),
        peer_id: super::attacker::any_id(),
    }
    .encode();
    greeting[20..28].fill(0xff);
    attacker.send(&greeting);
    attacker.await_handshake();
    for id in [21, 22, 23] {
        attacker.send(&raw(id, &[0xff; 48]));
        attacker.send(&raw(id, &[]));
    }
    attacker.is_kept();
    victim.survives("passed over");
}

#[test]
fn p33_a_flood_of_hash_requests_is_closed_like_any_of_unknown_kind() {
    let victim = Victim::fetches();
    let mut attacker = Attacker::join(&victim);
    attacker.flood(&raw(21, &[0xff; 48]), 100_000);
    attacker.is_closed();
    victim.survives("closed at 65");
}
