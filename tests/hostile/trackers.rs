//! Trackers of ill will: T01 to T12. Beside each stands a good one, which is used.
//!
//! A body, a redirect or a silence costs the torrent one source of peers, said by name; nothing
//! else. How long a tracker may take, and which of a tier is asked next, are unit tests of
//! `engine::trackers` and `proto::announce`, with time in their hands.

use super::shown::assert_harmless;
use super::victim::{ALONE, Goods, assert_modest, high_water};
use crate::support::binary::{Running, command, run};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use swarm_core::wire::tracker::pack_peer;
use tempfile::{TempDir, tempdir};

/// A scripted HTTP tracker; it counts who asks.
struct Http {
    addr: SocketAddr,
    asked: Arc<AtomicU32>,
}

impl Http {
    /// Has `answer` write to each client that has asked.
    fn new(answer: impl Fn(&mut TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, asked) = (listener.local_addr().unwrap(), Arc::new(AtomicU32::new(0)));
        let count = asked.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = Vec::new();
                let mut byte = [0];
                while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) > 0 {
                    request.push(byte[0]);
                }
                count.fetch_add(1, Ordering::Relaxed);
                answer(&mut stream);
            }
        });
        Self { addr, asked }
    }

    /// Answers everybody with these bytes.
    fn saying(answer: Vec<u8>) -> Self {
        Self::new(move |stream| drop(stream.write_all(&answer)))
    }

    fn url(&self) -> String {
        format!("http://{}/announce", self.addr)
    }
}

fn ok(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

/// A seed with a tracker of its own, and a fetch that knows it only through that.
struct Swarm {
    home: TempDir,
    there: TempDir,
    seed: Running,
    good: String,
}

impl Swarm {
    fn new() -> Self {
        let (home, there) = (tempdir().unwrap(), tempdir().unwrap());
        fs::write(there.path().join("a.torrent"), &Goods::get().torrent).unwrap();
        Goods::get().tree.write(there.path());
        let mut seed = command(there.path());
        seed.args(["seed", "--torrent", "a.torrent", "--listen", "127.0.0.1:0", "goods"]);
        let mut seed = Running::start(seed.args(ALONE));
        let at = seed.event("seeding")["listen"][0].as_str().unwrap().to_owned();
        Self { home, there, seed, good: format!("http://{at}/announce") }
    }

    /// Fetches with a bad tracker too; what is said of it. `None` when the bad one may answer.
    fn fetch(self, bad: &str, complaint: Option<&str>) -> String {
        let mut fetch = command(self.home.path());
        fetch.args(["fetch", "--no-tracker", "--seed", "-o", "out", "--listen", "127.0.0.1:0"]);
        fetch.args(ALONE).args(["--tracker", bad, "--tracker", &self.good]);
        let mut fetch = Running::start(fetch.arg(self.there.path().join("a.torrent")));
        let before = high_water(fetch.id());
        let (mut said, mut is_done) = (None, false);
        while !is_done || complaint.is_some() && said.is_none() {
            let line = fetch.line(|line| Some(line.to_owned()));
            let event: serde_json::Value = serde_json::from_str(&line).unwrap();
            is_done |= event["event"] == "done";
            let message = event["message"].as_str().filter(|_| event["event"] == "warning");
            said = said.or_else(|| message.map(str::to_owned));
        }
        assert_modest(high_water(fetch.id()).saturating_sub(before));
        Goods::get().tree.assert_lies_in(&self.home.path().join("out"));
        fetch.signal("INT");
        let (code, log) = fetch.end();
        assert_eq!(code, Some(130), "{log}");
        assert!(!log.contains("panicked") && log.lines().count() < 50, "{log}");
        drop(self.seed);
        let said = said.unwrap_or_default();
        assert_harmless(&said);
        assert!(said.contains(complaint.unwrap_or_default()), "{said}");
        said
    }
}

#[test]
fn t01_a_compressed_body_is_not_inflated() {
    // Ten kilobytes that begin as a member does.
    let bomb = [&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], &[0xff; 10_000]].concat();
    let tracker = Http::saying(ok("Content-Encoding: gzip\r\n", &bomb));
    Swarm::new().fetch(&tracker.url(), Some("not what a tracker sends"));
}

#[test]
fn t02_a_body_of_a_hundred_megabytes_is_given_up_at_one() {
    let tracker = Http::new(|stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        while stream.write_all(&[b'x'; 1 << 16]).is_ok() {}
    });
    Swarm::new().fetch(&tracker.url(), Some("is too long"));
}

#[test]
fn t03_a_body_without_end_is_given_up_and_so_are_headers() {
    let body = Http::new(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        while stream.write_all(&[b'x'; 1 << 10]).is_ok() {}
    });
    Swarm::new().fetch(&body.url(), Some("is too long"));
    let headers = Http::new(|stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-More: and more\r\n").is_ok() {}
    });
    Swarm::new().fetch(&headers.url(), Some("tracker"));
}

