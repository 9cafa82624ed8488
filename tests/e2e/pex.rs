//! Peers that find each other through a third (BEP 11).

use super::{address, complete, seed, session, session_with};
use crate::support::Tree;
use swarm_core::AddTorrent;
use tempfile::tempdir;

/// The one who introduces them has next to nothing to give: what comes, comes from the other.
/// Which of the two dials is left open: both hear of each other.
#[tokio::test(flavor = "multi_thread")]
async fn two_peers_that_know_only_a_third_find_each_other_through_it() {
    let there = tempdir().unwrap();
    let tree = Tree::file("introduced", 2_000_000);
    let metainfo = tree.metainfo(32 * 1024);
    let giver = session().await;
    seed(&giver, &metainfo, &tree.write(there.path())).await;

    let friend = session_with("127.0.0.1:0", |config| {
        config.down_limit = Some(2_000);
        config.up_limit = Some(2_000);
    })
    .await;
    let (halfway, here) = (tempdir().unwrap(), tempdir().unwrap());
    let fetch = AddTorrent::fetch(metainfo.clone(), halfway.path()).peers([address(&giver)]);
    friend.add(fetch).await.unwrap();

    let taker = session().await;
    let fetch = AddTorrent::fetch(metainfo, here.path()).peers([address(&friend)]);
    let handle = taker.add(fetch).await.unwrap();
    // The friend alone would need a quarter of an hour, which nobody waits for here.
    complete(&handle).await;
    tree.assert_lies_in(here.path());
}
