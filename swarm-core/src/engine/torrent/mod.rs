//! One torrent's task: drives its [`Torrent`] and owns its unfinished pieces.
//!
//! It sleeps until something arrives, takes a batch of it, feeds the state machine and acts
//! on what that says. Everything it starts (peers, dials, jobs, announces) reports back to
//! the one inbox or the one channel of finished jobs, and it never waits for any of them:
//! what does not fit now waits in a line of its own and is tried again when told to.
//!
//! Files follow the direction: `feed` (what comes in), `act` (what goes out), `serve`
//! (blocks to peers), `content` (metadata, checking, finishing), `keep` (what survives a restart),
//! `trouble` (when this machine fails), `show` (what is told).
//!
//! Not here: decisions (`proto`), sockets (`peer`), disk and hash work (`data`).

mod act;
mod batch;
mod content;
mod face;
mod feed;
mod jobs;
mod keep;
mod progress;
mod serve;
mod show;
mod through;
mod trouble;

pub(crate) use content::{Opened, Opening};
pub(crate) use face::{Face, Orders, Status};

use super::announcing::Trackers;
use super::budget::Share;
use super::peer::{Outbox, Report};
use super::shared::Shared;
use crate::data::PieceBuf;
use crate::metainfo::Magnet;
use crate::proto::PeerKey;
use crate::proto::input::{CloseReason, DialError, Direction, Input, Source};
use crate::proto::torrent::{Config as CoreConfig, Params, Torrent};
use crate::session::AddTorrent;
use crate::types::{Moment, PeerId, PieceIndex, Span};
use crate::wire::Reserved;
use batch::Batch;
use bytes::BytesMut;
use content::{Content, Done};
use jobs::Jobs;
use keep::Keep;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use through::Through;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use trouble::Trouble;

/// Reports that may wait for a torrent; then its peers stop reading.
pub(crate) const INBOX_MAX: usize = 256;
/// Reports taken in one turn before peers are told what follows from them.
const TURN_MAX: usize = 16;

/// The way to a torrent's task.
pub(crate) type Inbox = mpsc::Sender<Mail>;

/// What arrives at a torrent.
#[derive(Debug)]
pub(crate) enum Mail {
    /// What one connection has to tell.
    Report { peer: PeerKey, report: Report },
    /// A connection's task has ended.
    Closed { peer: PeerKey, why: CloseReason },
    /// A handshake succeeded.
    Connected(Box<NewPeer>),
    /// A dial came to nothing.
    DialFailed { addr: SocketAddr, why: DialError },
    /// Someone named peers.
    Candidates { source: Source, addrs: Vec<SocketAddr> },
}

/// A connection just after its handshake.
#[derive(Debug)]
pub(crate) struct NewPeer {
    pub(crate) stream: TcpStream,
    pub(crate) addr: SocketAddr,
    pub(crate) direction: Direction,
    pub(crate) id: PeerId,
    pub(crate) reserved: Reserved,
    /// Its place among the session's connections.
    pub(crate) slot: super::shared::Slot,
}

/// What the torrent knows of a connection.
#[derive(Debug)]
struct Link {
    outbox: Outbox,
    /// Messages of this turn, encoded.
    control: BytesMut,
    /// Blocks those messages ask for.
    asked: u64,
}

/// One torrent's task.
#[derive(Debug)]
pub(crate) struct TorrentTask {
    shared: Arc<Shared>,
    face: Arc<Face>,
    core: Torrent,
    opening: Opening,
    /// The magnet link the torrent came from.
    link: Option<Box<Magnet>>,
    keep: Keep,
    trouble: Trouble,
    started: Moment,
    inbox: Inbox,
    mail: mpsc::Receiver<Mail>,
    jobs: Jobs,
    links: BTreeMap<PeerKey, Link>,
    next_peer: u32,
    /// Peers with messages of this turn.
    dirty: BTreeSet<PeerKey>,
    /// Blocks to send to peers, of this turn.
    serves: Vec<(PeerKey, Span)>,
    /// Blocks to read for peers first, of this turn.
    reads: Vec<(PeerKey, Span)>,
    pieces: BTreeMap<PieceIndex, PieceBuf>,
    through: Through,
    /// Complete pieces that wait to be hashed.
    batch: Batch,
    content: Option<Content>,
    share: Option<Share>,
    trackers: Option<Trackers>,
    /// It was incomplete at some time, so its completion is news.
    fetched: bool,
    shown: Moment,
    stopping: bool,
}

/// What a torrent starts from.
pub(crate) struct Start {
    pub(crate) add: AddTorrent,
    /// The storage, when the metadata was known and it could be opened already.
    pub(crate) opened: Option<Opened>,
    pub(crate) face: Arc<Face>,
    pub(crate) mail: mpsc::Receiver<Mail>,
    pub(crate) inbox: Inbox,
    pub(crate) seed: u64,
}

