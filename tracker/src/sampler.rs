//! Which peers a reply names: a uniform choice without repetition.
//!
//! Peers lie in tables with gaps. In a large table a few random slots are tried, which costs
//! the same however large it is; a small one, or one where hardly anybody is eligible, is
//! walked from end to end. Both give every eligible peer the same chance.
//!
//! Not here: who is eligible (`swarms`).

use rand::RngExt as _;
use rand::rngs::Xoshiro256PlusPlus;
use std::net::SocketAddr;

/// Most peers of one sample: what a reply names (LIMITS I11).
pub(crate) const WANT_MAX: usize = 50;
/// A table with at most this many slots a wanted peer is walked.
const WALK_SLOTS_PER_PEER: usize = 8;
/// Random slots tried for each wanted peer before the table is walked after all.
const TRIES_PER_PEER: usize = 16;

/// Appends `want` distinct peers, or all when there are fewer, of those that `peer_at` gives
/// for the slots `0..slots`. `peer_at` gives `None` for gaps and for peers not to be named.
pub(crate) fn sample(
    rng: &mut Xoshiro256PlusPlus,
    slots: usize,
    want: usize,
    peer_at: impl Fn(usize) -> Option<SocketAddr>,
    out: &mut Vec<SocketAddr>,
) {
    let want = want.min(WANT_MAX);
    if want == 0 {
        return;
    }
    let start = out.len();
    if slots > want * WALK_SLOTS_PER_PEER {
        draw(rng, slots, want, &peer_at, out);
        if out.len() - start == want {
            return;
        }
        out.truncate(start);
    }
    walk(rng, slots, want, &peer_at, out);
}

/// Tries random slots. May find fewer than wanted.
fn draw(
    rng: &mut Xoshiro256PlusPlus,
    slots: usize,
    want: usize,
    peer_at: &impl Fn(usize) -> Option<SocketAddr>,
    out: &mut Vec<SocketAddr>,
) {
    let mut tried = [usize::MAX; WANT_MAX];
    let mut found = 0;
    for _ in 0..want * TRIES_PER_PEER {
        let slot = rng.random_range(0..slots);
        if tried.iter().take(found).any(|taken| *taken == slot) {
            continue;
        }
        let Some(peer) = peer_at(slot) else { continue };
        if let Some(taken) = tried.get_mut(found) {
            *taken = slot;
        }
        out.push(peer);
        found += 1;
        if found == want {
            return;
        }
    }
}

/// Walks all slots and keeps a uniform sample of what it meets (a reservoir).
fn walk(
    rng: &mut Xoshiro256PlusPlus,
    slots: usize,
    want: usize,
    peer_at: &impl Fn(usize) -> Option<SocketAddr>,
    out: &mut Vec<SocketAddr>,
) {
    let start = out.len();
    for (met, peer) in (0..slots).filter_map(peer_at).enumerate() {
        if met < want {
            out.push(peer);
            continue;
        }
        let place = rng.random_range(0..=met);
        if place < want
            && let Some(kept) = out.get_mut(start + place)
        {
            *kept = peer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng as _;
    use std::collections::BTreeMap;

    fn peer(slot: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], u16::try_from(slot).unwrap()))
    }

    /// Slots with a gap after every third peer, and odd slots not eligible.
    fn gappy(slot: usize) -> Option<SocketAddr> {
        (!slot.is_multiple_of(4) && slot.is_multiple_of(2)).then(|| peer(slot))
    }

    fn sampled(seed: u64, slots: usize, want: usize) -> Vec<SocketAddr> {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut out = vec![peer(9999)];
        sample(&mut rng, slots, want, gappy, &mut out);
        assert_eq!(out.remove(0), peer(9999), "what was there stays");
        out
    }

    /// DISCOVERY 3.1: numwant; 3.2 row 21: not the first N.
    #[test]
    fn a_sample_is_exact_and_never_repeats() {
        for (slots, eligible) in [(0, 0), (3, 1), (100, 25), (4000, 1000)] {
            for want in [0, 1, 2, 7, 30, 50] {
                let mut peers = sampled(want as u64, slots, want);
                assert_eq!(peers.len(), want.min(eligible), "{want} of {slots}");
                peers.sort();
                peers.dedup();
                assert_eq!(peers.len(), want.min(eligible), "{want} of {slots}");
            }
        }
        assert_eq!(sampled(1, 4000, 1000).len(), WANT_MAX);
    }

    #[test]
    fn a_needle_in_a_haystack_is_found() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        let mut out = Vec::new();
        let needle = |slot| (slot == 7777).then(|| peer(slot));
        sample(&mut rng, 60_000, 50, needle, &mut out);
        assert_eq!(out, [peer(7777)]);
    }

    /// Chi-square over how often each of `n` peers was named. For n - 1 degrees of freedom
    /// the mean is n - 1 and the deviation sqrt(2 (n - 1)); five deviations never happen.
    fn assert_uniform(slots: usize, want: usize, rounds: usize) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(42);
        let mut named: BTreeMap<SocketAddr, u32> =
            (0..slots).filter_map(gappy).map(|peer| (peer, 0)).collect();
        for _ in 0..rounds {
            let mut out = Vec::new();
            sample(&mut rng, slots, want, gappy, &mut out);
            for peer in out {
                *named.get_mut(&peer).unwrap() += 1;
            }
        }
        let n = named.len() as f64;
        let expected = (rounds * want) as f64 / n;
        let chi: f64 =
            named.values().map(|seen| (f64::from(*seen) - expected).powi(2) / expected).sum();
        let deviation = (2.0 * (n - 1.0)).sqrt();
        assert!((chi - (n - 1.0)).abs() < 5.0 * deviation, "chi-square {chi} for {n} peers");
    }

    #[test]
    fn walking_is_uniform() {
        assert_uniform(200, 30, 20_000);
    }

    #[test]
    fn drawing_is_uniform() {
        assert_uniform(1200, 30, 20_000);
    }
}
