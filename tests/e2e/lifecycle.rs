//! Beginnings and ends: nothing is missed, nothing hangs, nothing is left.

use super::{address, complete, seed, session};
use crate::support::{Tree, within};
use futures::StreamExt as _;
use std::fs;
use std::process::Command;
use swarm_core::session::{Error, Event};
use swarm_core::{AddTorrent, Config, Session, proto};
use tempfile::tempdir;

/// Set when the test runs in a process of its own.
const ALONE: &str = "SWARM_TEST_ALONE";
/// What the names of the library's threads begin with.
const WORKER: &str = "swarm-";

#[tokio::test(flavor = "multi_thread")]
async fn completion_is_told_to_whoever_asks_before_and_after() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("asked", 100_000);
    let metainfo = tree.metainfo(16 * 1024);
    let (giver, taker) = (session().await, session().await);
    seed(&giver, &metainfo, &tree.write(there.path())).await;
    let fetch = AddTorrent::fetch(metainfo, here.path()).peers([address(&giver)]);
    let handle = taker.add(fetch).await.unwrap();
    let events = handle.events();
    let (one, two) = tokio::join!(complete(&handle), complete(&handle));
    assert_eq!(one, two);
    assert_eq!(complete(&handle).await, one);
    let seen: Vec<Event> = within("events", async {
        within("removal", handle.remove()).await;
        events.collect().await
    })
    .await;
    let completed = seen.iter().filter(|event| matches!(event, Event::Completed)).count();
    let files = seen.iter().filter(|event| matches!(event, Event::FileDone { .. })).count();
    assert_eq!((completed, files), (1, 1), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_ends_when_the_torrent_is_removed_or_the_session_ends() {
    let here = tempdir().unwrap();
    let taker = session().await;
    let first = Tree::file("removed", 100_000).metainfo(16 * 1024);
    let second = Tree::file("shut down", 100_000).metainfo(16 * 1024);
    let first = taker.add(AddTorrent::fetch(first, here.path())).await.unwrap();
    let second = taker.add(AddTorrent::fetch(second, here.path())).await.unwrap();
    let removed = first.clone();
    let (ended, ()) =
        within("removal", async { tokio::join!(first.completed(), removed.remove()) }).await;
    assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
    let (ended, ()) =
        within("shutdown", async { tokio::join!(second.completed(), taker.shutdown()) }).await;
    assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
    // And it goes on ending for whoever asks later.
    let ended = within("a late question", second.completed()).await;
    assert!(matches!(ended, Err(Error::Stopped)), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_is_named() {
    let first = session().await;
    let mut config = Config::default();
    config.listen = vec![address(&first)];
    let second = Session::builder().config(config).build().await;
    assert!(
        matches!(&second, Err(Error::Bind { addr, .. }) if *addr == address(&first)),
        "{second:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_that_cannot_be_made_fails_the_torrent_and_no_other() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    fs::write(here.path().join("file"), "not a folder").unwrap();
    let tree = Tree::file("good", 100_000);
    let metainfo = tree.metainfo(16 * 1024);
    let (giver, taker) = (session().await, session().await);
    seed(&giver, &metainfo, &tree.write(there.path())).await;
    let bad = Tree::file("bad", 100_000).metainfo(16 * 1024);
    let failed = match taker.add(AddTorrent::fetch(bad, here.path().join("file/below"))).await {
        Ok(handle) => within("failure", handle.completed()).await.map(|_| ()),
        Err(error) => Err(error),
    };
    assert!(matches!(failed, Err(Error::Storage(_))), "{failed:?}");
    let fetch = AddTorrent::fetch(metainfo, here.path()).peers([address(&giver)]);
    complete(&taker.add(fetch).await.unwrap()).await;
    assert!(tree.has(here.path(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_whose_file_is_damaged_serves_the_rest() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("damaged", 160_000);
    let metainfo = tree.metainfo(16 * 1024);
    let content = tree.write(there.path());
    let mut bytes = fs::read(&content).unwrap();
    bytes[20_000] ^= 1;
    fs::write(&content, &bytes).unwrap();
    let (giver, taker) = (session().await, session().await);
    let given = giver.add(AddTorrent::seed(metainfo.clone(), &content)).await.unwrap();
    assert_eq!(within("checking", given.checked()).await.unwrap(), 9);
    let handle = taker.add(AddTorrent::fetch(metainfo, here.path())).await.unwrap();
    let done = |event: &Event| matches!(event, Event::Torrent(proto::Event::PieceDone { .. }));
    let pieces = handle.events().filter(|event| std::future::ready(done(event))).take(9);
    handle.add_peers(vec![address(&giver)]);
    assert_eq!(within("nine pieces", pieces.count()).await, 9);
    assert!(!here.path().join("damaged").exists(), "an incomplete file has no final name");
}

/// Counting what a process holds needs a process of one's own.
#[test]
fn nothing_is_left_after_a_shutdown() {
    if std::env::var_os(ALONE).is_some() {
        return alone();
    }
    let name = format!("{}::nothing_is_left_after_a_shutdown", module_path!());
    // The path of the module begins with the name of the crate, test names do not.
    let name = name.split_once("::").expect("a path").1.to_owned();
    let done = Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", &name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .expect("starts");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&done.stderr));
}

fn alone() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    // The first round starts what a process keeps for ever, such as the blocking pool.
    runtime.block_on(round());
    let before = descriptors();
    for _ in 0..3 {
        runtime.block_on(round());
    }
    assert_eq!(descriptors(), before);
    assert_eq!(workers(), 0);
    assert_eq!(runtime.metrics().num_alive_tasks(), 0);
}

/// Two sessions transfer a file and shut down.
async fn round() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("round", 500_000);
    let metainfo = tree.metainfo(16 * 1024);
    let (giver, taker) = (session().await, session().await);
    seed(&giver, &metainfo, &tree.write(there.path())).await;
    let fetch = AddTorrent::fetch(metainfo, here.path()).peers([address(&giver)]);
    complete(&taker.add(fetch).await.unwrap()).await;
    assert!(workers() > 0, "the threads have another name now");
    within("shutdown", taker.shutdown()).await;
    within("shutdown", giver.shutdown()).await;
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("Linux").count()
}

/// Threads of ours; the runtime's own come and go as it likes.
fn workers() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("Linux");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with(WORKER)).count()
}
