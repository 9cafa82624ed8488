//! When to come back.
//!
//! A peer that joins is told of the others at once, and dials them. Others learn of it when
//! they come back, which matters when it cannot be dialled, or when all came at the same
//! instant. So our own clients come back within a second at first and then ever more rarely,
//! each interval half as long again as the time since they last came; how rarely depends on
//! what they are waiting for. Other clients get at least a minute: many make more of less.
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
        // It takes the shorter of the two when it has few peers, and the next interval grows
        // from the time it took: half would never grow.
        Client::Own => interval,
        Client::Foreign => Duration::from_secs((secs / 2).into()).max(min),
    };
    Intervals { interval, min_interval }
}

fn own_secs(base_secs: u32, situation: &Situation) -> u32 {
    let is_small = situation.others < SMALL_OTHERS || situation.swarm_age_secs < YOUNG_SECS;
    let (first, longest) = match (situation.is_starved, is_small) {
        (true, _) => (EAGER_FIRST_SECS, STARVED_SECS_MAX),
        (false, true) => (EAGER_FIRST_SECS, SMALL_SECS_MAX),
        (false, false) => (SETTLED_FIRST_SECS, base_secs),
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
        swarm_age_secs: 0,
        is_returning_after_restart: false,
    };
    const SETTLED: Situation =
        Situation { is_starved: false, others: 500, swarm_age_secs: 5000, ..NEW };

    fn rng() -> Xoshiro256PlusPlus {
        Xoshiro256PlusPlus::seed_from_u64(7)
    }

    /// When a peer comes back over an hour, if it does as told.
    fn visits(situation: Situation) -> Vec<u64> {
        let (mut rng, mut now, mut gap_secs) = (rng(), 0, None);
        let mut visits = Vec::new();
        while now < 3600 {
            visits.push(now);
            let told = choose(&mut rng, BASE, &Situation { gap_secs, ..situation });
            now += told.interval.as_secs();
            now -= (told.interval - told.min_interval).as_secs();
            gap_secs = Some(u32::try_from(told.min_interval.as_secs()).unwrap());
        }
        visits
    }

    #[test]
    fn our_starved_client_looks_around_every_few_seconds() {
        let visits = visits(NEW);
        assert_eq!(visits[..4], [0, 1, 3, 6]);
        assert!(visits.windows(2).all(|pair| pair[1] - pair[0] <= 17));
    }

    #[test]
    fn our_client_in_a_small_swarm_slows_down_to_a_minute() {
        let visits = visits(Situation { is_starved: false, others: 3, ..NEW });
        assert_eq!(visits[..4], [0, 1, 3, 6]);
        assert!((55..90).contains(&visits.len()), "{}", visits.len());
    }

    #[test]
    fn our_client_in_a_settled_swarm_slows_down_to_the_base() {
        let visits = visits(SETTLED);
        assert!((8..14).contains(&visits.len()), "{visits:?}");
        assert!(visits[1] >= 54);
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
