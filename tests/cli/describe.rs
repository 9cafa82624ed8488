//! `create` and `inspect`: what goes into a torrent and what is shown of it.

use super::{HASH, Home, assert_snapshot, said, torrents, transcript};
use crate::support::binary::run;
use std::fs::{self, File};

/// A folder that `create` is to describe.
fn album(home: &Home) {
    home.write("album/one", vec![1; 40_000]);
    home.write("album/sub/empty", "");
    home.write("album/two", "two");
}

/// Both forms of what `inspect` says of a file.
fn inspected(home: &Home, name: &str) {
    let file = format!("{name}.torrent");
    let text = home.transcript(&["inspect", &file]);
    let json = home.transcript(&["inspect", "--json", &file]);
    assert_snapshot(&format!("inspect_{name}"), &format!("{text}\n{json}"));
}

#[test]
fn what_create_puts_in_inspect_shows() {
    let home = Home::new();
    album(&home);
    home.write("single", vec![7; 70_000]);
    let single = home.transcript(&["create", "--no-date", "--piece-size", "32K", "single"]);
    let comment = "long ".repeat(500);
    let all = home.transcript(&[
        "create",
        "--no-date",
        "--private",
        "--name",
        "Album",
        "--comment",
        "for you",
        "--tracker",
        "udp://one.test:1/announce,http://two.test/announce",
        "--tracker",
        "https://three.test/announce",
        "--web-seed",
        "http://web.test/files/",
        "album",
    ]);
    assert_snapshot("create", &format!("{single}\n{all}"));
    inspected(&home, "single");
    inspected(&home, "Album");

    home.succeed(&["create", "--no-date", "--comment", &comment, "-o", "wordy.torrent", "single"]);
    let shown = said(&home.succeed(&["inspect", "wordy.torrent"]));
    let line = shown.lines().find(|line| line.starts_with("comment")).unwrap();
    assert!(line.len() < comment.len() && line.contains("long long"), "{line}");
    let json = said(&home.succeed(&["inspect", "--json", "wordy.torrent"]));
    assert!(json.contains(&comment), "programs get all of it");
}

#[test]
fn without_a_date_the_same_input_gives_the_same_bytes() {
    let home = Home::new();
    album(&home);
    let create = ["create", "--no-date", "-o", "-", "album"];
    let first = home.run(&create);
    assert!(first.status.success());
    assert_eq!(said(&first.stderr), "", "the product alone");
    assert!(first.stdout.starts_with(b"d"));
    assert_eq!(first.stdout, home.succeed(&create));
    // A file has the same bytes, and a pipe is read as a file is.
    home.succeed(&["create", "--no-date", "album"]);
    assert_eq!(fs::read(home.path().join("album.torrent")).unwrap(), first.stdout);
    let mut piped = home.command(&["inspect", "-"]);
    piped.stdin(File::open(home.path().join("album.torrent")).unwrap());
    assert_eq!(said(&run(&mut piped).stdout), said(&home.succeed(&["inspect", "album.torrent"])));
}

#[test]
fn a_date_is_there_unless_it_is_left_out() {
    let home = Home::new();
    album(&home);
    home.succeed(&["create", "album"]);
    let json = home.succeed(&["inspect", "--json", "album.torrent"]);
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert!(json["creation_date"].as_u64() > Some(1_700_000_000), "{json}");
    let text = said(&home.succeed(&["inspect", "album.torrent"]));
    assert!(text.contains("created on"), "{text}");
}

#[test]
fn pad_files_are_not_shown() {
    let home = Home::new();
    home.write("padded.torrent", torrents::padded());
    inspected(&home, "padded");
}

#[test]
fn v2_and_hybrid_are_shown_with_their_hashes() {
    let home = Home::new();
    home.write("v2.torrent", torrents::v2());
    home.write("hybrid.torrent", torrents::hybrid());
    inspected(&home, "v2");
    inspected(&home, "hybrid");
}

#[test]
fn hostile_names_are_escaped_and_stay_below_their_folder() {
    let home = Home::new();
    home.write("hostile.torrent", torrents::hostile());
    inspected(&home, "hostile");
    for arguments in
        [&["inspect", "hostile.torrent"][..], &["inspect", "--json", "hostile.torrent"]]
    {
        let text = said(&home.succeed(arguments));
        let tricks = |c: &char| {
            (c.is_control() && *c != '\n')
                || ('\u{202a}'..='\u{202e}').contains(c)
                || ('\u{2066}'..='\u{2069}').contains(c)
        };
        assert_eq!(text.chars().find(tricks), None, "{text}");
    }
    let json = home.succeed(&["inspect", "--json", "hostile.torrent"]);
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    for file in json["files"].as_array().unwrap() {
        let path = file["path"].as_str().unwrap();
        assert!(!path.starts_with('/') && !path.split('/').any(|part| part == ".."), "{path}");
    }
}

#[test]
fn a_magnet_link_is_shown_as_it_is_understood() {
    let home = Home::new();
    let link = format!(
        "magnet:?xt=urn:btih:{HASH}&dn=%1b%5b2Jname&so=0,2-3&x.pe=127.0.0.1:6881\
         &x.pe=[::1]:6881&x.pe=peer.test:80&tr=http%3A%2F%2Fone.test%2Fa&tr=udp://two.test:1\
         &ws=http://web.test/&xl=5&unknown=1"
    );
    let text = home.transcript(&["inspect", &link]);
    let json = home.transcript(&["inspect", "--json", &link]);
    assert_snapshot("inspect_magnet", &format!("{text}\n{json}"));
    // What it prints is a link again, and says the same.
    let json: serde_json::Value =
        serde_json::from_slice(&home.succeed(&["inspect", "--json", &link])).unwrap();
    let again = home.succeed(&["inspect", "--json", json["magnet"].as_str().unwrap()]);
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&again).unwrap(), json);
}

#[test]
fn a_bare_hash_of_either_length_is_a_link() {
    let home = Home::new();
    let v2 = "ab".repeat(32);
    let both = [HASH, v2.as_str()].map(|hash| home.transcript(&["inspect", hash]));
    assert_snapshot("inspect_hash", &both.join("\n"));
}

#[test]
fn creating_it_again_changes_nothing_and_something_else_needs_to_be_asked_for() {
    let home = Home::new();
    album(&home);
    let plain = ["create", "--no-date", "album"];
    let other = ["create", "--no-date", "--comment", "other", "album"];
    let replace = ["create", "--no-date", "--comment", "other", "--overwrite", "album"];
    let told = [&plain[..], &plain, &other, &replace].map(|arguments| {
        let output = home.run(arguments);
        transcript(home.path(), arguments, &output)
    });
    assert_snapshot("create_again", &told.join("\n"));
}
