//! How many neighbours a torrent has, and who makes room for whom.

use super::*;
use crate::proto::neighbours::{MATES_KEPT, MATES_SOUGHT, STRANGERS_SOUGHT, USELESS_AFTER};
use crate::wire::extended;

impl Story {
    /// A peer of our own kind connects.
    fn mate(&mut self, number: u16, direction: Direction) -> Vec<Output> {
        let reserved = FAST;
        let (peer, addr, id) = (PeerKey(number.into()), host(number), mate_id(number));
        self.tell(Input::Connected { peer, addr, direction, id, reserved })
    }

    fn name(&mut self, numbers: std::ops::Range<u16>) -> Vec<Output> {
        let addrs = numbers.map(host).collect();
        self.tell(Input::Candidates { source: Source::Tracker, addrs })
    }

    fn mates(&self) -> usize {
        self.torrent.peers.len()
    }
}

fn host(number: u16) -> SocketAddr {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([10, 1, high, low], 6881))
}

fn mate_id(number: u16) -> PeerId {
    let mut id = *US.as_bytes();
    id[18..].copy_from_slice(&number.to_be_bytes());
    PeerId::new(id)
}

fn dials(out: &[Output]) -> usize {
    out.iter().filter(|output| matches!(output, Output::Connect { .. })).count()
}

fn was_closed(out: &[Output], number: u16) -> Option<CloseReason> {
    out.iter().find_map(|output| match output {
        Output::Disconnect { peer, why } if *peer == PeerKey(number.into()) => Some(*why),
        _ => None,
    })
}

#[test]
fn ten_mates_are_dialled_and_one_more_when_one_is_lost() {
    let mut story = Story::leech();
    assert_eq!(dials(&story.name(1..60)), MATES_SOUGHT);
    let dialled: Vec<_> = story.torrent.peers.keys().copied().collect();
    assert_eq!(dialled, []);
    for number in 1..60 {
        let under_way = story.torrent.candidates.dialling();
        if under_way == 0 {
            break;
        }
        story.mate(number, Direction::Outgoing);
    }
    assert!(story.mates() >= MATES_SOUGHT);
    let lost = PeerKey(1);
    let out = story.tell(Input::Disconnected { peer: lost, why: CloseReason::Lost });
    let after = story.torrent.candidates.dialling() + story.mates();
    assert!(dials(&out) == 1 || after >= MATES_SOUGHT, "replaced at once");
}

#[test]
fn who_was_dialled_often_enough_does_not_dial() {
    let mut story = Story::leech();
    for number in 100..110 {
        story.mate(number, Direction::Incoming);
    }
    assert_eq!(dials(&story.name(1..60)), 0);
    let out = story.tell(Input::Disconnected { peer: PeerKey(100), why: CloseReason::Lost });
    assert_eq!(dials(&out), 1, "until one is lost");
}

#[test]
fn of_strangers_more_are_dialled() {
    let mut story = Story::leech();
    assert_eq!(dials(&story.name(100..200)), MATES_SOUGHT);
    let out = story.meet(1, FAST, Direction::Incoming);
    let later = story.wait(Duration::from_millis(300));
    let in_all = MATES_SOUGHT + dials(&out) + dials(&later);
    assert_eq!(in_all, STRANGERS_SOUGHT - 1);
}

#[test]
fn mates_that_nobody_wants_anything_of_do_not_keep_us_from_looking_on() {
    let mut story = Story::leech();
    for number in 100..110 {
        story.mate(number, Direction::Incoming);
    }
    assert_eq!(dials(&story.name(1..30)), 0);
    assert!(dials(&story.wait(USELESS_AFTER + Duration::from_secs(11))) > 0);
}

#[test]
fn a_mate_too_many_is_sent_on_once_and_then_taken_in() {
    let mut story = Story::leech();
    let kept = u16::try_from(MATES_KEPT).unwrap();
    for number in 100..100 + kept {
        assert_eq!(was_closed(&story.mate(number, Direction::Incoming), number), None);
    }
    assert_eq!(was_closed(&story.mate(7, Direction::Incoming), 7), Some(CloseReason::Full));
    assert_eq!(was_closed(&story.mate(7, Direction::Incoming), 7), None, "it has nobody else");
    assert_eq!(closed(&story.meet(8, FAST, Direction::Incoming), 8), None, "strangers come in");
    assert_eq!(was_closed(&story.mate(9, Direction::Outgoing), 9), None, "we asked for it");
}

#[test]
fn a_full_torrent_lets_a_useless_neighbour_go_for_a_newcomer() {
    let mut story = Story::leech();
    story.torrent.params.config.peers_max = 3;
    for number in 100..103 {
        story.mate(number, Direction::Incoming);
    }
    assert_eq!(was_closed(&story.mate(5, Direction::Incoming), 5), Some(CloseReason::Full));
    story.wait(USELESS_AFTER);
    let out = story.mate(5, Direction::Incoming);
    assert_eq!(was_closed(&out, 5), None);
    assert_eq!(was_closed(&out, 100), Some(CloseReason::Full), "the one that was idle longest");
    assert_eq!(story.mates(), 3);
    let out = story.mate(6, Direction::Incoming);
    assert_eq!(was_closed(&out, 6), Some(CloseReason::Full), "one at a time");
}

