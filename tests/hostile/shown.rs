//! What strangers have people read: P40. What `inspect` shows is looked at in `cli`.

use super::attacker::{any_id, extended};
use crate::support::binary::{Running, command, run};
use sha1::{Digest, Sha1};
use std::fs;
use std::io::Write;
use std::net::TcpStream;
use swarm_core::Metainfo;
use swarm_core::bencode;
use swarm_core::wire::{Handshake, Reserved};
use tempfile::tempdir;

/// Clears a screen, rings, begins a line, and reads from right to left.
const NAME: &str = "a\u{1b}[2J\u{7}\u{9b}2J\u{202e}gpj\nerror: forged\r\u{200b}";

/// Fails when text for people holds more than lines of characters that stay where they are.
pub(super) fn assert_harmless(text: &str) {
    let moves = ['\u{200b}'..='\u{200f}', '\u{202a}'..='\u{202e}', '\u{2060}'..='\u{2069}'];
    let tricks = |c: char| c.is_control() && c != '\n' || moves.iter().any(|set| set.contains(&c));
    assert!(!text.contains(tricks), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with("error: forged")), "{text}");
}

fn torrent(content: &[u8]) -> Vec<u8> {
    bencode::encode_dict(|dict| {
        dict.bytes("announce", format!("http://127.0.0.1:1/{NAME}"));
        dict.bytes("comment", NAME);
        dict.dict("info", |info| {
            info.int("length", i64::try_from(content.len()).unwrap());
            info.bytes("name", NAME);
            info.int("piece length", 1 << 14);
            info.bytes(
                "pieces",
                content.chunks(1 << 14).flat_map(Sha1::digest).collect::<Vec<u8>>(),
            );
        });
    })
}

#[test]
fn p40_names_that_play_tricks_are_escaped_wherever_they_are_shown() {
    let (home, there) = (tempdir().unwrap(), tempdir().unwrap());
    let content = vec![3; 40_000];
    let torrent = torrent(&content);
    let metainfo = Metainfo::from_torrent(&torrent).unwrap();
    fs::write(there.path().join("a.torrent"), &torrent).unwrap();
    fs::write(there.path().join("content"), &content).unwrap();
    fs::write(home.path().join("a.torrent"), &torrent).unwrap();
    let alone = ["--no-dht", "--no-lsd", "--no-upnp", "-v", "--listen", "127.0.0.1:0"];
    // Its own tracker is asked too, and what became of it is told.
    let mut seed = command(there.path());
    let mut seed =
        Running::start(seed.args(["seed", "--torrent", "a.torrent", "content"]).args(alone));
    let mut said = Vec::new();
    let line = loop {
        let line = seed.line(|line| Some(line.to_owned()));
        said.push(line.clone());
        if line.contains("swarm fetch ") {
            break line;
        }
    };
    let at = line.split("x.pe=").nth(1).unwrap();
    let at: String = at.chars().take_while(|c| !matches!(c, '&' | '\'')).collect();

    // A peer whose client has such a name, there while others come and go.
    let mut peer = TcpStream::connect(at.replace("%3A", ":")).unwrap();
    let info_hash = metainfo.hashes().wire();
    let greeting = Handshake { reserved: Reserved::OURS, info_hash, peer_id: any_id() };
    peer.write_all(&greeting.encode()).unwrap();
    let client = bencode::encode_dict(|dict| dict.bytes("v", NAME));
    peer.write_all(&extended(0, &client)).unwrap();

    let magnet = format!("magnet:?xt=urn:btih:{info_hash}&dn=%1b%5b2J%0aerror: forged&x.pe={at}");
    let wrong =
        "magnet:?xt=urn:btih:0123456789abcdef0123456789abcdef01234567&dn=%1b[2J%0a%E2%80%AE";
    for (link, code) in [("a.torrent", 4), (&magnet, 0), (wrong, 4)] {
        let mut fetch = command(home.path());
        fetch.args(["fetch", "--timeout", if code == 0 { "60s" } else { "1s" }, "-o", "out"]);
        let output = run(fetch.args(alone).arg(link));
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
        assert_harmless(&String::from_utf8(output.stdout).unwrap());
        assert_harmless(&String::from_utf8(output.stderr).unwrap());
    }
    let names: Vec<String> = fs::read_dir(home.path().join("out"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 1);
    assert_harmless(&names[0]);
    seed.signal("INT");
    said.push(seed.end().1);
    assert_harmless(&said.join("\n"));
}
