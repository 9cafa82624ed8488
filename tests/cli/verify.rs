//! `verify`: which files and pieces are what they must be.

use super::{Home, assert_snapshot, said};
use std::fs;

/// Bytes of a piece, and two pieces to a file, so that no piece belongs to two files.
const LENGTH: usize = 2 * 16 * 1024;

fn described() -> Home {
    let home = Home::new();
    for (fill, name) in (1..).zip(["damaged", "long", "missing", "short", "whole"]) {
        home.write(&format!("five/{name}"), vec![fill; LENGTH]);
    }
    home.write("five/empty", "");
    home.succeed(&["create", "--quiet", "--no-date", "--piece-size", "16K", "five"]);
    home
}

fn told(home: &Home) -> String {
    let commands = [
        &["verify", "five.torrent", "five"][..],
        &["verify", "--quiet", "five.torrent", "five"],
        &["verify", "--json", "five.torrent", "five"],
    ];
    commands.map(|arguments| home.transcript(arguments)).join("\n")
}

#[test]
fn whole_data_is_said_to_be_whole() {
    let home = described();
    assert_snapshot("verify_whole", &told(&home));
    // The folder that holds it will do as well.
    let direct = home.succeed(&["verify", "five.torrent", "five"]);
    assert_eq!(said(&home.succeed(&["verify", "five.torrent", "."])), said(&direct));
}

#[test]
fn each_way_of_being_wrong_is_told_from_the_others() {
    let home = described();
    let mut damaged = vec![1; LENGTH];
    damaged[LENGTH - 1] = 0;
    home.write("five/damaged", damaged);
    home.write("five/long", vec![2; LENGTH + 1]);
    fs::remove_file(home.path().join("five/missing")).unwrap();
    home.write("five/short", vec![4; LENGTH - 1]);
    assert_snapshot("verify_wrong", &told(&home));
}

#[test]
fn a_file_alone_is_checked_and_nothing_at_all_is_missing() {
    let home = Home::new();
    home.write("one", vec![9; 50_000]);
    home.succeed(&["create", "--quiet", "--no-date", "one"]);
    let whole = home.transcript(&["verify", "one.torrent", "one"]);
    fs::remove_file(home.path().join("one")).unwrap();
    let gone = home.transcript(&["verify", "one.torrent", "one"]);
    assert_snapshot("verify_one", &format!("{whole}\n{gone}"));
}

#[test]
fn verifying_changes_nothing() {
    let home = described();
    home.write("five/short", "short");
    home.run(&["verify", "five.torrent", "five"]);
    assert_eq!(fs::read(home.path().join("five/short")).unwrap(), b"short");
    let files = fs::read_dir(home.path().join("five")).unwrap().count();
    assert_eq!(files, 6, "nothing new, nothing gone");
}