#[test]
fn t04_a_redirect_in_a_circle_is_followed_five_times() {
    let answer = b"HTTP/1.1 302 Found\r\nLocation: /announce\r\nContent-Length: 0\r\n\r\n";
    let tracker = Http::saying(answer.to_vec());
    Swarm::new().fetch(&tracker.url(), Some("redirect is one too many"));
    assert_eq!(tracker.asked.load(Ordering::Relaxed) % 6, 0, "one announce, five redirects");
}

/// Out of encryption (T06) leads none either: `engine::web` shows it, for it takes certificates.
#[test]
fn t05_a_redirect_to_a_metadata_service_is_not_followed() {
    let to = "Location: http://169.254.169.254/announce\r\nContent-Length: 0\r\n\r\n";
    let tracker = Http::saying(format!("HTTP/1.1 302 Found\r\n{to}").into_bytes());
    Swarm::new().fetch(&tracker.url(), Some("not allowed"));
}

/// Once at the start, once when complete, once at the end: an absurd interval changes nothing.
#[test]
fn t07_an_absurd_interval_is_not_kept_to() {
    for interval in ["0", "-1", "2147483648", "-9223372036854775808", "99999999999999999999"] {
        let body = format!("d8:intervali{interval}e5:peers0:e");
        let tracker = Http::saying(ok("", body.as_bytes()));
        Swarm::new().fetch(&tracker.url(), None);
        let asked = tracker.asked.load(Ordering::Relaxed);
        assert!((1..=3).contains(&asked), "asked {asked} times at interval {interval}");
    }
}

#[test]
fn t08_peers_that_do_not_divide_into_addresses_are_refused() {
    let tracker = Http::saying(ok("", b"d8:intervali900e5:peers7:1234567e"));
    Swarm::new().fetch(&tracker.url(), Some("not a multiple of 6"));
}

#[test]
fn t09_of_a_million_peers_few_are_looked_at() {
    let reply = |count: u32| {
        let mut packed = Vec::new();
        for number in 0..count {
            let [_, a, b, c] = number.to_be_bytes();
            pack_peer(&mut packed, SocketAddr::from(([127, a | 1, b, c], 9)));
        }
        let head = format!("d8:intervali900e5:peers{}:", packed.len());
        ok("", &[head.as_bytes(), &packed, b"e"].concat())
    };
    Swarm::new().fetch(&Http::saying(reply(1_000_000)).url(), Some("is too long"));
    // As many as a reply may hold: 200 of them are kept, and the good one is found all the same.
    Swarm::new().fetch(&Http::saying(reply(170_000)).url(), None);
}

pub(super) fn t10_a_tracker_that_never_answers_is_given_up() {
    let tracker = Http::new(|stream| drop(stream.read(&mut [0])));
    Swarm::new().fetch(&tracker.url(), Some("timed out"));
}

fn udp(answer: impl Fn(&UdpSocket, &[u8], SocketAddr) + Send + 'static) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("udp://{}/announce", socket.local_addr().unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while let Ok((count, from)) = socket.recv_from(&mut buffer) {
            answer(&socket, &buffer[..count], from);
        }
    });
    url
}

/// An error under the right id says that the right answer was found among the wrong ones.
#[test]
fn t11_a_flood_of_answers_to_nothing_is_passed_over() {
    let bad = udp(|socket, packet, from| {
        let mut wrong = [0; 16];
        for number in 0..100_000_u32 {
            wrong[4..8].copy_from_slice(&number.to_be_bytes());
            if wrong[4..8] != packet[12..16] {
                let _ = socket.send_to(&wrong, from);
            }
        }
        // What the flood has pushed out of the buffer comes again.
        for _ in 0..100 {
            let _ = socket.send_to(&[&[0, 0, 0, 3], &packet[12..16], b"found"].concat(), from);
        }
    });
    Swarm::new().fetch(&bad, Some("found"));
}

const TEXT: &[u8] = b"no\x1b[2J\x07\xc2\x9b\xe2\x80\xae\nerror: forged";

#[test]
fn t12_what_a_tracker_says_of_its_refusal_is_escaped() {
    let over_udp = udp(|socket, packet, from| {
        let _ = socket.send_to(&[&[0, 0, 0, 3], &packet[12..16], TEXT].concat(), from);
    });
    let said = Swarm::new().fetch(&over_udp, Some("tracker refused: no"));
    assert!(said.contains("\\u{1b}[2J"), "{said}");
    let body = [format!("d14:failure reason{}:", TEXT.len()).as_bytes(), TEXT, b"e"].concat();
    let over_http = Http::saying(ok("", &body));
    Swarm::new().fetch(&over_http.url(), Some("tracker refused: no"));
    // To people too; where every tracker refuses there is nothing to wait for.
    let home = tempdir().unwrap();
    let mut fetch = command(home.path());
    fetch.args(["fetch", "--listen", "127.0.0.1:0", "--tracker", &over_udp, "-v"]);
    let output = run(fetch.arg("0123456789abcdef0123456789abcdef01234567"));
    assert_eq!(output.status.code(), Some(10));
    assert_harmless(&String::from_utf8(output.stderr).unwrap());
}
