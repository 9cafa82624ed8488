//! How much the whole tracker holds, and how much it may.
//!
//! Shards lock apart but share one budget, so that one large swarm can use what many small
//! ones leave. Every swarm and peer is claimed before it is stored and released after.

use std::sync::atomic::{AtomicU64, Ordering};

/// Swarms and peers of all shards.
#[derive(Debug)]
pub(crate) struct Ledger {
    swarms: Account,
    peers: Account,
}

/// A count that never passes its limit.
#[derive(Debug)]
struct Account {
    held: AtomicU64,
    limit: u64,
}

impl Account {
    const fn new(limit: u64) -> Self {
        Self { held: AtomicU64::new(0), limit }
    }

    fn claim(&self) -> bool {
        let more = |held| (held < self.limit).then_some(held + 1);
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn release(&self, count: u64) {
        let less = |held: u64| Some(held.saturating_sub(count));
        // Always stores something: there is no error.
        let _ = self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    fn held(&self) -> u64 {
        self.held.load(Ordering::Relaxed)
    }
}

impl Ledger {
    pub(crate) const fn new(swarms_max: u64, peers_max: u64) -> Self {
        Self { swarms: Account::new(swarms_max), peers: Account::new(peers_max) }
    }

    /// Swarms held now.
    pub(crate) fn swarms(&self) -> u64 {
        self.swarms.held()
    }

    /// Peers held now.
    pub(crate) fn peers(&self) -> u64 {
        self.peers.held()
    }

    pub(super) fn claim_swarm(&self) -> bool {
        self.swarms.claim()
    }

    pub(super) fn claim_peer(&self) -> bool {
        self.peers.claim()
    }

    pub(super) fn has_room_for_a_peer(&self) -> bool {
        self.peers.held() < self.peers.limit
    }

    pub(super) fn release_swarm(&self) {
        self.swarms.release(1);
    }

    pub(super) fn release_peers(&self, count: usize) {
        self.peers.release(count as u64);
    }
}
