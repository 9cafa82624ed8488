//! From a name to verified content: metadata, opening, checking, finishing.
//!
//! Each step that touches a disk or hashes is a job of the workers; its result comes back as
//! a [`Done`]. What is on the disk at the start is never trusted: every piece is hashed,
//! save when the caller says it has just done so.
//!
//! Not here: fetching and serving.

use super::TorrentTask;
use super::face::Face;
use super::progress::Progress;
use crate::data::Job;
use crate::data::check::{PieceState, ScanError};
use crate::data::jobs::{CheckPieces, Stored};
use crate::data::workers::{JobPanicked, Kind};
use crate::geometry::Geometry;
use crate::metainfo::{Magnet, Metainfo, PeerAddr};
use crate::proto::event::Phase;
use crate::proto::input::Input;
use crate::session::{Error, Event, Mode, Selection};
use crate::storage::{FsStorage, OpenError, Storage as _, StorageError};
use crate::types::{Bitfield, FileIndex, Moment, PieceIndex, Untrusted};
use bytes::Bytes;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Bytes hashed by one job of a check, as far as pieces allow: progress comes this often.
const CHECK_BYTES: u32 = 8 << 20;
/// How long to look for the address of a named peer.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(10);
/// Jobs of one check under way for each worker.
const CHECKS_PER_WORKER: usize = 2;

/// The content of a torrent whose metadata is known.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) metainfo: Arc<Metainfo>,
    pub(super) geometry: Geometry,
    pub(super) storage: Arc<FsStorage>,
    pub(super) progress: Arc<Progress>,
    check: Check,
}

/// A check of what is on the disk.
#[derive(Debug)]
struct Check {
    next: u32,
    running: usize,
    done: u32,
    good: Bitfield,
}

/// A storage with what it stores.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) metainfo: Arc<Metainfo>,
    pub(crate) storage: Arc<FsStorage>,
}

/// A job of this torrent is done.
#[derive(Debug)]
pub(super) enum Done {
    Stored { piece: PieceIndex, stored: Result<Stored, JobPanicked> },
    Parsed(Option<Arc<Metainfo>>),
    Opened(Result<Opened, Error>),
    Checked { pieces: Range<u32>, states: Result<Vec<PieceState>, Error> },
    Settled(Result<(), Error>),
    Selected(Result<(), Error>),
    Finished(Result<(), Error>),
}

/// Opens the storage for a torrent. Blocks.
///
/// # Errors
/// When a different file is in the way, or the storage fails.
pub(crate) fn open(
    mode: &Mode,
    metainfo: Arc<Metainfo>,
    selection: &Selection,
    overwrite: bool,
) -> Result<Opened, Error> {
    let storage = match mode {
        Mode::Fetch { folder } => {
            let progress = Progress::new(metainfo.clone(), selection);
            if progress.is_nothing_wanted() {
                return Err(Error::EmptySelection);
            }
            FsStorage::fetch(folder, &metainfo, &|file| progress.is_wanted(file), overwrite)?
        }
        Mode::Seed { content, .. } => FsStorage::seed(content, &metainfo)?,
    };
    Ok(Opened { metainfo, storage: Arc::new(storage) })
}

impl TorrentTask {
    /// Starts on what is known.
    pub(super) fn begin(&mut self, now: Moment, opened: Option<Opened>, peers: Vec<SocketAddr>) {
        if let Some(opened) = opened {
            self.on_opened(now, opened);
        }
        // Only now: a torrent with metadata never looks for any, and trackers are told so.
        self.show_now(now);
        if !peers.is_empty() {
            self.face.order(|orders| orders.peers.extend(peers));
        }
        if let Some(link) = self.terms.link.as_ref().filter(|link| !link.peers().is_empty()) {
            let look_up = look_up(self.face.clone(), link.peers().to_vec());
            self.shared.tasks.spawn("look up peers", look_up);
        }
    }

    pub(super) fn on_done(&mut self, now: Moment, done: Done) {
        match done {
            Done::Stored { piece, stored } => self.on_stored(now, piece, stored),
            Done::Parsed(Some(metainfo)) => self.open(metainfo),
            Done::Parsed(None) => self.feed(now, Input::MetadataRefused),
            Done::Opened(Ok(opened)) => self.on_opened(now, opened),
            Done::Checked { pieces, states: Ok(states) } => {
                self.on_checked(now, pieces, &states);
            }
            Done::Settled(Ok(())) => self.on_settled(now),
            Done::Selected(Ok(())) => {}
            Done::Finished(Ok(())) => self.on_finished(now),
            Done::Opened(Err(error))
            | Done::Checked { states: Err(error), .. }
            | Done::Settled(Err(error))
            | Done::Selected(Err(error))
            | Done::Finished(Err(error)) => self.fail(now, error),
        }
    }

