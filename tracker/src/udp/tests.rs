//! The UDP rows of DISCOVERY 3.1 as datagrams, amplification, and real sockets.

use super::*;
use crate::config::TrackerConfig;
use crate::tracker::Tracker;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::Ipv6Addr;
use swarm_core::types::{InfoHash, PeerId};
use swarm_core::wire::tracker_udp::{
    ConnectionId, Reply, encode_announce, encode_connect, encode_scrape,
};

const HASH: InfoHash = InfoHash::new([7; 20]);
const TRANSACTION: TransactionId = TransactionId(0xABCD);

fn desk() -> Desk {
    desk_with(None)
}

fn desk_with(allowed: Option<BTreeSet<InfoHash>>) -> Desk {
    let config = TrackerConfig { allowed, ..TrackerConfig::default() };
    Desk::new(Arc::new(Service::new(&config).unwrap()), None)
}

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn connect(desk: &mut Desk, from: SocketAddr) -> ConnectionId {
    let mut request = Vec::new();
    encode_connect(&mut request, TRANSACTION);
    match Reply::decode(desk.answer(from, &request), Family::V4).unwrap() {
        (TRANSACTION, Reply::Connect(id)) => id,
        other => panic!("{other:?}"),
    }
}

fn announce(id: ConnectionId, edit: impl FnOnce(&mut Announce)) -> Vec<u8> {
    let mut announce = Announce::new(HASH, PeerId::new([1; 20]), 6881);
    edit(&mut announce);
    let mut request = Vec::new();
    encode_announce(&mut request, id, TRANSACTION, &announce, b"");
    request
}

/// Leechers, seeders, peers of an announce reply.
fn counts(reply: &[u8], family: Family) -> (u32, u32, usize) {
    match Reply::decode(reply, family).unwrap() {
        (TRANSACTION, Reply::Announce { leechers, seeders, peers, .. }) => {
            (leechers, seeders, peers.iter().count())
        }
        other => panic!("{other:?}"),
    }
}

/// A desk with 60 peers, ten of them seeds, each from its own address.
fn crowded() -> Desk {
    let mut desk = desk();
    for n in 0..60u8 {
        let from = SocketAddr::from(([9, 9, 9, n], 1));
        let id = connect(&mut desk, from);
        let request = announce(id, |announce| announce.left = u64::from(n >= 10));
        desk.answer(from, &request);
    }
    desk
}

/// 3.1: numwant, events, port 0, over the wire.
#[test]
fn announces_are_answered_as_the_matrix_says() {
    let mut desk = crowded();
    let me = addr("8.8.8.8:9");
    let id = connect(&mut desk, me);
    let at = |request: Vec<u8>, offset: usize, field: [u8; 4]| {
        let mut request = request;
        request[offset..offset + 4].copy_from_slice(&field);
        request
    };
    let plain = || announce(id, |_| {});
    let wants = |n| announce(id, |announce| announce.numwant = Some(n));
    let rows = [
        ("numwant -1", plain(), (51, 10, 30)),
        ("numwant 0", wants(0), (51, 10, 0)),
        ("numwant 1", wants(1), (51, 10, 1)),
        ("numwant 10^9", wants(1_000_000_000), (51, 10, 50)),
        ("event 4, paused", at(plain(), 80, [0, 0, 0, 4]), (51, 10, 0)),
        ("event 0x100", at(plain(), 80, [0, 0, 1, 0]), (51, 10, 30)),
        ("IP field ignored", at(plain(), 84, [1, 2, 3, 4]), (51, 10, 30)),
        ("BEP 41 tail", [plain(), b"\x02\x03/ab\x00".to_vec()].concat(), (51, 10, 30)),
        ("BEP 41 bad tail", [plain(), b"\x02\xFFab".to_vec()].concat(), (51, 10, 30)),
        ("left -1", announce(id, |announce| announce.left = u64::MAX), (51, 10, 30)),
        ("seed", announce(id, |announce| announce.left = 0), (50, 11, 30)),
        (
            "stopped",
            announce(id, |a| a.event = swarm_core::wire::tracker::AnnounceEvent::Stopped),
            (50, 10, 0),
        ),
        ("port 0", announce(id, |announce| announce.port = 0), (50, 10, 30)),
    ];
    for (row, request, expected) in rows {
        assert_eq!(counts(desk.answer(me, &request), Family::V4), expected, "{row}");
    }
}

/// 3.1: bad connection ids, 97 bytes, other addresses and ports.
#[test]
fn silence_for_everybody_unproven() {
    let mut desk = desk();
    let me = addr("8.8.8.8:9");
    let id = connect(&mut desk, me);
    let good = announce(id, |_| {});
    let bad = announce(ConnectionId(id.0 ^ 1), |_| {});
    let rows = [
        ("good", me, good.clone(), true),
        ("bad id", me, bad, false),
        ("97 bytes", me, good[..97].to_vec(), false),
        ("id used from another IP", addr("8.8.8.9:9"), good.clone(), false),
        ("id used from another port", addr("8.8.8.8:10"), good.clone(), true),
        ("mapped address is the same", addr("[::ffff:8.8.8.8]:9"), good, true),
    ];
    for (row, from, request, answered) in rows {
        assert_eq!(!desk.answer(from, &request).is_empty(), answered, "{row}");
    }
    let mut scrape = Vec::new();
    encode_scrape(&mut scrape, ConnectionId(0), TRANSACTION, &[HASH]);
    assert!(desk.answer(me, &scrape).is_empty());
    assert_eq!(desk.service.stats().udp_unproven, 3);
    assert_eq!(desk.service.stats().udp_malformed, 1);
}

