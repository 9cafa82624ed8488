//! Mates: who may ask when.

use super::*;
use crate::wire::MateMessage;

impl Story {
    /// A mate connects, with these pieces, and unchokes us.
    fn join_mate(&mut self, host: u8, have: Message) -> Vec<Output> {
        let mut out = self.meet(host, FAST, Direction::Incoming);
        out.extend(self.say(host, have));
        let ids = ExtensionIds::local(&[Extension::Mate]);
        let payload = ExtendedHandshake { ids, ..ExtendedHandshake::default() }.encode();
        out.extend(self.say(host, Message::Extended { id: HANDSHAKE_ID, payload }));
        out.extend(self.say(host, Message::Unchoke));
        out
    }

    fn mate_says(&mut self, host: u8, message: &MateMessage) -> Vec<Output> {
        let id = Extension::Mate.local_id();
        self.say(host, Message::Extended { id, payload: message.encode() })
    }
}

/// What a mate was told.
fn told(out: &[Output], host: u8) -> Vec<MateMessage> {
    let sent = sent(out, host).into_iter();
    sent.filter_map(|message| match message {
        Message::Extended { id, payload } if id == Extension::Mate.local_id() => {
            MateMessage::decode(&payload)
        }
        _ => None,
    })
    .collect()
}

#[test]
fn a_mate_is_asked_when_it_says_so_and_told_when_the_turn_is_too_long() {
    let mut story = Story::leech();
    let out = story.join_mate(1, Message::HaveAll);
    assert_eq!(requests(&out, 1), [], "it is not our turn");
    let out = story.mate_says(1, &MateMessage::Turn(2));
    assert_eq!(requests(&out, 1).len(), 2);
    assert_eq!(told(&out, 1), []);
    let out = story.mate_says(1, &MateMessage::Turn(100));
    assert_eq!((requests(&out, 1).len(), told(&out, 1)), (14, vec![MateMessage::Pass]));
    let out = story.mate_says(1, &MateMessage::Turn(1));
    assert_eq!((requests(&out, 1).len(), told(&out, 1)), (0, vec![MateMessage::Pass]));
}

/// Only one of us knows what a run is; who offers them to anybody else offers them in vain.
#[test]
fn a_mate_that_takes_runs_is_sent_runs_and_nobody_else() {
    let runs = |ids: &[Extension], run_max| {
        let mut story = Story::leech();
        story.meet(1, FAST, Direction::Incoming);
        let ids = ExtensionIds::local(ids);
        let payload = ExtendedHandshake { ids, run_max, ..ExtendedHandshake::default() }.encode();
        let out = story.say(1, Message::Extended { id: HANDSHAKE_ID, payload });
        out.iter().filter(|o| matches!(o, Output::Runs { .. })).cloned().collect::<Vec<_>>()
    };
    let due = Output::Runs { peer: PeerKey(1), bytes: 100_000 };
    assert_eq!(runs(&[Extension::Mate], Some(100_000)), [due]);
    assert_eq!(runs(&[Extension::Mate], None), []);
    assert_eq!(runs(&[Extension::UtPex], Some(100_000)), []);
}

#[test]
fn a_mate_that_sets_us_free_is_asked_at_once() {
    let mut story = Story::leech();
    story.join_mate(1, Message::HaveAll);
    assert!(!requests(&story.mate_says(1, &MateMessage::Free), 1).is_empty());
}

#[test]
fn a_mate_that_is_silent_in_our_turn_loses_it_after_five_seconds_and_is_tried_again_after_five_more()
 {
    let mut story = Story::leech();
    story.join_mate(1, Message::HaveAll);
    story.mate_says(1, &MateMessage::Turn(2));
    let out = story.wait(Duration::from_secs(6));
    assert_eq!(sent(&out, 1).iter().filter(|m| matches!(m, Message::Cancel(_))).count(), 2);
    let out = story.mate_says(1, &MateMessage::Turn(2));
    assert_eq!((requests(&out, 1).len(), told(&out, 1)), (0, vec![MateMessage::Pass]));
    story.wait(Duration::from_secs(5));
    assert_eq!(requests(&story.mate_says(1, &MateMessage::Turn(2)), 1).len(), 1);
}

#[test]
fn a_turn_at_a_mate_that_chokes_us_is_passed() {
    let mut story = Story::leech();
    story.join_mate(1, Message::HaveAll);
    story.say(1, Message::Choke);
    let out = story.mate_says(1, &MateMessage::Turn(4));
    assert_eq!((requests(&out, 1).len(), told(&out, 1)), (0, vec![MateMessage::Pass]));
}

#[test]
fn one_mate_is_free_and_of_two_each_has_its_turn_until_it_passes() {
    let mut story = Story::with_pieces([0, 1]);
    let out = story.join_mate(1, Message::HaveNone);
    assert_eq!(told(&out, 1), [MateMessage::Free]);
    story.say(1, Message::Interested);
    story.join_mate(2, Message::HaveNone);
    let out = story.say(2, Message::Interested);
    assert!(told(&out, 1).starts_with(&[MateMessage::Turn(0)]), "{:?}", told(&out, 1));
    assert_eq!(told(&out, 2), [MateMessage::Turn(0), MateMessage::Turn(4)], "short pieces: two");
    let out = story.mate_says(2, &MateMessage::Pass);
    assert_eq!(told(&out, 2), []);
    let out = story.wait(Duration::from_secs(1));
    assert!(told(&out, 2).contains(&MateMessage::Turn(4)), "after a while it is asked again");
}

#[test]
fn who_asks_out_of_turn_waits_for_one() {
    let mut story = Story::with_pieces(0..7);
    for host in 1..=5 {
        story.join_mate(host, Message::HaveNone);
        story.say(host, Message::Interested);
    }
    let served = |out: &[Output], host: u8| {
        let to = |o: &&Output| matches!(o, Output::Serve { peer, .. } if peer.0 == host.into());
        out.iter().filter(to).count()
    };
    let out = story.say(5, Message::Request(span(0, 0)));
    assert_eq!(served(&out, 5), 0, "others have been offered their turn");
    let mut begun = 0;
    for host in 1..=4 {
        let out = story.mate_says(host, &MateMessage::Pass);
        begun += served(&out, 5);
    }
    assert_eq!(begun, 1, "once, when those before it have no use for theirs");
}
