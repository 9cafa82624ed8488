//! The short forms of what the scripts beside this file do at length: many connections, few
//! descriptors, an end beside a crowd.
//!
//! The binary runs, so that its memory and its descriptors are its own; what it has is read
//! from the kernel. Nothing is timed and nothing sleeps: the seed says once a second how many
//! peers it has, and that is waited for.
//!
//! Not here: the full sizes and what was measured (`connections.py`, `RELIABILITY.md`), a disk
//! in trouble (`e2e::disk`), what hostile peers say (`hostile`).

use crate::support::binary::{Running, command, run};
use crate::support::{Tree, within};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use swarm_core::types::InfoHash;
use tempfile::{TempDir, tempdir};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

const PIECE: u32 = 16 * 1024;
/// Peers of a crowd.
const CROWD: u32 = 400;
/// Peers that press where there are 64 descriptors: more than find one, and no more than the
/// system keeps waiting for us (128), since beyond that connecting takes as long as it takes.
const PRESS: u32 = 100;
/// Most memory that one idle peer may cost in a build without optimisation.
const PEER_BYTES: u64 = 48 << 10;

/// A seed of the binary and what it serves.
struct Seed {
    tree: Tree,
    info_hash: InfoHash,
    home: TempDir,
    running: Running,
    address: SocketAddr,
}

impl Seed {
    fn start(tree: Tree, more: &[&str]) -> Self {
        Self::start_as(tree, more, |seed| seed)
    }

    /// The same by a changed command.
    fn start_as(tree: Tree, more: &[&str], change: impl FnOnce(Command) -> Command) -> Self {
        let home = tempdir().unwrap();
        let content = tree.write(home.path());
        fs::write(home.path().join("a.torrent"), tree.torrent(PIECE)).unwrap();
        let mut seed = command(home.path());
        seed.args(["seed", "--torrent", "a.torrent", "--listen", "127.0.0.1:0"]);
        seed.args(["--json", "--no-pex"]).args(more).arg(content);
        let mut running = Running::start(&mut change(seed));
        let said = running.event("seeding");
        let info_hash = tree.metainfo(PIECE).hashes().wire();
        let address = said["listen"][0].as_str().and_then(|text| text.parse().ok());
        Self { tree, info_hash, home, running, address: address.expect("it listens") }
    }

