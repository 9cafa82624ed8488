//! Whole sessions over loopback. Few and bounded: what the engine's parts cannot show alone.

use super::*;
use crate::metainfo::Metainfo;
use crate::metainfo::create::{ContentHashes, MetainfoBuilder};
use futures::StreamExt as _;
use sha1::{Digest as _, Sha1};
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

const PIECE: u32 = 32 << 10;
/// Longer than any test here may take.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

pub(super) fn content(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

pub(super) fn metainfo_of(bytes: &[u8]) -> Arc<Metainfo> {
    metainfo_in_pieces(bytes, PIECE)
}

fn metainfo_in_pieces(bytes: &[u8], length: u32) -> Arc<Metainfo> {
    let pieces = bytes.chunks(length as usize).flat_map(Sha1::digest).collect();
    let torrent = MetainfoBuilder::file("file", bytes.len() as u64, length)
        .build(&ContentHashes::V1(pieces))
        .unwrap();
    Arc::new(Metainfo::from_torrent(&torrent).unwrap())
}

pub(super) fn loopback() -> Config {
    Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..Config::default() }
}

pub(super) async fn session() -> Session {
    Session::builder().config(loopback()).build().await.unwrap()
}

/// A folder with the content in it, and a session that seeds it.
pub(super) async fn seed(bytes: &[u8]) -> (TempDir, Session, Arc<Metainfo>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("anything");
    std::fs::write(&path, bytes).unwrap();
    let metainfo = metainfo_of(bytes);
    let session = session().await;
    let handle = session.add(AddTorrent::seed(metainfo.clone(), &path)).await.unwrap();
    let pieces = timeout(LIMIT, handle.checked()).await.unwrap().unwrap();
    assert_eq!(pieces, metainfo.geometry().piece_count());
    (folder, session, metainfo)
}

pub(super) async fn shut_down(session: Session) {
    timeout(LIMIT, session.shutdown()).await.expect("shutdown ends");
    assert!(session.task_names().is_empty(), "{:?}", session.task_names());
}

