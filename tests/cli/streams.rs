//! What goes to which stream, and what happens when nobody reads it or it is full.

use super::{ALONE, Home, said};
use crate::support::binary::{run, run_into};
use std::fs::OpenOptions;
use std::io::pipe;
use std::process::Output;

fn described() -> Home {
    let home = Home::new();
    home.write("one", vec![9; 50_000]);
    home.succeed(&["create", "--quiet", "--no-date", "one"]);
    home
}

/// Runs with a standard output whose reader has gone.
fn closed(home: &Home, arguments: &[&str]) -> Output {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    run_into(writer.into(), &mut home.command(arguments))
}

#[test]
fn whoever_stops_reading_a_listing_has_read_enough() {
    let home = described();
    for arguments in [
        &["--help"][..],
        &["fetch", "--help"],
        &["--version"],
        &["man"],
        &["completions", "zsh"],
        &["inspect", "one.torrent"],
        &["inspect", "--json", "one.torrent"],
        &["verify", "one.torrent", "one"],
    ] {
        let output = closed(&home, arguments);
        assert_eq!(said(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn a_product_that_nobody_takes_ends_the_command_without_a_word() {
    let home = described();
    let seed = [&["seed"][..], &ALONE, &["one"]].concat();
    let seed_json = [&["seed", "--json"][..], &ALONE, &["one"]].concat();
    let fetch_json = [&["fetch", "--json"][..], &ALONE, &["nonsense-of.torrent"]].concat();
    for arguments in [seed, seed_json, vec!["create", "-o", "-", "one"]] {
        let output = closed(&home, &arguments);
        assert_eq!(said(&output.stderr), "", "{arguments:?}");
        assert_eq!(output.status.code(), Some(141), "{arguments:?}");
    }
    // An error is told to people as well, and once.
    let output = closed(&home, &fetch_json);
    assert_eq!(said(&output.stderr).lines().count(), 1, "{}", said(&output.stderr));
    assert_eq!(output.status.code(), Some(141));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_device_is_an_error_in_one_line() {
    let home = described();
    let seed = [&["seed"][..], &ALONE, &["one"]].concat();
    for arguments in [
        &["--help"][..],
        &["--version"],
        &["man"],
        &["completions", "bash"],
        &["inspect", "one.torrent"],
        &["verify", "one.torrent", "one"],
        &["create", "-o", "-", "one"],
        &seed,
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = run_into(full.into(), &mut home.command(arguments));
        let error = said(&output.stderr);
        let expected = "error: cannot write to standard output: No space left on device";
        assert_eq!(error.lines().next(), Some(expected), "{arguments:?}: {error}");
        assert!(!error.contains("panic"), "{arguments:?}: {error}");
        assert_eq!(output.status.code(), Some(5), "{arguments:?}");
    }
}

#[test]
fn standard_output_is_the_product_alone() {
    let home = described();
    let mut seed = home.start(&[&["seed", "--until-idle", "1s"][..], &ALONE, &["one"]].concat());
    let magnet = seed.line(|line| Some(line.to_owned()));
    assert!(magnet.starts_with("magnet:?xt=urn:btih:"), "{magnet}");
    let line = seed.line(|line| Some(line.to_owned()));
    assert!(line.ends_with(&format!("swarm fetch '{magnet}'")), "{line}");
    let (code, log) = seed.end();
    assert_eq!(code, Some(0));
    assert!(log.starts_with("done: idle for"), "{log}");

    let fetch = [&["fetch", "--no-tracker"][..], &ALONE, &["one.torrent"]].concat();
    let output = home.run(&fetch);
    assert_eq!(said(&output.stdout), "", "what was fetched is on the disk");
    assert!(said(&output.stderr).starts_with("done: one"), "{}", said(&output.stderr));
}

#[test]
fn quiet_says_nothing_but_errors() {
    let home = described();
    let fetch = [&["fetch", "--quiet", "--no-tracker"][..], &ALONE, &["one.torrent"]].concat();
    let output = home.run(&fetch);
    assert_eq!((said(&output.stdout), said(&output.stderr)), (String::new(), String::new()));
    let output = home.run(&["verify", "--quiet", "one.torrent", "one"]);
    assert_eq!((said(&output.stdout), said(&output.stderr)), (String::new(), String::new()));
    let output = home.run(&["create", "--quiet", "missing"]);
    assert!(said(&output.stderr).starts_with("error: "));
}

#[test]
fn no_color_wins_over_whoever_forces_colour() {
    let home = described();
    let help = |no_color: &[(&str, &str)]| {
        let mut help = home.command(&["--help"]);
        help.env("CLICOLOR_FORCE", "1").envs(no_color.iter().copied());
        said(&run(&mut help).stdout)
    };
    assert!(help(&[]).contains('\u{1b}'), "colour can be forced");
    assert!(!help(&[("NO_COLOR", "1")]).contains('\u{1b}'));

    let mut fetch = [&["fetch", "-vv", "--no-tracker"][..], &ALONE].concat();
    fetch.push("one.torrent");
    let mut fetch = home.command(&fetch);
    fetch.env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1");
    let log = said(&run(&mut fetch).stderr);
    assert!(log.lines().count() > 1, "there is a log: {log}");
    assert!(!log.contains('\u{1b}'), "{log}");
}
