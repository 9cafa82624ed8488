//! Bounds of a whole session over loopback: who is kept out, who gets in all the same, and what
//! is counted.

use super::tests::{LIMIT, content, loopback, metainfo_of, seed, session, shut_down};
use super::*;
use crate::engine::dial::HANDSHAKE_TIMEOUT;
use crate::engine::door::UNIDENTIFIED_MAX;
use crate::types::{Limit, PeerId};
use crate::wire::{Handshake, Reserved};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::time::{Instant, timeout};

async fn connect(from: [u8; 4], to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((from, 0).into()).unwrap();
    timeout(LIMIT, socket.connect(to)).await.unwrap().unwrap()
}

async fn is_closed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    matches!(timeout(LIMIT, stream.read(&mut byte)).await.unwrap(), Ok(0) | Err(_))
}

fn hits(session: &Session, limit: Limit) -> u64 {
    session.stats().limits.get(limit)
}

/// LIMITS B18, P01: with time that passes when nothing else does.
#[tokio::test]
async fn who_says_nothing_is_closed_when_the_time_for_a_handshake_is_over() {
    let session = session().await;
    let (addr, mut trickle) = (session.listen_addrs()[0], [0; 2]);
    let mut silent = TcpStream::connect(addr).await.unwrap();
    let mut slow = TcpStream::connect(addr).await.unwrap();
    slow.write_all(b"\x13").await.unwrap();
    // Both have been taken in.
    while hits(&session, Limit::HandshakeTime) == 0 && session.task_names().len() < 3 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    #[expect(clippy::disallowed_methods, reason = "the test's own clock")]
    let start = Instant::now();
    assert!(matches!(silent.read(&mut trickle).await, Ok(0) | Err(_)));
    assert!(matches!(slow.read(&mut trickle).await, Ok(0) | Err(_)));
    assert!(start.elapsed() <= HANDSHAKE_TIMEOUT + Duration::from_secs(1));
    assert_eq!(hits(&session, Limit::HandshakeTime), 2);
    tokio::time::resume();
    shut_down(session).await;
}

/// LIMITS 4.5, P34: thousands of connections from one address, and from more than one.
#[tokio::test]
async fn a_crowd_that_says_nothing_keeps_nobody_out() {
    let bytes = content(300_000);
    let (_folder, seed, metainfo) = seed(&bytes).await;
    let addr = seed.listen_addrs()[0];
    let mut crowd = Vec::new();
    for host in 2..5 {
        for _ in 0..UNIDENTIFIED_MAX {
            crowd.push(connect([127, 0, 0, host], addr).await);
        }
    }
    let (folder, fetch) = (tempfile::tempdir().unwrap(), session().await);
    let handle = fetch.add(AddTorrent::fetch(metainfo, folder.path()).peers([addr])).await.unwrap();
    timeout(LIMIT, handle.completed()).await.unwrap().unwrap();
    assert!(hits(&seed, Limit::AcceptRatePerAddress) > 0, "{:?}", seed.stats().limits);
    assert!(hits(&seed, Limit::Unidentified) > 0, "{:?}", seed.stats().limits);
    assert!(seed.stats().peers <= 2);
    drop(crowd);
    shut_down(fetch).await;
    shut_down(seed).await;
}

#[tokio::test]
async fn a_session_has_no_more_connections_than_it_may() {
    let config = Config { peers_max: 1, ..loopback() };
    let session = Session::builder().config(config).build().await.unwrap();
    let addr = session.listen_addrs()[0];
    let metainfo = metainfo_of(&content(100_000));
    let folder = tempfile::tempdir().unwrap();
    session.add(AddTorrent::fetch(metainfo.clone(), folder.path())).await.unwrap();
    let hello = |n: u8| {
        let (info_hash, peer_id) = (metainfo.hashes().wire(), PeerId::new([n; 20]));
        Handshake { reserved: Reserved::OURS, info_hash, peer_id }.encode()
    };
    let mut first = TcpStream::connect(addr).await.unwrap();
    first.write_all(&hello(1)).await.unwrap();
    let mut theirs = [0; 68];
    timeout(LIMIT, first.read_exact(&mut theirs)).await.unwrap().unwrap();
    let mut second = TcpStream::connect(addr).await.unwrap();
    second.write_all(&hello(2)).await.unwrap();
    assert!(is_closed(&mut second).await);
    assert_eq!((hits(&session, Limit::Peers), session.stats().peers), (1, 1));
    shut_down(session).await;
}