/// 3.1: scrapes without hash, with a ragged tail, with one hash 70 times.
#[test]
fn scrapes_are_answered_by_position() {
    let mut desk = crowded();
    let me = addr("8.8.8.8:9");
    let id = connect(&mut desk, me);
    for (hashes, tail, expected) in [(0, 0, 8), (1, 19, 20), (70, 0, 848), (74, 0, 848)] {
        let mut request = Vec::new();
        encode_scrape(&mut request, id, TRANSACTION, &[]);
        request.extend(std::iter::repeat_n(7, hashes * 20 + tail));
        let reply = desk.answer(me, &request);
        assert_eq!(reply.len(), expected, "{hashes} hashes and {tail} bytes");
        let Ok((_, Reply::Scrape(entries))) = Reply::decode(reply, Family::V4) else {
            panic!("no scrape")
        };
        assert!(entries.iter().all(|entry| (entry.complete, entry.incomplete) == (10, 50)));
    }
}

#[test]
fn a_swarm_off_the_list_is_refused_with_a_reason() {
    let mut desk = desk_with(Some([InfoHash::new([1; 20])].into()));
    let me = addr("8.8.8.8:9");
    let id = connect(&mut desk, me);
    let request = announce(id, |_| {});
    let reply = desk.answer(me, &request);
    assert!(reply.len() <= request.len());
    let (_, Reply::Error(text)) = Reply::decode(reply, Family::V4).unwrap() else {
        panic!("no error")
    };
    assert_eq!(text, b"this tracker does not serve this info_hash");
}

/// 3.2 row 20 and D3: after the proof the default reply is about twice the request, and no
/// reply is ever cut into fragments.
#[test]
fn replies_are_small() {
    let mut desk = crowded();
    let me = addr("8.8.8.8:9");
    let id = connect(&mut desk, me);
    let request = announce(id, |_| {});
    assert_eq!((request.len(), desk.answer(me, &request).len()), (98, 200));
    for n in 0..100u16 {
        let from = SocketAddr::from((Ipv6Addr::new(0x2001, 0xdb8, n, n, 0, 0, 0, 1), 7));
        let id = connect(&mut desk, from);
        let request = announce(id, |announce| announce.numwant = Some(500));
        assert!(desk.answer(from, &request).len() <= 20 + 50 * 18);
    }
}

proptest! {
    /// D3: no byte more than was sent, to anybody who has not proven its address.
    #[test]
    fn nobody_unproven_gets_more_than_it_sent(
        kind in 0u32..6, head: [u8; 8], rest in prop::collection::vec(any::<u8>(), 0..300),
        use_magic: bool,
    ) {
        let mut desk = desk();
        let mut datagram = if use_magic { vec![0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80] } else { head.to_vec() };
        datagram.extend_from_slice(&kind.to_be_bytes());
        datagram.extend_from_slice(&rest);
        let is_connect = use_magic && kind == 0 && datagram.len() >= 16;
        let reply = desk.answer(addr("8.8.8.8:9"), &datagram).len();
        prop_assert!(reply <= datagram.len());
        prop_assert_eq!(reply > 0, is_connect);
    }
}

async fn ask(socket: &UdpSocket, request: &[u8]) -> Vec<u8> {
    let mut reply = [0; DATAGRAM_MAX];
    let exchange = async {
        socket.send(request).await.unwrap();
        socket.recv(&mut reply).await.unwrap()
    };
    let length = tokio::time::timeout(Duration::from_secs(5), exchange).await.unwrap();
    reply[..length].to_vec()
}

#[tokio::test]
async fn two_peers_meet_over_real_sockets_of_either_family() {
    for (ip, family) in [("127.0.0.1:0", Family::V4), ("[::1]:0", Family::V6)] {
        let config =
            TrackerConfig { http: vec![], udp: vec![addr(ip)], ..TrackerConfig::default() };
        let tracker = Tracker::start(config).await.unwrap();
        let mut found = Vec::new();
        for port in [1111, 2222] {
            let socket = UdpSocket::bind(ip).await.unwrap();
            socket.connect(tracker.udp_addrs()[0]).await.unwrap();
            let mut request = Vec::new();
            encode_connect(&mut request, TRANSACTION);
            let reply = ask(&socket, &request).await;
            let Ok((_, Reply::Connect(id))) = Reply::decode(&reply, family) else { panic!() };
            let reply = ask(&socket, &announce(id, |announce| announce.port = port)).await;
            let Ok((_, Reply::Announce { peers, .. })) = Reply::decode(&reply, family) else {
                panic!()
            };
            found.extend(peers.iter());
        }
        let host: IpAddr = addr(ip).ip();
        assert_eq!(found, [SocketAddr::new(host, 1111)]);
        let stats = tracker.stats();
        assert_eq!((stats.udp_connects, stats.udp_announces, stats.peers), (2, 2, 2));
        tracker.shutdown().await;
    }
}
