//! How long a complete torrent is served, and who is not left behind.

use super::{Home, said};
use crate::support::binary::Running;
use std::net::TcpListener;

/// Peers only from the command line, so that nobody finds anybody else.
const ALONE: [&str; 5] = ["--no-dht", "--no-lsd", "--no-upnp", "--no-pex", "--no-tracker"];
const CONTENT_BYTES: usize = 1_500_000;

fn home() -> Home {
    let home = Home::new();
    let content: Vec<u8> = (0..=250u8).cycle().take(CONTENT_BYTES).collect();
    home.write("content", content);
    home.succeed(&["create", "content", "--no-date"]);
    home
}

/// A port that was free a moment ago.
fn free_port() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// Serves the content; peers are welcome.
fn seed(home: &Home, listen: &str, more: &[&str]) -> Running {
    let seed = ["seed", "--torrent", "content.torrent", "content", "--listen", listen];
    let mut seed = home.start(&[&seed[..], &ALONE, more].concat());
    seed.line(|line| line.starts_with("magnet:").then_some(()));
    seed
}

/// Gives up when its peer has gone.
fn fetch<'a>(peer: &'a str, folder: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let fetch = ["fetch", "content.torrent", "-o", folder, "--peer", peer];
    let mut all = [&fetch[..], &ALONE, &["--stall-timeout", "30s"], more].concat();
    if !more.contains(&"--listen") {
        all.extend(["--listen", "127.0.0.1:0"]);
    }
    all
}

fn is_whole(home: &Home, folder: &str) -> bool {
    let read = |path: &str| std::fs::read(home.path().join(path)).unwrap();
    read("content") == read(&format!("{folder}/content"))
}

#[test]
fn the_last_seed_stays_for_who_still_fetches_however_many_copies_there_are() {
    let (home, at) = (home(), free_port());
    let seed = seed(&home, &at, &["--until-copies", "1"]);
    let mut slow = home.start(&fetch(&at, "slow", &["--json", "--down", "400K"]));
    slow.event("progress");
    let fast = home.run(&fetch(&at, "fast", &[]));
    assert!(fast.status.success(), "{}", said(&fast.stderr));
    assert_eq!(slow.wait(), Some(0), "it was left with what only the seed had");
    assert!(is_whole(&home, "slow") && is_whole(&home, "fast"));
    let (code, log) = seed.end();
    assert_eq!(code, Some(0));
    assert!(log.contains("done: 1 copy handed out"), "{log}");
    assert!(log.contains(", 2 copies"), "{log}");
}

#[test]
fn a_peer_that_comes_again_is_no_second_copy() {
    let (home, at) = (home(), free_port());
    let seed = seed(&home, &at, &["--until-copies", "2"]);
    for _ in 0..3 {
        let fetch = home.run(&fetch(&at, "one", &[]));
        assert!(fetch.status.success(), "{}", said(&fetch.stderr));
    }
    let fetch = home.run(&fetch(&at, "two", &[]));
    assert!(fetch.status.success(), "the seed was gone: {}", said(&fetch.stderr));
    assert_eq!(seed.wait(), Some(0));
}

#[test]
fn a_fetch_stays_until_it_has_made_a_copy() {
    let (home, at, relay_at) = (home(), free_port(), free_port());
    let seed = seed(&home, &at, &[]);
    let stay = ["--json", "--until-copies", "1", "--listen", relay_at.as_str()];
    let mut relay = home.start(&fetch(&at, "relay", &stay));
    relay.event("done");
    drop(seed);
    let last = home.run(&fetch(&relay_at, "last", &[]));
    assert!(last.status.success(), "{}", said(&last.stderr));
    assert!(is_whole(&home, "last"));
    assert_eq!(relay.wait(), Some(0), "and then it ends by itself");
}

#[test]
fn a_fetch_stays_until_nobody_takes_anything() {
    let (home, at) = (home(), free_port());
    let seed = seed(&home, &at, &["--until-copies", "1"]);
    let fetch = home.run(&fetch(&at, "one", &["--until-idle", "1s"]));
    assert!(fetch.status.success(), "{}", said(&fetch.stderr));
    assert_eq!(seed.wait(), Some(0));
}
