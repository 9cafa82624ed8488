//! Replies as literals, as round trips, and as rubbish.

use super::*;
use proptest::prelude::*;

fn encode(reply: &AnnounceReply, form: PeerForm) -> Vec<u8> {
    let mut out = Vec::new();
    encode_announce_reply(&mut out, reply, form);
    out
}

fn secs(secs: u64) -> Option<Duration> {
    Some(Duration::from_secs(secs))
}

fn full() -> AnnounceReply {
    AnnounceReply {
        interval: secs(900),
        min_interval: secs(450),
        complete: Some(1),
        incomplete: Some(2),
        downloaded: Some(3),
        external_ip: Some("9.8.7.6".parse().unwrap()),
        tracker_id: Some(b"id".to_vec()),
        warning: Some("careful".to_owned()),
        peers: vec!["1.2.3.4:258".parse().unwrap(), "[::2]:772".parse().unwrap()],
    }
}

/// DISCOVERY 3.2 row 18.
#[test]
fn a_compact_reply_is_canonical_bencode() {
    let bytes = encode(&full(), PeerForm::Compact);
    let expected =
        b"d8:completei1e10:downloadedi3e11:external ip4:\x09\x08\x07\x0610:incompletei2e\
        8:intervali900e12:min intervali450e5:peers6:\x01\x02\x03\x04\x01\x02\
        6:peers618:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\x03\x04\
        10:tracker id2:id15:warning message7:carefule";
    assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
}

#[test]
fn a_dictionary_reply_lists_both_families() {
    let reply = AnnounceReply { peers: full().peers, ..AnnounceReply::default() };
    let bytes = encode(&reply, PeerForm::Dictionary);
    let expected = b"d5:peersld2:ip7:1.2.3.44:porti258eed2:ip3:::24:porti772eeee";
    assert_eq!(bytes.escape_ascii().to_string(), expected.escape_ascii().to_string());
    assert_eq!(decode_announce_reply(&bytes), Ok(reply));
}

/// DISCOVERY 3.2 row 17.
#[test]
fn peers_is_there_even_when_nobody_is() {
    let empty = AnnounceReply::default();
    assert_eq!(encode(&empty, PeerForm::Compact), b"d5:peers0:e");
    assert_eq!(encode(&empty, PeerForm::Dictionary), b"d5:peerslee");
}

#[test]
fn refusals_say_when_to_come_again() {
    let cases: [(Retry, &[u8]); 4] = [
        (Retry::Unspecified, b"d14:failure reason2:noe"),
        (Retry::After(Duration::from_secs(90)), b"d14:failure reason2:no8:retry ini2ee"),
        (Retry::After(Duration::ZERO), b"d14:failure reason2:no8:retry ini1ee"),
        (Retry::Never, b"d14:failure reason2:no8:retry in5:nevere"),
    ];
    for (retry, expected) in cases {
        let mut out = Vec::new();
        encode_refusal(&mut out, "no", retry);
        assert_eq!(out, expected);
        let Err(ReplyError::Refused(refusal)) = decode_announce_reply(&out) else {
            panic!("not refused")
        };
        assert_eq!(refusal.reason, "no");
        assert_eq!(refusal.retry == Retry::Never, retry == Retry::Never);
        assert_eq!(decode_scrape_reply(&out), Err(ReplyError::Refused(refusal)));
    }
}

#[test]
fn minutes_may_be_a_string_and_nonsense_is_unspecified() {
    for (value, retry) in [
        ("1:5", Retry::After(Duration::from_secs(300))),
        ("i5e", Retry::After(Duration::from_secs(300))),
        ("i0e", Retry::Unspecified),
        ("i-5e", Retry::Unspecified),
        ("4:soon", Retry::Unspecified),
        ("le", Retry::Unspecified),
    ] {
        let body = format!("d8:retry in{value}14:failure reason1:xe");
        let Err(ReplyError::Refused(refusal)) = decode_announce_reply(body.as_bytes()) else {
            panic!("not refused")
        };
        assert_eq!(refusal.retry, retry, "{value}");
    }
}

#[test]
fn packed_peers_that_do_not_divide_are_refused() {
    for (body, length, peer_len) in
        [(&b"d5:peers7:1234567e"[..], 7, 6), (b"d6:peers66:123456e", 6, 18)]
    {
        assert_eq!(decode_announce_reply(body), Err(ReplyError::PeersLength { length, peer_len }));
    }
}

#[test]
fn host_names_port_zero_and_odd_elements_are_passed_over() {
    let body = b"d5:peersld2:ip9:localhost4:porti1eed2:ip7:1.2.3.44:porti0eei7ele\
        d2:ip7:1.2.3.47:peer id2:xx4:porti9eed4:porti9eed2:ip7:1.2.3.44:porti70000eeee";
    let reply = decode_announce_reply(body).unwrap();
    assert_eq!(reply.peers, ["1.2.3.4:9".parse().unwrap()]);
}

#[test]
fn mapped_addresses_become_ipv4() {
    let body = b"d11:external ip16:\0\0\0\0\0\0\0\0\0\0\xFF\xFF\x01\x02\x03\x045:peersl\
        d2:ip14:::ffff:1.2.3.44:porti9eeee";
    let reply = decode_announce_reply(body).unwrap();
    assert_eq!(reply.peers, ["1.2.3.4:9".parse().unwrap()]);
    assert_eq!(reply.external_ip, Some("1.2.3.4".parse().unwrap()));
}

