//! Bounds as the user meets them: few descriptors, URLs that lead astray, secrets in them.

use super::{ALONE, Home, said};
use crate::support::binary::{Running, path, shell};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// LIMITS J08: it serves with what it has, and goes on when there is more again.
#[test]
fn a_process_that_may_open_few_files_says_so_and_survives_running_out_of_them() {
    let (there, here) = (Home::new(), Home::new());
    there.write("file", [7; 100_000]);
    let swarm = path().to_str().unwrap();
    let line = format!("ulimit -n 48; exec {swarm} seed -v {} file", ALONE.join(" "));
    let mut seed = Running::start(&mut shell(&line, there.path()));
    let magnet = seed.line(|line| line.starts_with("magnet:").then(|| line.to_owned()));
    let (_, peer) = magnet.rsplit_once("x.pe=").expect("it names where it listens");
    let crowd: Vec<TcpStream> = (0..64)
        .map(|_| {
            let mut stream = TcpStream::connect(peer).expect("the system takes it");
            stream.write_all(b"GET /announce").unwrap();
            stream
        })
        .collect();
    // One that it cannot take before another goes.
    let mut asks = TcpStream::connect(peer).unwrap();
    asks.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    drop(crowd);
    let mut answer = String::new();
    asks.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let fetch = here.run(&[&["fetch"][..], &ALONE, &[&magnet]].concat());
    assert!(fetch.status.success(), "{}", said(&fetch.stderr));
    seed.signal("INT");
    let (_, log) = seed.end();
    assert!(log.contains("at most 8 connections, not 500: few files may be open"), "{log}");
    assert!(log.contains("\"descriptors\": "), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}

/// LIMITS 1.G, C16, F07: the URL of a `.torrent`.
#[test]
fn a_redirect_to_a_metadata_service_is_refused_and_no_secret_is_shown() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let to = "http://169.254.169.254/latest/meta-data";
        write!(stream, "HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        String::from_utf8(head).unwrap()
    });
    let home = Home::new();
    let url = format!("http://me:secret@{addr}/secret/a.torrent?key=secret");
    let output = home.run(&[&["fetch", "--json", "-v"][..], &ALONE, &[&url]].concat());
    assert_eq!(output.status.code(), Some(11));
    assert!(server.join().unwrap().contains("secret"), "the server was told");
    let all = said(&output.stdout) + &said(&output.stderr);
    let why = format!("cannot fetch http://{addr}/");
    assert!(all.contains(&why) && all.contains("169.254.169.254, which is not allowed"), "{all}");
    assert!(!all.contains("secret"), "{all}");
}

/// LIMITS C16: what a magnet link's trackers hold.
#[test]
fn a_trackers_secrets_are_in_no_event_and_no_log() {
    let hash = super::HASH;
    let link = format!(
        "magnet:?xt=urn:btih:{hash}&tr=http://me:secret@127.0.0.1:1/secret/announce?pass=secret"
    );
    let home = Home::new();
    // A busy machine may not come to the tracker within a second.
    let said_after = |timeout: &&str| {
        let fetch = [&["fetch", "--json", "-v", "--timeout", timeout][..], &ALONE, &[&link]];
        let output = home.run(&fetch.concat());
        assert_eq!(output.status.code(), Some(4));
        let all = said(&output.stdout) + &said(&output.stderr);
        assert!(!all.contains("secret"), "{all}");
        all.contains("127.0.0.1:1/") && all.contains("announce")
    };
    assert!(["1s", "10s", "60s"].iter().any(said_after), "it never spoke of the tracker");
}
