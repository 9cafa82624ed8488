//! Every shape of content gets across byte for byte.

use super::{address, complete, seed, session, session_on};
use crate::support::{Tree, within};
use std::fs;
use std::path::Path;
use swarm_core::session::{Error, Selection};
use swarm_core::types::FileIndex;
use swarm_core::{AddTorrent, Magnet};
use tempfile::{tempdir, tempdir_in};

/// One seed, one fetcher, and a comparison.
async fn goes_across(tree: &Tree, piece_length: u32) {
    // In memory where there is such a folder: forcing to a disk what others write besides
    // takes as long as it takes.
    let memory = Path::new("/dev/shm");
    let place = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let [there, here] = [&place, &place].map(|place| tempdir_in(place).unwrap());
    let metainfo = tree.metainfo(piece_length);
    let (giver, taker) = (session().await, session().await);
    seed(&giver, &metainfo, &tree.write(there.path())).await;
    let fetch = AddTorrent::fetch(metainfo, here.path()).peers([address(&giver)]);
    let handle = taker.add(fetch).await.unwrap();
    let done = complete(&handle).await;
    assert_eq!((done.bytes, done.wasted), (tree.length(), 0));
    assert_eq!(done.path, here.path().join(&tree.name));
    tree.assert_lies_in(here.path());
    within("shutdown", taker.shutdown()).await;
    within("shutdown", giver.shutdown()).await;
    tree.assert_lies_in(here.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_goes_across() {
    goes_across(&Tree::file("one.bin", 3 * 1024 * 1024 + 17), 64 * 1024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_one_byte_goes_across() {
    goes_across(&Tree::file("byte", 1), 16 * 1024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_piece_length_that_is_no_power_of_two_and_no_multiple_of_a_block_goes_across() {
    goes_across(&Tree::file("odd", 1_000_003), 40_001).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pieces_longer_than_the_file_and_shorter_than_a_block_go_across() {
    goes_across(&Tree::file("short", 70_000), 4 << 20).await;
    goes_across(&Tree::file("tiny pieces", 70_000), 1_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_empty_files_and_unaligned_sizes_goes_across() {
    let files = [
        ("empty", 0),
        ("a/one", 1),
        ("a/b/c/deep", 100_003),
        ("a/b/empty too", 0),
        ("last but one", 65_536),
        ("zz", 33_333),
        ("zzz empty at the end", 0),
    ];
    goes_across(&Tree::folder("folder", &files), 32 * 1024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_small_files_go_across() {
    let names: Vec<(String, usize)> =
        (0..100_000).map(|n| (format!("{:02}/{n:05}", n % 64), n % 40)).collect();
    let files: Vec<(&str, usize)> = names.iter().map(|(name, size)| (&**name, *size)).collect();
    goes_across(&Tree::folder("many", &files), 64 * 1024).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_carries_it_too() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("six", 500_000);
    let metainfo = tree.metainfo(32 * 1024);
    let (giver, taker) = (session_on("[::1]:0").await, session_on("[::1]:0").await);
    seed(&giver, &metainfo, &tree.write(there.path())).await;
    let fetch = AddTorrent::fetch(metainfo, here.path()).peers([address(&giver)]);
    complete(&taker.add(fetch).await.unwrap()).await;
    tree.assert_lies_in(here.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_magnet_with_nothing_but_a_peer_is_enough() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    // Names long enough for the metadata to take several messages.
    let names: Vec<String> = (0..400).map(|n| format!("{n:0>90}")).collect();
    let files: Vec<(&str, usize)> = names.iter().map(|name| (&**name, 700)).collect();
    let tree = Tree::folder("by magnet", &files);
    let metainfo = tree.metainfo(16 * 1024);
    assert!(metainfo.info_bytes().len() > 32 * 1024);
    let (giver, taker) = (session().await, session().await);
    seed(&giver, &metainfo, &tree.write(there.path())).await;
    let link = format!("magnet:?xt=urn:btih:{}&x.pe={}", metainfo.hashes().wire(), address(&giver));
    let magnet: Magnet = link.parse().expect("a magnet");
    let handle = taker.add(AddTorrent::fetch_magnet(magnet, here.path())).await.unwrap();
    let learnt = within("metadata", handle.metadata()).await.unwrap();
    assert_eq!(learnt.info_bytes(), metainfo.info_bytes());
    complete(&handle).await;
    tree.assert_lies_in(here.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_chosen_files_are_made() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::folder("some", &[("a", 50_000), ("b", 50_000), ("c", 50_000), ("d", 10)]);
    let metainfo = tree.metainfo(16 * 1024);
    let (giver, taker) = (session().await, session().await);
    seed(&giver, &metainfo, &tree.write(there.path())).await;
    let chosen = vec![FileIndex::new(1), FileIndex::new(3)];
    let fetch = AddTorrent::fetch(metainfo.clone(), here.path())
        .peers([address(&giver)])
        .selection(Selection::Files(chosen));
    let handle = taker.add(fetch).await.unwrap();
    let done = complete(&handle).await;
    assert_eq!(done.bytes, 50_010);
    let made: Vec<bool> = (0..4).map(|index| tree.has(here.path(), index)).collect();
    assert_eq!(made, [false, true, false, true]);
    assert!(!here.path().join("some/a").exists() && !here.path().join("some/c").exists());

    // The rest can be chosen later, by a new session too.
    within("shutdown", taker.shutdown()).await;
    let again = session().await;
    let fetch = AddTorrent::fetch(metainfo, here.path()).peers([address(&giver)]);
    let done = complete(&again.add(fetch).await.unwrap()).await;
    assert!(done.downloaded < 120_000, "what was there is not fetched again");
    tree.assert_lies_in(here.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_selection_of_nothing_is_an_error() {
    let here = tempdir().unwrap();
    let metainfo = Tree::folder("none", &[("a", 10)]).metainfo(16 * 1024);
    let fetch = AddTorrent::fetch(metainfo, here.path()).selection(Selection::Files(Vec::new()));
    let taker = session().await;
    let failed = match taker.add(fetch).await {
        Ok(handle) => within("failure", handle.completed()).await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(matches!(failed, Err(Error::EmptySelection)), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_different_file_in_the_way_is_kept_unless_told_otherwise() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("precious", 200_000);
    let metainfo = tree.metainfo(16 * 1024);
    let (giver, taker) = (session().await, session().await);
    seed(&giver, &metainfo, &tree.write(there.path())).await;
    let precious = here.path().join("precious");
    fs::write(&precious, "do not touch").unwrap();

    let fetch = || AddTorrent::fetch(metainfo.clone(), here.path()).peers([address(&giver)]);
    let refused = match taker.add(fetch()).await {
        Ok(handle) => {
            let ended = within("conflict", handle.completed()).await.map(|_| ());
            handle.remove().await;
            ended
        }
        Err(error) => Err(error),
    };
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    assert_eq!(fs::read(&precious).unwrap(), b"do not touch");

    let handle = taker.add(fetch().overwrite(true)).await.unwrap();
    complete(&handle).await;
    tree.assert_lies_in(here.path());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_already_there_and_right_is_complete_without_a_peer() {
    let here = tempdir().unwrap();
    let tree = Tree::folder("there", &[("a", 70_000), ("empty", 0), ("b", 3)]);
    tree.write(here.path());
    let taker = session().await;
    let fetch = AddTorrent::fetch(tree.metainfo(16 * 1024), here.path());
    let done = complete(&taker.add(fetch).await.unwrap()).await;
    assert_eq!(done.downloaded, 0);
    tree.assert_lies_in(here.path());
}
