//! When to come back.
//!
//! A peer that joins is told of the others at once, and dials them. Others learn of it when
//! they come back, which matters when it cannot be dialled, or when all came at the same
//! instant. So our own clients come back within a second at first and then ever more rarely,
//! each interval half as long again as the time since they last came; how rarely depends on
//! what they are waiting for. Other clients get at least a minute: many make more of less.
//!
//! In a settled swarm a client of ours that lost its neighbours need not wait that long: it may
//! come back after a fraction of its interval. It does so only while it has too few of them.
//!
//! Every interval is off by up to a tenth, or clients that met once would meet for ever.

use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;
use std::time::Duration;

/// Shortest interval of a client that is not ours.
pub(crate) const FOREIGN_INTERVAL_MIN: Duration = Duration::from_secs(60);

/// Our client's first interval in a swarm that has little to give yet.
const EAGER_FIRST_SECS: u32 = 1;
/// Our client's longest interval while it fetches and nobody is known to have everything.
const STARVED_SECS_MAX: u32 = 15;
/// Our client's longest interval in a small or young swarm.
const SMALL_SECS_MAX: u32 = 60;
/// Our client's first interval in a large, old swarm.
const SETTLED_FIRST_SECS: u32 = 60;
/// A seed has to spare for this many that fetch; where there are more, ours come back as if the
/// swarm were young.
const LEECHES_PER_SEED: u32 = 10;
/// In a swarm where more fetch, intervals grow however few seeds there are: a bound on the load.
const CROWD_MAX: u32 = 5_000;
/// Our client in need of neighbours may come back after this part of its interval,
const NEED_PART: u32 = 8;
/// but not before this many seconds.
const NEED_SECS_MIN: u32 = 30;
/// A swarm with fewer others is small.
const SMALL_OTHERS: u32 = 10;
/// A swarm is young for this long.
const YOUNG_SECS: u32 = 60;

/// What an interval depends on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// Whose client asks.
    pub(super) client: Client,
    /// Seconds since this peer last announced; `None` when it is new to us.
    pub(super) gap_secs: Option<u32>,
    /// Whether the peer fetches and nobody is known to have everything.
    pub(super) is_starved: bool,
    /// Others in the swarm.
    pub(super) others: u32,
    /// Those that have everything, and those that fetch.
    pub(super) seeds: u32,
    pub(super) leeches: u32,
    /// Seconds since the swarm's first announce.
    pub(super) swarm_age_secs: u32,
    /// Whether the peer says that it was here before, while this tracker is younger than an
    /// interval: after a restart all of them come back at once.
    pub(super) is_returning_after_restart: bool,
}

/// Whose client asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Client {
    /// Ours: it keeps to short intervals.
    Own,
    /// Any other.
    Foreign,
}

/// The two intervals of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Intervals {
    /// Come back after this.
    pub(crate) interval: Duration,
    /// Do not come back before this.
    pub(crate) min_interval: Duration,
}

/// Decides when a peer is to come back, around `base` for a settled swarm.
pub(super) fn choose(
    rng: &mut Xoshiro256PlusPlus,
    base: Duration,
    situation: &Situation,
) -> Intervals {
    let base_secs = u32::try_from(base.as_secs()).unwrap_or(u32::MAX);
    let (secs, min) = match situation.client {
        Client::Own => (own_secs(base_secs, situation), Duration::from_secs(1)),
        Client::Foreign => (base_secs, FOREIGN_INTERVAL_MIN),
    };
    let secs = if situation.is_returning_after_restart && secs == base_secs {
        rng.random_range(base_secs / 3..=base_secs)
    } else {
        let tenth = secs / 10;
        rng.random_range(secs - tenth..=secs.saturating_add(tenth))
    };
    let interval = Duration::from_secs(secs.into()).max(min);
    let min_interval = match situation.client {
        Client::Own if Stage::of(situation) == Stage::Settled => {
            interval.min(Duration::from_secs((secs / NEED_PART).max(NEED_SECS_MIN).into()))
        }
        // It takes the shorter of the two when it has few peers, and the next interval grows
        // from the time it took: while intervals still grow, half would never grow.
        Client::Own => interval,
        Client::Foreign => Duration::from_secs((secs / 2).into()).max(min),
    };
    Intervals { interval, min_interval }
}

/// What one of our clients is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Somebody who has everything.
    Starved,
    /// More neighbours: the swarm is small or young, or short of seeds.
    Growing,
    /// Nothing.
    Settled,
}

impl Stage {
    const fn of(situation: &Situation) -> Self {
        let is_short_of_seeds = situation.leeches <= CROWD_MAX
            && situation.leeches > situation.seeds.saturating_mul(LEECHES_PER_SEED);
        let is_small = situation.others < SMALL_OTHERS || situation.swarm_age_secs < YOUNG_SECS;
        match (situation.is_starved, is_small || is_short_of_seeds) {
            (true, _) => Self::Starved,
            (false, true) => Self::Growing,
            (false, false) => Self::Settled,
        }
    }
}

