//! What HTTP and UDP both ask for: the allow-list, the store, counters, events.

use crate::clock::Clock;
use crate::config::TrackerConfig;
use crate::connection_id::ConnectionIds;
use crate::event::{EVENT_QUEUE, TrackerEvent};
use crate::http::Connections;
use crate::stats::{Counters, TrackerStats};
use crate::store::Store;
use crate::swarms::{Change, Reply, Visit};
use crate::{Error, entropy};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError, RwLock};
use swarm_core::types::InfoHash;
use swarm_core::wire::tracker::ScrapeEntry;
use tokio::sync::broadcast;

/// The tracker behind its protocols.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) clock: Clock,
    pub(crate) ids: ConnectionIds,
    pub(crate) counters: Counters,
    pub(crate) connections: Connections,
    store: Store,
    allowed: RwLock<Option<BTreeSet<InfoHash>>>,
    /// `None` after shutdown: whoever listens learns that nothing more comes.
    events: Mutex<Option<broadcast::Sender<TrackerEvent>>>,
}

/// The swarm is not on the allow-list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this tracker does not serve this info_hash")]
pub(crate) struct NotAllowed;

impl Service {
    pub(crate) fn new(config: &TrackerConfig) -> Result<Self, Error> {
        let limits = config.limits.clamped();
        let key = entropy::key().map_err(Error::Entropy)?;
        let id_key = entropy::key().map_err(Error::Entropy)?;
        let seed = entropy::seed().map_err(Error::Entropy)?;
        Ok(Self {
            clock: Clock::start(),
            ids: ConnectionIds::new(id_key, config.connection_id_lifetime),
            counters: Counters::default(),
            connections: Connections::new(config.http_limits),
            store: Store::new(limits, key, seed),
            allowed: RwLock::new(config.allowed.clone()),
            events: Mutex::new(Some(broadcast::Sender::new(EVENT_QUEUE))),
        })
    }

    /// Answers an announce; the peers to name are put into `peers`.
    pub(crate) fn announce(
        &self,
        visit: &Visit<'_>,
        peers: &mut Vec<SocketAddr>,
    ) -> Result<Reply, NotAllowed> {
        let info_hash = visit.announce.info_hash;
        if !self.allows(info_hash) {
            return Err(NotAllowed);
        }
        let reply = self.store.announce(self.clock.now(), visit, peers);
        let peer = SocketAddr::new(visit.source.to_canonical(), visit.announce.port);
        match reply.change {
            Change::Renewed => {}
            Change::NotStored(_) => self.counters.not_stored.add_one(),
            Change::Joined => {
                let complete = visit.announce.left == 0;
                self.tell(TrackerEvent::Joined { info_hash, peer, complete });
            }
            Change::Completed => self.tell(TrackerEvent::Completed { info_hash, peer }),
            Change::Left => self.tell(TrackerEvent::Left { info_hash, peer }),
        }
        Ok(reply)
    }

    /// Counts of a swarm; zeros when it is unknown or not on the allow-list.
    pub(crate) fn scrape(&self, hash: InfoHash) -> ScrapeEntry {
        if self.allows(hash) { self.store.scrape(hash) } else { ScrapeEntry::default() }
    }

    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn set_allowed(&self, allowed: Option<BTreeSet<InfoHash>>) {
        *self.allowed.write().unwrap_or_else(PoisonError::into_inner) = allowed;
    }

    pub(crate) fn stats(&self) -> TrackerStats {
        TrackerStats {
            swarms: self.store.ledger().swarms(),
            peers: self.store.ledger().peers(),
            http_connections: self.connections.open(),
            ..self.counters.snapshot()
        }
    }

    /// A receiver of events from now on; after shutdown one that is at its end.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<TrackerEvent> {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.as_ref().map_or_else(|| broadcast::channel(1).1, broadcast::Sender::subscribe)
    }

    pub(crate) fn close_events(&self) {
        *self.events.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn allows(&self, hash: InfoHash) -> bool {
        let allowed = self.allowed.read().unwrap_or_else(PoisonError::into_inner);
        allowed.as_ref().is_none_or(|allowed| allowed.contains(&hash))
    }

    fn tell(&self, event: TrackerEvent) {
        let events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(events) = events.as_ref().filter(|events| events.receiver_count() > 0) {
            // The last listener may have gone this instant.
            let _ = events.send(event);
        }
    }
}
