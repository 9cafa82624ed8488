//! What an earlier session verified is not hashed again, unless somebody touched it.

use super::{address, complete, session_with};
use crate::support::{Tree, within};
use futures::StreamExt as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use swarm_core::session::{Event, TorrentEvent};
use swarm_core::{AddTorrent, Metainfo, Session, TorrentHandle};
use tempfile::tempdir;

const PIECE: u32 = 32 * 1024;

async fn session(state: &Path) -> Session {
    session_with("127.0.0.1:0", |config| config.state_folder = Some(state.to_owned())).await
}

/// Good pieces, and how many of them were known without hashing.
async fn checked(handle: &TorrentHandle) -> (u32, u32) {
    let good = within("checking", handle.checked()).await.expect("checked");
    (good, handle.stats().known_pieces)
}

async fn serve(session: &Session, metainfo: &Arc<Metainfo>, content: &Path) -> (u32, u32) {
    let add = AddTorrent::seed(metainfo.clone(), content);
    checked(&session.add(add).await.expect("added")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_torrents_are_served_again_without_hashing_and_one_that_changed_is_hashed() {
    let (there, state) = (tempdir().unwrap(), tempdir().unwrap());
    let torrents: Vec<_> = (0..100)
        .map(|number| {
            let tree = Tree::file(&format!("number {number}"), 100_000);
            (tree.metainfo(PIECE), tree.write(there.path()))
        })
        .collect();
    let first = session(state.path()).await;
    for (metainfo, content) in &torrents {
        assert_eq!(serve(&first, metainfo, content).await, (4, 0));
    }
    within("shutdown", first.shutdown()).await;
    fs::write(&torrents[7].1, vec![7; 100_000]).unwrap();
    let second = session(state.path()).await;
    for (number, (metainfo, content)) in torrents.iter().enumerate() {
        let expected = if number == 7 { (0, 0) } else { (4, 4) };
        assert_eq!(serve(&second, metainfo, content).await, expected, "number {number}");
    }
    within("shutdown", second.shutdown()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_ended_well_goes_on_without_hashing_and_then_serves_so() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let [gives, takes] = [tempdir().unwrap(), tempdir().unwrap()];
    let tree = Tree::folder("twice", &[("a", 900_001), ("b/c", 700_000), ("b/d", 3)]);
    let metainfo = tree.metainfo(PIECE);
    let giver = session_with("127.0.0.1:0", |config| {
        config.state_folder = Some(gives.path().to_owned());
        config.up_limit = Some(1_500_000);
    })
    .await;
    serve(&giver, &metainfo, &tree.write(there.path())).await;
    let fetch = || AddTorrent::fetch(metainfo.clone(), here.path());

    let taker = session(takes.path()).await;
    let handle = taker.add(fetch()).await.unwrap();
    let done = |event: &Event| matches!(event, Event::Torrent(TorrentEvent::PieceDone { .. }));
    let pieces = handle.events().filter(|event| std::future::ready(done(event))).take(12);
    handle.add_peers(vec![address(&giver)]);
    assert_eq!(within("twelve pieces", pieces.count()).await, 12);
    within("shutdown", taker.shutdown()).await;

    let taker = session(takes.path()).await;
    let handle = taker.add(fetch().peers([address(&giver)])).await.unwrap();
    let (good, known) = checked(&handle).await;
    assert!(known >= 12 && good <= known + 2, "{known} of {good} were known");
    complete(&handle).await;
    tree.assert_lies_in(here.path());
    within("shutdown", taker.shutdown()).await;

    let taker = session(takes.path()).await;
    let all = metainfo.geometry().piece_count();
    let handle = taker.add(fetch()).await.unwrap();
    assert_eq!(checked(&handle).await, (all, all), "complete, and known to be");
    assert_eq!(complete(&handle).await.downloaded, 0);
    tree.assert_lies_in(here.path());
    handle.remove().await;
    assert_eq!(serve(&taker, &metainfo, &here.path().join("twice")).await, (all, all));
    within("shutdown", taker.shutdown()).await;
}
