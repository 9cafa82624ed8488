//! More than two.

use super::{address, complete, seed, session, session_with};
use crate::support::{Tree, within};
use futures::StreamExt as _;
use std::time::Duration;
use swarm_core::proto;
use swarm_core::session::{Error, Event, Selection};
use swarm_core::types::FileIndex;
use swarm_core::{AddTorrent, Session, TorrentHandle};
use tempfile::tempdir;

/// Waits until so many pieces are verified, counted from now.
async fn pieces_done(handle: &TorrentHandle, count: usize) {
    let done = |event: &Event| matches!(event, Event::Torrent(proto::Event::PieceDone { .. }));
    let mut pieces = handle.events().filter(|event| std::future::ready(done(event))).take(count);
    within("pieces", async { while pieces.next().await.is_some() {} }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_seed_serves_five() {
    let there = tempdir().unwrap();
    let tree = Tree::file("for five", 2_000_000);
    let metainfo = tree.metainfo(32 * 1024);
    let giver = session().await;
    seed(&giver, &metainfo, &tree.write(there.path())).await;
    let mut fetches = Vec::new();
    for _ in 0..5 {
        let (taker, here) = (session().await, tempdir().unwrap());
        let fetch = AddTorrent::fetch(metainfo.clone(), here.path()).peers([address(&giver)]);
        let handle = taker.add(fetch).await.unwrap();
        fetches.push((taker, here, handle));
    }
    for (_, here, handle) in &fetches {
        complete(handle).await;
        tree.assert_lies_in(here.path());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn five_partial_seeds_at_once_of_which_none_is_complete_make_one_whole() {
    let there = tempdir().unwrap();
    // Files of 20 pieces each and a bit, so that no boundary falls on a piece.
    let names = ["a", "b", "c", "d", "e"];
    let tree = Tree::folder("fifths", &names.map(|name| (name, 20 * 16_384 + 1_000)));
    let metainfo = tree.metainfo(16 * 1024);
    let origin = session().await;
    seed(&origin, &metainfo, &tree.write(there.path())).await;

    // Each of the five gets one file, gives slowly, and then the origin is gone.
    let mut partial: Vec<(Session, tempfile::TempDir, TorrentHandle)> = Vec::new();
    for file in 0..5 {
        let one = session_with("127.0.0.1:0", |config| config.up_limit = Some(400_000)).await;
        let here = tempdir().unwrap();
        let fetch = AddTorrent::fetch(metainfo.clone(), here.path())
            .peers([address(&origin)])
            .selection(Selection::Files(vec![FileIndex::new(file)]));
        let handle = one.add(fetch).await.unwrap();
        complete(&handle).await;
        assert!(handle.stats().have_bytes < tree.length());
        partial.push((one, here, handle));
    }
    within("shutdown", origin.shutdown()).await;

    let (taker, here) = (session().await, tempdir().unwrap());
    let peers: Vec<_> = partial.iter().map(|(session, ..)| address(session)).collect();
    let fetch = AddTorrent::fetch(metainfo, here.path()).peers(peers);
    let done = complete(&taker.add(fetch).await.unwrap()).await;
    tree.assert_lies_in(here.path());
    assert_eq!(done.peers, 5, "every one of them was needed");
    // One after the other would take five times 0.82 s.
    assert!(done.elapsed < Duration::from_millis(2_800), "not at once: {:?}", done.elapsed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_seed_takes_over_when_the_first_is_killed_half_way() {
    let there = tempdir().unwrap();
    let tree = Tree::file("relay", 4_000_000);
    let metainfo = tree.metainfo(32 * 1024);
    let content = tree.write(there.path());
    let first = session_with("127.0.0.1:0", |config| config.up_limit = Some(2_000_000)).await;
    seed(&first, &metainfo, &content).await;
    let (taker, here) = (session().await, tempdir().unwrap());
    let fetch = AddTorrent::fetch(metainfo.clone(), here.path()).peers([address(&first)]);
    let handle = taker.add(fetch).await.unwrap();
    pieces_done(&handle, 40).await;
    within("shutdown", first.shutdown()).await;
    assert!(handle.stats().have_bytes < tree.length());

    let second = session().await;
    seed(&second, &metainfo, &content).await;
    handle.add_peers(vec![address(&second)]);
    let done = complete(&handle).await;
    assert!(done.downloaded < tree.length() + 20 * 32 * 1024, "much was fetched twice");
    assert_eq!(done.peers, 2);
    tree.assert_lies_in(here.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_torrents_share_one_port_and_one_session() {
    let there = tempdir().unwrap();
    let trees = [Tree::file("first", 300_000), Tree::folder("second", &[("x", 90_000), ("y", 1)])];
    let (giver, taker) = (session().await, session().await);
    let here = tempdir().unwrap();
    let mut handles = Vec::new();
    for tree in &trees {
        let metainfo = tree.metainfo(16 * 1024);
        seed(&giver, &metainfo, &tree.write(there.path())).await;
        let fetch = AddTorrent::fetch(metainfo, here.path()).peers([address(&giver)]);
        handles.push(taker.add(fetch).await.unwrap());
    }
    assert_eq!(giver.torrents().len(), 2);
    for handle in &handles {
        complete(handle).await;
    }
    assert!(trees[0].has(here.path(), 0) && trees[1].has(here.path(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_that_dials_serves_as_well() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("dialled", 400_000);
    let metainfo = tree.metainfo(16 * 1024);
    let (giver, taker) = (session().await, session().await);
    let fetch = AddTorrent::fetch(metainfo.clone(), here.path());
    let handle = taker.add(fetch).await.unwrap();
    let add = AddTorrent::seed(metainfo, tree.write(there.path())).peers([address(&taker)]);
    giver.add(add).await.unwrap();
    complete(&handle).await;
    tree.assert_lies_in(here.path());
}

/// Bytes a second up and down.
type Limits = (Option<u64>, Option<u64>);

async fn limited((up, down): Limits) -> Session {
    let limits = move |config: &mut swarm_core::Config| {
        config.up_limit = up;
        config.down_limit = down;
    };
    session_with("127.0.0.1:0", limits).await
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_hold_in_either_direction_and_on_either_level() {
    const RATE: Option<u64> = Some(500_000);
    let there = tempdir().unwrap();
    let tree = Tree::file("limited", 750_000);
    let metainfo = tree.metainfo(16 * 1024);
    let content = tree.write(there.path());
    let cases: [(&str, Limits, Limits, Limits); 3] = [
        ("up, session", (RATE, None), (None, None), (None, None)),
        ("down, session", (None, None), (None, RATE), (None, None)),
        ("down, torrent", (None, None), (None, None), (None, RATE)),
    ];
    let runs = cases.map(|(name, giving, taking, torrent)| {
        let (metainfo, content) = (metainfo.clone(), content.clone());
        async move {
            let (giver, taker) = (limited(giving).await, limited(taking).await);
            seed(&giver, &metainfo, &content).await;
            let here = tempdir().unwrap();
            let fetch = AddTorrent::fetch(metainfo, here.path())
                .peers([address(&giver)])
                .limits(torrent.0, torrent.1);
            (name, complete(&taker.add(fetch).await.unwrap()).await.elapsed)
        }
    });
    for (name, took) in futures::future::join_all(runs).await {
        // 1.5 s at the rate; a burst may save a little, a busy machine may cost.
        let right = Duration::from_millis(1_000)..Duration::from_secs(10);
        assert!(right.contains(&took), "{name}: {took:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_below_one_block_a_second_still_moves() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("slow", 20_000);
    let metainfo = tree.metainfo(16 * 1024);
    let giver = session_with("127.0.0.1:0", |config| config.up_limit = Some(10_000)).await;
    seed(&giver, &metainfo, &tree.write(there.path())).await;
    let taker = session().await;
    let fetch = AddTorrent::fetch(metainfo, here.path()).peers([address(&giver)]);
    complete(&taker.add(fetch).await.unwrap()).await;
    tree.assert_lies_in(here.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_torrent_twice_in_one_session_is_an_error() {
    let here = tempdir().unwrap();
    let metainfo = Tree::file("once", 10_000).metainfo(16 * 1024);
    let taker = session().await;
    taker.add(AddTorrent::fetch(metainfo.clone(), here.path())).await.unwrap();
    let again = taker.add(AddTorrent::fetch(metainfo, here.path())).await;
    assert!(matches!(again, Err(Error::AlreadyAdded(_))), "{again:?}");
}
