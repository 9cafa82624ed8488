//! The binary as a process: killed, stopped, and started again.

use super::{address, seed, session_with};
use crate::support::Tree;
use crate::support::binary::{Running, command, run};
use std::fs;
use tempfile::tempdir;

const QUIET: [&str; 5] = ["--no-dht", "--no-lsd", "--no-upnp", "--no-pex", "--json"];

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_killed_without_warning_goes_on_from_what_is_on_the_disk() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::file("killed", 6_000_000);
    let metainfo = tree.metainfo(32 * 1024);
    let giver = session_with("127.0.0.1:0", |config| config.up_limit = Some(2_000_000)).await;
    let handle = seed(&giver, &metainfo, &tree.write(there.path())).await;
    let torrent = here.path().join("killed.torrent");
    fs::write(&torrent, tree.torrent(32 * 1024)).unwrap();
    let out = here.path().join("out");
    let out_folder = out.clone();
    let (peer, home) = (address(&giver).to_string(), here.path().to_owned());
    let fetch = move || {
        let mut fetch = command(&home);
        fetch.arg("fetch").args(QUIET).args(["--listen", "127.0.0.1:0", "--peer", &peer, "-o"]);
        fetch.arg(&out).arg(&torrent);
        fetch
    };

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
    let sent = handle.stats().uploaded;
    let twice = sent - tree.length();
    assert!(twice < 3_000_000 && before > twice, "{twice} bytes were sent twice");
    tree.assert_lies_in(&out_folder);
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