impl TorrentTask {
    /// A torrent that has not begun.
    pub(crate) fn new(shared: Arc<Shared>, start: Start) -> Self {
        let Start { add, opened, face, mail, inbox, seed } = start;
        let now = shared.clock.now();
        let core = Torrent::new(params(&shared, &face, seed), now);
        let batch = Batch::new(shared.config.receive_budget);
        let trackers = Trackers::start(&shared, &face, &inbox, (seed, &add));
        let opening = Opening::new(&add, &shared);
        let mut task = Self {
            shared,
            face,
            core,
            opening,
            link: add.source.into_link(),
            keep: Keep::default(),
            trouble: Trouble::default(),
            started: now,
            inbox,
            mail,
            jobs: Jobs::new(),
            links: BTreeMap::new(),
            next_peer: 0,
            dirty: BTreeSet::new(),
            serves: Vec::new(),
            reads: Vec::new(),
            pieces: BTreeMap::new(),
            through: Through::default(),
            batch,
            content: None,
            share: None,
            trackers,
            fetched: false,
            shown: now,
            stopping: false,
        };
        task.begin(now, opened, add.peers);
        task
    }

    /// Runs the torrent until it is told to stop.
    pub(crate) async fn run(mut self) {
        let mut batch = Vec::with_capacity(TURN_MAX);
        let sleep = tokio::time::sleep_until(self.shared.clock.instant(self.started));
        let mut sleep = std::pin::pin!(sleep);
        while !self.stopping {
            let wake_at = self.shared.clock.instant(self.next_wake());
            // An alarm that rings early is cheaper than moving it every turn.
            if sleep.deadline() > wake_at || sleep.is_elapsed() {
                sleep.as_mut().reset(wake_at);
            }
            let done = tokio::select! {
                biased;
                () = self.face.nudged() => None,
                done = self.jobs.next() => done,
                _ = self.mail.recv_many(&mut batch, TURN_MAX) => None,
                () = &mut sleep => None,
            };
            self.turn(done, &mut batch);
        }
        self.wind_down().await;
    }

    /// Takes in everything that is there, then acts on it.
    fn turn(&mut self, done: Option<Done>, batch: &mut Vec<Mail>) {
        let now = self.shared.clock.now();
        if let Some(done) = done {
            self.on_done(now, done);
        }
        while let Some(done) = self.jobs.try_next() {
            self.on_done(now, done);
        }
        for mail in batch.drain(..) {
            self.on_mail(now, mail);
        }
        let orders = self.face.take_orders();
        self.on_orders(now, orders);
        if self.core.deadline().is_some_and(|deadline| deadline <= now) {
            self.feed(now, Input::Wake);
        }
        self.checkpoint(now);
        self.retry(now);
        self.post_serves();
        self.line_up_reads();
        self.line_up_stores(now);
        self.line_up_through();
        self.submit_jobs();
        self.post();
        self.show(now);
    }

    /// Gives the workers what they have room for.
    fn submit_jobs(&mut self) {
        let face = Arc::clone(&self.face);
        self.jobs.submit(&self.shared.workers, move || face.nudge());
    }

    /// When to look again if nothing arrives.
    fn next_wake(&self) -> Moment {
        let disk = self.keep.deadline().min(self.trouble.deadline()).min(self.batch.deadline());
        let core = self.core.deadline().unwrap_or(Moment::NEVER).min(disk);
        if self.links.is_empty() { core } else { core.min(self.shown + SHOW_IDLE) }
    }

    /// Closes everything and waits for the jobs that are under way.
    async fn wind_down(&mut self) {
        let now = self.shared.clock.now();
        self.feed(now, Input::Pause);
        self.jobs.give_up_waiting();
        drop(self.batch.take_all());
        self.post();
        while !self.jobs.is_idle() {
            let Some(done) = self.jobs.next().await else { break };
            self.on_last_done(done);
        }
        self.last_checkpoint().await;
        let now = self.shared.clock.now();
        self.show_now(now);
        let limits = self.core.snapshot(now).limits;
        if limits.hits().next().is_some() {
            tracing::debug!(torrent = %self.face.hashes.wire(), ?limits, "bounds that have bitten");
        }
    }
}

/// How often the snapshot is renewed while nothing but time passes.
const SHOW_IDLE: Duration = Duration::from_secs(1);

impl Drop for TorrentTask {
    fn drop(&mut self) {
        // Also when the task panicked: nobody may wait for ever.
        for link in self.links.values() {
            link.outbox.close(CloseReason::Stopping);
        }
        self.shared.forget(&self.face);
        self.face.end();
    }
}

fn params(shared: &Shared, face: &Face, seed: u64) -> Params {
    let mut config = CoreConfig::default();
    config.peers_max = shared.config.peers_per_torrent_max;
    config.addresses = shared.config.addresses;
    config.peer_exchange = shared.config.peer_exchange;
    config.receive_budget = shared.config.receive_budget;
    config.send_budget = shared.config.send_budget;
    Params {
        info_hash: face.hashes.wire(),
        peer_id: shared.peer_id,
        client: shared.config.client.clone(),
        listen_port: shared.listen_port(),
        config,
        seed,
    }
}
