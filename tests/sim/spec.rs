//! How a host is made: its line, its software, what it begins with, how it behaves.

use super::content::Content;
use super::disk::Faults;
use std::time::Duration;
use swarm_core::types::Bitfield;

/// How a host is made. Rates are bytes a second.
#[derive(Clone, Debug)]
pub(super) struct Spec {
    pub(super) up: u64,
    pub(super) down: u64,
    /// Its half of the one-way delay to anybody.
    pub(super) latency: Duration,
    pub(super) start: Start,
    pub(super) software: Software,
    pub(super) conduct: Conduct,
    pub(super) reach: Reach,
    /// The rack whose line to the others it shares.
    pub(super) rack: Option<usize>,
    /// Speaks the fast extension.
    pub(super) fast: bool,
    /// Pieces it wants; `None` for all.
    pub(super) wanted: Option<Bitfield>,
    /// Memory for open pieces, bytes.
    pub(super) capacity: u64,
    /// Memory for blocks on their way out, bytes.
    pub(super) send_budget: u64,
    /// How fast it hashes, bytes a second.
    pub(super) hash_rate: u64,
    pub(super) faults: Faults,
}

/// What a host has to begin with.
#[derive(Clone, Debug)]
pub(super) enum Start {
    Seed,
    Leech,
    Partial(Bitfield),
    /// Only the name of the torrent.
    Magnet,
}

/// What a host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Software {
    Ours,
    /// See `foreign`.
    Foreign,
}

/// How a host behaves, beyond its core's back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Conduct {
    Honest,
    /// Of its blocks, so many in a hundred are wrong.
    Liar {
        percent: u64,
    },
    /// Of each piece one block is wrong, always the same.
    Spoiler,
    /// Honest in three quarters of the pieces; of the rest every block is wrong.
    Sleeper,
    /// Every block is wrong, and the same as that of all others of its kind.
    Colluder,
    /// Takes and never gives: what its core says of unchoking is not sent, and nothing is served.
    /// With our software it claims to be one of us all the same.
    FreeRider,
    /// Unchokes, takes requests and sends nothing.
    Mute,
    /// Unchokes, takes requests and answers with a byte a second.
    Dripper,
    /// Says that it has everything; what it lacks it is silent about when asked.
    Braggart,
    /// Takes back every request as soon as it was made.
    Canceller,
    /// Of its blocks, every so-manieth breaks off in the middle, and with it the connection.
    Vanisher {
        every: u64,
    },
}

/// Who can connect to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Everybody,
    /// It can only dial.
    Nobody,
}

/// Memory for open pieces that a host has unless it says otherwise.
const CAPACITY: u64 = 16 << 20;
/// Memory for blocks on their way out, likewise.
const SEND_BUDGET: u64 = 16 << 20;
/// How fast a host hashes unless it says otherwise: one core.
const HASH_RATE: u64 = 1_000_000_000;

impl Spec {
    /// 20 Mbit/s up, 200 Mbit/s down, 10 ms to anybody.
    pub(super) fn new(start: Start) -> Self {
        Self {
            up: mbit(20),
            down: mbit(200),
            latency: Duration::from_millis(5),
            start,
            software: Software::Ours,
            conduct: Conduct::Honest,
            reach: Reach::Everybody,
            rack: None,
            fast: true,
            wanted: None,
            capacity: CAPACITY,
            send_budget: SEND_BUDGET,
            hash_rate: HASH_RATE,
            faults: Faults::default(),
        }
    }

    pub(super) fn seed() -> Self {
        Self::new(Start::Seed)
    }

    pub(super) fn leech() -> Self {
        Self::new(Start::Leech)
    }

    pub(super) fn conduct(mut self, conduct: Conduct) -> Self {
        self.conduct = conduct;
        self
    }

    pub(super) fn up(mut self, up: u64) -> Self {
        self.up = up;
        self
    }

    pub(super) fn down(mut self, down: u64) -> Self {
        self.down = down;
        self
    }

    pub(super) fn wanted(mut self, wanted: Bitfield) -> Self {
        self.wanted = Some(wanted);
        self
    }

    pub(super) fn initial(&self, content: &Content) -> Bitfield {
        let count = content.geometry().piece_count();
        match &self.start {
            Start::Seed => Bitfield::all(count),
            Start::Leech | Start::Magnet => Bitfield::none(count),
            Start::Partial(have) => have.clone(),
        }
    }
}

impl Conduct {
    /// Whether peers may find fault with it.
    pub(super) fn may_be_blamed(self) -> bool {
        self != Self::Honest && !self.is_silent()
    }

    /// Whether it takes requests and serves nothing.
    pub(super) fn is_silent(self) -> bool {
        matches!(self, Self::FreeRider | Self::Mute | Self::Dripper)
    }

    /// Whether peers may find out that its blocks are wrong.
    pub(super) fn lies(self) -> bool {
        matches!(self, Self::Liar { .. } | Self::Spoiler | Self::Sleeper | Self::Colluder)
    }
}

/// A rate people name in megabits, in bytes a second.
pub(super) const fn mbit(rate: u64) -> u64 {
    rate * 1_000_000 / 8
}
