//! Peers that tell each other of peers (BEP 11), in one torrent.

use super::*;
use crate::types::InfoHash;
use crate::wire::ut_pex::{PexFlags, PexMessage, PexPeer};

/// Ids that scripted peers and we give to `ut_pex`.
const THEIR_ID: u8 = 9;
const OUR_ID: u8 = 2;

impl Story {
    /// The peer speaks `ut_pex` and says where it listens.
    fn speaks_pex(&mut self, host: u8, port: Option<u16>) -> Vec<Output> {
        let port = port.map_or(String::new(), |port| format!("1:pi{port}e"));
        let payload = Bytes::from(format!("d1:md6:ut_pexi{THEIR_ID}ee{port}e"));
        self.say(host, Message::Extended { id: HANDSHAKE_ID, payload })
    }

    fn names(&mut self, host: u8, added: Vec<PexPeer>) -> Vec<Output> {
        let payload = PexMessage { added, dropped: Vec::new() }.encode();
        self.say(host, Message::Extended { id: OUR_ID, payload })
    }
}

fn told(out: &[Output], host: u8) -> Vec<PexMessage> {
    let messages = sent(out, host).into_iter();
    messages
        .filter_map(|message| match message {
            Message::Extended { id: THEIR_ID, payload } => PexMessage::decode(&payload).ok(),
            _ => None,
        })
        .collect()
}

/// Whether our extension handshakes in `out` offer `ut_pex`.
fn offers(out: &[Output], host: u8) -> Vec<bool> {
    let messages = sent(out, host).into_iter();
    messages
        .filter_map(|message| match message {
            Message::Extended { id: HANDSHAKE_ID, payload } => {
                let said = ExtendedHandshake::decode(&payload).unwrap();
                Some(said.ids.id_of(Extension::UtPex).is_some())
            }
            _ => None,
        })
        .collect()
}

fn dialled(out: &[Output]) -> Vec<SocketAddr> {
    let dials = out.iter();
    dials
        .filter_map(|o| if let Output::Connect { addr } = o { Some(*addr) } else { None })
        .collect()
}

fn named(host: u8) -> PexPeer {
    PexPeer { addr: addr(host), flags: PexFlags::default() }
}

fn private(configure: impl FnOnce(&mut Config)) -> Story {
    let mut file = torrent_file(8);
    let end = file.len() - 2;
    file.splice(end..end, *b"7:privatei1e");
    let metainfo = Arc::new(Metainfo::from_torrent(&file).unwrap());
    let info_hash: InfoHash = metainfo.hashes().wire();
    let mut story = Story::magnet();
    story.torrent.params.info_hash = info_hash;
    configure(&mut story.torrent.params.config);
    story.tell(Input::Metainfo(metainfo));
    story.tell(Input::Checked { have: Bitfield::none(8) });
    story
}

#[test]
fn peers_are_told_of_each_other_where_they_listen() {
    let mut story = Story::leech();
    story.meet(1, FAST, Direction::Outgoing);
    story.meet(2, FAST, Direction::Incoming);
    story.meet(3, FAST, Direction::Incoming);
    story.speaks_pex(1, None);
    story.speaks_pex(2, Some(7002));
    story.say(1, Message::HaveAll);
    let out = story.wait(Duration::from_secs(12));
    let listens = SocketAddr::from(([10, 0, 0, 2], 7002));
    let second = PexPeer { addr: listens, flags: PexFlags::default() };
    assert_eq!(told(&out, 1), [PexMessage { added: vec![second], dropped: vec![] }]);
    let flags = PexFlags::SEED.with(PexFlags::REACHABLE, true);
    let first = PexPeer { addr: addr(1), flags };
    assert_eq!(told(&out, 2), [PexMessage { added: vec![first], dropped: vec![] }]);
    assert_eq!(told(&out, 3), [], "it does not speak it, and never said where it listens");
}

#[test]
fn who_has_gone_is_told_a_minute_later() {
    let mut story = Story::leech();
    story.meet(1, FAST, Direction::Outgoing);
    story.meet(2, FAST, Direction::Outgoing);
    story.speaks_pex(1, None);
    assert_eq!(told(&story.wait(Duration::from_secs(12)), 1).len(), 1);
    story.tell(Input::Disconnected { peer: PeerKey(2), why: CloseReason::Lost });
    let out = story.wait(Duration::from_secs(75));
    assert_eq!(told(&out, 1), [PexMessage { added: vec![], dropped: vec![addr(2)] }]);
}

#[test]
fn a_peer_that_another_one_names_is_dialled_a_little_later() {
    let mut story = Story::leech();
    story.meet(1, FAST, Direction::Outgoing);
    let out = story.names(1, vec![named(7)]);
    assert_eq!(dialled(&out), []);
    assert_eq!(dialled(&story.wait(Duration::from_secs(2))), [addr(7)]);
}

#[test]
fn a_seed_dials_no_seed_that_a_peer_names() {
    let mut story = Story::seed();
    story.meet(1, FAST, Direction::Outgoing);
    let seed = PexPeer { addr: addr(8), flags: PexFlags::SEED };
    story.names(1, vec![named(7), seed]);
    assert_eq!(dialled(&story.wait(Duration::from_secs(3))), [addr(7)]);
}

/// LIMITS B28, P30.
#[test]
fn a_flood_of_addresses_ends_the_connection_and_garbage_too() {
    let mut story = Story::leech();
    story.meet(1, FAST, Direction::Outgoing);
    let ended = (0..20).any(|_| closed(&story.names(1, vec![named(7)]), 1).is_some());
    assert!(ended);
    assert_eq!(story.hits(Limit::PeerExchangeRate), 9);
    story.meet(2, FAST, Direction::Outgoing);
    let garbage = Message::Extended { id: OUR_ID, payload: Bytes::from_static(b"le") };
    assert_eq!(closed(&story.say(2, garbage), 2), Some(CloseReason::Malformed));
}

/// BEP 27, LIMITS D09.
#[test]
fn a_private_torrent_neither_offers_nor_hears_nor_tells() {
    let mut story = private(|_| {});
    let out = story.meet(1, FAST, Direction::Outgoing);
    assert_eq!(offers(&out, 1), [false]);
    story.meet(2, FAST, Direction::Outgoing);
    story.speaks_pex(1, None);
    story.names(1, vec![named(7)]);
    let out = story.wait(Duration::from_secs(70));
    assert_eq!((told(&out, 1), dialled(&out)), (vec![], vec![]));
}

#[test]
fn it_can_be_switched_off() {
    let mut story = Story::magnet();
    story.torrent.params.config.peer_exchange = false;
    story.tell(Input::Metainfo(metainfo(8)));
    story.tell(Input::Checked { have: Bitfield::none(8) });
    assert_eq!(offers(&story.meet(1, FAST, Direction::Outgoing), 1), [false]);
    story.names(1, vec![named(7)]);
    assert_eq!(dialled(&story.wait(Duration::from_secs(5))), []);
}

/// Nobody can say of a magnet link whether its torrent is private.
#[test]
fn it_is_offered_only_once_the_metadata_is_known() {
    let mut story = Story::magnet();
    assert_eq!(offers(&story.meet(1, FAST, Direction::Outgoing), 1), [false]);
    story.names(1, vec![named(7)]);
    assert_eq!(dialled(&story.wait(Duration::from_secs(5))), []);
    story.tell(Input::Metainfo(metainfo(8)));
    let out = story.tell(Input::Checked { have: Bitfield::none(8) });
    assert_eq!(offers(&out, 1), [true]);
}
