//! HTTP over real sockets: every request is answered, nobody holds a connection for nothing.

use crate::config::{HttpLimits, TrackerConfig};
use crate::tracker::Tracker;
use std::net::SocketAddr;
use std::time::Duration;
use swarm_core::types::{InfoHash, PeerId};
use swarm_core::wire::tracker::Announce;
use swarm_core::wire::tracker_http::{
    AnnounceReply, ReplyError, announce_url, decode_announce_reply, decode_scrape_reply,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(5);
const HASH: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa";

async fn tracker_with(http_limits: HttpLimits) -> Tracker {
    let http = vec!["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
    let config = TrackerConfig { http, udp: vec![], http_limits, ..TrackerConfig::default() };
    Tracker::start(config).await.unwrap()
}

async fn tracker() -> Tracker {
    tracker_with(HttpLimits::default()).await
}

async fn connect(tracker: &Tracker) -> TcpStream {
    TcpStream::connect(tracker.http_addrs()[0]).await.unwrap()
}

/// Status line and body of each reply in `bytes`.
fn replies(mut bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut replies = Vec::new();
    while !bytes.is_empty() {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.unwrap().parse().unwrap();
        let status = head.lines().next().unwrap().strip_prefix("HTTP/1.1 ").unwrap();
        replies.push((status.to_owned(), bytes[end..end + length].to_vec()));
        bytes = &bytes[end + length..];
    }
    replies
}

/// Sends bytes, says that no more come, and reads all replies.
async fn exchange(tracker: &Tracker, request: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut stream = connect(tracker).await;
    stream.write_all(request).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    replies(&bytes)
}

async fn get(tracker: &Tracker, target: &str) -> (String, Vec<u8>) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n");
    exchange(tracker, request.as_bytes()).await.remove(0)
}

async fn announce(tracker: &Tracker, query: &str) -> Result<AnnounceReply, ReplyError> {
    let (status, body) = get(tracker, &format!("/announce?{query}")).await;
    assert_eq!(status, "200 OK", "{query}");
    decode_announce_reply(&body)
}

/// The HTTP probe of DISCOVERY 3.1: each of these hung a well-known tracker.
#[tokio::test]
async fn every_odd_announce_is_answered() {
    let tracker = tracker().await;
    for odd in [
        "&left=0&compact=0",
        "",
        "&left=0&numwant=-1",
        "&left=-1",
        "&supportcrypto",
        "&event=paused",
        "&uploaded=x&downloaded=",
        "&port=9",
        "&=&&=x",
        "&left=99999999999999999999999999",
    ] {
        let query = format!("{HASH}&peer_id=bbbbbbbbbbbbbbbbbbbb&port=7{odd}");
        let reply = announce(&tracker, &query).await.unwrap();
        assert_eq!(reply.external_ip, Some("127.0.0.1".parse().unwrap()), "{odd}");
    }
    for (query, reason) in [
        ("", "info_hash is missing"),
        ("port=7", "info_hash is missing"),
        (HASH, "port is missing"),
        ("info_hash=abc&port=7", "info_hash is 3 bytes long, not 20"),
    ] {
        match announce(&tracker, query).await {
            Err(ReplyError::Refused(refusal)) => assert_eq!(refusal.reason, reason),
            other => panic!("{query}: {other:?}"),
        }
    }
    tracker.shutdown().await;
}

#[tokio::test]
async fn a_hash_with_raw_high_bytes_is_taken_as_it_is() {
    let tracker = tracker().await;
    let mut request = b"GET /announce?port=7&info_hash=".to_vec();
    request.extend(0xEC..=0xFF);
    request.extend_from_slice(b" HTTP/1.0\r\n\r\n");
    let (status, body) = exchange(&tracker, &request).await.remove(0);
    assert_eq!(status, "200 OK");
    assert_eq!(decode_announce_reply(&body).unwrap().incomplete, Some(1));
    tracker.shutdown().await;
}

#[tokio::test]
async fn whatever_is_no_announce_is_answered_too() {
    let tracker = tracker().await;
    let long = format!("GET /announce?{} HTTP/1.1\r\n\r\n", "x".repeat(9000));
    let cases: [(&[u8], &str); 8] = [
        (b"POST /announce HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "405 Method Not Allowed"),
        (b"GET /nothing HTTP/1.1\r\n\r\n", "404 Not Found"),
        (b"GET / HTTP/1.1\r\n\r\n", "200 OK"),
        (b"hello\r\n", "400 Bad Request"),
        (b"GET /announce\r\n\r\n", "400 Bad Request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 Bad Request"),
        (b"\x16\x03\x01\x02\x00\x01\n", "400 Bad Request"),
        (long.as_bytes(), "414 URI Too Long"),
    ];
    for (request, expected) in cases {
        let (status, body) = exchange(&tracker, request).await.remove(0);
        assert_eq!(status, expected, "{}", request.escape_ascii());
        let is_refusal = matches!(decode_announce_reply(&body), Err(ReplyError::Refused(_)));
        assert!(is_refusal || status == "200 OK", "{}", request.escape_ascii());
    }
    tracker.shutdown().await;
}

#[tokio::test]
async fn requests_are_pipelined_and_answered_in_order() {
    let tracker = tracker().await;
    let mut requests = String::new();
    // Their replies are more than is collected before it is sent.
    for port in 1..=1000 {
        requests += &format!("GET /announce?{HASH}&port={port} HTTP/1.1\r\n\r\n");
    }
    requests += &format!("GET /scrape?{HASH}&{HASH} HTTP/1.1\r\nConnection: close\r\n\r\nGET / HT");
    let mut replies = exchange(&tracker, requests.as_bytes()).await;
    let (_, scrape) = replies.pop().unwrap();
    let swarms: Vec<u32> = replies
        .iter()
        .map(|(_, body)| decode_announce_reply(body).unwrap().incomplete.unwrap())
        .collect();
    assert_eq!(swarms, (1..=1000).collect::<Vec<_>>());
    let entries = decode_scrape_reply(&scrape).unwrap();
    assert_eq!((entries.len(), entries[0].1.incomplete), (1, 1000));
    tracker.shutdown().await;
}

#[tokio::test]
async fn head_requests_get_a_head_and_old_clients_a_close() {
    let tracker = tracker().await;
    let mut stream = connect(&tracker).await;
    stream.write_all(b"HEAD / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut reply = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut reply)).await.unwrap().unwrap();
    assert!(reply.contains("Connection: close") && reply.ends_with("\r\n\r\n"), "{reply}");
    tracker.shutdown().await;
}

#[tokio::test]
async fn families_meet_over_http() {
    let tracker = tracker().await;
    let v6: SocketAddr = tracker.http_addrs()[1];
    let request = format!("GET /announce?{HASH}&port=66 HTTP/1.1\r\nConnection: close\r\n\r\n");
    let mut stream = TcpStream::connect(v6).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    let compact = announce(&tracker, &format!("{HASH}&port=44")).await.unwrap();
    let listed = announce(&tracker, &format!("{HASH}&port=44&compact=0")).await.unwrap();
    assert_eq!(compact.peers, ["[::1]:66".parse().unwrap()]);
    assert_eq!(listed.peers, compact.peers);
    tracker.shutdown().await;
}

#[tokio::test]
async fn what_our_client_asks_is_understood() {
    let tracker = tracker().await;
    let mut ours =
        Announce::new(InfoHash::new([0xF0; 20]), PeerId::new(*b"-SW0100-abcdefghijkl"), 9);
    ours.left = 0;
    let url = announce_url("/announce", &ours, None);
    let (_, body) = get(&tracker, &url).await;
    let reply = decode_announce_reply(&body).unwrap();
    assert_eq!((reply.complete, reply.interval), (Some(1), Some(Duration::from_secs(1))));
    tracker.shutdown().await;
}

#[tokio::test]
async fn only_this_machine_sees_inside() {
    let tracker = tracker().await;
    assert_eq!(get(&tracker, "/health").await.1, b"ok\n");
    let (_, stats) = get(&tracker, "/stats").await;
    let stats: serde_json::Value = serde_json::from_slice(&stats).unwrap();
    assert_eq!(stats["http_connections"], 1);
    tracker.shutdown().await;
}

#[tokio::test]
async fn a_connection_handed_over_is_served() {
    let config = TrackerConfig { http: vec![], udp: vec![], ..TrackerConfig::default() };
    let tracker = Tracker::start(config).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (accepted, remote) = listener.accept().await.unwrap();
    tracker.serve_http_connection(accepted, remote);
    let request = format!("GET /announce?{HASH}&port=7 HTTP/1.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(replies(&bytes)[0].0, "200 OK");
    tracker.shutdown().await;
}

#[tokio::test]
async fn a_request_that_does_not_end_is_told_so_and_silence_is_cut() {
    let soon = Duration::from_millis(50);
    let limits = HttpLimits { head_timeout: soon, idle_timeout: soon, ..HttpLimits::default() };
    let tracker = tracker_with(limits).await;
    let mut slow = connect(&tracker).await;
    slow.write_all(b"GET /announce HTTP/1.1\r\nX: ").await.unwrap();
    let mut bytes = Vec::new();
    timeout(PATIENCE, slow.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(replies(&bytes)[0].0, "408 Request Timeout");

    let mut silent = connect(&tracker).await;
    let mut bytes = Vec::new();
    timeout(PATIENCE, silent.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes.is_empty());

    let mut idle = connect(&tracker).await;
    idle.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    timeout(PATIENCE, idle.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(replies(&bytes).len(), 1, "answered, then closed for idling");
    tracker.shutdown().await;
}

#[tokio::test]
async fn a_connection_too_many_is_told_so() {
    let limits = HttpLimits { connections_max: 1, ..HttpLimits::default() };
    let tracker = tracker_with(limits).await;
    let mut first = connect(&tracker).await;
    first.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    first.read_u8().await.unwrap();
    let mut second = connect(&tracker).await;
    let mut bytes = Vec::new();
    timeout(PATIENCE, second.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert_eq!(replies(&bytes)[0].0, "503 Service Unavailable");
    assert_eq!(tracker.stats().http_refused, 1);
    tracker.shutdown().await;
}
