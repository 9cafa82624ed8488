//! What a tracker has done and holds, as plain numbers. Counters only: one more request never
//! costs a line of log.

use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};

/// A snapshot of a tracker. Counters count from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TrackerStats {
    /// Swarms held now.
    pub swarms: u64,
    /// Peers held now.
    pub peers: u64,
    /// HTTP connections open now.
    pub http_connections: u64,
    /// Announces answered over HTTP.
    pub http_announces: u64,
    /// Scrapes answered over HTTP.
    pub http_scrapes: u64,
    /// HTTP requests answered with a failure or an error.
    pub http_errors: u64,
    /// HTTP connections turned away because there were too many.
    pub http_refused: u64,
    /// Connection ids given out over UDP.
    pub udp_connects: u64,
    /// Announces answered over UDP.
    pub udp_announces: u64,
    /// Scrapes answered over UDP.
    pub udp_scrapes: u64,
    /// UDP announces answered with an error.
    pub udp_errors: u64,
    /// Datagrams that were no request; not answered.
    pub udp_malformed: u64,
    /// Datagrams without a valid connection id; not answered.
    pub udp_unproven: u64,
    /// Replies the network did not take; dropped.
    pub udp_dropped: u64,
    /// Announces answered whose peer was not stored, because of a limit or its port.
    pub not_stored: u64,
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// The counters behind [`TrackerStats`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) http_announces: Counter,
    pub(crate) http_scrapes: Counter,
    pub(crate) http_errors: Counter,
    pub(crate) http_refused: Counter,
    pub(crate) udp_connects: Counter,
    pub(crate) udp_announces: Counter,
    pub(crate) udp_scrapes: Counter,
    pub(crate) udp_errors: Counter,
    pub(crate) udp_malformed: Counter,
    pub(crate) udp_unproven: Counter,
    pub(crate) udp_dropped: Counter,
    pub(crate) not_stored: Counter,
}

impl Counters {
    /// The counters; what is held now is left at zero.
    pub(crate) fn snapshot(&self) -> TrackerStats {
        TrackerStats {
            swarms: 0,
            peers: 0,
            http_connections: 0,
            http_announces: self.http_announces.read(),
            http_scrapes: self.http_scrapes.read(),
            http_errors: self.http_errors.read(),
            http_refused: self.http_refused.read(),
            udp_connects: self.udp_connects.read(),
            udp_announces: self.udp_announces.read(),
            udp_scrapes: self.udp_scrapes.read(),
            udp_errors: self.udp_errors.read(),
            udp_malformed: self.udp_malformed.read(),
            udp_unproven: self.udp_unproven.read(),
            udp_dropped: self.udp_dropped.read(),
            not_stored: self.not_stored.read(),
        }
    }
}
