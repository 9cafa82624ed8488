//! Who gets what: the product on stdout, all else on stderr, silence when nobody listens.

use super::{fetch, swarm, text};
use crate::support::Tree;
use crate::support::binary::command;
use std::fs;
use std::process::Stdio;
use tempfile::tempdir;

#[test]
fn a_reader_that_has_gone_is_met_with_silence() {
    let home = tempdir().unwrap();
    let tree = Tree::file("file", 100_000);
    tree.write(home.path());
    fs::write(home.path().join("a.torrent"), tree.torrent(16 * 1024)).unwrap();
    let commands: [&[&str]; 6] = [
        &["inspect", "a.torrent"],
        &["inspect", "--json", "a.torrent"],
        &["verify", "--json", "a.torrent", "file"],
        &["create", "file", "-o", "-"],
        &["completions", "bash"],
        &["man"],
    ];
    for arguments in commands {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut process = command(home.path());
        process.args(arguments).stdout(writer).stderr(Stdio::piped());
        let output = process.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(text(&output.stderr), "", "{arguments:?}");
        assert_ne!(output.status.code(), Some(101), "{arguments:?} panicked");
    }
}

#[test]
fn quiet_says_nothing_and_does_the_same() {
    let home = tempdir().unwrap();
    let tree = Tree::file("file", 100_000);
    tree.write(home.path());
    fs::write(home.path().join("a.torrent"), tree.torrent(16 * 1024)).unwrap();
    let verified = swarm(home.path(), &["verify", "--quiet", "a.torrent", "file"]);
    assert_eq!((verified.status.code(), text(&verified.stderr)), (Some(0), String::new()));
    let mut fetch = fetch(home.path());
    let fetched = fetch.args(["--quiet", "a.torrent"]).output().unwrap();
    assert_eq!(fetched.status.code(), Some(0));
    assert_eq!((text(&fetched.stdout), text(&fetched.stderr)), (String::new(), String::new()));
}

#[test]
fn nothing_of_a_terminal_goes_into_a_pipe() {
    let home = tempdir().unwrap();
    let tree = Tree::file("file", 100_000);
    tree.write(home.path());
    fs::write(home.path().join("a.torrent"), tree.torrent(16 * 1024)).unwrap();
    for arguments in [&["verify", "a.torrent", "file"][..], &["create", "file"], &["--help"]] {
        let output = swarm(home.path(), arguments);
        for said in [&output.stdout, &output.stderr] {
            assert!(!said.contains(&b'\x1b') && !said.contains(&b'\r'), "{arguments:?}");
        }
    }
}
