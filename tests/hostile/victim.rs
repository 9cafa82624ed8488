//! Whom the attack is aimed at: the real binary, with honest peers beside the attacker.
//!
//! A victim that fetches has an honest seed from the start, so slow that the attack happens
//! meanwhile; [`Victim::survives`] brings a fast one and demands what every case demands. In the
//! long form (`SWARM_HOSTILE=long`) the content is large, the honest seed goes at 2 MB/s all the
//! time, no second one comes, and a line for the table is printed.
//!
//! Not here: what attackers do.

use crate::support::Tree;
use crate::support::binary::{Running, command, run};
use serde_json::Value;
use std::cell::Cell;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use swarm_core::{InfoHash, Metainfo};
use tempfile::{TempDir, tempdir};

/// What the process may have needed at most beyond what it had before the attack, KiB.
const GROWTH_MAX: u64 = 32 * 1024;
/// Lines of log that any case may cause: none has one for each message.
const LOG_LINES_MAX: usize = 200;
/// How long a victim may take for what it must do. A small transfer takes a second or two.
const SECONDS_MAX: u32 = 120;
/// Nothing is looked for outside, nothing is opened to the outside.
pub(super) const ALONE: [&str; 5] = ["--no-dht", "--no-lsd", "--no-upnp", "--json", "-v"];

/// How large everything is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scale {
    pub(super) content: usize,
    pub(super) piece: u32,
    /// Rate of the honest seed that is always there.
    up: &'static str,
    is_long: bool,
}

impl Scale {
    pub(super) fn get() -> Self {
        // Not a whole number of pieces, nor of eight of them.
        if std::env::var("SWARM_HOSTILE").is_ok_and(|form| form == "long") {
            return Self { content: (64 << 20) + 3, piece: 256 << 10, up: "2M", is_long: true };
        }
        Self { content: 1_100_003, piece: 64 << 10, up: "30K", is_long: false }
    }
}

/// The content of all cases, made once.
pub(super) struct Goods {
    pub(super) tree: Tree,
    pub(super) bytes: Vec<u8>,
    pub(super) torrent: Vec<u8>,
    pub(super) metainfo: Metainfo,
}

impl Goods {
    pub(super) fn get() -> &'static Self {
        static GOODS: OnceLock<Goods> = OnceLock::new();
        GOODS.get_or_init(|| {
            let Scale { content, piece, .. } = Scale::get();
            let tree = Tree::file("goods", content);
            let torrent = tree.torrent(piece);
            let metainfo = Metainfo::from_torrent(&torrent).expect("valid");
            Self { bytes: tree.content(), tree, torrent, metainfo }
        })
    }

    pub(super) fn pieces(&self) -> u32 {
        self.metainfo.geometry().piece_count()
    }
}

/// What the victim does when the attack begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Fetch,
    Magnet,
    Seed,
}

/// The process under attack.
pub(super) struct Victim {
    home: TempDir,
    there: TempDir,
    task: Task,
    pub(super) addr: SocketAddr,
    process: Running,
    /// The seed that is there from the start, unless the case wants to be alone with the victim.
    honest: Option<Running>,
    /// High-water mark of its memory before the attack, KiB.
    before: u64,
}

impl Victim {
    /// Fetches, with an honest seed.
    pub(super) fn fetches() -> Self {
        Self::start(Task::Fetch, true, &[])
    }

    /// Fetches; nobody but the attacker has anything, until [`Self::survives`].
    pub(super) fn fetches_alone(peers: &[SocketAddr]) -> Self {
        Self::start(Task::Fetch, Scale::get().is_long, peers)
    }

    /// The same, with an honest seed and others to dial.
    pub(super) fn fetches_from(peers: &[SocketAddr]) -> Self {
        Self::start(Task::Fetch, true, peers)
    }

    /// Knows only the name of the torrent, and nobody who knows more.
    pub(super) fn resolves() -> Self {
        Self::start(Task::Magnet, false, &[])
    }

    /// Has everything.
    pub(super) fn seeds() -> Self {
        Self::start(Task::Seed, false, &[])
    }

    fn start(task: Task, honest: bool, peers: &[SocketAddr]) -> Self {
        let (home, there) = (tempdir().unwrap(), tempdir().unwrap());
        let goods = Goods::get();
        fs::write(there.path().join("a.torrent"), &goods.torrent).unwrap();
        goods.tree.write(there.path());
        let honest = honest.then(|| honest_seed(&there, &["--up", Scale::get().up]));
        let addr = free_port();
        let mut command = match task {
            Task::Seed => seed(&there, addr),
            Task::Fetch | Task::Magnet => {
                let mut fetch = command(home.path());
                fetch.args(["fetch", "--no-tracker", "-o", "out"]).args(ALONE);
                fetch.args(["--listen", &addr.to_string()]);
                fetch.arg("--seed");
                let known = honest.as_ref().map(|(_, addr)| *addr);
                for peer in known.iter().chain(peers) {
                    fetch.args(["--peer", &peer.to_string()]);
                }
                fetch
            }
        };
        match task {
            Task::Fetch => command.arg(there.path().join("a.torrent")),
            Task::Magnet => command.arg(format!("magnet:?xt=urn:btih:{}", hash())),
            Task::Seed => &mut command,
        };
        let mut process = Running::start(&mut command);
        match task {
            Task::Seed => drop(process.event("seeding")),
            Task::Fetch => process.phase("fetching"),
            Task::Magnet => process.phase("metadata"),
        }
        let before = high_water(process.id());
        Self { home, there, task, addr, process, honest: honest.map(|(seed, _)| seed), before }
    }

