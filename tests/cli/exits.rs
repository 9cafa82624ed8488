//! Each exit code, reached the way a user would reach it, and what is said then.
//!
//! Not here: 1, which is a fault of ours; 141, see `streams`.

use super::{ALONE, HASH, Home, assert_snapshot, masked, torrents};
use crate::support::Tree;
use crate::support::binary::{Running, run};
use serde_json::Value;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};

/// Where nobody listens.
const CLOSED: &str = "127.0.0.1:1";

/// A command line with the flags that keep it on this machine.
fn alone<'a>(command: &'a str, arguments: &[&'a str]) -> Vec<&'a str> {
    [&[command][..], &ALONE, arguments].concat()
}

/// A folder with a file, its torrent, and no need of the network to fetch it.
fn described() -> Home {
    let home = Home::new();
    home.write("one", vec![9; 50_000]);
    home.succeed(&["create", "--quiet", "--no-date", "one"]);
    home
}

fn assert_code(name: &str, code: i32, transcript: &str) {
    let ends = transcript.lines().filter(|line| line.starts_with("--- exit "));
    for end in ends {
        assert_eq!(end, format!("--- exit {code}"), "{transcript}");
    }
    assert_snapshot(name, transcript);
}

#[test]
fn code_0_is_all_done() {
    let home = described();
    let fetch = alone("fetch", &["--no-tracker", "one.torrent"]);
    assert_code("exit_0", 0, &home.transcript(&fetch));
}

#[test]
fn code_2_is_a_mistake_in_the_command_line() {
    let home = described();
    let mut told = Vec::new();
    for arguments in [
        &["fetch"][..],
        &["launch"],
        &["inspect", "--nope", "one.torrent"],
        &["fetch", "--up", "fast", HASH],
        &["fetch", "--timeout", "soon", HASH],
        &["fetch", "--listen", "nowhere", HASH],
        &["fetch", "--only", "3-1", HASH],
        &["fetch", "--public", "--no-dht", HASH],
        &["seed", "--until-copies", "0", "one"],
        &["create", "--piece-size", "100", "one"],
        &["create", "--tracker", "gopher://host/", "one"],
        &["inspect", "http://host/a.torrent"],
        &["completions", "cmd"],
    ] {
        told.push(home.transcript(arguments));
    }
    assert_code("exit_2", 2, &told.join("\n"));
}

#[test]
fn code_2_is_a_mistake_in_the_environment_too() {
    let home = described();
    let mut told = Vec::new();
    for (variable, value) in [("SWARM_UPP", "1M"), ("SWARM_UP", "fast"), ("SWARM_JSON", "maybe")] {
        let fetch = ["fetch", HASH];
        let output = run(home.command(&fetch).env(variable, value));
        let transcript = super::transcript(home.path(), &fetch, &output);
        told.push(format!("$ export {variable}={value}\n{transcript}"));
    }
    assert_code("exit_2_environment", 2, &told.join("\n"));
}

#[test]
fn code_3_is_some_done_and_some_not() {
    let home = described();
    let fetch = alone("fetch", &["--no-tracker", "one.torrent", "nonsense"]);
    assert_code("exit_3", 3, &home.transcript(&fetch));
}

#[test]
fn code_4_is_nobody_there_in_time() {
    let home = described();
    // How often it tries within the time depends on the machine, and on a busy one whether at all.
    let is_count = |line: &&str| line.ends_with(" connection refused");
    let fetch = |timeout| {
        let fetch = alone("fetch", &["--timeout", timeout, "--peer", CLOSED, HASH]);
        let told = home.transcript(&fetch);
        told.lines().any(|line| is_count(&line)).then(|| told.replace(timeout, "1s"))
    };
    let fetch = ["1s", "30s"].into_iter().find_map(fetch).expect("it dials");
    let stall = home.transcript(&alone("fetch", &["--stall-timeout", "1s", HASH]));
    let told = [fetch, stall].join("\n");
    let counts = told.lines().find(is_count).expect("it says what became of the dials").to_owned();
    let told = told.replace(&counts, "  [DIALS] connection refused");
    assert_code("exit_4", 4, &told);
}

/// The data goes to a device that is always full; so does standard output, see `streams`.
#[cfg(target_os = "linux")]
#[test]
fn code_5_is_a_full_disk() {
    let home = described();
    assert_code("exit_5", 5, &home.transcript(&["create", "-o", "/dev/full", "one"]));
}

#[test]
fn code_6_is_a_file_that_cannot_be_used() {
    let home = described();
    let mut told = Vec::new();
    for arguments in [
        alone("seed", &["missing"]),
        alone("seed", &["--torrent", "missing.torrent", "one"]),
        alone("fetch", &["missing.torrent"]),
        alone("fetch", &["--no-tracker", "-o", "one/below", "one.torrent"]),
        vec!["create", "missing"],
        vec!["create", "-o", "no/such/folder.torrent", "one"],
        vec!["inspect", "missing.torrent"],
        vec!["verify", "missing.torrent", "one"],
    ] {
        told.push(home.transcript(&arguments));
    }
    assert_code("exit_6", 6, &told.join("\n"));
}

#[test]
fn code_7_is_something_else_in_the_way() {
    let home = described();
    home.write("out/one", "not what the torrent says");
    let fetch = alone("fetch", &["--no-tracker", "-o", "out", "one.torrent"]);
    let create = vec!["create", "--comment", "other", "one"];
    let told = [fetch, create].map(|arguments| home.transcript(&arguments));
    assert_code("exit_7", 7, &told.join("\n"));
    assert_eq!(fs::read(home.path().join("out/one")).unwrap(), b"not what the torrent says");
}

#[test]
fn code_8_is_no_torrent_and_no_link() {
    let home = described();
    home.write("garbage.torrent", "<html>not found</html>");
    home.write("empty.torrent", "");
    let whole = fs::read(home.path().join("one.torrent")).unwrap();
    home.write("cut.torrent", &whole[..whole.len() / 2]);
    home.write("v2.torrent", torrents::v2());
    let mut told = Vec::new();
    for arguments in [
        vec!["inspect", "garbage.torrent"],
        vec!["inspect", "empty.torrent"],
        vec!["verify", "cut.torrent", "one"],
        vec!["inspect", "magnet:?dn=nothing"],
        vec!["inspect", "magnet:?xt=urn:btih:0123"],
        vec!["inspect", "\u{1b}[2Jboo"],
        alone("fetch", &["nonsense", "magnet:?dn=nothing"]),
        alone("fetch", &["garbage.torrent"]),
        alone("fetch", &["v2.torrent"]),
    ] {
        told.push(home.transcript(&arguments));
    }
    assert_code("exit_8", 8, &told.join("\n"));
}

#[test]
fn code_9_is_data_that_is_not_what_the_torrent_says() {
    let home = described();
    home.write("one", vec![8; 50_000]);
    let seed = alone("seed", &["--torrent", "one.torrent", "one"]);
    let verify = vec!["verify", "one.torrent", "one"];
    let told = [seed, verify].map(|arguments| home.transcript(&arguments));
    assert_code("exit_9", 9, &told.join("\n"));
}

#[test]
fn code_10_is_a_tracker_that_refuses_over_http() {
    refused("http", ["--http", "127.0.0.1:0", "--udp", "off"]);
}

#[test]
fn code_10_is_a_tracker_that_refuses_over_udp() {
    refused("udp", ["--http", "off", "--udp", "127.0.0.1:0"]);
}

/// Our own tracker, told to serve something else only.
fn refused(scheme: &str, listen: [&str; 4]) {
    let home = described();
    home.write("allowed", format!("{}\n", "f".repeat(40)));
    let serve = [&["tracker", "--json", "--allow", "allowed"][..], &listen].concat();
    let mut tracker = home.start(&serve);
    let address = tracker.event("listening")[scheme][0].as_str().unwrap().to_owned();
    let url = format!("{scheme}://{address}/announce");
    let told = home.transcript(&alone("fetch", &["--tracker", &url, HASH]));
    assert_code(&format!("exit_10_{scheme}"), 10, &told.replace(&address, "[ADDRESS]"));
    tracker.signal("TERM");
    tracker.wait();
}

#[test]
fn code_11_is_an_address_that_cannot_be_listened_on() {
    let home = described();
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let told = [
        &["fetch", "--no-lsd", "--listen", &address, HASH][..],
        &["seed", "--no-lsd", "--listen", &address, "one"],
        &["tracker", "--udp", "off", "--http", &address],
    ]
    .map(|arguments| home.transcript(arguments));
    let told = told.join("\n").replace(&address, "[ADDRESS]").replace(" (os error 98)", "");
    assert_code("exit_11", 11, &told);
}

#[test]
fn code_11_is_a_server_that_cannot_be_reached() {
    let home = Home::new();
    let url = format!("http://{CLOSED}/a.torrent");
    assert_code("exit_11_url", 11, &home.transcript(&alone("fetch", &[&url])));
}

#[test]
fn a_signal_ends_a_seed_with_the_signals_code() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let home = described();
        let mut seed = home.start(&alone("seed", &["one"]));
        seed.line(|line| line.contains("swarm fetch ").then_some(()));
        seed.signal(name);
        let (ended, log) = seed.end();
        assert_eq!(ended, Some(code), "{name}");
        let log = masked(home.path(), &log);
        assert_eq!(log, "stopped: 0 B sent to 0 peers, 0 copies, in [TIME] s\n", "{name}");
    }
}

