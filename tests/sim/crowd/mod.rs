//! Crowds as data: who comes when with which line, how some of them behave, what goes wrong;
//! and how long it took them over the least time that any schedule needs.
//!
//! A scenario gives one line of a table in the tree, so that a change of the picker or the
//! choker that costs time is a diff in review. `SWARM_SIM=long` plays the large forms, best
//! with `--cargo-profile sim`; `SWARM_ROWS=flash,riders` plays only some and compares nothing.
//!
//! Those whose names end in a number are twins of `tests/bench/crowd.py`, played over
//! [`Wire::Tcp`].
//!
//! Not here: which scenarios there are (`rows`).

mod floor;
mod play;
mod rows;
mod table;

use super::net::Wire;
use super::spec::{Conduct, Software};
use std::time::Duration;

/// A crowd. Rates are Mbit/s.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    what: &'static str,
    fetchers: usize,
    /// Uplinks of the fetchers in turn.
    ups: &'static [u64],
    seed_up: u64,
    down: u64,
    /// Bytes.
    content: u64,
    piece: u32,
    cast: Cast,
    arrivals: Arrivals,
    departures: Departures,
    incident: Incident,
    racks: Option<Racks>,
    wire: Wire,
    /// Between any two.
    one_way: Duration,
}

/// Who is not an honest host with our software.
#[derive(Clone, Copy, Debug)]
enum Cast {
    Nobody,
    /// So many in a hundred of the fetchers, spread evenly.
    Some {
        percent: usize,
        software: Software,
        conduct: Conduct,
    },
}

#[derive(Clone, Copy, Debug)]
enum Arrivals {
    AtOnce,
    /// So many more, one after another.
    Late {
        more: usize,
        every: Duration,
    },
}

#[derive(Clone, Copy, Debug)]
enum Departures {
    Nobody,
    /// The seed dies as soon as the others have one copy between them.
    Seed,
    /// Every so-manieth fetcher leaves when it has everything.
    Every(usize),
}

#[derive(Clone, Copy, Debug)]
enum Incident {
    Nothing,
    /// Every second host is cut off from the others for that time.
    Parted {
        from: Duration,
        until: Duration,
    },
    /// Nobody but one fetcher and the seed can be dialled.
    WalledButOne,
}

/// Fetchers are spread over so many racks, the seed being in the first; each shares a line to
/// the others of so many Mbit/s in each direction.
#[derive(Clone, Copy, Debug)]
struct Racks {
    count: usize,
    line: u64,
}

/// What came of it. Times and amounts are over the floor and the content.
#[derive(Debug)]
struct Outcome {
    finished: usize,
    of: usize,
    t50: f64,
    t95: f64,
    last: f64,
    mean: f64,
    /// Of those who are not honest hosts with our software, if there are any.
    others: Option<f64>,
    seed_sent: f64,
    wasted: f64,
    asked_again: f64,
    idle: f64,
    floor: f64,
    events: u64,
}

const MIB: u64 = 1 << 20;
const KIB: u32 = 1 << 10;

/// What scenarios differ from.
const BASE: Scenario = Scenario {
    name: "",
    what: "",
    fetchers: 200,
    ups: &[20],
    seed_up: 20,
    down: 200,
    content: 32 * MIB,
    piece: 128 * KIB,
    cast: Cast::Nobody,
    arrivals: Arrivals::AtOnce,
    departures: Departures::Nobody,
    incident: Incident::Nothing,
    racks: None,
    wire: Wire::Bare,
    one_way: Duration::from_millis(10),
};

impl Scenario {
    /// Uplinks of the fetchers, in the order in which they come.
    fn uplinks(&self) -> impl Iterator<Item = u64> + use<> {
        let more = match self.arrivals {
            Arrivals::AtOnce => 0,
            Arrivals::Late { more, .. } => more,
        };
        self.ups.iter().copied().cycle().take(self.fetchers + more)
    }

    /// Whether this fetcher is an odd one.
    fn is_odd(&self, fetcher: usize) -> bool {
        match self.cast {
            Cast::Nobody => false,
            Cast::Some { percent, .. } => (fetcher + 1) * percent / 100 > fetcher * percent / 100,
        }
    }

    fn rack_of(&self, fetcher: usize) -> Option<usize> {
        self.racks.map(|racks| fetcher % racks.count)
    }
}
