//! Layouts of BEP 15 as literals, round trips, and datagrams that are cut or wrong.

use super::*;
use proptest::prelude::*;

const CONNECTION: ConnectionId = ConnectionId(0x0102_0304_0506_0708);
const TRANSACTION: TransactionId = TransactionId(0x0A0B_0C0D);

fn announce() -> Announce {
    let mut announce = Announce::new(InfoHash::new([3; 20]), PeerId::new([4; 20]), 6881);
    announce.uploaded = 1;
    announce.downloaded = 2;
    announce.left = 5;
    announce.key = 6;
    announce.numwant = Some(7);
    announce
}

fn encoded(announce: &Announce, url: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    encode_announce(&mut out, CONNECTION, TRANSACTION, announce, url);
    out
}

fn decoded(datagram: &[u8]) -> (Announce, Vec<u8>) {
    let Some(Request::Announce { announce, options, .. }) = Request::decode(datagram) else {
        panic!("no announce")
    };
    let mut url = Vec::new();
    options.url_data(&mut url);
    (announce, url)
}

#[test]
fn an_announce_has_the_layout_of_bep_15() {
    let bytes = encoded(&announce(), b"");
    assert_eq!(bytes.len(), 98);
    assert_eq!(bytes[..16], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0, 0, 1, 10, 11, 12, 13]);
    assert_eq!(bytes[16..36], [3; 20]);
    assert_eq!(bytes[36..56], [4; 20]);
    assert_eq!(bytes[56..80].chunks(8).map(|c| c[7]).collect::<Vec<_>>(), [2, 5, 1]);
    assert_eq!(bytes[80..96].chunks(4).map(|c| c[3]).collect::<Vec<_>>(), [0, 0, 6, 7]);
    assert_eq!(bytes[96..], 6881u16.to_be_bytes());
}

#[test]
fn a_connect_request_has_the_magic_number() {
    let mut out = Vec::new();
    encode_connect(&mut out, TRANSACTION);
    assert_eq!(out, [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 10, 11, 12, 13]);
    let request = Request::Connect { transaction: TRANSACTION };
    assert_eq!(Request::decode(&out), Some(request));
    out[7] ^= 1;
    assert_eq!(Request::decode(&out), None);
}

#[test]
fn a_short_request_is_none() {
    let bytes = encoded(&announce(), b"");
    for length in 0..98 {
        assert_eq!(Request::decode(&bytes[..length]), None, "{length}");
    }
}

/// DISCOVERY 3.1: events 4 and 0x100.
#[test]
fn an_unknown_event_is_none_and_four_is_paused() {
    for (code, event) in [(4, AnnounceEvent::Paused), (0x100, AnnounceEvent::None)] {
        let mut bytes = encoded(&announce(), b"");
        bytes[80..84].copy_from_slice(&u32::to_be_bytes(code));
        assert_eq!(decoded(&bytes).0.event, event);
    }
}

/// DISCOVERY 3.1: numwant -1.
#[test]
fn a_negative_numwant_leaves_the_choice_to_the_tracker() {
    let mut asked = announce();
    asked.numwant = None;
    let mut bytes = encoded(&asked, b"");
    assert_eq!(bytes[92..96], [0xFF; 4]);
    assert_eq!(decoded(&bytes).0.numwant, None);
    bytes[92] = 0x80;
    assert_eq!(decoded(&bytes).0.numwant, None);
}

/// DISCOVERY 3.1: BEP 41 tails; 3.2 row 7.
#[test]
fn url_data_may_come_in_parts_with_padding_and_unknown_options() {
    let cases: [(&[u8], &[u8]); 7] = [
        (b"", b""),
        (b"\x02\x0C/dir?a=b&c=d", b"/dir?a=b&c=d"),
        (b"\x02\x0C/dir?a=b&c=d\x01\x01\x00\x02\x01x", b"/dir?a=b&c=d"),
        (b"\x02\x02/a\x09\x03zzz\x02\x02/b", b"/a/b"),
        (b"\x02\x00", b""),
        (b"\x02\x05abc", b""),
        (b"\x02\x01a\x02", b"a"),
    ];
    for (options, expected) in cases {
        let mut bytes = encoded(&announce(), b"");
        bytes.extend_from_slice(options);
        let (read, url) = decoded(&bytes);
        assert_eq!((read, url.as_slice()), (announce(), expected), "{options:?}");
    }
}

#[test]
fn a_long_url_is_cut_into_parts_and_joined_again() {
    let url = vec![b'u'; 700];
    let bytes = encoded(&announce(), &url);
    assert_eq!(bytes.len(), 98 + 3 * 2 + 700);
    assert_eq!(decoded(&bytes).1, url);
}

