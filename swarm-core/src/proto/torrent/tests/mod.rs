//! Stories of one torrent and scripted peers.

mod bounds;
mod graph;
mod pex;
mod turns;
mod veil;

use super::super::input::{DialError, Direction, Reserved, Source, Verification};
use super::*;
use crate::types::{Bitfield, Limit};
use crate::wire::extended::{ExtendedHandshake, Extension, ExtensionIds, HANDSHAKE_ID};
use crate::wire::ut_metadata::MetadataMessage;
use bytes::Bytes;
use std::net::SocketAddr;
use std::time::Duration;

const PIECE: u32 = 32 * 1024;
const US: PeerId = PeerId::new(*b"-SW0100-aaaaaaaaaaaa");
const FAST: Reserved = Reserved { fast: true, extended: true };
const PLAIN: Reserved = Reserved { fast: false, extended: false };

fn torrent_file(pieces: u32) -> Vec<u8> {
    let hashes = vec![b'h'; 20 * pieces as usize];
    let length = u64::from(pieces) * u64::from(PIECE);
    let mut file = format!(
        "d4:infod6:lengthi{length}e4:name1:x12:piece lengthi{PIECE}e6:pieces{}:",
        hashes.len()
    )
    .into_bytes();
    file.extend(hashes);
    file.extend(b"ee");
    file
}

fn metainfo(pieces: u32) -> Arc<Metainfo> {
    Arc::new(Metainfo::from_torrent(&torrent_file(pieces)).unwrap())
}

fn addr(host: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, host], 6881))
}

fn id(host: u8) -> PeerId {
    PeerId::new([host; 20])
}

fn piece(index: u32) -> PieceIndex {
    PieceIndex::new(index)
}

fn span(index: u32, block: u32) -> Span {
    Span { piece: piece(index), begin: block * 16384, length: 16384 }
}

/// One torrent, its time, and what it asked for so far.
struct Story {
    torrent: Torrent,
    now: Moment,
}

impl Story {
    fn magnet() -> Self {
        let params = Params {
            info_hash: metainfo(8).hashes().wire(),
            peer_id: US,
            client: "swarm test".to_owned(),
            listen_port: Some(1),
            config: Config::default(),
            seed: 7,
        };
        Self { torrent: Torrent::new(params, Moment::ZERO), now: Moment::ZERO }
    }

    /// A seed with one slot for strangers.
    fn one_served() -> Self {
        let mut story = Self::magnet();
        story.torrent.choker = Choker::new(7, 1);
        story.tell(Input::Metainfo(metainfo(8)));
        story.tell(Input::Checked { have: Bitfield::all(8) });
        story
    }

    fn with_pieces(have: impl IntoIterator<Item = u32>) -> Self {
        let mut story = Self::magnet();
        story.tell(Input::Metainfo(metainfo(8)));
        let mut set = Bitfield::none(8);
        for index in have {
            set.insert(piece(index));
        }
        story.tell(Input::Checked { have: set });
        story
    }

    fn leech() -> Self {
        Self::with_pieces([])
    }

    fn seed() -> Self {
        Self::with_pieces(0..8)
    }

    /// How often a bound has bitten.
    fn hits(&self, limit: Limit) -> u64 {
        self.torrent.snapshot(self.now).limits.get(limit)
    }

    fn drain(&mut self) -> Vec<Output> {
        let out = std::iter::from_fn(|| self.torrent.poll()).collect();
        self.torrent.audit().unwrap();
        out
    }

    fn tell(&mut self, input: Input) -> Vec<Output> {
        self.torrent.handle(self.now, input);
        self.drain()
    }

    fn meet(&mut self, host: u8, reserved: Reserved, direction: Direction) -> Vec<Output> {
        let (peer, addr, id) = (PeerKey(host.into()), addr(host), id(host));
        self.tell(Input::Connected { peer, addr, direction, id, reserved })
    }

    fn say(&mut self, host: u8, message: Message) -> Vec<Output> {
        self.tell(Input::Message { peer: PeerKey(host.into()), message })
    }

    fn block(&mut self, host: u8, span: Span) -> (Disposition, Vec<Output>) {
        let disposition = self.torrent.receive(self.now, PeerKey(host.into()), span);
        (disposition, self.drain())
    }