/// What a peer was told of whether we fetch anything: in the handshake, and later.
fn told_upload_only(out: &[Output], host: u8) -> Vec<bool> {
    let said = sent(out, host).into_iter().filter_map(|message| match message {
        Message::Extended { id: HANDSHAKE_ID, payload } => {
            Some(ExtendedHandshake::decode(&payload).unwrap().upload_only.unwrap_or(false))
        }
        Message::Extended { id, payload } if id == Extension::UploadOnly.local_id() => {
            extended::decode_upload_only(&payload)
        }
        _ => None,
    });
    said.collect()
}

#[test]
fn who_has_all_it_wants_says_that_it_fetches_nothing_until_it_wants_more() {
    let mut story = Story::leech();
    let mut out = story.meet(1, FAST, Direction::Incoming);
    let ids = ExtensionIds::local(&[Extension::UploadOnly]);
    let payload = ExtendedHandshake { ids, ..ExtendedHandshake::default() }.encode();
    out.extend(story.say(1, Message::Extended { id: HANDSHAKE_ID, payload }));
    assert_eq!(told_upload_only(&out, 1), [false]);
    let nothing = || Input::Wanted(Bitfield::none(8));
    assert_eq!(told_upload_only(&story.tell(nothing()), 1), [true]);
    assert_eq!(told_upload_only(&story.tell(nothing()), 1), [], "nothing new");
    let later = story.meet(2, FAST, Direction::Incoming);
    assert_eq!(told_upload_only(&later, 2), [true]);
    assert_eq!(told_upload_only(&story.tell(Input::Wanted(Bitfield::all(8))), 1), [false]);
}

#[test]
fn those_who_only_serve_make_room_for_others_like_them() {
    let mut story = Story::leech();
    story.name(1..60);
    let serving = ExtendedHandshake { upload_only: Some(true), ..ExtendedHandshake::default() };
    let payload = serving.encode();
    for number in 1..=10 {
        story.mate(number, Direction::Outgoing);
        let peer = PeerKey(number.into());
        for message in
            [Message::HaveAll, Message::Extended { id: HANDSHAKE_ID, payload: payload.clone() }]
        {
            story.tell(Input::Message { peer, message });
        }
    }
    assert!(story.torrent.candidates.dialling() > 0, "ten seeds are not all there may be");
    assert_eq!(story.torrent.neighbours.serving, 10);
}

#[test]
fn seeds_that_parted_do_not_come_back_to_each_other() {
    for (we_see, direction) in [
        (CloseReason::Redundant, Direction::Outgoing),
        (CloseReason::Remote, Direction::Outgoing),
        (CloseReason::Remote, Direction::Incoming),
    ] {
        let mut story = Story::seed();
        story.name(1..2);
        story.mate(1, direction);
        let payload = ExtendedHandshake { port: Some(6881), ..ExtendedHandshake::default() };
        let peer = PeerKey(1);
        let message = payload.to_message();
        story.tell(Input::Message { peer, message });
        if we_see == CloseReason::Redundant {
            story.tell(Input::Message { peer, message: Message::HaveAll });
        } else {
            // It became complete while it wanted something of us, and closed first.
            story.tell(Input::Message { peer, message: Message::Interested });
            story.tell(Input::Message { peer, message: Message::HaveAll });
            story.tell(Input::Disconnected { peer, why: we_see });
        }
        assert_eq!(story.mates(), 0);
        let again = dials(&story.wait(Duration::from_secs(30))) + dials(&story.name(1..2));
        assert_eq!(again, 0, "{we_see:?} of {direction:?}");
    }
}

#[test]
fn a_peer_that_dialled_us_is_not_dialled_where_it_listens() {
    let mut story = Story::leech();
    story.mate(1, Direction::Incoming);
    let handshake = ExtendedHandshake { port: Some(6881), ..ExtendedHandshake::default() };
    story.tell(Input::Message { peer: PeerKey(1), message: handshake.to_message() });
    assert_eq!(dials(&story.name(1..2)), 0);
    let out = story.tell(Input::Disconnected { peer: PeerKey(1), why: CloseReason::Lost });
    let out = [out, story.wait(Duration::from_secs(3))].concat();
    assert_eq!(dials(&out), 1, "until that connection is gone");
}

#[test]
fn of_two_connections_to_one_peer_the_one_that_stays_is_remembered_by_its_address() {
    let mut story = Story::leech();
    story.name(1..2);
    // It dials us while we dial it, from some other port, and the dial of the smaller id stays.
    let peer = PeerKey(50);
    let (addr, id) = (SocketAddr::from(([10, 1, 0, 1], 40_000)), PeerId::new([1; 20]));
    let (direction, reserved) = (Direction::Incoming, FAST);
    story.tell(Input::Connected { peer, addr, direction, id, reserved });
    let (ours, direction) = (PeerKey(51), Direction::Outgoing);
    let dialled = Input::Connected { peer: ours, addr: host(1), direction, id, reserved };
    let out = story.tell(dialled);
    assert!(out.contains(&Output::Disconnect { peer: ours, why: CloseReason::Duplicate }));
    assert_eq!(dials(&story.name(1..2)), 0, "it is connected");
    let out = story.tell(Input::Disconnected { peer, why: CloseReason::Lost });
    let out = [out, story.wait(Duration::from_secs(3))].concat();
    assert_eq!(dials(&out), 1, "and dialled again when it is lost");
}
