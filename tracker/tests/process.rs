//! The `swarm-tracker` binary as a process: what it prints, how it ends.

#![cfg(unix)]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of tests")]

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Output, Stdio};

const BINARY: &str = env!("CARGO_BIN_EXE_swarm-tracker");

/// A running tracker; killed when the test fails before its end.
struct Running {
    child: Child,
    http: SocketAddr,
    stdout: BufReader<std::io::PipeReader>,
}

impl Running {
    fn start(flags: &[&str]) -> Self {
        let (stdout, writer) = std::io::pipe().unwrap();
        let child = Command::new(BINARY)
            .args(["--http", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--json"])
            .args(flags)
            .stdout(writer)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(stdout);
        let first = line(&mut stdout);
        assert_eq!((&first["v"], &first["event"]), (&1.into(), &"listening".into()));
        let http = first["http"][0].as_str().unwrap().parse().unwrap();
        Self { child, http, stdout }
    }

    fn announce(&self) -> String {
        let mut stream = TcpStream::connect(self.http).unwrap();
        let request = "GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&port=7 HTTP/1.0\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        String::from_utf8_lossy(&reply).into_owned()
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    fn exit_code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn line(from: &mut impl std::io::BufRead) -> serde_json::Value {
    let mut text = String::new();
    from.read_line(&mut text).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn output(flags: &[&str]) -> Output {
    Command::new(BINARY).args(flags).output().unwrap()
}

#[test]
fn it_serves_tells_and_ends_on_a_signal() {
    for (signal, code) in [("-TERM", 143), ("-INT", 130)] {
        let mut tracker = Running::start(&[]);
        assert!(tracker.announce().starts_with("HTTP/1.1 200 OK"));
        let joined = line(&mut tracker.stdout);
        assert_eq!((&joined["event"], &joined["peer"]), (&"joined".into(), &"127.0.0.1:7".into()));
        tracker.signal(signal);
        let done = line(&mut tracker.stdout);
        assert_eq!((&done["event"], &done["stats"]["peers"]), (&"done".into(), &1.into()));
        assert_eq!(tracker.exit_code(), Some(code));
    }
}

#[test]
fn an_address_in_use_ends_with_code_11_and_a_hint() {
    let tracker = Running::start(&[]);
    let taken = tracker.http.to_string();
    let second = output(&["--http", &taken, "--udp", "off"]);
    let stderr = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(11), "{stderr}");
    assert!(stderr.starts_with(&format!("error: cannot listen on {taken} for HTTP: ")), "{stderr}");
    assert_eq!(stderr.lines().count(), 2, "{stderr}");
    assert!(stderr.lines().nth(1).unwrap().starts_with("hint: "), "{stderr}");
}

#[test]
fn the_allow_list_is_read_and_read_again_on_sighup() {
    let path = std::env::temp_dir().join(format!("swarm-tracker-allow-{}", std::process::id()));
    std::fs::write(&path, "# nobody\n").unwrap();
    let mut tracker = Running::start(&["--allow", path.to_str().unwrap()]);
    assert!(tracker.announce().contains("does not serve this info_hash"));
    std::fs::write(&path, "61".repeat(20)).unwrap();
    tracker.signal("-HUP");
    assert!((0..5000).any(|_| !tracker.announce().contains("does not serve")), "not read again");
    assert_eq!(line(&mut tracker.stdout)["event"], "joined");
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn mistakes_are_named_with_their_code() {
    for (flags, code, text) in [
        (&["--http", "off", "--udp", "off"][..], 2, "error: nothing to serve"),
        (&["--allow", "/nonexistent"], 6, "error: cannot read the allow-list /nonexistent: "),
        (&["--interval", "1s"], 2, "error: invalid value '1s' for '--interval"),
    ] {
        let output = output(flags);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.starts_with(text), "{stderr}");
    }
}

#[test]
fn a_reader_that_stops_reading_delays_neither_service_nor_signals() {
    let mut tracker = Running::start(&[]);
    // Some hundred bytes each: more than a pipe and the queue before it hold.
    for port in 1..3000 {
        let mut stream = TcpStream::connect(tracker.http).unwrap();
        let request =
            format!("GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&port={port} HTTP/1.0\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }
    tracker.signal("-TERM");
    assert_eq!(tracker.exit_code(), Some(143));
}

#[test]
fn a_reader_that_is_gone_ends_it_quietly() {
    let mut tracker = Running::start(&[]);
    let (reader, _) = std::io::pipe().unwrap();
    drop(std::mem::replace(&mut tracker.stdout, BufReader::new(reader)));
    tracker.announce();
    assert_eq!(tracker.exit_code(), Some(141));
    let mut stderr = String::new();
    tracker.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
}
