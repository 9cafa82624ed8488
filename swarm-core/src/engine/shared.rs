//! What all parts of one session share.
//!
//! Not here: anything of one torrent.

use super::budget::Budget;
use super::clock::Clock;
use super::gate::Gate;
use super::tasks::Tasks;
use super::torrent::{Face, Inbox};
use super::trackers::TrackerClient;
use crate::data::{BlockPool, Workers};
use crate::session::Config;
use crate::types::{InfoHash, PeerId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Dials under way at once (LIMITS 5.2).
pub(crate) const HALF_OPEN_MAX: usize = 50;
/// Torrents that force their content to the disk at the same time, each on a thread.
const CHECKPOINTS_MAX: usize = 4;
/// Jobs that wait for a worker, of each kind.
const WORKER_LINE_MAX: usize = 256;

/// One connection's place among those of the session.
pub(crate) type Slot = OwnedSemaphorePermit;
/// Where connections go that begin with an HTTP request.
pub(crate) type HttpConnections = mpsc::Sender<(TcpStream, SocketAddr)>;

/// One session's common ground.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) clock: Clock,
    pub(crate) peer_id: PeerId,
    pub(crate) tasks: Tasks,
    pub(crate) workers: Workers,
    pub(crate) worker_count: usize,
    pub(crate) pool: BlockPool,
    pub(crate) up: Arc<Gate>,
    pub(crate) down: Arc<Gate>,
    pub(crate) budget: Budget,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) half_open: Arc<Semaphore>,
    /// Checkpoints under way at once.
    pub(crate) checkpoints: Semaphore,
    pub(crate) trackers: TrackerClient,
    pub(crate) http: Option<HttpConnections>,
    pub(crate) listen: OnceLock<Vec<SocketAddr>>,
    /// True once the session stops.
    pub(crate) stop: watch::Sender<bool>,
    torrents: Mutex<BTreeMap<InfoHash, Entry>>,
}

/// How to reach a torrent.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) face: Arc<Face>,
    pub(crate) inbox: Inbox,
}

impl Shared {
    /// # Errors
    /// When the system gives no entropy or no threads.
    pub(crate) fn new(config: Config, http: Option<HttpConnections>) -> std::io::Result<Self> {
        let clock = Clock::start();
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let worker_count = if config.workers == 0 { cores } else { config.workers };
        let buffers =
            (config.receive_budget + config.send_budget) / u64::from(crate::types::BLOCK_SIZE);
        Ok(Self {
            clock,
            peer_id: super::entropy::peer_id(config.peer_id_prefix)?,
            tasks: Tasks::new(),
            workers: Workers::new(worker_count, WORKER_LINE_MAX)?,
            worker_count,
            pool: BlockPool::new(usize::try_from(buffers).unwrap_or(usize::MAX)),
            up: Arc::new(Gate::new(clock, config.up_limit)),
            down: Arc::new(Gate::new(clock, config.down_limit)),
            budget: Budget::new(config.receive_budget),
            slots: Arc::new(Semaphore::new(config.peers_max.min(Semaphore::MAX_PERMITS))),
            half_open: Arc::new(Semaphore::new(HALF_OPEN_MAX)),
            checkpoints: Semaphore::new(CHECKPOINTS_MAX),
            trackers: TrackerClient::new(&config.client, super::entropy::seed()?),
            http,
            listen: OnceLock::new(),
            stop: watch::Sender::new(false),
            torrents: Mutex::default(),
            config,
        })
    }

    /// The port peers reach us on, if any.
    pub(crate) fn listen_port(&self) -> Option<u16> {
        self.listen.get().and_then(|addrs| addrs.first()).map(SocketAddr::port)
    }

    /// Makes a torrent known; false when there is one by that hash, or the session stops.
    pub(crate) fn enter(&self, entry: Entry) -> bool {
        let mut torrents = self.torrents();
        let hash = entry.face.hashes.wire();
        if *self.stop.borrow() || torrents.contains_key(&hash) {
            return false;
        }
        torrents.insert(hash, entry);
        true
    }

    /// Takes a torrent out.
    pub(crate) fn forget(&self, face: &Arc<Face>) {
        let mut torrents = self.torrents();
        let hash = face.hashes.wire();
        if torrents.get(&hash).is_some_and(|entry| Arc::ptr_eq(&entry.face, face)) {
            torrents.remove(&hash);
        }
    }

    /// The torrent peers know by this hash.
    pub(crate) fn torrent(&self, hash: &InfoHash) -> Option<Entry> {
        self.torrents().get(hash).cloned()
    }

    /// All torrents.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.torrents().values().cloned().collect()
    }

    /// Tells every task to end. Idempotent.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
        for entry in self.entries() {
            entry.face.order(|orders| orders.stop = true);
        }
    }

    /// Waits until the session stops.
    pub(crate) async fn stopped(&self) {
        // The sender lives in `self`: waiting cannot fail.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }

    fn torrents(&self) -> MutexGuard<'_, BTreeMap<InfoHash, Entry>> {
        // A map is whole at every step: a panic cannot tear it.
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
