//! The binary as a process: killed, stopped, and started again.

use super::{address, seed, session_with};
use crate::support::Tree;
use crate::support::binary::{Running, command, run};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use tempfile::tempdir;

pub(super) const QUIET: [&str; 5] = ["--no-dht", "--no-lsd", "--no-upnp", "--no-pex", "--json"];
pub(super) const PIECE: u32 = 32 * 1024;

/// A fetch of `tree` from `peer` by the binary, the same line each time.
pub(super) fn fetches(home: &Path, tree: &Tree, peer: SocketAddr) -> impl Fn() -> Command + use<> {
    let torrent = home.join("a.torrent");
    fs::write(&torrent, tree.torrent(PIECE)).unwrap();
    let (home, peer) = (home.to_owned(), peer.to_string());
    move || {
        let mut fetch = command(&home);
        fetch.arg("fetch").args(QUIET).args(["--listen", "127.0.0.1:0", "--peer", &peer]);
        fetch.args(["-o", "out"]).arg(&torrent);
        fetch
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_killed_without_warning_goes_on_from_what_is_on_the_disk() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("killed", 6_000_000);
    let giver = session_with("127.0.0.1:0", |config| config.up_limit = Some(2_000_000)).await;
    let handle = seed(&giver, &tree.metainfo(PIECE), &tree.write(there.path())).await;
    let fetch = fetches(here.path(), &tree, address(&giver));
    let (again, before) = tokio::task::spawn_blocking(move || {
        let mut first = Running::start(&mut fetch());
        let had = std::iter::repeat_with(|| first.event("progress"))
            .filter_map(|progress| progress["have_bytes"].as_u64())
            .find(|have| *have > 1_000_000);
        first.signal("KILL");
        assert_eq!(first.wait(), None, "it was killed");
        (run(&mut fetch()), had.expect("an endless search ends with a find"))
    })
    .await
    .unwrap();
    assert!(again.status.success(), "{}", String::from_utf8_lossy(&again.stderr));
    // What the first run had verified, the second did not fetch.
    let twice = handle.stats().uploaded - tree.length();
    assert!(twice < 3_000_000 && before > twice, "{twice} bytes were sent twice");
    tree.assert_lies_in(&here.path().join("out"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_killed_again_and_again_gets_there_and_no_file_ends_up_wrong() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let names: Vec<String> = (0..60).map(|number| format!("{:02}/{number}", number % 7)).collect();
    let files: Vec<(&str, usize)> = names.iter().map(|name| (&**name, 100_001)).collect();
    let tree = Tree::folder("often", &files);
    let giver = session_with("127.0.0.1:0", |config| config.up_limit = Some(6_000_000)).await;
    let handle = seed(&giver, &tree.metainfo(PIECE), &tree.write(there.path())).await;
    let fetch = fetches(here.path(), &tree, address(&giver));
    let last = tokio::task::spawn_blocking(move || {
        // Each run gets further than the one before: files that are there are told of at once.
        for kill in 1..=8 {
            let mut fetch = Running::start(&mut fetch());
            for _ in 0..kill * 6 {
                fetch.event("file_done");
            }
            fetch.signal("KILL");
            assert_eq!(fetch.wait(), None, "it was killed");
        }
        run(&mut fetch())
    })
    .await
    .unwrap();
    assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
    tree.assert_lies_in(&here.path().join("out"));
    // Eight times what was in flight or not yet written, and no more.
    let twice = handle.stats().uploaded - tree.length();
    assert!(twice < tree.length(), "{twice} bytes were sent twice");
}

#[test]
fn seed_and_the_line_it_prints_are_enough() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::folder("shared", &[("a", 300_000), ("b/c", 5), ("b/empty", 0)]);
    let content = tree.write(there.path());
    let mut seed = command(there.path());
    seed.args(["seed", "--no-lsd", "--listen", "127.0.0.1:0"]).arg(&content);
    let mut seed = Running::start(&mut seed);
    let line = seed.line(|line| line.contains("swarm fetch ").then(|| line.trim().to_owned()));
    let link = line.split('\'').nth(1).expect("the link is in quotes").to_owned();

    let mut fetch = command(here.path());
    let done =
        run(fetch.args(["fetch", "--no-lsd", "--listen", "127.0.0.1:0", "-o", "out"]).arg(link));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    tree.assert_lies_in(&here.path().join("out"));

    seed.signal("INT");
    assert_eq!(seed.wait(), Some(130));
}

#[test]
fn ctrl_c_ends_a_fetch_that_waits() {
    let here = tempdir().unwrap();
    let mut fetch = command(here.path());
    fetch.arg("fetch").args(QUIET).args(["--listen", "127.0.0.1:0", "--peer", "127.0.0.1:1"]);
    fetch.arg("magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567");
    let mut fetch = Running::start(&mut fetch);
    fetch.event("progress");
    fetch.signal("INT");
    assert_eq!(fetch.wait(), Some(130));
}