    /// Metadata came from peers: parses it off this task, it may be megabytes.
    pub(super) fn parse(&mut self, info: Bytes) {
        let hashes = self.face.hashes;
        self.background(
            move || Metainfo::from_info(info, &hashes).ok().map(Arc::new),
            |parsed| Done::Parsed(parsed.unwrap_or_default()),
        );
    }

    fn open(&mut self, metainfo: Arc<Metainfo>) {
        if let (Selection::All, Some(link)) = (&self.terms.selection, &self.terms.link) {
            self.terms.selection = selection_of(link, &metainfo);
        }
        let (mode, selection) = (self.terms.mode.clone(), self.terms.selection.clone());
        let overwrite = self.terms.overwrite;
        self.background(
            move || open(&mode, metainfo, &selection, overwrite),
            |opened| Done::Opened(flatten(opened)),
        );
    }

    fn on_opened(&mut self, now: Moment, opened: Opened) {
        let Opened { metainfo, storage } = opened;
        let geometry = *metainfo.geometry();
        let progress = Arc::new(Progress::new(metainfo.clone(), &self.terms.selection));
        // Only ever set here, and metadata comes once.
        let _ = self.face.progress.set(progress.clone());
        let check = Check::new(geometry.piece_count());
        let content = Content { metainfo: metainfo.clone(), geometry, storage, progress, check };
        for link in self.links.values() {
            link.outbox.set_source(content.source());
        }
        self.content = Some(content);
        self.face.advance(|status| status.metainfo = Some(metainfo.clone()));
        self.face.tell(Event::Metadata(metainfo.clone()));
        self.feed(now, Input::Metainfo(metainfo));
        if matches!(self.terms.mode, Mode::Seed { verified: true, .. }) {
            self.trust_all(now);
        } else {
            self.check_more();
        }
    }

    /// The caller has hashed the content a moment ago.
    fn trust_all(&mut self, now: Moment) {
        let Some(content) = &mut self.content else { return };
        content.check = Check::new(0);
        content.check.good = Bitfield::all(content.geometry.piece_count());
        self.settle(now);
    }

    /// Keeps the workers busy with what is left to check.
    fn check_more(&mut self) {
        let limit = self.shared.worker_count * CHECKS_PER_WORKER;
        while let Some(job) = self.next_check(limit) {
            self.jobs.push(job);
        }
    }

    fn next_check(&mut self, limit: usize) -> Option<Job> {
        let report = self.jobs.reporter();
        let Content { metainfo, geometry, storage, check, .. } = self.content.as_mut()?;
        let count = (CHECK_BYTES / geometry.piece_length()).max(1);
        let end = check.next.saturating_add(count).min(geometry.piece_count());
        let pieces = check.next..end;
        if check.running >= limit || pieces.is_empty() {
            return None;
        }
        check.next = end;
        check.running += 1;
        let metainfo = metainfo.clone();
        let job = CheckPieces {
            storage: storage.clone(),
            geometry: *geometry,
            pieces: pieces.clone(),
            hashes: Arc::new(move |piece| metainfo.piece_hash(piece)),
        };
        Some(job.job(move |states| {
            let states = flatten(states.map(|states| states.map_err(Error::from)));
            report(Done::Checked { pieces, states });
        }))
    }

    fn on_checked(&mut self, now: Moment, pieces: Range<u32>, states: &[PieceState]) {
        let Some(Content { geometry, check, .. }) = &mut self.content else { return };
        check.running -= 1;
        for (piece, state) in pieces.zip(states) {
            check.done += 1;
            if *state == PieceState::Good {
                check.good.insert(PieceIndex::new(piece));
            }
        }
        let (done, total) = (check.done, geometry.piece_count());
        self.face.checked_pieces.store(done, Ordering::Relaxed);
        self.face.tell(Event::Checking { done, total });
        if done == total {
            self.settle(now);
        } else {
            self.check_more();
        }
    }

    /// What is on the disk is known: lets the storage act on it before anything is written.
    fn settle(&mut self, now: Moment) {
        let Some(content) = &self.content else { return };
        if matches!(self.terms.mode, Mode::Seed { .. }) {
            return self.on_settled(now);
        }
        let (storage, good) = (content.storage.clone(), content.check.good.clone());
        self.background(
            move || storage.settle(&good).map_err(Error::from),
            |settled| Done::Settled(flatten(settled)),
        );
    }