fn own_secs(base_secs: u32, situation: &Situation) -> u32 {
    let (first, longest) = match Stage::of(situation) {
        Stage::Starved => (EAGER_FIRST_SECS, STARVED_SECS_MAX),
        Stage::Growing => (EAGER_FIRST_SECS, SMALL_SECS_MAX),
        Stage::Settled => (SETTLED_FIRST_SECS, base_secs),
    };
    let longest = longest.min(base_secs);
    let grown = situation.gap_secs.unwrap_or(0).saturating_mul(3).div_ceil(2);
    grown.clamp(first.min(longest), longest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;

    const BASE: Duration = Duration::from_secs(900);

    const NEW: Situation = Situation {
        client: Client::Own,
        gap_secs: None,
        is_starved: true,
        others: 0,
        seeds: 0,
        leeches: 0,
        swarm_age_secs: 0,
        is_returning_after_restart: false,
    };
    const SETTLED: Situation = Situation {
        is_starved: false,
        others: 500,
        seeds: 250,
        leeches: 250,
        swarm_age_secs: 5000,
        ..NEW
    };

    fn rng() -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(7)
    }

    /// When a peer comes back over an hour: as told, or as soon as it may.
    fn visits(situation: Situation, is_in_need: bool) -> Vec<u64> {
        let (mut rng, mut now, mut gap_secs) = (rng(), 0, None);
        let mut visits = Vec::new();
        while now < 3600 {
            visits.push(now);
            let told = choose(&mut rng, BASE, &Situation { gap_secs, ..situation });
            let gap = if is_in_need { told.min_interval } else { told.interval };
            now += gap.as_secs();
            gap_secs = Some(u32::try_from(gap.as_secs()).unwrap());
        }
        visits
    }

    #[test]
    fn our_starved_client_looks_around_every_few_seconds() {
        let visits = visits(NEW, true);
        assert_eq!(visits[..4], [0, 1, 3, 6]);
        assert!(visits.windows(2).all(|pair| pair[1] - pair[0] <= 17));
    }

    #[test]
    fn our_client_in_a_small_swarm_slows_down_to_a_minute() {
        let visits = visits(Situation { is_starved: false, others: 3, ..NEW }, true);
        assert_eq!(visits[..4], [0, 1, 3, 6]);
        assert!((55..90).contains(&visits.len()), "{}", visits.len());
    }

    #[test]
    fn our_client_in_a_settled_swarm_slows_down_to_the_base() {
        let visits = visits(SETTLED, false);
        assert!((8..14).contains(&visits.len()), "{visits:?}");
        assert!(visits[1] >= 54);
    }

    #[test]
    fn our_client_that_lost_its_neighbours_in_a_settled_swarm_comes_back_sooner() {
        let mut rng = rng();
        let told = choose(&mut rng, BASE, &Situation { gap_secs: Some(900), ..SETTLED });
        assert!(told.interval >= Duration::from_secs(810));
        assert!(told.min_interval <= Duration::from_secs(125));
        let least = visits(SETTLED, true).windows(2).map(|pair| pair[1] - pair[0]).min();
        assert!(least >= Some(NEED_SECS_MIN.into()), "a bound on the load: {least:?}");
    }

    #[test]
    fn where_many_wait_for_few_seeds_ours_come_back_every_minute() {
        let short = Situation { seeds: 1, leeches: 499, ..SETTLED };
        assert!((55..90).contains(&visits(short, false).len()));
        let huge = Situation { leeches: CROWD_MAX + 1, others: CROWD_MAX + 1, ..short };
        assert!(visits(huge, false).len() < 14, "the load of a huge swarm is bounded");
    }

    #[test]
    fn a_foreign_client_never_gets_less_than_a_minute() {
        for base in [BASE, Duration::from_secs(60)] {
            for situation in [NEW, SETTLED] {
                let situation = Situation { client: Client::Foreign, ..situation };
                let told = choose(&mut rng(), base, &situation);
                assert!(told.interval >= FOREIGN_INTERVAL_MIN);
                assert!(told.min_interval >= FOREIGN_INTERVAL_MIN);
            }
        }
    }

    /// DISCOVERY 3.2 row 26.
    #[test]
    fn intervals_scatter_by_a_tenth() {
        let mut rng = rng();
        let foreign = Situation { client: Client::Foreign, ..SETTLED };
        let told: Vec<u64> =
            (0..1000).map(|_| choose(&mut rng, BASE, &foreign).interval.as_secs()).collect();
        let (least, most) = (told.iter().min().unwrap(), told.iter().max().unwrap());
        assert!((810..820).contains(least) && (980..=990).contains(most), "{least} {most}");
    }

    /// DISCOVERY 3.2 row 26, LIMITS I14.
    #[test]
    fn a_crowd_that_returns_after_a_restart_is_spread_out() {
        let mut rng = rng();
        let situation =
            Situation { client: Client::Foreign, is_returning_after_restart: true, ..SETTLED };
        let mut per_minute = [0u32; 15];
        for _ in 0..100_000 {
            let secs = choose(&mut rng, BASE, &situation).interval.as_secs();
            per_minute[usize::try_from(secs / 60).unwrap().min(14)] += 1;
        }
        let busy: Vec<u32> = per_minute.into_iter().filter(|count| *count > 0).collect();
        assert_eq!(busy.len(), 10, "all came in one instant and go over ten minutes");
        let mean = 100_000 / 10;
        assert!(busy.iter().all(|count| *count < mean * 13 / 10), "{busy:?}");
    }
}
