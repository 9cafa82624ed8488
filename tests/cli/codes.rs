//! Every exit code that can be reached, and what is said with it.
//!
//! Not here: 1, which is a bug of ours; 5 on a full disk, which needs a disk to fill (see
//! `interop`, which runs as root); 130 by Ctrl-C while fetching (see `e2e::process`).

use super::{assert_shown, fetch, shown, swarm, text};
use crate::support::Tree;
use crate::support::binary::{Running, command, run};
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use tempfile::{TempDir, tempdir};

/// A folder that holds `file.bin`, 100,000 bytes, and its torrent.
fn home() -> TempDir {
    let home = tempdir().unwrap();
    let tree = Tree::file("file.bin", 100_000);
    tree.write(home.path());
    fs::write(home.path().join("file.torrent"), tree.torrent(16 * 1024)).unwrap();
    home
}

/// Runs, and compares code and words with the snapshot that bears the code's name.
fn ends(name: &str, home: &Path, arguments: &[&str]) {
    assert_shown(&format!("code_{name}"), &shown(home, &swarm(home, arguments)));
}

#[test]
fn code_0_when_all_is_done() {
    let home = home();
    ends("0_create", home.path(), &["create", "file.bin", "--no-date", "-o", "new.torrent"]);
    ends("0_verify", home.path(), &["verify", "file.torrent", "file.bin"]);
    let out = swarm(home.path(), &["create", "file.bin", "--no-date", "-o", "-"]);
    assert_eq!(out.stdout, fs::read(home.path().join("new.torrent")).unwrap(), "deterministic");
}

#[test]
fn code_2_for_a_command_line_that_makes_no_sense() {
    let home = home();
    ends("2_flag", home.path(), &["fetch", "--frobnicate"]);
    ends("2_rate", home.path(), &["fetch", "--up", "fast", "file.torrent"]);
    ends("2_nothing", home.path(), &[]);
    let unknown = run(command(home.path()).env("SWARM_FROBNICATE", "1").arg("man"));
    assert_shown("code_2_variable", &shown(home.path(), &unknown));
}

#[test]
fn code_3_when_some_inputs_fail_and_others_are_done() {
    let home = home();
    let output = run(fetch(home.path()).args(["file.torrent", "missing.torrent"]));
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("missing.torrent"));
}

#[test]
fn code_4_when_nobody_has_it() {
    let home = home();
    fs::create_dir(home.path().join("out")).unwrap();
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let arguments = ["--timeout", "1s", "--peer", &refused, "-o", "out", "file.torrent"];
    let output = run(fetch(home.path()).args(arguments));
    assert_eq!(output.status.code(), Some(4), "{}", text(&output.stderr));
    // It says why: whom it asked, and what came of the dials.
    let said = text(&output.stderr);
    assert!(said.contains("refused"), "{said}");
}

#[test]
fn code_5_when_there_is_no_room() {
    let home = home();
    let mut create = command(home.path());
    create.args(["create", "file.bin", "-o", "-"]).stdout(File::create("/dev/full").unwrap());
    let output = create.output().unwrap();
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
}

#[test]
fn code_6_for_files_that_cannot_be_read_or_written() {
    let home = home();
    ends("6_missing", home.path(), &["create", "nowhere"]);
    ends("6_torrent", home.path(), &["verify", "nowhere.torrent", "file.bin"]);
    let output = run(fetch(home.path()).args(["-o", "file.bin/below", "file.torrent"]));
    assert_eq!(output.status.code(), Some(6), "{}", text(&output.stderr));
}

#[test]
fn code_7_for_a_different_file_in_the_way() {
    let home = home();
    fs::write(home.path().join("file.bin"), "precious").unwrap();
    let output = run(fetch(home.path()).arg("file.torrent"));
    assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("hint: "), "{}", text(&output.stderr));
    assert_eq!(fs::read(home.path().join("file.bin")).unwrap(), b"precious");
}

#[test]
fn code_8_for_torrents_and_links_that_are_none() {
    let home = home();
    ends("8_torrent", home.path(), &["inspect", "file.bin"]);
    ends("8_magnet", home.path(), &["inspect", "magnet:?dn=nothing"]);
    let output =
        run(fetch(home.path()).arg("magnet:?xt=urn:ed2k:31d6cfe0d16ae931b73c59d7e0c089c0"));
    assert_eq!(output.status.code(), Some(8), "{}", text(&output.stderr));
}

#[test]
fn code_9_for_data_that_is_not_what_the_torrent_says() {
    let home = home();
    let path = home.path().join("file.bin");
    let mut bytes = fs::read(&path).unwrap();
    bytes[50_000] ^= 1;
    fs::write(&path, bytes).unwrap();
    ends("9_damaged", home.path(), &["verify", "file.torrent", "file.bin"]);
    ends("9_damaged_json", home.path(), &["verify", "--json", "file.torrent", "file.bin"]);
}

#[test]
fn code_10_when_the_tracker_refuses() {
    let home = home();
    fs::create_dir(home.path().join("out")).unwrap();
    fs::write(home.path().join("allowed"), "0123456789abcdef0123456789abcdef01234567\n").unwrap();
    let mut tracker = command(home.path());
    tracker.args(["tracker", "--http", "127.0.0.1:0", "--udp", "off", "--allow", "allowed"]);
    let mut tracker = Running::start(&mut tracker);
    let url = tracker.line(|line| line.starts_with("http://").then(|| line.to_owned()));
    let arguments = ["--tracker", &url, "--timeout", "20s", "-o", "out", "file.torrent"];
    let output = run(fetch(home.path()).args(arguments));
    assert_eq!(output.status.code(), Some(10), "{}", text(&output.stderr));
}

#[test]
fn code_11_for_a_port_in_use() {
    let home = home();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let output =
        run(command(home.path()).args(["seed", "--no-lsd", "--listen", &taken, "file.bin"]));
    assert_eq!(output.status.code(), Some(11), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains(&taken));
}

#[test]
fn codes_130_and_143_for_signals() {
    let home = home();
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut seed = command(home.path());
        seed.args(["seed", "--json", "--no-lsd", "--listen", "127.0.0.1:0", "file.bin"]);
        let mut seed = Running::start(&mut seed);
        seed.event("seeding");
        seed.signal(signal);
        assert_eq!(seed.wait(), Some(code));
    }
}
