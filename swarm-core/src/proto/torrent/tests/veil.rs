//! What a seed shows to strangers.

use super::*;
use crate::proto::torrent::veil::{PIECES_MAX, VEILED_MAX};

const LATER: Duration = Duration::from_secs(1);

/// The pieces a peer was told of.
fn shown(out: &[Output], host: u8) -> Vec<u32> {
    let told = sent(out, host).into_iter();
    told.filter_map(|message| match message {
        Message::Have(piece) => Some(piece.get()),
        _ => None,
    })
    .collect()
}

impl Story {
    /// A stranger that has nothing meets us.
    fn stranger(&mut self, host: u8) -> Vec<Output> {
        let mut out = self.meet(host, FAST, Direction::Incoming);
        out.extend(self.say(host, Message::HaveNone));
        out
    }

    /// A seed with two strangers that know it for one, and a third that does not.
    fn veiled() -> (Self, Vec<Output>) {
        let mut story = Self::seed();
        for host in [1, 2] {
            assert_eq!(sent(&story.stranger(host), host)[0], Message::HaveAll, "no crowd yet");
        }
        let mut out = story.stranger(3);
        assert_eq!(sent(&out, 3)[0], Message::HaveNone);
        out.extend(story.wait(LATER));
        (story, out)
    }
}

#[test]
fn a_stranger_in_a_crowd_is_shown_a_piece_to_want_and_then_what_it_is_given() {
    let (mut story, out) = Story::veiled();
    let lure = shown(&out, 3);
    assert_eq!(lure.len(), 1);
    let mut out = story.say(3, Message::Interested);
    out.extend(story.wait(LATER));
    assert!(sent(&out, 3).contains(&Message::Unchoke));
    let given = shown(&out, 3);
    assert!(!given.is_empty() && !given.contains(&lure[0]), "{given:?}");
}

#[test]
fn no_two_strangers_are_lured_with_the_same_piece() {
    let (mut story, out) = Story::veiled();
    let mut lures = shown(&out, 3);
    for host in 4..8 {
        story.stranger(host);
        lures.extend(shown(&story.wait(LATER), host));
    }
    lures.sort_unstable();
    lures.dedup();
    assert_eq!(lures.len(), 5);
}

#[test]
fn everything_is_shown_when_the_crowd_is_gone() {
    let (mut story, mut all) = Story::veiled();
    all.extend(story.tell(Input::Disconnected { peer: PeerKey(1), why: CloseReason::Remote }));
    let mut pieces = shown(&all, 3);
    pieces.sort_unstable();
    assert_eq!(pieces, (0..8).collect::<Vec<_>>(), "each once");
}

#[test]
fn everything_is_shown_when_nothing_is_with_us_alone() {
    let (mut story, mut all) = Story::veiled();
    all.extend(story.stranger(4));
    for index in 0..8 {
        all.extend(story.say(4, Message::Have(piece(index))));
    }
    all.extend(story.wait(Duration::from_secs(12)));
    assert_eq!(shown(&all, 3).len(), 8);
}

#[test]
fn our_own_kind_is_shown_everything_and_so_is_who_comes_to_a_fetch() {
    let mut story = Story::seed();
    for host in [1, 2] {
        story.stranger(host);
    }
    let (addr, mut ours) = (addr(3), *US.as_bytes());
    ours[19] = b'3';
    let (peer, id) = (PeerKey(3), PeerId::new(ours));
    let out = story.tell(Input::Connected {
        peer,
        addr,
        direction: Direction::Incoming,
        id,
        reserved: FAST,
    });
    assert_eq!(sent(&out, 3)[0], Message::HaveAll);
    let mut story = Story::with_pieces(0..4);
    for host in [1, 2, 3] {
        let out = story.stranger(host);
        assert!(matches!(sent(&out, host)[0], Message::Bitfield(_)), "it has to trade");
    }
}

#[test]
fn only_so_many_are_veiled_at_a_time() {
    let mut story = Story::seed();
    story.torrent.params.config.peers_max = 1000;
    let greeted = (1..=200).map(|host| sent(&story.stranger(host), host)[0].clone());
    let greeted: Vec<Message> = greeted.collect();
    let veiled = greeted.iter().filter(|first| **first == Message::HaveNone).count();
    assert_eq!((veiled, story.torrent.veiled.len()), (VEILED_MAX, VEILED_MAX));
    story.tell(Input::Disconnected { peer: PeerKey(3), why: CloseReason::Remote });
    assert_eq!(sent(&story.stranger(201), 201)[0], Message::HaveNone, "there is room again");
}

#[test]
fn nobody_is_veiled_where_lifting_it_would_be_a_flood() {
    for (pieces, first) in [(PIECES_MAX, Message::HaveNone), (PIECES_MAX + 1, Message::HaveAll)] {
        let mut story = Story::magnet();
        story.tell(Input::Metainfo(metainfo(pieces)));
        story.tell(Input::Checked { have: Bitfield::all(pieces) });
        for host in [1, 2] {
            story.stranger(host);
        }
        assert_eq!(sent(&story.stranger(3), 3)[0], first, "{pieces} pieces");
    }
}
