//! Too much of what is allowed: P08, P12, P13, P20 to P24, P28.

use super::attacker::{Attacker, block, encoded, extended, extended_handshake, span};
use super::victim::{Goods, Victim};
use swarm_core::types::Span;
use swarm_core::wire::extended::Extension;
use swarm_core::wire::{Message, MetadataMessage};

const BLOCK: u32 = 16_384;

fn ends(victim: &Victim, bytes: &[u8], times: usize) -> Vec<Message> {
    let mut attacker = Attacker::join(victim);
    attacker.flood(bytes, times);
    attacker.is_closed()
}

#[test]
fn p08_a_million_keep_alives_are_closed_by_a_bucket() {
    let victim = Victim::fetches();
    ends(&victim, &encoded(&Message::KeepAlive), 1_000_000);
    victim.survives("closed by a bucket");
}

#[test]
fn p12_have_all_and_have_none_in_turn_end_at_the_second() {
    let victim = Victim::fetches();
    let turn = [encoded(&Message::HaveAll), encoded(&Message::HaveNone)].concat();
    ends(&victim, &turn, 50_000);
    victim.survives("closed at the second");
}

#[test]
fn p13_interest_on_and_off_is_closed_by_a_bucket() {
    let turn = [encoded(&Message::Interested), encoded(&Message::NotInterested)].concat();
    let victim = Victim::fetches();
    ends(&victim, &turn, 50_000);
    victim.survives("closed by a bucket");
    let victim = Victim::seeds();
    ends(&victim, &turn, 50_000);
    victim.survives("closed by a bucket");
}

/// The queue of requests is as long as we say that it is, the rest of them make no sense. Who
/// stays below and does not read is closed by the kernel after two minutes, see `engine::dial`.
pub(super) fn p20_a_million_requests_and_nothing_read_are_closed_by_the_queue() {
    let victim = Victim::seeds();
    let mut attacker = Attacker::join(&victim);
    attacker.say(&Message::Interested);
    attacker.hear_for(|message| (*message == Message::Unchoke).then_some(()));
    attacker.flood(&encoded(&Message::Request(span(0, 0, BLOCK))), 1_000_000);
    attacker.is_closed();
    // As many as fit: those who do not read do not keep others from being served.
    let idle: Vec<Attacker> = (0..8).map(|_| takes_without_reading(&victim)).collect();
    victim.survives("closed at 2048 and 300 more");
    drop(idle);
}

fn takes_without_reading(victim: &Victim) -> Attacker {
    let mut attacker = Attacker::join(victim);
    attacker.send(&mate_handshake());
    attacker.say(&Message::Interested);
    attacker.hear_for(|message| (*message == Message::Unchoke).then_some(()));
    let blocks = Goods::get().pieces() - 1;
    for piece in (0..2_000).map(|n| n % blocks) {
        attacker.say(&Message::Request(span(piece, 0, BLOCK)));
    }
    attacker
}

/// Claims to be one of ours: it is unchoked at once.
fn mate_handshake() -> Vec<u8> {
    extended(0, b"d1:md10:swarm_matei7eee")
}

#[test]
fn p21_requests_that_make_no_sense_are_rejected_up_to_a_bound() {
    let victim = Victim::seeds();
    let piece = Goods::get().metainfo.geometry().piece_length();
    let absurd = [
        span(0, 0, BLOCK + 1),
        span(0, 0, u32::MAX),
        span(0, piece, BLOCK),
        span(u32::MAX, 0, BLOCK),
        span(Goods::get().pieces(), 0, BLOCK),
    ];
    let bytes: Vec<u8> = absurd.iter().flat_map(|span| encoded(&Message::Request(*span))).collect();
    let mut attacker = Attacker::join(&victim);
    for _ in 0..60 {
        attacker.send(&bytes);
    }
    let mut rejected = 0;
    while rejected < 300 {
        rejected += u32::from(matches!(attacker.hear(), Some(Message::Reject(_))));
    }
    attacker.flood(&bytes, 2_000);
    attacker.is_closed();
    victim.survives("rejected; closed at 301");
    // Of who has nothing everything is too much.
    let victim = Victim::fetches_alone(&[]);
    ends(&victim, &encoded(&Message::Request(span(0, 0, BLOCK))), 10_000);
    victim.survives("rejected; closed at 301");
}

/// Rejected by name within the grace of two seconds, and counted after it.
#[test]
fn p22_requests_while_choked_end_the_connection() {
    let victim = Victim::seeds();
    let mut attacker = Attacker::join(&victim);
    let request = Message::Request(span(1, 0, BLOCK));
    let requests = encoded(&request).repeat(50);
    let mut is_open = true;
    while is_open {
        is_open = attacker.send(&requests);
        for _ in 0..50 {
            let heard = attacker.hear();
            is_open &= heard.is_some();
            assert!(!matches!(heard, Some(Message::Piece(_))), "served while choked");
        }
    }
    victim.survives("rejected, closed after the grace");
}

#[test]
fn p24_cancels_for_nothing_are_closed_by_a_bucket() {
    let victim = Victim::seeds();
    ends(&victim, &encoded(&Message::Cancel(span(0, 0, BLOCK))), 1_000_000);
    victim.survives("closed by a bucket");
}

#[test]
fn p28_metadata_is_served_a_few_times_and_requests_for_it_are_closed_by_a_bucket() {
    let victim = Victim::seeds();
    let request = MetadataMessage::Request { piece: 0 }.encode();
    let request = extended(Extension::UtMetadata.local_id(), &request);
    let mut attacker = Attacker::join(&victim);
    attacker.send(&extended_handshake(0));
    attacker.flood(&request, 100_000);
    let mut served = 0;
    for message in attacker.is_closed() {
        let Message::Extended { id: 9, payload } = message else { continue };
        served += u32::from(matches!(
            MetadataMessage::decode(&payload).unwrap(),
            MetadataMessage::Data { .. }
        ));
    }
    // 64, twice all of it, and two a second.
    assert!(served <= 64 + 2 + 2 * 60, "{served} times");
    victim.survives("66 served, rest rejected, closed by a bucket");
}

/// Suggestions, grants and blocks taken back: the lists they go to are short.
#[test]
fn p24_hints_without_end_are_closed_by_a_bucket() {
    let victim = Victim::fetches();
    let all = 0..Goods::get().pieces();
    let hints: Vec<u8> = all
        .map(swarm_core::types::PieceIndex::new)
        .flat_map(|piece| {
            [Message::Suggest(piece), Message::AllowedFast(piece)].map(|hint| encoded(&hint))
        })
        .flatten()
        .collect();
    ends(&victim, &hints, 10_000);
    victim.survives("closed by a bucket");
}

/// The blocks that are on their way into the memory when the connection breaks are given back.
#[test]
fn p37_who_leaves_in_the_middle_of_every_block_leaves_nothing() {
    let victim = Victim::fetches();
    for _ in 0..200 {
        let mut leaver = Attacker::join(&victim);
        let asked: Span = leaver.is_asked();
        leaver.send(&block(asked)[..8_000]);
    }
    victim.survives("forgotten");
}
