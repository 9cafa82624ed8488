//! Whole screens and lines, as strings.

use std::time::Duration;

use super::*;
use crate::exit::{Code, Failure};

const SCREEN: Screen = Screen { width: 100, height: 24, color: false, unicode: false };

fn fetching() -> Snapshot {
    Snapshot {
        name: "disk.img".to_owned(),
        stage: Stage::Fetching,
        done_bytes: 600 << 20,
        total_bytes: 1 << 30,
        rate: 86_000_000,
        peers: vec![peer(1, 500, 0), peer(2, 1000, 0)],
        ..Snapshot::default()
    }
}

fn peer(host: u8, permille: u64, up_rate: u64) -> PeerRow {
    let addr = std::net::SocketAddr::from(([10, 0, 0, host], 6881));
    PeerRow { addr, client: "swarm 0.1.0".to_owned(), permille, up_rate }
}

fn serving(peers: Vec<PeerRow>) -> Snapshot {
    Snapshot {
        name: "disk.img".to_owned(),
        stage: Stage::Serving,
        up_rate: 1_500_000,
        uploaded: 3 << 20,
        peers,
        ..Snapshot::default()
    }
}

#[test]
fn a_fetch_is_one_line_with_bar_rate_eta_and_peers() {
    assert_eq!(
        screen_lines(&[fetching()], SCREEN),
        ["disk.img  58% ===============------------  \
          fetching  600 MiB of 1.0 GiB  86 MB/s  0:06 left  2 peers"]
    );
}

#[test]
fn few_files_get_a_line_each() {
    let file =
        |path: &str, have_bytes, length| FileRow { path: path.to_owned(), have_bytes, length };
    let mut row = fetching();
    row.files = vec![file("a.txt", 5, 5), file("docs/b.txt", 1, 3)];
    let lines = screen_lines(&[row.clone()], Screen { width: 60, ..SCREEN });
    assert_eq!(
        lines.get(1..).unwrap(),
        [
            "  a.txt      100% =====================================  5 B",
            "  docs/b.txt  33% ============-------------------------  3 B"
        ]
    );
    row.files = vec![file("x", 0, 1); 9];
    assert_eq!(screen_lines(&[row], SCREEN).len(), 1);
}

#[test]
fn a_seed_lists_its_fastest_peers_and_counts_the_rest() {
    let peers = (1..=12).map(|host| peer(host, 250, u64::from(host) * 1000)).collect();
    let lines = screen_lines(&[serving(peers)], Screen { height: 6, ..SCREEN });
    assert_eq!(lines.len(), 5);
    assert_eq!(lines[0], "disk.img  serving  12 peers  1.5 MB/s  3.0 MiB sent");
    assert!(lines[1].contains("10.0.0.12:6881 swarm 0.1.0"), "{}", lines[1]);
    assert_eq!(lines[4], "  and 9 peers more");
}

#[test]
fn no_line_is_wider_and_no_screen_higher_than_the_terminal() {
    let mut row = fetching();
    row.name = "名前\u{1b}[2J".repeat(40);
    row.diagnosis = Some(crate::diagnosis::Diagnosis::default());
    row.files = vec![FileRow { path: "p".repeat(300), have_bytes: 1, length: 2 }; 4];
    let seed = serving((1..=50).map(|host| peer(host, 10, 5)).collect());
    for width in 0..140 {
        for height in [0, 1, 2, 3, 5, 24] {
            let screen = Screen { width, height, ..SCREEN };
            let lines = screen_lines(&[row.clone(), seed.clone(), row.clone()], screen);
            assert!(lines.len() <= height.saturating_sub(1).max(1), "{width}x{height}: {lines:?}");
            for line in lines {
                assert!(measure_text_width(&line) <= width, "{width}x{height}: {line}");
                assert!(!line.contains('\u{1b}'));
            }
        }
    }
}

#[test]
fn plain_lines_hold_the_same_facts() {
    assert_eq!(
        plain_line(&fetching()),
        "disk.img: fetching, 58.5%, 600 MiB of 1.0 GiB, 86 MB/s, 0:06 left, 2 peers"
    );
    assert_eq!(
        plain_line(&serving(Vec::new())),
        "disk.img: serving, 0 peers, 1.5 MB/s, 3.0 MiB sent"
    );
    let row = Snapshot { stage: Stage::Metadata, diagnosis: Some(<_>::default()), ..fetching() };
    assert!(
        plain_line(&row).starts_with("disk.img: looking for metadata, 2 peers; no way to find")
    );
}

fn done(downloaded: u64) -> Note {
    Note::Done(Done {
        limits: Vec::new(),
        info_hash: String::new(),
        name: "set\u{202e}".to_owned(),
        path: "/x/set".to_owned(),
        bytes: 1_288_490_189,
        elapsed: Duration::from_millis(14_300),
        downloaded,
        uploaded: 0,
        wasted: 0,
        peers: 5,
    })
}

#[test]
fn the_last_line_says_what_when_how_fast_and_from_whom() {
    assert_eq!(
        note(&done(1_288_490_189)).unwrap(),
        "done: set\\u{202e}, 1.2 GiB in 14.3 s (90 MB/s), from 5 peers"
    );
    assert_eq!(
        note(&done(0)).unwrap(),
        "done: set\\u{202e}, 1.2 GiB, was all here already (checked in 14.3 s)"
    );
}

#[test]
fn an_error_names_its_link_once() {
    let failure = Failure::new(Code::NoPeers, "timed out").hint("try again");
    let text = |link: &str, failure: &Failure| {
        let link = Some((String::new(), link.to_owned()));
        note(&Note::Error { link, failure: failure.clone() }).unwrap()
    };
    assert_eq!(text("a.torrent", &failure), "error: a.torrent: timed out\nhint: try again");
    let named = Failure::new(Code::File, "cannot read a.torrent: gone");
    assert_eq!(text("a.torrent", &named), "error: cannot read a.torrent: gone");
}