fn fetched(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("file")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_goes_from_one_session_to_another() {
    let bytes = content(3_000_001);
    let (_seed_folder, seed, metainfo) = seed(&bytes).await;
    let (folder, fetch) = (tempfile::tempdir().unwrap(), session().await);
    let add = AddTorrent::fetch(metainfo.clone(), folder.path()).peers(seed.listen_addrs());
    let handle = fetch.add(add).await.unwrap();
    let completed = timeout(LIMIT, handle.completed()).await.unwrap().unwrap();
    assert_eq!(fetched(folder.path()), bytes);
    assert_eq!(completed.path, folder.path().join("file"));
    assert_eq!((completed.bytes, completed.peers), (bytes.len() as u64, 1));
    assert!(completed.downloaded >= bytes.len() as u64);
    let stats = handle.stats();
    assert_eq!((stats.have_bytes, stats.total_bytes), (completed.bytes, completed.bytes));
    assert_eq!(stats.phase, Phase::Seeding);
    // Again at once: what is complete stays so.
    assert_eq!(handle.completed().await.unwrap(), completed);
    shut_down(fetch).await;
    shut_down(seed).await;
}

/// A session that claims to have verified these bytes.
async fn seed_unchecked(bytes: &[u8], metainfo: &Arc<Metainfo>) -> (TempDir, Session) {
    let (folder, session) = (tempfile::tempdir().unwrap(), session().await);
    let path = folder.path().join("anything");
    std::fs::write(&path, bytes).unwrap();
    let add = AddTorrent::seed(metainfo.clone(), &path).already_verified();
    let handle = session.add(add).await.unwrap();
    timeout(LIMIT, handle.checked()).await.unwrap().unwrap();
    (folder, session)
}

/// Pieces of 2 MiB, and memory for half of one.
const LONG: u32 = 2 << 20;
const LITTLE: u64 = 1 << 20;

async fn session_with_little_memory() -> Session {
    let config = Config { receive_budget: LITTLE, ..loopback() };
    Session::builder().config(config).build().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pieces_longer_than_the_memory_for_them_are_fetched_within_it() {
    let bytes = content(3 * LONG as usize + 12_345);
    let metainfo = metainfo_in_pieces(&bytes, LONG);
    let (_seed_folder, seed) = seed_unchecked(&bytes, &metainfo).await;
    let (folder, fetch) = (tempfile::tempdir().unwrap(), session_with_little_memory().await);
    let add = AddTorrent::fetch(metainfo, folder.path()).peers(seed.listen_addrs());
    let handle = fetch.add(add).await.unwrap();
    let completed = timeout(LIMIT, handle.completed()).await.unwrap().unwrap();
    assert_eq!(fetched(folder.path()), bytes);
    assert_eq!((completed.downloaded, completed.wasted), (bytes.len() as u64, 0));
    let peak = fetch.shared().pool.peak() as u64 * u64::from(crate::types::BLOCK_SIZE);
    assert!(peak <= LITTLE, "{peak} bytes of blocks at once");
    assert_eq!(fetch.shared().pool.in_use(), 0);
    shut_down(fetch).await;
    shut_down(seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_piece_that_is_wrong_is_fetched_again_and_never_passed_on() {
    let bytes = content(2 * LONG as usize);
    let metainfo = metainfo_in_pieces(&bytes, LONG);
    let mut wrong = bytes.clone();
    wrong[LONG as usize + 700_000] ^= 1;
    let (_liar_folder, liar) = seed_unchecked(&wrong, &metainfo).await;
    let (folder, fetch) = (tempfile::tempdir().unwrap(), session_with_little_memory().await);
    let add = AddTorrent::fetch(metainfo.clone(), folder.path());
    let handle = fetch.add(add).await.unwrap();
    // Who knows only the fetcher gets what that has verified.
    let (beside_folder, beside) = (tempfile::tempdir().unwrap(), session().await);
    let add = AddTorrent::fetch(metainfo.clone(), beside_folder.path());
    let other = beside.add(add.peers(fetch.listen_addrs())).await.unwrap();
    let mut events = handle.events();
    handle.add_peers(liar.listen_addrs());
    let failed = |event: &Event| {
        let wrong = crate::types::PieceIndex::new(1);
        matches!(event, Event::Torrent(crate::proto::Event::PieceFailed { piece }) if *piece == wrong)
    };
    while !failed(&timeout(LIMIT, events.next()).await.unwrap().unwrap()) {}
    let (_seed_folder, seed) = seed_unchecked(&bytes, &metainfo).await;
    handle.add_peers(seed.listen_addrs());
    timeout(LIMIT, handle.completed()).await.unwrap().unwrap();
    let completed = timeout(LIMIT, other.completed()).await.unwrap().unwrap();
    assert_eq!(completed.wasted, 0, "nothing wrong was passed on");
    assert_eq!(fetched(folder.path()), bytes);
    assert_eq!(fetched(beside_folder.path()), bytes);
    for session in [fetch, beside, seed, liar] {
        shut_down(session).await;
    }
}

#[tokio::test]
async fn events_tell_of_every_piece_and_of_the_end_and_then_stop() {
    let bytes = content(200_000);
    let (_seed_folder, seed, metainfo) = seed(&bytes).await;
    let (folder, fetch) = (tempfile::tempdir().unwrap(), session().await);
    let handle = fetch.add(AddTorrent::fetch(metainfo, folder.path())).await.unwrap();
    let events = handle.events();
    handle.add_peers(seed.listen_addrs());
    timeout(LIMIT, handle.completed()).await.unwrap().unwrap();
    timeout(LIMIT, handle.clone().remove()).await.unwrap();
    let events: Vec<Event> = timeout(LIMIT, events.collect()).await.unwrap();
    let pieces =
        |event: &&Event| matches!(event, Event::Torrent(crate::proto::Event::PieceDone { .. }));
    assert_eq!(events.iter().filter(pieces).count(), 7);
    assert!(events.iter().any(|event| matches!(event, Event::FileDone { .. })));
    assert!(events.iter().any(|event| matches!(event, Event::Completed)));
    assert!(handle.events().next().await.is_none(), "nothing comes from a removed torrent");
    assert!(fetch.torrents().is_empty());
    shut_down(fetch).await;
    shut_down(seed).await;
}

#[tokio::test]
async fn an_interrupted_fetch_goes_on_from_what_is_on_the_disk() {
    let bytes = content(2_000_000);
    let (_seed_folder, seed, metainfo) = seed(&bytes).await;
    let folder = tempfile::tempdir().unwrap();
    let first = session().await;
    let add = AddTorrent::fetch(metainfo.clone(), folder.path()).peers(seed.listen_addrs());
    let handle = first.add(add.clone().limits(None, Some(2_000_000))).await.unwrap();
    let mut events = handle.events();
    let mut pieces = 0;
    while pieces < 10 {
        let event = timeout(LIMIT, events.next()).await.unwrap().unwrap();
        pieces += u32::from(matches!(event, Event::Torrent(crate::proto::Event::PieceDone { .. })));
    }
    shut_down(first).await;
    assert!(matches!(handle.completed().await, Err(Error::Stopped)));
    let second = session().await;
    let handle = second.add(add).await.unwrap();
    assert!(timeout(LIMIT, handle.checked()).await.unwrap().unwrap() >= 10);
    let completed = timeout(LIMIT, handle.completed()).await.unwrap().unwrap();
    // What came twice in the endgame is counted apart.
    let came = completed.downloaded - completed.wasted;
    assert!(came <= bytes.len() as u64 - 10 * u64::from(PIECE), "{completed:?}");
    assert_eq!(fetched(folder.path()), bytes);
    shut_down(second).await;
    shut_down(seed).await;
}

#[tokio::test]
async fn a_link_with_one_peer_is_enough() {
    let bytes = content(500_000);
    let (_seed_folder, seed, metainfo) = seed(&bytes).await;
    let (folder, fetch) = (tempfile::tempdir().unwrap(), session().await);
    let addr = seed.listen_addrs()[0];
    let peer = crate::metainfo::PeerAddr::new(&addr.ip().to_string(), addr.port()).unwrap();
    let magnet = metainfo.magnet().with_peers([peer]);
    let handle = fetch.add(AddTorrent::fetch_magnet(magnet, folder.path())).await.unwrap();
    let found = timeout(LIMIT, handle.metadata()).await.unwrap().unwrap();
    assert_eq!(found.hashes(), metainfo.hashes());
    timeout(LIMIT, handle.completed()).await.unwrap().unwrap();
    assert_eq!(fetched(folder.path()), bytes);
    shut_down(fetch).await;
    shut_down(seed).await;
}

/// A tracker that knows one peer and remembers what it was asked.
async fn tracker(peer: SocketAddr) -> (String, mpsc::Receiver<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let (asked, requests) = mpsc::channel(16);
    let SocketAddr::V4(peer) = peer else { panic!("IPv4 only") };
    let packed = [&peer.ip().octets()[..], &peer.port().to_be_bytes()].concat();
    let body = [&b"d8:intervali60e5:peers6:"[..], &packed, b"e"].concat();
    #[expect(clippy::disallowed_methods, reason = "part of the test, not of the engine")]
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") && stream.read_buf(&mut request).await.is_ok() {}
            let request = String::from_utf8_lossy(&request).into_owned();
            asked.send(request.lines().next().unwrap_or_default().to_owned()).await.unwrap();
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
        }
    });
    (url, requests)
}

#[tokio::test]
async fn a_tracker_is_told_of_our_coming_and_going_and_gives_peers() {
    let bytes = content(300_000);
    let (_seed_folder, seed, metainfo) = seed(&bytes).await;
    let (url, mut requests) = tracker(seed.listen_addrs()[0]).await;
    let (folder, fetch) = (tempfile::tempdir().unwrap(), session().await);
    let add = AddTorrent::fetch(metainfo, folder.path()).tracker_tier([url]);
    let handle = fetch.add(add).await.unwrap();
    timeout(LIMIT, handle.completed()).await.unwrap().unwrap();
    assert_eq!(fetched(folder.path()), bytes);
    let first = timeout(LIMIT, requests.recv()).await.unwrap().unwrap();
    let port = fetch.listen_addrs()[0].port();
    assert!(first.contains("event=started") && first.contains("left=300000"), "{first}");
    assert!(first.contains(&format!("port={port}&")), "{first}");
    let sources = handle.stats().sources;
    assert_eq!((sources.len(), sources[0].peers, sources[0].answered), (1, 1, true));
    shut_down(fetch).await;
    let mut events = Vec::new();
    while let Ok(request) = requests.try_recv() {
        assert!(request.contains("left=0"), "{request}");
        events.push(request.contains("event=stopped"));
    }
    assert_eq!(events.last(), Some(&true), "the last word is goodbye");
    shut_down(seed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetchers_pass_on_what_they_have() {
    let bytes = content(2_000_000);
    let (_seed_folder, seed, metainfo) = seed(&bytes).await;
    seed.set_limits(Some(2_000_000), None);
    let folders = [(); 4].map(|()| tempfile::tempdir().unwrap());
    let mut known = seed.listen_addrs();
    let mut fetchers = Vec::new();
    for folder in &folders {
        let fetch = session().await;
        let add = AddTorrent::fetch(metainfo.clone(), folder.path()).peers(known.clone());
        let handle = fetch.add(add).await.unwrap();
        known.extend(fetch.listen_addrs());
        fetchers.push((fetch, handle));
    }
    let mut givers = 0;
    for (_, handle) in &fetchers {
        givers = givers.max(timeout(LIMIT, handle.completed()).await.unwrap().unwrap().peers);
    }
    assert!(givers > 1, "someone was given blocks by another fetcher");
    for (folder, (fetch, _)) in folders.iter().zip(fetchers) {
        assert_eq!(fetched(folder.path()), bytes);
        shut_down(fetch).await;
    }
    shut_down(seed).await;
}

#[tokio::test]
async fn limits_hold_from_the_first_byte_and_can_be_lifted() {
    let bytes = content(600_000);
    let (_seed_folder, seed, metainfo) = seed(&bytes).await;
    let (folder, fetch) = (tempfile::tempdir().unwrap(), session().await);
    seed.set_limits(Some(100_000), None);
    let add = AddTorrent::fetch(metainfo, folder.path()).peers(seed.listen_addrs());
    let handle = fetch.add(add).await.unwrap();
    let slow = timeout(Duration::from_secs(2), handle.completed()).await;
    assert!(slow.is_err(), "six seconds' worth in two");
    assert!(handle.stats().downloaded < 300_000);
    seed.set_limits(None, None);
    timeout(LIMIT, handle.completed()).await.unwrap().unwrap();
    shut_down(fetch).await;
    shut_down(seed).await;
}

#[tokio::test]
async fn a_torrent_that_cannot_be_written_fails_and_says_why() {
    let bytes = content(300_000);
    let (_seed_folder, seed, metainfo) = seed(&bytes).await;
    let (folder, fetch) = (tempfile::tempdir().unwrap(), session().await);
    std::fs::write(folder.path().join("file"), b"something else").unwrap();
    let add = AddTorrent::fetch(metainfo.clone(), folder.path()).peers(seed.listen_addrs());
    let refused = match fetch.add(add.clone()).await {
        Err(error) => error,
        Ok(handle) => timeout(LIMIT, handle.completed()).await.unwrap().unwrap_err(),
    };
    assert!(matches!(refused, Error::Conflict { .. }), "{refused}");
    for handle in fetch.torrents() {
        timeout(LIMIT, handle.remove()).await.unwrap();
    }
    let handle = fetch.add(add.overwrite(true)).await.unwrap();
    timeout(LIMIT, handle.completed()).await.unwrap().unwrap();
    assert_eq!(fetched(folder.path()), bytes);
    shut_down(fetch).await;
    shut_down(seed).await;
}

#[tokio::test]
async fn the_same_torrent_is_not_added_twice() {
    let bytes = content(100_000);
    let (folder, seed, metainfo) = seed(&bytes).await;
    let again = seed.add(AddTorrent::seed(metainfo, folder.path().join("anything"))).await;
    assert!(matches!(again, Err(Error::AlreadyAdded(_))));
    assert_eq!(seed.torrents().len(), 1);
    shut_down(seed).await;
}

#[tokio::test]
async fn http_on_the_peer_port_is_handed_on_untouched_and_anything_else_closed() {
    let (to, mut http) = mpsc::channel(4);
    let session = Session::builder().config(loopback()).http_connections(to).build().await.unwrap();
    let addr = session.listen_addrs()[0];
    let mut client = TcpStream::connect(addr).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let (mut stream, from) = timeout(LIMIT, http.recv()).await.unwrap().unwrap();
    assert_eq!(from, client.local_addr().unwrap());
    let mut request = [0; 18];
    stream.read_exact(&mut request).await.unwrap();
    assert_eq!(&request, b"GET / HTTP/1.1\r\n\r\n");
    // TLS, and a handshake for a torrent we do not have: not a byte is answered.
    let unknown = [&b"\x13BitTorrent protocol"[..], &[7; 48]].concat();
    for bytes in [&[0x16, 3, 1][..], &unknown] {
        let mut client = TcpStream::connect(addr).await.unwrap();
        client.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = timeout(LIMIT, client.read_to_end(&mut answer)).await.unwrap();
        assert!(read.is_err() || answer.is_empty());
    }
    shut_down(session).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutdown_is_quick_in_the_middle_of_a_transfer_and_leaves_no_task() {
    let bytes = content(8_000_000);
    let (_seed_folder, seed, metainfo) = seed(&bytes).await;
    let (folder, fetch) = (tempfile::tempdir().unwrap(), session().await);
    let add = AddTorrent::fetch(metainfo, folder.path())
        .peers(seed.listen_addrs())
        .limits(None, Some(3_000_000));
    let handle = fetch.add(add).await.unwrap();
    let mut events = handle.events();
    while !matches!(
        timeout(LIMIT, events.next()).await.unwrap().unwrap(),
        Event::Torrent(crate::proto::Event::PieceDone { .. })
    ) {}
    let both = async {
        tokio::join!(fetch.shutdown(), seed.shutdown());
    };
    timeout(Duration::from_secs(1), both).await.expect("within a second");
    assert!(fetch.task_names().is_empty() && seed.task_names().is_empty());
    assert!(matches!(handle.completed().await, Err(Error::Stopped)));
    assert!(matches!(
        fetch.add(AddTorrent::fetch(metainfo_of(b"x"), folder.path())).await,
        Err(Error::Stopped)
    ));
}

#[tokio::test]
async fn dropping_the_last_session_ends_its_tasks() {
    let bytes = content(100_000);
    let (_seed_folder, seed, _) = seed(&bytes).await;
    let tasks = seed.shared().tasks.clone();
    let clone = seed.clone();
    drop(seed);
    assert!(!tasks.names().is_empty());
    drop(clone);
    timeout(LIMIT, tasks.joined()).await.unwrap();
}
