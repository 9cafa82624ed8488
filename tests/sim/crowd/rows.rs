//! The scenarios.

use super::{Arrivals, BASE, Cast, Departures, Incident, KIB, MIB, Racks, Scenario};
use crate::sim::net::Wire;
use crate::sim::spec::{Conduct, Software};
use std::time::Duration;

/// Crowds in large; [`small`] makes them small.
pub(super) const CROWDS: &[Scenario] = &[
    Scenario { name: "flash", what: "one seed, all at once", ..BASE },
    Scenario { name: "mixed", what: "uplinks 4:1:1:1/4", ups: &[80, 20, 20, 5], ..BASE },
    Scenario { name: "strong", what: "a seed of 16 uplinks", seed_up: 320, ..BASE },
    Scenario { name: "weak", what: "a seed of half an uplink", seed_up: 10, ..BASE },
    Scenario { name: "narrow", what: "downlinks like uplinks", down: 20, ..BASE },
    Scenario { name: "far", what: "100 ms one way", one_way: Duration::from_millis(100), ..BASE },
    Scenario {
        name: "riders",
        what: "30 % take and never give, and claim to be ours",
        cast: odd(30, Software::Ours, Conduct::FreeRider),
        ..BASE
    },
    Scenario {
        name: "strange riders",
        what: "30 % take and never give, foreign",
        cast: odd(30, Software::Foreign, Conduct::FreeRider),
        ..BASE
    },
    Scenario {
        name: "no riders",
        what: "the same without them",
        fetchers: BASE.fetchers * 7 / 10,
        ..BASE
    },
    Scenario {
        name: "half foreign",
        what: "every second one a stranger",
        cast: odd(50, Software::Foreign, Conduct::Honest),
        ..BASE
    },
    Scenario {
        name: "all foreign",
        what: "all but one strangers, who count",
        cast: odd(99, Software::Foreign, Conduct::Honest),
        ..BASE
    },
    Scenario {
        name: "poison",
        what: "20 % send wrong blocks, one in ten",
        cast: odd(20, Software::Ours, Conduct::Liar { percent: 10 }),
        ..BASE
    },
    Scenario {
        name: "braggarts",
        what: "20 % claim to have everything",
        cast: odd(20, Software::Ours, Conduct::Braggart),
        ..BASE
    },
    Scenario {
        name: "cancellers",
        what: "20 % take back every request",
        cast: odd(20, Software::Ours, Conduct::Canceller),
        ..BASE
    },
    Scenario {
        name: "vanishers",
        what: "20 % vanish in mid-block, each 20th",
        cast: odd(20, Software::Ours, Conduct::Vanisher { every: 20 }),
        ..BASE
    },
    Scenario {
        name: "orphans",
        what: "the seed dies after one copy",
        departures: Departures::Seed,
        ..BASE
    },
    Scenario {
        name: "churn",
        what: "a third leave when done, one more comes every 2 s",
        arrivals: Arrivals::Late { more: 40, every: Duration::from_secs(2) },
        departures: Departures::Every(3),
        ..BASE
    },
    Scenario {
        name: "parted",
        what: "two halves apart from 2 s to 10 s",
        incident: Incident::Parted { from: Duration::from_secs(2), until: Duration::from_secs(10) },
        ..BASE
    },
    Scenario {
        name: "walled",
        what: "only the seed and one fetcher can be dialled",
        incident: Incident::WalledButOne,
        ..BASE
    },
    Scenario {
        name: "racks",
        what: "8 racks, each with a line of 5 uplinks",
        racks: Some(Racks { count: 8, line: 100 }),
        ..BASE
    },
    Scenario {
        name: "many pieces",
        what: "pieces of 16 KiB",
        fetchers: 50,
        piece: 16 * KIB,
        ..BASE
    },
];

/// Only in large.
pub(super) const VAST: &[Scenario] = &[
    Scenario {
        name: "thousand",
        what: "1,000 fetchers, 1,000 pieces",
        fetchers: 1000,
        content: 1000 * 64 * 1024,
        piece: 64 * KIB,
        ..BASE
    },
    Scenario {
        name: "two thousand",
        what: "2,000 fetchers, 256 pieces",
        fetchers: 2000,
        content: 16 * MIB,
        piece: 64 * KIB,
        ..BASE
    },
    Scenario {
        name: "100,000 pieces",
        what: "of 16 KiB, 10 fetchers at 200 Mbit/s",
        fetchers: 10,
        ups: &[200],
        seed_up: 200,
        down: 1000,
        content: 100_000 * 16 * 1024,
        piece: 16 * KIB,
        ..BASE
    },
];

/// What `tests/bench/crowd.py` starts in namespaces.
pub(super) const TWINS: &[Scenario] = &[
    Scenario { name: "flash12", what: "12 fetchers, every uplink 20", ..TWIN },
    Scenario { name: "mixed12", what: "uplinks 40, 20, 10", ups: &[40, 20, 10], ..TWIN },
    Scenario { name: "fastseed12", what: "the seed's uplink 80", seed_up: 80, ..TWIN },
    Scenario {
        name: "small24",
        what: "24 fetchers, small content",
        fetchers: 24,
        content: 24 * MIB,
        piece: 64 * KIB,
        ..TWIN
    },
    Scenario {
        name: "halfforeign12",
        what: "every second one a stranger",
        cast: odd(50, Software::Foreign, Conduct::Honest),
        ..TWIN
    },
    Scenario {
        name: "seeddies12",
        what: "the seed dies after one copy",
        departures: Departures::Seed,
        ..TWIN
    },
    Scenario {
        name: "churn12",
        what: "12 more every 2 s, a third leave when done",
        arrivals: Arrivals::Late { more: 12, every: Duration::from_secs(2) },
        departures: Departures::Every(3),
        ..TWIN
    },
];

const TWIN: Scenario = Scenario {
    fetchers: 12,
    content: 48 * MIB,
    piece: 256 * KIB,
    wire: Wire::Tcp,
    one_way: Duration::from_micros(100),
    ..BASE
};

const fn odd(percent: usize, software: Software, conduct: Conduct) -> Cast {
    Cast::Some { percent, software, conduct }
}

/// The same with fewer fetchers, less content and fewer pieces, for a test of seconds.
pub(super) fn small(scenario: &Scenario) -> Scenario {
    let mut small = *scenario;
    small.fetchers = (scenario.fetchers / 10).max(5);
    small.content = scenario.content / 8;
    small.piece = (scenario.piece / 2).max(16 * KIB);
    if let Arrivals::Late { more, .. } = &mut small.arrivals {
        *more /= 10;
    }
    if let Incident::Parted { from, until } = &mut small.incident {
        (*from, *until) = (Duration::from_secs(1), Duration::from_secs(3));
    }
    if let Some(racks) = &mut small.racks {
        *racks = Racks { count: 4, line: racks.line / 5 };
    }
    small
}
