//! What `inspect` shows of torrents of every kind, hostile ones among them.

use super::{assert_shown, shown, swarm};
use crate::support::Tree;
use std::fs;
use tempfile::tempdir;

/// Shows one torrent as text and as JSON.
fn inspect(name: &str, torrent: &[u8]) {
    let home = tempdir().unwrap();
    fs::write(home.path().join("a.torrent"), torrent).unwrap();
    for (kind, flag) in [("text", None), ("json", Some("--json"))] {
        let arguments: Vec<&str> =
            ["inspect"].into_iter().chain(flag).chain(["a.torrent"]).collect();
        let output = swarm(home.path(), &arguments);
        assert_shown(&format!("inspect_{name}_{kind}"), &shown(home.path(), &output));
    }
}

#[test]
fn a_file_with_everything_around_it() {
    let mut torrent = b"d8:announce20:http://a.example/ann\
        13:announce-listll20:http://a.example/annel21:udp://b.example:6969/ee\
        7:comment5:hello10:created by6:a test13:creation datei1700000000e4:info"
        .to_vec();
    torrent.extend_from_slice(b"d6:lengthi20000e4:name8:file.bin12:piece lengthi16384e6:pieces40:");
    torrent.extend_from_slice(&[b'h'; 40]);
    torrent.extend_from_slice(b"7:privatei1ee8:url-list19:http://w.example/f/e");
    inspect("file", &torrent);
}

#[test]
fn a_folder_with_an_empty_file() {
    let files = [("a", 70_000), ("b/c", 1), ("b/empty", 0)];
    inspect("folder", &Tree::folder("folder", &files).torrent(32 * 1024));
}

#[test]
fn a_hybrid() {
    inspect("hybrid", include_bytes!("fixtures/hybrid.torrent"));
}

#[test]
fn a_torrent_of_version_2_only() {
    inspect("v2", include_bytes!("fixtures/v2.torrent"));
}

#[test]
fn names_that_would_act_on_the_terminal_or_leave_the_folder() {
    let names = ["..", "a\x1b[2Jb", "c\u{202e}txt.exe", "line\nbreak", "x/y", "CON", ""];
    let mut torrent = b"d7:comment12:\x1b]0;hacked\x07!4:infod5:filesl".to_vec();
    for name in names {
        torrent
            .extend_from_slice(format!("d6:lengthi10e4:pathl{}:{name}ee", name.len()).as_bytes());
    }
    let name = "evil\x1b[31m";
    torrent.extend_from_slice(format!("e4:name{}:{name}", name.len()).as_bytes());
    torrent.extend_from_slice(b"12:piece lengthi16384e6:pieces20:hhhhhhhhhhhhhhhhhhhhee");
    inspect("hostile", &torrent);
}

#[test]
fn a_magnet_link() {
    let home = tempdir().unwrap();
    let link = "magnet:?xt=urn:btih:0123456789ABCDEF0123456789abcdef01234567&dn=na%1Bme\
        &tr=http%3A%2F%2Fa.example%2Fann&x.pe=192.0.2.1:6881&x.pe=[2001:db8::1]:6881&so=0,2-4\
        &ws=http://w.example/f";
    for (kind, flag) in [("text", None), ("json", Some("--json"))] {
        let arguments: Vec<&str> = ["inspect"].into_iter().chain(flag).chain([link]).collect();
        let output = swarm(home.path(), &arguments);
        assert_shown(&format!("inspect_magnet_{kind}"), &shown(home.path(), &output));
    }
}

#[test]
fn torrents_that_are_none() {
    let home = tempdir().unwrap();
    let whole = Tree::file("whole", 40_000).torrent(16 * 1024);
    let cases: [(&str, &[u8]); 6] = [
        ("empty", b""),
        ("truncated", &whole[..whole.len() / 2]),
        ("text", b"<html>404</html>"),
        ("no_info", b"d8:announce3:abce"),
        ("no_pieces", b"d4:infod6:lengthi5e4:name1:a12:piece lengthi16384eee"),
        (
            "piece_length_0",
            b"d4:infod6:lengthi5e4:name1:a12:piece lengthi0e6:pieces20:hhhhhhhhhhhhhhhhhhhhee",
        ),
    ];
    let mut all = String::new();
    for (name, torrent) in cases {
        fs::write(home.path().join(name), torrent).unwrap();
        let output = swarm(home.path(), &["inspect", name]);
        assert_eq!(output.status.code(), Some(8), "{name}");
        all += &format!("{name}: {}", shown(home.path(), &output));
    }
    assert_shown("inspect_refused", &all);
}