    fn verified(&mut self, index: u32, outcome: Verification, digests: &[u64]) -> Vec<Output> {
        self.tell(Input::Verified { piece: piece(index), outcome, digests: digests.to_vec() })
    }

    fn wait(&mut self, time: Duration) -> Vec<Output> {
        let end = self.now + time;
        let mut out = Vec::new();
        while let Some(due) = self.torrent.deadline().filter(|due| *due <= end) {
            assert!(due >= self.now, "a deadline in the past would spin");
            self.now = due.max(self.now + Duration::from_micros(1));
            out.extend(self.tell(Input::Wake));
        }
        self.now = end;
        out.extend(self.tell(Input::Wake));
        out
    }

    /// A seed connects, says that it has everything and unchokes us.
    fn join_seed(&mut self, host: u8) -> Vec<Output> {
        self.meet(host, FAST, Direction::Outgoing);
        self.say(host, Message::HaveAll);
        self.say(host, Message::Unchoke)
    }
}

fn sent(out: &[Output], host: u8) -> Vec<Message> {
    out.iter()
        .filter_map(|output| match output {
            Output::Send { peer, message } if *peer == PeerKey(host.into()) => {
                Some(message.clone())
            }
            _ => None,
        })
        .collect()
}

fn requests(out: &[Output], host: u8) -> Vec<Span> {
    let spans = sent(out, host).into_iter();
    spans.filter_map(|m| if let Message::Request(span) = m { Some(span) } else { None }).collect()
}

fn closed(out: &[Output], host: u8) -> Option<CloseReason> {
    out.iter().find_map(|output| match output {
        Output::Disconnect { peer, why } if *peer == PeerKey(host.into()) => Some(*why),
        _ => None,
    })
}

fn banned(out: &[Output]) -> Vec<SocketAddr> {
    let events = out.iter();
    events
        .filter_map(|o| match o {
            Output::Emit(Event::PeerBanned { addr }) => Some(*addr),
            _ => None,
        })
        .collect()
}

#[test]
fn a_peer_with_something_for_us_is_asked_as_soon_as_it_unchokes_us() {
    let mut story = Story::leech();
    let out = story.meet(1, FAST, Direction::Outgoing);
    assert_eq!(sent(&out, 1)[0], Message::HaveNone);
    assert_eq!(sent(&story.say(1, Message::HaveAll), 1), [Message::Interested]);
    let asked = requests(&story.say(1, Message::Unchoke), 1);
    assert!(asked.len() >= 4, "asked for {} blocks", asked.len());
}

#[test]
fn a_piece_is_verified_when_its_last_block_is_in_and_announced_when_it_is_good() {
    let mut story = Story::leech();
    let asked = requests(&story.join_seed(1), 1);
    story.meet(2, FAST, Direction::Incoming);
    let index = asked[0].piece.get();
    let (first, out) = story.block(1, span(index, 0));
    assert_eq!(first, Disposition::Keep);
    assert!(!out.iter().any(|o| matches!(o, Output::Verify { .. })));
    let (_, out) = story.block(1, span(index, 1));
    assert!(out.contains(&Output::Verify { piece: piece(index), digests: false }));
    let out = story.verified(index, Verification::Good, &[]);
    assert!(sent(&out, 2).contains(&Message::Have(piece(index))));
    assert!(sent(&out, 1).contains(&Message::Have(piece(index))), "a seed shows our progress");
}

#[test]
fn everything_wanted_makes_a_seed_that_lets_other_seeds_go() {
    let mut story = Story::with_pieces(0..7);
    let asked = requests(&story.join_seed(1), 1);
    assert_eq!(asked.len(), 2);
    for span in asked {
        story.block(1, span);
    }
    let out = story.verified(7, Verification::Good, &[]);
    assert!(out.contains(&Output::Emit(Event::Phase(Phase::Seeding))));
    assert_eq!(closed(&out, 1), Some(CloseReason::Redundant));
}

#[test]
fn without_the_fast_extension_a_choke_hands_the_blocks_to_others() {
    let mut story = Story::with_pieces(0..7);
    story.meet(1, PLAIN, Direction::Outgoing);
    let mut bits = Bitfield::none(8);
    bits.insert(piece(7));
    story.say(1, Message::Bitfield(Bytes::copy_from_slice(bits.as_wire())));
    assert_eq!(requests(&story.say(1, Message::Unchoke), 1).len(), 2);
    story.say(1, Message::Choke);
    assert_eq!(requests(&story.join_seed(2), 2).len(), 2);
}