    fn handshake(&self) -> Vec<u8> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut bytes = b"\x13BitTorrent protocol\0\0\0\0\0\0\0\0".to_vec();
        bytes.extend_from_slice(self.info_hash.as_bytes());
        bytes.extend_from_slice(format!("-ZZ0000-{number:012}").as_bytes());
        bytes
    }

    /// A connection from address number `from` of loopback.
    async fn dial(&self, from: u32) -> Option<TcpStream> {
        let socket = TcpSocket::new_v4().unwrap();
        let [.., high, low] = from.to_be_bytes();
        socket.bind((Ipv4Addr::new(127, 5, high, low.max(1)), 0).into()).unwrap();
        within("a connection", socket.connect(self.address)).await.ok()
    }

    /// One that has been answered.
    async fn greet(&self, from: u32) -> Option<TcpStream> {
        let mut stream = self.dial(from).await?;
        stream.write_all(&self.handshake()).await.ok()?;
        let mut theirs = [0; 68];
        within("an answer", stream.read_exact(&mut theirs)).await.ok()?;
        Some(stream)
    }

    async fn crowd(&self, size: u32) -> Vec<TcpStream> {
        let mut crowd = Vec::new();
        for number in 0..size {
            crowd.extend(self.greet(number).await);
        }
        crowd
    }

    /// Waits until it says that it has so many peers, and nothing but listeners, files and they
    /// hold a descriptor.
    fn settles(&mut self, peers: u64, descriptors: usize) {
        loop {
            let said = self.running.event("progress");
            if said["peers"].as_u64() == Some(peers) && self.descriptors() <= descriptors {
                return;
            }
        }
    }

    fn descriptors(&self) -> usize {
        fs::read_dir(self.proc("fd")).unwrap().count()
    }

    fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(self.proc("status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    fn proc(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.running.id()).into()
    }

    /// An honest peer gets everything.
    fn serves_everything(&self) {
        let here = tempdir().unwrap();
        let mut fetch = command(here.path());
        fetch.args(["fetch", "-o", "out", "--no-pex", "--listen", "127.9.9.9:0", "--peer"]);
        fetch.arg(self.address.to_string()).arg(self.home.path().join("a.torrent"));
        let done = run(&mut fetch);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        self.tree.assert_lies_in(&here.path().join("out"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_peers_cost_little_disturb_nobody_and_delay_no_end() {
    // Takes connections and never says a word.
    let tracker = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", tracker.local_addr().unwrap());
    let more = ["--max-peers", "1000", "--tracker", &url];
    let seed = Seed::start(Tree::file("idle", 4_000_000), &more);
    let _asked = within("an announce", tracker.accept()).await.unwrap();
    let before = (seed.resident_bytes(), seed.descriptors());
    let crowd = seed.crowd(CROWD).await;
    assert_eq!(crowd.len(), usize::try_from(CROWD).unwrap());
    let grown = seed.resident_bytes().saturating_sub(before.0);
    assert!(grown < u64::from(CROWD) * PEER_BYTES, "{grown} bytes for {CROWD} idle peers");
    tokio::task::spawn_blocking(move || {
        seed.serves_everything();
        seed.running.signal("TERM");
        assert_eq!(seed.running.wait(), Some(143));
    })
    .await
    .unwrap();
    drop(crowd);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_come_and_go_leave_nothing_behind() {
    let mut seed = Seed::start(Tree::file("churn", 1_000_000), &[]);
    let before = seed.descriptors();
    for number in 0..2_000 {
        match number % 3 {
            0 => drop(seed.dial(number).await),
            1 => drop(seed.greet(number).await),
            _ => {
                if let Some(mut stream) = seed.dial(number).await {
                    let _ = stream.write_all(&seed.handshake()[..30]).await;
                }
            }
        }
    }
    tokio::task::spawn_blocking(move || {
        seed.settles(0, before + 2);
        seed.serves_everything();
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_takes_no_more_than_its_part_of_the_places() {
    let seed = Seed::start(Tree::file("crowded", 1_000_000), &[]);
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        // Never more than one of them is being answered, so none waits in line.
        crowd.extend(seed.greet(1).await);
    }
    assert!(crowd.len() > 1, "several machines may share an address");
    tokio::task::spawn_blocking(move || {
        seed.serves_everything();
        drop(crowd);
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn with_few_descriptors_it_stays_up_and_recovers() {
    let names: Vec<String> = (0..80).map(|number| format!("{number:02}")).collect();
    let files: Vec<(&str, usize)> = names.iter().map(|name| (&**name, 20_000)).collect();
    let few = |seed: Command| limited(&seed, 64);
    let mut seed = Seed::start_as(Tree::folder("many", &files), &[], few);
    let mut crowd = Vec::new();
    for number in 0..PRESS {
        // Whether it is answered or not: most of them find no place.
        if let Some(mut stream) = seed.dial(number).await {
            let _ = stream.write_all(&seed.handshake()).await;
            crowd.push(stream);
        }
    }
    drop(crowd);
    tokio::task::spawn_blocking(move || {
        seed.settles(0, 63);
        seed.serves_everything();
        seed.running.signal("TERM");
        let (code, log) = seed.running.end();
        assert_eq!(code, Some(143));
        assert!(!log.contains("panicked"), "{log}");
    })
    .await
    .unwrap();
}

/// The command with so many descriptors.
fn limited(command: &Command, most: u32) -> Command {
    let mut limited = Command::new("sh");
    limited.args(["-c", &format!("ulimit -n {most} && exec \"$0\" \"$@\"")]);
    limited.arg(command.get_program()).args(command.get_args());
    let folder: &Path = command.get_current_dir().expect("every command has its folder");
    limited.current_dir(folder).env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            limited.env(name, value);
        }
    }
    limited
}