#[test]
fn a_signal_ends_a_tracker_with_the_signals_code() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let home = Home::new();
        let mut tracker =
            home.start(&["tracker", "--json", "--http", "127.0.0.1:0", "--udp", "off"]);
        tracker.event("listening");
        tracker.signal(name);
        assert_eq!(tracker.wait(), Some(code), "{name}");
    }
}

#[test]
fn a_fetch_stopped_by_ctrl_c_says_how_to_go_on_and_the_same_line_does() {
    stopped_and_resumed("INT", 130);
}

#[test]
fn a_fetch_stopped_by_sigterm_says_how_to_go_on_and_the_same_line_does() {
    stopped_and_resumed("TERM", 143);
}

fn stopped_and_resumed(signal: &str, code: i32) {
    let (there, here) = (Home::new(), Home::new());
    let tree = Tree::file("large", 5_000_000);
    tree.write(there.path());
    // Slow, so that the fetch is in the middle of it when it is told to stop.
    let mut seed = there.start(&alone("seed", &["--json", "--up", "1M", "large"]));
    let magnet = seed.event("seeding")["magnet"].as_str().unwrap().to_owned();

    let fetch = alone("fetch", &["--json", "-o", "out", &magnet]);
    let mut first = here.start(&fetch);
    let had = has_more_than(&mut first, 500_000);
    first.signal(signal);
    let (ended, log) = first.end();
    assert_eq!((ended, log.as_str()), (Some(code), ""), "with --json nothing is said to people");

    let second = here.succeed(&fetch);
    let last = String::from_utf8(second).unwrap();
    let done: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
    assert_eq!(done["event"], "done", "{done}");
    assert_eq!(done["bytes"], tree.length());
    // What came between the last look and the signal is kept too; blocks of pieces that were
    // not whole come again.
    let fetched = done["downloaded"].as_u64().unwrap();
    assert!(fetched <= tree.length() - had + 1_000_000, "{fetched} bytes came, {had} were here");
    tree.assert_lies_in(&here.path().join("out"));
}

fn has_more_than(fetch: &mut Running, bytes: u64) -> u64 {
    std::iter::repeat_with(|| fetch.event("progress"))
        .filter_map(|progress| progress["have_bytes"].as_u64())
        .find(|have| *have > bytes)
        .expect("an endless search ends with a find")
}

#[test]
fn a_stopped_fetch_tells_people_how_to_go_on() {
    let home = Home::new();
    // A peer that accepts and says nothing: once it is dialled, the fetch is under way.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let fetch = home.start(&alone("fetch", &["--peer", &address, HASH]));
    let dialled = std::thread::spawn(move || silent.accept());
    drop(dialled.join().unwrap().unwrap());
    fetch.signal("INT");
    let (ended, log) = fetch.end();
    assert_eq!(ended, Some(130));
    assert!(log.ends_with("stopped: run the same line again to continue\n"), "{log}");
}