#[test]
fn a_rejected_request_goes_to_another_peer_and_not_round_in_circles() {
    let mut story = Story::with_pieces(0..7);
    let asked = requests(&story.join_seed(1), 1);
    let out = story.say(1, Message::Reject(asked[0]));
    assert_eq!(requests(&out, 1), []);
    assert!(requests(&story.join_seed(2), 2).contains(&asked[0]));
}

#[test]
fn a_peer_that_owes_and_stays_silent_loses_its_blocks_to_the_next_one() {
    let mut story = Story::with_pieces(0..7);
    let asked = requests(&story.join_seed(1), 1);
    let out = story.wait(Duration::from_secs(21));
    let cancels = sent(&out, 1).iter().filter(|m| matches!(m, Message::Cancel(_))).count();
    assert_eq!(cancels, asked.len());
    assert_eq!(requests(&story.join_seed(2), 2).len(), asked.len());
}

#[test]
fn keep_alives_are_sent_and_a_dead_peer_is_let_go() {
    let mut story = Story::seed();
    story.meet(1, FAST, Direction::Incoming);
    let out = story.wait(Duration::from_secs(101));
    assert!(sent(&out, 1).contains(&Message::KeepAlive));
    assert_eq!(closed(&out, 1), None);
    let out = story.wait(Duration::from_secs(20));
    assert_eq!(closed(&out, 1), Some(CloseReason::Idle));
}

#[test]
fn an_idle_swarm_wakes_rarely() {
    let mut story = Story::seed();
    story.meet(1, FAST, Direction::Incoming);
    story.wait(Duration::from_secs(1));
    let mut wakes = 0;
    let end = story.now + Duration::from_secs(100);
    while let Some(due) = story.torrent.deadline().filter(|due| *due < end) {
        story.now = due;
        story.tell(Input::Wake);
        wakes += 1;
    }
    assert!(wakes <= 12, "{wakes} wake-ups in 100 s");
}

#[test]
fn requests_are_served_once_unchoked_and_answered_by_name_when_choked() {
    let mut story = Story::seed();
    story.meet(1, FAST, Direction::Incoming);
    story.say(1, Message::HaveNone);
    let out = story.say(1, Message::Interested);
    assert!(sent(&out, 1).contains(&Message::Unchoke), "a free slot is given at once");
    let out = story.say(1, Message::Request(span(3, 1)));
    assert!(out.contains(&Output::Serve { peer: PeerKey(1), span: span(3, 1) }));
    story.tell(Input::Sent { peer: PeerKey(1), span: span(3, 1) });
    assert_eq!(story.torrent.snapshot(story.now).uploaded, 16384);
}

#[test]
fn a_choked_peer_gets_nothing_but_its_allowed_fast_pieces() {
    let mut story = Story::seed();
    for host in 2..10 {
        story.meet(host, FAST, Direction::Incoming);
        let out = story.say(host, Message::Interested);
        assert!(!sent(&out, host).iter().any(|m| matches!(m, Message::AllowedFast(_))));
    }
    story.meet(1, FAST, Direction::Incoming);
    let out = story.say(1, Message::Interested);
    let granted: Vec<_> = sent(&out, 1)
        .into_iter()
        .filter_map(|m| if let Message::AllowedFast(piece) = m { Some(piece) } else { None })
        .collect();
    assert_eq!(granted.len(), allowed_fast::ALLOWED_FAST);
    let other = (0..8).map(piece).find(|p| !granted.contains(p)).unwrap();
    let refused = span(other.get(), 0);
    let out = story.say(1, Message::Request(refused));
    assert_eq!(sent(&out, 1), [Message::Reject(refused)]);
    let allowed = span(granted[0].get(), 0);
    let out = story.say(1, Message::Request(allowed));
    assert!(out.contains(&Output::Serve { peer: PeerKey(1), span: allowed }));
}