    /// The first event of this name from now on; fails when it does not come in time.
    pub(super) fn event(&mut self, name: &str) -> Value {
        let seconds = Cell::new(0);
        self.process.line(|line| {
            let event: Value = serde_json::from_str(line).expect("each line is JSON");
            // They come once a second.
            seconds.set(seconds.get() + u32::from(event["event"] == "progress"));
            assert!(seconds.get() <= SECONDS_MAX, "no {name}, and so far {event}");
            (event["event"] == name).then_some(event)
        })
    }

    /// The addresses of the next so many peers that are banned.
    pub(super) fn bans(&mut self, count: usize) -> Vec<SocketAddr> {
        let ban = |_| self.event("peer_banned")["addr"].as_str().unwrap().parse().unwrap();
        (0..count).map(ban).collect()
    }

    /// What is demanded after every attack: the honest transfer ends with the right bytes, the
    /// memory is bounded, nothing has panicked, the log is short. Gives the last event of a
    /// fetch, with its totals.
    pub(super) fn survives(self, fate: &str) -> Value {
        let is_long = Scale::get().is_long;
        let done = match self.task {
            Task::Seed => self.serves(is_long),
            Task::Fetch | Task::Magnet => self.completes(is_long),
        };
        if is_long {
            report(&done, fate);
        }
        done
    }

    fn completes(mut self, is_long: bool) -> Value {
        let needs_help = !is_long || self.honest.is_none();
        let helper = needs_help.then(|| {
            let rate: &[&str] = if is_long { &["--up", "2M"] } else { &[] };
            let victim = self.addr.to_string();
            honest_seed(&self.there, &[&["--peer", &victim][..], rate].concat())
        });
        let mut done = self.event("done");
        self.check_memory(&mut done);
        Goods::get().tree.assert_lies_in(&self.home.path().join("out"));
        self.stop();
        drop(helper);
        done
    }

    fn serves(self, is_long: bool) -> Value {
        let mut fetch = command(self.home.path());
        fetch.args(["fetch", "--no-tracker", "-o", "out"]).args(ALONE);
        fetch.args(["--listen", "127.0.0.1:0", "--peer", &self.addr.to_string()]);
        fetch.args(if is_long { &["--down", "2M"][..] } else { &[] });
        let output = run(fetch.arg(self.there.path().join("a.torrent")));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "nothing to be had of it: {said}");
        let last = String::from_utf8(output.stdout).unwrap();
        let mut done: Value = serde_json::from_str(last.lines().last().unwrap()).unwrap();
        self.check_memory(&mut done);
        Goods::get().tree.assert_lies_in(&self.home.path().join("out"));
        self.stop();
        done
    }

    fn stop(self) {
        self.process.signal("INT");
        let (code, log) = self.process.end();
        assert_eq!(code, Some(130), "{log}");
        assert!(!log.contains("panicked"), "{log}");
        let lines = log.lines().count();
        assert!(lines <= LOG_LINES_MAX, "{lines} lines of log");
    }

    fn check_memory(&self, done: &mut Value) {
        let growth = high_water(self.process.id()).saturating_sub(self.before);
        done["growth_kib"] = growth.into();
        assert_modest(growth);
    }
}

/// Fails when an attack has cost more memory than any may, in KiB. A large transfer has buffers
/// of its own: there the table tells, beside the line without attack.
pub(super) fn assert_modest(growth: u64) {
    assert!(Scale::get().is_long || growth <= GROWTH_MAX, "{growth} KiB more than before");
}

impl Running {
    /// Waits for a stage of a fetch.
    fn phase(&mut self, name: &str) {
        while self.event("progress")["phase"] != name {}
    }
}

pub(super) fn hash() -> InfoHash {
    Goods::get().metainfo.hashes().wire()
}

fn seed(there: &TempDir, listen: SocketAddr) -> Command {
    let mut seed = command(there.path());
    seed.args(["seed", "--torrent", "a.torrent", "--no-tracker"]).args(ALONE);
    seed.args(["--listen", &listen.to_string(), "goods"]);
    seed
}

/// An honest seed of its own process, and where it listens.
fn honest_seed(there: &TempDir, more: &[&str]) -> (Running, SocketAddr) {
    let mut seed = seed(there, SocketAddr::from(([127, 0, 0, 1], 0)));
    let mut seed = Running::start(seed.args(more));
    let addr = seed.event("seeding")["listen"][0].as_str().unwrap().parse().unwrap();
    (seed, addr)
}

/// A port that nobody has at the moment; what a fetch listens on is not in its events. Below those
/// that the system hands out by itself, so that nobody gets it meanwhile.
fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 8_000).unwrap();
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        let addr = SocketAddr::from(([127, 0, 0, 1], port));
        if TcpListener::bind(addr).is_ok() {
            return addr;
        }
    }
}

/// The most memory that a process has had, KiB; 0 where the system does not say.
pub(super) fn high_water(process: u32) -> u64 {
    let status = fs::read_to_string(PathBuf::from(format!("/proc/{process}/status")));
    let status = status.unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// One line of the table of the long form.
fn report(done: &Value, fate: &str) {
    let thread = std::thread::current();
    let case = thread.name().and_then(|name| name.rsplit("::").next()).unwrap_or_default();
    println!(
        "HOSTILE | {case} | {:.1} | {} | {fate} |",
        done["seconds"].as_f64().unwrap_or_default(),
        done["growth_kib"].as_u64().unwrap_or_default() / 1024,
    );
}

mod tests {
    use super::*;

    /// What the long form compares everything with.
    #[test]
    fn p00_without_an_attack_it_fetches() {
        Victim::fetches().survives("no attacker");
    }

    #[test]
    fn p00_without_an_attack_it_serves() {
        Victim::seeds().survives("no attacker");
    }
}