/// DISCOVERY 3.1: scrapes with a ragged tail and of 70 hashes.
#[test]
fn a_scrape_counts_whole_hashes_only_and_at_most_seventy() {
    for (hashes, tail, expected) in [(0, 0, 0), (2, 19, 2), (70, 0, 70), (74, 3, 70)] {
        let mut out = Vec::new();
        encode_head(&mut out, CONNECTION, ACTION_SCRAPE, TRANSACTION);
        out.extend(std::iter::repeat_n(9, hashes * 20 + tail));
        let Some(Request::Scrape { hashes, .. }) = Request::decode(&out) else {
            panic!("no scrape")
        };
        assert_eq!(hashes.iter().count(), expected);
    }
    let mut out = Vec::new();
    encode_scrape(&mut out, CONNECTION, TRANSACTION, &[InfoHash::new([1; 20]); 80]);
    assert_eq!(out.len(), 16 + 20 * SCRAPE_HASHES_MAX);
}

/// DISCOVERY 3.2 rows 19 and 20.
#[test]
fn a_reply_never_fragments() {
    for (family, peer, fits) in
        [(Family::V4, "1.2.3.4:5", 230), (Family::V6, "[2001:db8::1]:5", 76)]
    {
        let counts = AnnounceCounts { interval_secs: u32::MAX, leechers: 1, seeders: 2 };
        let mut out = Vec::new();
        let peers = [peer.parse().unwrap(); 300];
        encode_announce_reply(&mut out, TRANSACTION, counts, family, &peers);
        assert_eq!(out.len(), 20 + fits * family.peer_len());
        assert!(out.len() <= REPLY_MAX);
        let (_, reply) = Reply::decode(&out, family).unwrap();
        let Reply::Announce { interval_secs, peers, .. } = reply else { panic!("{reply:?}") };
        assert_eq!(interval_secs, 0x7FFF_FFFF, "the field is signed");
        assert_eq!(peers.iter().count(), fits.min(PEERS_PER_REPLY_MAX));
    }
}

#[test]
fn peers_of_the_other_family_stay_out_of_a_reply() {
    let peers = ["[::1]:9".parse().unwrap(), "1.2.3.4:5".parse().unwrap()];
    let counts = AnnounceCounts { interval_secs: 1, leechers: 1, seeders: 2 };
    let mut out = Vec::new();
    encode_announce_reply(&mut out, TRANSACTION, counts, Family::V4, &peers);
    assert_eq!(out[20..], [1, 2, 3, 4, 0, 5]);
}

#[test]
fn errors_and_scrapes_come_back_as_sent() {
    let mut out = Vec::new();
    encode_error_reply(&mut out, TRANSACTION, &"x".repeat(1000));
    let expected = [b'x'; ERROR_TEXT_MAX];
    assert_eq!(Reply::decode(&out, Family::V4), Ok((TRANSACTION, Reply::Error(&expected))));

    let entry = ScrapeEntry { complete: 1, downloaded: 2, incomplete: 3, downloaders: 3 };
    out.clear();
    encode_scrape_reply(&mut out, TRANSACTION, [entry; 3]);
    out.extend_from_slice(&[0; 11]);
    let (_, reply) = Reply::decode(&out, Family::V4).unwrap();
    let Reply::Scrape(entries) = reply else { panic!("{reply:?}") };
    assert_eq!(entries.iter().collect::<Vec<_>>(), [entry; 3]);
}

#[test]
fn a_short_or_unknown_reply_is_refused() {
    assert_eq!(Reply::decode(&[0; 15], Family::V4), Err(ReplyError::Short(15)));
    let announce = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(Reply::decode(&announce, Family::V4), Err(ReplyError::Short(19)));
    let unknown = [0, 0, 0, 9, 0, 0, 0, 0];
    assert_eq!(Reply::decode(&unknown, Family::V4), Err(ReplyError::Action(9)));
}

proptest! {
    #[test]
    fn any_announce_survives_the_wire(
        hash: [u8; 20], id: [u8; 20], port: u16, amounts: [u64; 3], key: u32,
        numwant in prop::option::of(0u32..=0x7FFF_FFFF), event in 0usize..5,
        url in prop::collection::vec(any::<u8>(), 0..600),
    ) {
        let events = [AnnounceEvent::None, AnnounceEvent::Completed, AnnounceEvent::Started,
            AnnounceEvent::Stopped, AnnounceEvent::Paused];
        let sent = Announce {
            info_hash: InfoHash::new(hash), peer_id: PeerId::new(id), port,
            uploaded: amounts[0], downloaded: amounts[1], left: amounts[2],
            event: events[event], key, numwant,
        };
        prop_assert_eq!(decoded(&encoded(&sent, &url)), (sent, url));
    }

    #[test]
    fn no_datagram_panics(datagram in prop::collection::vec(any::<u8>(), 0..200), action in 0u8..5) {
        let mut datagram = datagram;
        for at in [3, 11] {
            if let Some(byte) = datagram.get_mut(at) { *byte = action; }
        }
        if let Some(Request::Announce { options, .. }) = Request::decode(&datagram) {
            options.url_data(&mut Vec::new());
        }
        if let Ok((_, Reply::Announce { peers, .. })) = Reply::decode(&datagram, Family::V6) {
            prop_assert!(peers.iter().count() * 18 <= datagram.len());
        }
    }
}