#[test]
fn a_bitfield_that_comes_again_takes_the_place_of_what_was_said_before() {
    let mut story = Story::with_pieces(0..6);
    story.meet(1, FAST, Direction::Incoming);
    story.say(1, Message::Bitfield(Bytes::from_static(&[0b1000_0010])));
    story.say(1, Message::Have(piece(3)));
    let out = story.say(1, Message::Bitfield(Bytes::from_static(&[0b1000_0001])));
    assert_eq!(closed(&out, 1), None);
    let asked = requests(&story.say(1, Message::Unchoke), 1);
    assert!(!asked.is_empty() && asked.iter().all(|span| span.piece == piece(7)), "{asked:?}");
}

#[test]
fn the_only_giver_of_a_wrong_piece_is_banned_at_once_and_for_good() {
    let mut story = Story::with_pieces(0..7);
    for span in requests(&story.join_seed(1), 1) {
        story.block(1, span);
    }
    let out = story.verified(7, Verification::Bad, &[1, 2]);
    assert_eq!(banned(&out), [addr(1)]);
    assert_eq!(closed(&out, 1), Some(CloseReason::Banned));
    assert_eq!(closed(&story.meet(1, FAST, Direction::Incoming), 1), Some(CloseReason::Banned));
    assert_eq!(requests(&story.join_seed(2), 2).len(), 2, "the piece is fetched again");
}

#[test]
fn of_two_givers_only_the_liar_is_banned_once_the_piece_is_right() {
    let mut story = Story::with_pieces(0..7);
    let first = requests(&story.join_seed(1), 1);
    story.say(1, Message::Reject(first[1]));
    let second = requests(&story.join_seed(2), 2);
    assert!(second.contains(&first[1]));
    story.block(1, first[0]);
    story.block(2, first[1]);
    let mut digests = [0; 2];
    digests[(first[0].begin / 16384) as usize] = 66;
    let out = story.verified(7, Verification::Bad, &digests);
    assert_eq!(banned(&out), []);
    let again = requests(&out, 1).into_iter().map(|s| (1, s));
    let again: Vec<_> = again.chain(requests(&out, 2).into_iter().map(|s| (2, s))).collect();
    assert_eq!(again.len(), 2, "{out:?}");
    let mut verify = Vec::new();
    for (host, span) in again {
        verify.extend(story.block(host, span).1);
    }
    assert!(verify.contains(&Output::Verify { piece: piece(7), digests: true }));
    let out = story.verified(7, Verification::Good, &[0, 0]);
    assert_eq!(banned(&out), [addr(1)]);
}

#[test]
fn we_do_not_talk_to_ourselves() {
    let mut story = Story::leech();
    let peer = PeerKey(9);
    let direction = Direction::Outgoing;
    let out =
        story.tell(Input::Connected { peer, addr: addr(9), direction, id: US, reserved: FAST });
    assert_eq!(closed(&out, 9), Some(CloseReason::Ourselves));
    let out = story.tell(Input::Candidates { source: Source::User, addrs: vec![addr(9)] });
    assert_eq!(out, []);
}

#[test]
fn of_two_connections_to_one_peer_both_sides_keep_the_same() {
    let twice = |first: Direction, second: Direction, them: u8| {
        let mut story = Story::leech();
        story.meet(them, FAST, first);
        let peer = PeerKey(200);
        let addr = SocketAddr::from(([10, 0, 0, them], 40_000));
        let id = id(them);
        let out =
            story.tell(Input::Connected { peer, addr, direction: second, id, reserved: FAST });
        closed(&out, 200).is_none()
    };
    // Our id begins with '-' (45): 1 is smaller, 99 larger. The smaller id's dial is kept.
    assert!(twice(Direction::Incoming, Direction::Outgoing, 99));
    assert!(!twice(Direction::Outgoing, Direction::Incoming, 99));
    assert!(twice(Direction::Outgoing, Direction::Incoming, 1));
    assert!(!twice(Direction::Incoming, Direction::Outgoing, 1));
    assert!(!twice(Direction::Incoming, Direction::Incoming, 99));
}

#[test]
fn nothing_is_said_before_the_disk_is_checked() {
    let mut story = Story::magnet();
    story.tell(Input::Metainfo(metainfo(8)));
    let out = story.meet(1, FAST, Direction::Incoming);
    assert_eq!(sent(&out, 1), []);
    story.say(1, Message::HaveAll);
    let out = story.tell(Input::Checked { have: Bitfield::all(8) });
    assert_eq!(sent(&out, 1)[0], Message::HaveAll);
}