#[test]
fn two_hundred_peers_are_kept() {
    let many: Vec<SocketAddr> = (1..=500).map(|port| ([1, 2, 3, 4], port).into()).collect();
    let reply = AnnounceReply { peers: many.clone(), ..AnnounceReply::default() };
    for form in [PeerForm::Compact, PeerForm::Dictionary] {
        let kept = decode_announce_reply(&encode(&reply, form)).unwrap().peers;
        assert_eq!(kept, many[..PEERS_PER_REPLY_MAX]);
    }
}

#[test]
fn a_reply_over_a_mebibyte_is_not_read() {
    let mut body = format!("d5:peers0:1:x{}:", REPLY_MAX - 22).into_bytes();
    body.resize(REPLY_MAX - 1, b'x');
    body.push(b'e');
    assert_eq!(decode_announce_reply(&body), Ok(AnnounceReply::default()));
    body.push(b'\n');
    assert_eq!(decode_announce_reply(&body), Err(ReplyError::TooLong(REPLY_MAX + 1)));
}

#[test]
fn long_texts_are_cut() {
    let mut body = Vec::new();
    encode_refusal(&mut body, &"é".repeat(1000), Retry::Unspecified);
    let Err(ReplyError::Refused(refusal)) = decode_announce_reply(&body) else {
        panic!("not refused")
    };
    assert_eq!(refusal.reason, "é".repeat(TEXT_MAX));
    let id = AnnounceReply {
        tracker_id: Some(vec![b'x'; TRACKER_ID_MAX + 1]),
        ..AnnounceReply::default()
    };
    let read = decode_announce_reply(&encode(&id, PeerForm::Compact)).unwrap();
    assert_eq!(read.tracker_id, None);
}

#[test]
fn negative_numbers_are_nothing() {
    let body = b"d8:completei-1e8:intervali-900e12:min intervali99999999999e5:peers0:e";
    let reply = decode_announce_reply(body).unwrap();
    assert_eq!((reply.complete, reply.interval), (None, None));
    assert_eq!(reply.min_interval, secs(99_999_999_999));
}

#[test]
fn rubbish_is_malformed() {
    let deep = [b"d5:peers".to_vec(), vec![b'l'; 1000], vec![b'e'; 1001]].concat();
    for body in [&b""[..], b"<html>", b"le", b"i1e", b"0:", b"d", b"d5:peers", b"d1:xe", &deep] {
        assert_eq!(decode_announce_reply(body), Err(ReplyError::Malformed), "{body:?}");
        assert_eq!(decode_scrape_reply(body), Err(ReplyError::Malformed), "{body:?}");
    }
}

#[test]
fn a_scrape_reply_is_sorted_and_lists_a_hash_once() {
    let entry = ScrapeEntry { complete: 1, downloaded: 2, incomplete: 4, downloaders: 3 };
    let (a, b) = (InfoHash::new([b'a'; 20]), InfoHash::new([b'b'; 20]));
    let mut out = Vec::new();
    encode_scrape_reply(&mut out, &mut vec![(b, entry), (a, entry), (b, entry)]);
    let counts = "d8:completei1e10:downloadedi2e11:downloadersi3e10:incompletei4ee";
    let (a_text, b_text) = ("a".repeat(20), "b".repeat(20));
    let expected = format!("d5:filesd20:{a_text}{counts}20:{b_text}{counts}ee");
    assert_eq!(String::from_utf8(out.clone()).unwrap(), expected);
    assert_eq!(decode_scrape_reply(&out), Ok(vec![(a, entry), (b, entry)]));
}

#[test]
fn a_scrape_reply_keeps_seventy_swarms() {
    let mut entries: Vec<_> =
        (0..200).map(|n| (InfoHash::new([n; 20]), ScrapeEntry::default())).collect();
    let mut out = Vec::new();
    encode_scrape_reply(&mut out, &mut entries);
    assert_eq!(decode_scrape_reply(&out).unwrap().len(), SCRAPE_ENTRIES_MAX);
}

fn any_peer() -> impl Strategy<Value = SocketAddr> {
    let v4 = (any::<[u8; 4]>(), 1u16..).prop_map(SocketAddr::from);
    let v6 = (any::<[u8; 16]>(), 1u16..)
        .prop_filter("mapped", |(ip, _)| Ipv6Addr::from(*ip).to_ipv4_mapped().is_none())
        .prop_map(SocketAddr::from);
    prop_oneof![v4, v6]
}

proptest! {
    #[test]
    fn any_reply_survives_the_wire(
        peers in prop::collection::vec(any_peer(), 0..60),
        counts: [Option<u32>; 3], spans: [Option<u32>; 2],
        tracker_id in prop::option::of(prop::collection::vec(any::<u8>(), 0..40)),
        warning in prop::option::of(".{0,40}"), dictionary: bool,
    ) {
        let span = |secs: Option<u32>| secs.map(|secs| Duration::from_secs(secs.into()));
        let reply = AnnounceReply {
            interval: span(spans[0]), min_interval: span(spans[1]),
            complete: counts[0], incomplete: counts[1], downloaded: counts[2],
            external_ip: peers.first().map(SocketAddr::ip), tracker_id, warning, peers,
        };
        let form = if dictionary { PeerForm::Dictionary } else { PeerForm::Compact };
        let mut read = decode_announce_reply(&encode(&reply, form)).unwrap();
        let mut reply = reply;
        read.peers.sort();
        reply.peers.sort();
        prop_assert_eq!(read, reply);
    }

    #[test]
    fn no_reply_panics(
        start in prop::sample::select(vec!["", "d5:peers", "d5:filesd20:aaaaaaaaaaaaaaaaaaaa"]),
        bytes in prop::collection::vec(prop::sample::select(b"0159:deilp-\xFF".to_vec()), 0..80),
    ) {
        let body = [start.as_bytes(), &bytes].concat();
        let _ = decode_announce_reply(&body);
        let _ = decode_scrape_reply(&body);
    }
}
