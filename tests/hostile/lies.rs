//! Wrong blocks, slow blocks, no blocks: P17 to P19, P25, P26, P39.

use super::attacker::{Attacker, any_id, block};
use super::victim::{Goods, Victim};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;
use swarm_core::PeerId;
use swarm_core::types::Span;
use swarm_core::wire::Message;

/// A liar at work on a thread of its own: every block it gives is spoilt by `spoil`.
fn lies(victim: &Victim, spoil: fn(Span, &mut [u8])) -> (SocketAddr, PeerId) {
    let id = any_id();
    let mut liar = Attacker::join_as(victim, id);
    let addr = liar.stream.local_addr().unwrap();
    thread::spawn(move || liar.gives(spoil));
    (addr, id)
}

fn noise(span: Span, data: &mut [u8]) {
    data.fill(u8::try_from(span.begin >> 14).unwrap_or(1) | 1);
}

fn one_bit(span: Span, data: &mut [u8]) {
    data[77] ^= u8::from(span.begin == 0);
}

fn is_refused(victim: &Victim, id: PeerId) {
    assert!(Attacker::join_as(victim, id).is_closed().is_empty(), "a liar is welcome again");
}

#[test]
fn p17_who_flips_one_bit_of_each_piece_is_banned_and_nobody_else() {
    let mut victim = Victim::fetches();
    let (addr, id) = lies(&victim, one_bit);
    assert_eq!(victim.bans(1), [addr]);
    is_refused(&victim, id);
    let done = victim.survives("banned");
    let wasted = done["wasted"].as_u64().unwrap();
    let piece = u64::from(Goods::get().metainfo.geometry().piece_length());
    // All of a small torrent may be here before the first piece is judged.
    let all = Goods::get().tree.length();
    assert!(wasted <= (4 * piece).max(2 * all.min(2 << 20)), "{wasted} bytes in vain");
}

#[test]
fn p18_three_liars_who_share_pieces_with_an_honest_peer_are_banned_one_and_all() {
    let mut victim = Victim::fetches();
    let mut liars: Vec<SocketAddr> = (0..3).map(|_| lies(&victim, noise).0).collect();
    let mut banned = victim.bans(3);
    liars.sort();
    banned.sort();
    assert_eq!(banned, liars);
    victim.survives("banned, all three");
}

#[test]
fn p19_the_only_source_that_lies_is_banned_at_its_first_piece() {
    let mut victim = Victim::fetches_alone(&[]);
    let (addr, id) = lies(&victim, noise);
    assert_eq!(victim.bans(1), [addr]);
    is_refused(&victim, id);
    victim.survives("banned at its first piece");
}

/// When it is given up is the simulator's to show: in 20 s.
pub(super) fn p25_who_takes_requests_and_sends_nothing_does_not_hold_up_the_end() {
    let victim = Victim::fetches();
    let mut mute: Vec<Attacker> = (0..8).map(|_| Attacker::join(&victim)).collect();
    for mute in &mut mute {
        mute.is_asked();
    }
    victim.survives("kept, its blocks fetched of others");
    drop(mute);
}

pub(super) fn p26_who_trickles_a_block_does_not_hold_up_the_end() {
    let victim = Victim::fetches();
    for _ in 0..8 {
        let mut slow = Attacker::join(&victim);
        let bytes = block(slow.is_asked());
        thread::spawn(move || {
            // A byte every now and then, until nobody takes them any more.
            for byte in bytes {
                if !slow.send(&[byte]) || slow.closes_within(Duration::from_millis(300)) {
                    return;
                }
            }
        });
    }
    victim.survives("kept, its blocks fetched of others");
}

/// Decided otherwise than three dials a minute: who gave something is dialled again after a
/// second (`candidates::REDIAL_MIN`), for many an honest seed is no better.
#[test]
fn p39_a_seed_that_leaves_after_each_block_is_dialled_again_at_a_bounded_rate() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let victim = Victim::fetches_from(&[listener.local_addr().unwrap()]);
    thread::spawn(move || {
        let id = any_id();
        loop {
            let mut seed = Attacker::accept(&listener, id);
            seed.say(&Message::HaveAll);
            seed.say(&Message::Unchoke);
            while let Some(message) = seed.hear() {
                if let Message::Request(span) = message {
                    seed.send(&block(span));
                    break;
                }
            }
        }
    });
    victim.survives("dialled again, once a second at most");
}
