//! The swarms of a tracker, in shards that lock apart.
//!
//! A swarm lives in one shard, chosen by a keyed hash, so that nobody can aim at one lock. A
//! lock is held for the microsecond an announce takes; sweeping takes one shard at a time, so
//! that no request waits for a walk over a million swarms.

use crate::config::Limits;
use crate::swarms::{Ledger, Reply, Swarms, Visit};
use siphasher::sip::SipHasher13;
use std::hash::Hasher as _;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use swarm_core::types::{InfoHash, Moment};
use swarm_core::wire::tracker::ScrapeEntry;

/// Most shards of a store.
const SHARDS_MAX: usize = 64;
/// A store gets a shard for this many swarms: a small one can then evict from all it has.
const SWARMS_PER_SHARD: usize = 4096;

/// All swarms.
#[derive(Debug)]
pub(crate) struct Store {
    shards: Box<[Mutex<Swarms>]>,
    ledger: Ledger,
    key: [u64; 2],
}

impl Store {
    /// An empty store. The key is a secret; the seed draws samples.
    pub(crate) fn new(limits: Limits, key: [u64; 2], seed: u64) -> Self {
        let count = (limits.swarms_max / SWARMS_PER_SHARD).clamp(1, SHARDS_MAX);
        let shards = (0..count as u64)
            .map(|shard| Mutex::new(Swarms::new(limits, key, seed.wrapping_add(shard))))
            .collect();
        let ledger = Ledger::new(limits.swarms_max as u64, limits.peers_max as u64);
        Self { shards, ledger, key }
    }

    /// See [`Swarms::announce`].
    pub(crate) fn announce(
        &self,
        now: Moment,
        visit: &Visit<'_>,
        peers: &mut Vec<SocketAddr>,
    ) -> Reply {
        self.shard(visit.announce.info_hash).announce(now, visit, &self.ledger, peers)
    }

    /// See [`Swarms::scrape`].
    pub(crate) fn scrape(&self, hash: InfoHash) -> ScrapeEntry {
        self.shard(hash).scrape(hash)
    }

    /// How many shards there are to sweep.
    pub(crate) fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Sweeps one shard.
    pub(crate) fn expire(&self, now: Moment, shard: usize) {
        if let Some(shard) = self.shards.get(shard) {
            lock(shard).expire(now, &self.ledger);
        }
    }

    pub(crate) const fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    fn shard(&self, hash: InfoHash) -> MutexGuard<'_, Swarms> {
        let [key0, key1] = self.key;
        let mut hasher = SipHasher13::new_with_keys(key1, key0);
        hasher.write(hash.as_bytes());
        let shards = self.shards.len() as u64;
        let at = usize::try_from(hasher.finish() % shards).unwrap_or(0);
        // Less than the number of shards, which is at least one.
        lock(self.shards.get(at).expect("a remainder is less than its divisor"))
    }
}

/// A panic while the lock was held is our bug, not a reason to stop answering.
fn lock(shard: &Mutex<Swarms>) -> MutexGuard<'_, Swarms> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarms::Channel;
    use std::time::Duration;
    use swarm_core::types::PeerId;
    use swarm_core::wire::tracker::Announce;

    fn flood(store: &Store, count: u32) {
        let mut peers = Vec::new();
        for n in 0..count {
            let mut hash = [0; 20];
            hash[..4].copy_from_slice(&n.to_be_bytes());
            let announce = Announce::new(InfoHash::new(hash), PeerId::new([0; 20]), 1);
            let source = [10, 0, 0, 1].into();
            let visit = Visit { announce: &announce, source, channel: Channel::Udp { host: None } };
            store.announce(Moment::ZERO, &visit, &mut peers);
        }
    }

    #[test]
    fn shards_share_one_budget() {
        let limits = Limits { swarms_max: 20_000, ..Limits::default() };
        let store = Store::new(limits, [1, 2], 3);
        assert_eq!(store.shards(), 4);
        flood(&store, 50_000);
        assert_eq!((store.ledger().swarms(), store.ledger().peers()), (20_000, 20_000));
    }

    #[test]
    fn sweeping_every_shard_empties_the_store() {
        let limits = Limits { swarms_max: 20_000, ..Limits::default() };
        let store = Store::new(limits, [1, 2], 3);
        flood(&store, 1000);
        assert_eq!(store.ledger().peers(), 1000);
        for shard in 0..store.shards() {
            store.expire(Moment::ZERO + Duration::from_secs(2000), shard);
        }
        assert_eq!((store.ledger().swarms(), store.ledger().peers()), (0, 0));
    }
}
