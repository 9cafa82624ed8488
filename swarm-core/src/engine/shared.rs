//! What all parts of one session share.
//!
//! Not here: anything of one torrent.

use super::budget::Budget;
use super::clock::Clock;
use super::descriptors::Plan;
use super::door::{Door, Lobby};
use super::gate::Gate;
use super::meter::LimitMeter;
use super::tasks::Tasks;
use super::torrent::{Face, Inbox};
use super::trackers::TrackerClient;
use super::web::{Patience, Web};
use crate::data::{BlockPool, Workers};
use crate::proto::candidates::{DIALS_BURST, DIALS_PER_SECOND, HALF_OPEN_MAX};
use crate::proto::limits::EventBucket;
use crate::session::{Config, Error};
use crate::storage::OpenFiles;
use crate::types::{InfoHash, Limit, PeerId};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

/// Torrents that force their content to the disk at the same time, each on a thread.
const CHECKPOINTS_MAX: usize = 4;
/// Jobs that wait for a worker, of each kind.
const WORKER_LINE_MAX: usize = 256;

/// How long parts of an exchange with a web server may take.
const PATIENCE: Patience =
    Patience { connect: Duration::from_secs(10), idle: Duration::from_secs(10) };

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
    /// Places among the connections: as many as were asked for, or as descriptors allow.
    pub(crate) peers_max: usize,
    /// Files that torrents keep open.
    pub(crate) files: Arc<OpenFiles>,
    pub(crate) half_open: Arc<Semaphore>,
    /// How often its bounds have bitten.
    pub(crate) limits: LimitMeter,
    door: Mutex<Door>,
    lobby: Mutex<Lobby>,
    dials: Mutex<EventBucket>,
    /// Checkpoints under way at once.
    pub(crate) checkpoints: Semaphore,
    pub(crate) trackers: TrackerClient,
    pub(crate) web: Arc<Web>,
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
        let web = Arc::new(Web::new(&config.client, config.addresses, PATIENCE));
        let plan = Plan::new(config.peers_max);
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
            slots: Arc::new(Semaphore::new(plan.peers.min(Semaphore::MAX_PERMITS))),
            peers_max: plan.peers,
            files: Arc::new(OpenFiles::new(plan.files)),
            half_open: Arc::new(Semaphore::new(HALF_OPEN_MAX)),
            limits: LimitMeter::default(),
            door: Mutex::new(Door::new(clock.now())),
            lobby: Mutex::new(Lobby::new(plan.unidentified)),
            dials: Mutex::new(EventBucket::new(clock.now(), DIALS_PER_SECOND, DIALS_BURST)),
            checkpoints: Semaphore::new(CHECKPOINTS_MAX),
            trackers: TrackerClient::new(Arc::clone(&web), super::entropy::seed()?),
            web,
            http,
            listen: OnceLock::new(),
            stop: watch::Sender::new(false),
            torrents: Mutex::default(),
            config,
        })
    }

    /// Who may come in.
    pub(crate) fn door(&self) -> MutexGuard<'_, Door> {
        lock(&self.door)
    }

    /// Who came in and has not said what it is.
    pub(crate) fn lobby(&self) -> MutexGuard<'_, Lobby> {
        lock(&self.lobby)
    }

    /// Waits for one's turn to dial: so many a second over all torrents.
    pub(crate) async fn dial_turn(&self) {
        loop {
            let due = {
                let (now, mut dials) = (self.clock.now(), lock(&self.dials));
                if dials.allow(now) {
                    return;
                }
                dials.ready_at(now)
            };
            self.limits.hit(Limit::DialRate);
            tokio::time::sleep_until(self.clock.instant(due)).await;
        }
    }

    /// The port peers reach us on, if any.
    pub(crate) fn listen_port(&self) -> Option<u16> {
        self.listen.get().and_then(|addrs| addrs.first()).map(SocketAddr::port)
    }

    /// Makes a torrent known.
    ///
    /// # Errors
    /// When there is one by that hash, there are too many, or the session stops.
    pub(crate) fn enter(&self, entry: Entry) -> Result<(), Error> {
        let mut torrents = self.torrents();
        let hash = entry.face.hashes.wire();
        if *self.stop.borrow() {
            return Err(Error::Stopped);
        }
        if torrents.contains_key(&hash) {
            return Err(Error::AlreadyAdded(hash));
        }
        if torrents.len() >= self.config.torrents_max {
            self.limits.hit(Limit::Torrents);
            return Err(Error::TooMany(torrents.len()));
        }
        torrents.insert(hash, entry);
        Ok(())
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
        lock(&self.torrents)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What these locks guard is whole at every step: a panic cannot tear it.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