#[tokio::test]
async fn a_session_has_no_more_torrents_than_it_may() {
    let config = Config { torrents_max: 1, ..loopback() };
    let session = Session::builder().config(config).build().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let add = |bytes: &[u8]| AddTorrent::fetch(metainfo_of(bytes), folder.path());
    let handle = session.add(add(b"one")).await.unwrap();
    assert!(matches!(session.add(add(b"two")).await, Err(Error::TooMany(1))));
    assert_eq!(hits(&session, Limit::Torrents), 1);
    handle.remove().await;
    session.add(add(b"two")).await.unwrap();
    shut_down(session).await;
}

#[tokio::test]
async fn http_connections_that_nobody_takes_are_closed() {
    let (to, _http) = mpsc::channel(1);
    let session = Session::builder().config(loopback()).http_connections(to).build().await.unwrap();
    let addr = session.listen_addrs()[0];
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        clients.push(client);
    }
    let first_closed = async {
        let [one, two] = &mut clients[..] else { panic!("two clients") };
        tokio::select! {
            closed = is_closed(one) => closed,
            closed = is_closed(two) => closed,
        }
    };
    assert!(first_closed.await);
    assert_eq!(hits(&session, Limit::HttpConnections), 1);
    shut_down(session).await;
}

/// The dials of all torrents together.
#[tokio::test]
async fn dials_of_all_torrents_together_have_a_rate() {
    use crate::proto::candidates::DIALS_BURST;
    let session = session().await;
    let shared = session.shared().clone();
    tokio::time::pause();
    #[expect(clippy::disallowed_methods, reason = "the test's own clock")]
    let start = Instant::now();
    for _ in 0..DIALS_BURST {
        shared.dial_turn().await;
    }
    assert!(start.elapsed() < Duration::from_millis(100));
    for _ in 0..30 {
        shared.dial_turn().await;
    }
    assert!(start.elapsed() >= Duration::from_millis(900));
    assert_eq!(hits(&session, Limit::DialRate), 30);
    tokio::time::resume();
    shut_down(session).await;
}

/// What trackers do to us, by name.
#[tokio::test]
async fn bounds_on_trackers_are_counted() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let answer = |head: &str| match () {
        () if head.contains("/announce/away?") => {
            "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n\r\n".to_owned()
        }
        () if head.contains("/announce/round") => {
            "HTTP/1.1 302 Found\r\nLocation: /announce/round\r\nContent-Length: 0\r\n\r\n"
                .to_owned()
        }
        () => format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(2 << 20)),
    };
    let serve = async {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            // A body that is too long is not taken to its end.
            let _ = stream.write_all(answer(&String::from_utf8_lossy(&head)).as_bytes()).await;
        }
    };
    let session = session().await;
    let folder = tempfile::tempdir().unwrap();
    let url = |path: &str| format!("http://{addr}/announce/{path}");
    let add = AddTorrent::fetch(metainfo_of(b"one"), folder.path());
    let add = ["away", "round", "long"].iter().fold(add, |add, path| add.tracker_tier([url(path)]));
    session.add(add).await.unwrap();
    let due = [Limit::AddressRefused, Limit::Redirects, Limit::TrackerReply];
    let all_counted = async {
        while due.iter().any(|limit| hits(&session, *limit) == 0) {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = serve => unreachable!("the server never ends"),
        result = timeout(LIMIT, all_counted) => result.unwrap(),
    }
    shut_down(session).await;
}

#[tokio::test]
async fn announces_that_wait_for_others_are_counted() {
    use crate::engine::trackers::CONCURRENT_MAX;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let session = session().await;
    let folder = tempfile::tempdir().unwrap();
    let tier = |n| [format!("http://{addr}/announce/{n}")];
    let add = AddTorrent::fetch(metainfo_of(b"one"), folder.path());
    let add = (0..=CONCURRENT_MAX).fold(add, |add, n| add.tracker_tier(tier(n)));
    session.add(add).await.unwrap();
    let waits = async {
        while hits(&session, Limit::Announces) == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, waits).await.unwrap();
    shut_down(session).await;
}