    fn on_settled(&mut self, now: Moment) {
        let Some(content) = &mut self.content else { return };
        let have = std::mem::take(&mut content.check.good);
        let count = have.count();
        // A seed writes nothing, so it wants nothing but what it has.
        let wanted = match self.terms.mode {
            Mode::Fetch { .. } => content.progress.wanted_pieces(),
            Mode::Seed { .. } => have.clone(),
        };
        self.face.checked_pieces.store(content.geometry.piece_count(), Ordering::Relaxed);
        for piece in have.iter() {
            self.count_piece(piece);
        }
        self.feed(now, Input::Wanted(wanted));
        self.feed(now, Input::Checked { have });
        self.face.advance(|status| status.checked = Some(count));
        // A completed fetch has its name already; what it does is told by its phase.
        tracing::debug!(pieces = count, "checked");
    }

    /// Another choice of files.
    pub(super) fn on_selection(&mut self, now: Moment, selection: Selection) {
        self.terms.selection = selection;
        let Some(content) = &self.content else { return };
        if matches!(self.terms.mode, Mode::Seed { .. }) {
            return;
        }
        content.progress.select(&self.terms.selection);
        let wanted = content.progress.wanted_pieces();
        let (storage, progress) = (content.storage.clone(), content.progress.clone());
        self.background(
            move || storage.select(&|file| progress.is_wanted(file)).map_err(Error::from),
            |selected| Done::Selected(flatten(selected)),
        );
        self.feed(now, Input::Wanted(wanted));
        if self.core.phase() == Phase::Downloading {
            self.face.advance(|status| status.outcome = None);
        }
    }

    /// Everything wanted is here: forces it to the disk and gives it its final name.
    pub(super) fn finish(&mut self, now: Moment) {
        let Some(content) = &self.content else { return };
        if matches!(self.terms.mode, Mode::Seed { .. }) {
            return self.on_finished(now);
        }
        let storage = content.storage.clone();
        self.background(
            move || storage.sync().and_then(|()| storage.finish()).map_err(Error::from),
            |finished| Done::Finished(flatten(finished)),
        );
    }

    /// Counts a piece that is verified and written.
    pub(super) fn count_piece(&self, piece: PieceIndex) {
        let Some(content) = &self.content else { return };
        for file in content.progress.add_piece(piece) {
            self.face.tell(Event::FileDone { file });
        }
    }

    /// Has a worker do something long.
    fn background<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(Result<T, JobPanicked>) -> Done + Send + 'static,
    ) {
        let report = self.jobs.reporter();
        self.jobs.push(Job::new(Kind::Background, work, move |result| report(done(result))));
    }

    /// Stops the torrent on an error of this machine.
    pub(super) fn fail(&mut self, now: Moment, error: Error) {
        tracing::warn!(%error, "torrent failed");
        self.core.fail(now);
        self.drain(now);
        self.face.advance(|status| status.outcome = Some(Err(error.clone())));
        self.face.tell(Event::Failed(error));
    }
}

/// Finds the addresses of the peers that a link names; a torrent that ends ends it.
async fn look_up(face: Arc<Face>, peers: Vec<PeerAddr>) {
    for peer in peers {
        let ended = face.ended();
        let found = tokio::net::lookup_host((peer.host.as_str(), peer.port));
        let addrs = tokio::select! {
            found = tokio::time::timeout(LOOK_UP_TIMEOUT, found) => found,
            () = ended => return,
        };
        match addrs {
            Ok(Ok(addrs)) => face.order(|orders| orders.peers.extend(addrs)),
            _ => tracing::debug!(host = %Untrusted::new(&peer.host), "a peer's name is not known"),
        }
    }
}

/// The files that a link's `so=` chooses (BEP 53).
fn selection_of(link: &Magnet, metainfo: &Metainfo) -> Selection {
    if link.selection().is_none() {
        return Selection::All;
    }
    let files = (0..).zip(metainfo.files()).map(|(index, _)| FileIndex::new(index));
    Selection::Files(files.filter(|file| link.selects(*file)).collect())
}

impl Check {
    fn new(pieces: u32) -> Self {
        Self { next: 0, running: 0, done: 0, good: Bitfield::none(pieces) }
    }
}

fn flatten<T>(result: Result<Result<T, Error>, JobPanicked>) -> Result<T, Error> {
    result.unwrap_or(Err(Error::Internal))
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        Self::Storage(Arc::new(error))
    }
}

impl From<ScanError> for Error {
    fn from(error: ScanError) -> Self {
        match error {
            ScanError::Storage(error) => error.into(),
            ScanError::Stopped => Self::Stopped,
        }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Conflict { path } => Self::Conflict { path },
            OpenError::Locked { path } => Self::Locked { path },
            OpenError::Storage(error) => error.into(),
        }
    }
}