#[test]
fn dials_are_made_retried_and_counted() {
    let mut story = Story::leech();
    let out = story.tell(Input::Candidates { source: Source::User, addrs: vec![addr(1)] });
    assert_eq!(out, [Output::Connect { addr: addr(1) }]);
    story.tell(Input::DialFailed { addr: addr(1), why: DialError::Refused });
    let out = story.wait(Duration::from_secs(3));
    assert!(out.contains(&Output::Connect { addr: addr(1) }));
    let snapshot = story.torrent.snapshot(story.now);
    assert_eq!(snapshot.dials_failed, [(DialError::Refused, 1)]);
}

#[test]
fn a_paused_torrent_lets_everybody_go_and_dials_nobody() {
    let mut story = Story::leech();
    story.join_seed(1);
    let out = story.tell(Input::Pause);
    assert_eq!(closed(&out, 1), Some(CloseReason::Stopping));
    let out = story.tell(Input::Candidates { source: Source::User, addrs: vec![addr(2)] });
    assert_eq!(out, []);
    let out = story.tell(Input::Resume);
    assert!(out.contains(&Output::Connect { addr: addr(2) }));
}

#[test]
fn a_piece_that_cannot_be_written_fails_the_torrent() {
    let mut story = Story::leech();
    story.join_seed(1);
    let out = story.verified(0, Verification::NotWritten, &[]);
    assert!(out.contains(&Output::Emit(Event::Phase(Phase::Failed))));
    assert_eq!(closed(&out, 1), Some(CloseReason::Stopping));
}

#[test]
fn a_block_that_cannot_be_read_is_rejected_and_its_piece_withdrawn() {
    let mut story = Story::seed();
    story.meet(1, FAST, Direction::Incoming);
    offer_metadata(&mut story, 1, None);
    story.say(1, Message::Interested);
    story.say(1, Message::Request(span(2, 0)));
    let out = story.tell(Input::ServeFailed { peer: PeerKey(1), span: span(2, 0) });
    let said = sent(&out, 1);
    assert!(said.contains(&Message::Reject(span(2, 0))));
    assert!(said.iter().any(|m| matches!(m, Message::Extended { id: 3, .. })), "lt_donthave");
    let out = story.say(1, Message::Request(span(2, 1)));
    assert_eq!(sent(&out, 1), [Message::Reject(span(2, 1))]);
}

fn offer_metadata(story: &mut Story, host: u8, size: Option<u32>) -> Vec<Output> {
    let ids = ExtensionIds::local(&[Extension::UtMetadata, Extension::LtDonthave]);
    let hello = ExtendedHandshake { ids, metadata_size: size, ..ExtendedHandshake::default() };
    story.say(host, Message::Extended { id: HANDSHAKE_ID, payload: hello.encode() })
}

fn metadata_data(info: &[u8]) -> Message {
    let bytes = Bytes::copy_from_slice(info);
    let total_size = u32::try_from(info.len()).unwrap();
    let payload = MetadataMessage::Data { piece: 0, total_size, bytes }.encode();
    Message::Extended { id: Extension::UtMetadata.local_id(), payload }
}

#[test]
fn metadata_comes_from_one_peer_and_a_wrong_one_has_one_giver() {
    let info = metainfo(8).info_bytes().to_vec();
    let size = Some(u32::try_from(info.len()).unwrap());
    let mut story = Story::magnet();
    story.meet(1, FAST, Direction::Outgoing);
    let out = offer_metadata(&mut story, 1, size);
    assert_eq!(sent(&out, 1).len(), 1, "one piece is asked for");
    let wrong = vec![b'x'; info.len()];
    let out = story.say(1, metadata_data(&wrong));
    assert!(out.contains(&Output::Metadata { info: Bytes::from(wrong) }));
    assert_eq!(banned(&story.tell(Input::MetadataRefused)), [addr(1)]);

    story.meet(2, FAST, Direction::Outgoing);
    story.say(2, Message::HaveAll);
    offer_metadata(&mut story, 2, size);
    let out = story.say(2, metadata_data(&info));
    assert!(out.contains(&Output::Metadata { info: Bytes::from(info) }));
    story.tell(Input::Metainfo(metainfo(8)));
    let out = story.tell(Input::Checked { have: Bitfield::none(8) });
    assert!(sent(&out, 2).contains(&Message::Interested), "what it said before counts");
}
