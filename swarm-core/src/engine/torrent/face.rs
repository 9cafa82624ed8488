//! What a torrent shows to the rest of the process: the side of it that handles hold.
//!
//! Orders go in by merging into one pending set, so giving one never waits and never fills
//! anything; what is known comes out through a watch (states), a broadcast (events), atomics
//! (progress) and a snapshot that the torrent's task replaces a few times a second.
//!
//! Not here: what an order does (`torrent`).

use super::progress::Progress;
use crate::engine::gate::Gate;
use crate::metainfo::Metainfo;
use crate::proto::event::Phase;
use crate::proto::torrent::Snapshot;
use crate::session::{Completed, Error, Event, Selection, SourceReport, Trouble};
use crate::types::InfoHashes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::{Notify, broadcast, watch};

/// Events kept for a reader that is behind; then it is told how many it missed.
const EVENTS_KEPT: usize = 1024;
/// Addresses that may wait to be taken over by the torrent: as many as it can know.
const PEERS_WAITING_MAX: usize = 2000;

/// One torrent as its handles see it.
#[derive(Debug)]
pub(crate) struct Face {
    /// What the torrent is known by.
    pub(crate) hashes: InfoHashes,
    /// Limit on what it sends.
    pub(crate) up: Arc<Gate>,
    /// Limit on what it receives.
    pub(crate) down: Arc<Gate>,
    /// Where it is in its life.
    pub(crate) status: watch::Sender<Status>,
    /// Bytes and files that are done, once the metadata is known.
    pub(crate) progress: OnceLock<Arc<Progress>>,
    /// Pieces hashed so far while checking.
    pub(crate) checked_pieces: AtomicU32,
    /// Pieces of those that an earlier run had verified.
    pub(crate) known_pieces: AtomicU32,
    events: Mutex<Option<broadcast::Sender<Event>>>,
    live: Mutex<Option<Arc<Snapshot>>>,
    sources: Mutex<BTreeMap<String, SourceReport>>,
    orders: Mutex<Orders>,
    nudge: Notify,
}

/// What can be waited for.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) phase: Phase,
    pub(crate) metainfo: Option<Arc<Metainfo>>,
    /// Good pieces found on the disk.
    pub(crate) checked: Option<u32>,
    /// How the fetch ended, if it did.
    pub(crate) outcome: Option<Result<Completed, Error>>,
    /// Why it waits, if this machine has failed it.
    pub(crate) trouble: Option<Trouble>,
    /// The torrent's task is gone.
    pub(crate) ended: bool,
}

/// Orders that wait for the torrent's task. Later ones replace earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub(crate) pause: Option<bool>,
    pub(crate) peers: Vec<SocketAddr>,
    pub(crate) selection: Option<Selection>,
    pub(crate) capacity_bytes: Option<u64>,
    pub(crate) stop: bool,
}

impl Face {
    pub(crate) fn new(hashes: InfoHashes, up: Gate, down: Gate) -> Self {
        let status = Status {
            phase: Phase::Metadata,
            metainfo: None,
            checked: None,
            outcome: None,
            trouble: None,
            ended: false,
        };
        Self {
            hashes,
            up: Arc::new(up),
            down: Arc::new(down),
            status: watch::Sender::new(status),
            progress: OnceLock::new(),
            checked_pieces: AtomicU32::new(0),
            known_pieces: AtomicU32::new(0),
            events: Mutex::new(Some(broadcast::Sender::new(EVENTS_KEPT))),
            live: Mutex::default(),
            sources: Mutex::default(),
            orders: Mutex::default(),
            nudge: Notify::new(),
        }
    }

    /// Gives an order.
    pub(crate) fn order(&self, change: impl FnOnce(&mut Orders)) {
        let mut orders = lock(&self.orders);
        change(&mut orders);
        orders.peers.truncate(PEERS_WAITING_MAX);
        drop(orders);
        self.nudge.notify_one();
    }

    /// Has the torrent's task look at everything it waits for.
    pub(crate) fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Waits for an order or a nudge. For the torrent's task only.
    pub(crate) async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// Takes the orders that wait.
    pub(crate) fn take_orders(&self) -> Orders {
        std::mem::take(&mut lock(&self.orders))
    }

    /// Tells an event to whoever listens.
    pub(crate) fn tell(&self, event: Event) {
        if let Some(events) = &*lock(&self.events)
            && events.receiver_count() > 0
        {
            // Fails only when the last receiver has just gone.
            let _ = events.send(event);
        }
    }

    /// Events from now on; `None` when the torrent is gone.
    pub(crate) fn listen(&self) -> Option<broadcast::Receiver<Event>> {
        lock(&self.events).as_ref().map(broadcast::Sender::subscribe)
    }

    /// Replaces the snapshot.
    pub(crate) fn show(&self, snapshot: Snapshot) {
        let old = lock(&self.live).replace(Arc::new(snapshot));
        // Outside the lock: it may be long.
        drop(old);
    }

    /// The latest snapshot, once there is one.
    pub(crate) fn live(&self) -> Option<Arc<Snapshot>> {
        lock(&self.live).clone()
    }

    /// Changes what is known of a source of peers.
    pub(crate) fn report_source(&self, name: &str, change: impl FnOnce(&mut SourceReport)) {
        let mut sources = lock(&self.sources);
        let report = sources.entry(name.to_owned()).or_insert_with(|| SourceReport {
            name: name.to_owned(),
            peers: 0,
            error: None,
            answered: false,
        });
        change(report);
    }

    /// What is known of the sources of peers.
    pub(crate) fn sources(&self) -> Vec<SourceReport> {
        lock(&self.sources).values().cloned().collect()
    }

    /// Whether everything wanted has been there under its final name.
    pub(crate) fn is_completed(&self) -> bool {
        matches!(self.status.borrow().outcome, Some(Ok(_)))
    }

    /// Changes where the torrent is in its life, and wakes who waits for that.
    pub(crate) fn advance(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(change);
    }

    /// The torrent's task is gone: whoever waits is told.
    pub(crate) fn end(&self) {
        self.advance(|status| {
            status.ended = true;
            status.outcome.get_or_insert(Err(Error::Stopped));
        });
        drop(lock(&self.events).take());
    }

    /// Waits until the torrent's task is gone.
    pub(crate) async fn ended(&self) {
        // The sender lives in `self`: waiting cannot fail.
        let _ = self.status.subscribe().wait_for(|status| status.ended).await;
    }

    pub(crate) fn checked_pieces(&self) -> u32 {
        self.checked_pieces.load(Ordering::Relaxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is replaced or appended to in one step: a panic cannot tear it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::Clock;
    use crate::types::InfoHash;

    #[tokio::test]
    async fn peers_that_wait_to_be_taken_over_are_bounded() {
        let gate = || Gate::new(Clock::start(), None);
        let face = Face::new(InfoHashes::v1(InfoHash::new([1; 20])), gate(), gate());
        for _ in 0..3 {
            let many = (1..=1_000).map(|port| SocketAddr::from(([10, 0, 0, 1], port)));
            face.order(|orders| orders.peers.extend(many));
        }
        assert_eq!(face.take_orders().peers.len(), PEERS_WAITING_MAX);
    }
}
