//! From a name to verified content: metadata, opening, checking, finishing.
//!
//! Each step that touches a disk or hashes is a job of the workers; its result comes back as
//! a [`Done`]. What is on the disk at the start is hashed, save what an earlier run recorded
//! and nobody has touched since, and save when the caller says it has just done so.
//!
//! Not here: fetching and serving.

use super::TorrentTask;
use super::face::Face;
use super::progress::Progress;
use super::trouble::Reread;
use crate::data::Job;
use crate::data::check::{self, PieceState, ScanError};
use crate::data::jobs::{CheckPieces, Stored};
use crate::data::workers::{JobPanicked, Kind};
use crate::engine::shared::Shared;
use crate::geometry::Geometry;
use crate::metainfo::{Magnet, Metainfo, PeerAddr};
use crate::proto::event::Phase;
use crate::proto::input::Input;
use crate::session::{AddTorrent, Error, Event, Mode, Selection};
use crate::storage::{FsStorage, Kept, OpenError, OpenFiles, Storage as _, StorageError};
use crate::types::{Bitfield, FileIndex, Moment, PieceIndex, Untrusted};
use bytes::Bytes;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

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
    pub(super) check: Check,
}

/// A check of what is on the disk.
#[derive(Debug)]
pub(super) struct Check {
    next: u32,
    running: usize,
    done: u32,
    /// Pieces that were not hashed because an earlier run had.
    known: u32,
    good: Bitfield,
}

/// A storage with what it stores.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) metainfo: Arc<Metainfo>,
    pub(crate) storage: Arc<FsStorage>,
    /// Pieces that an earlier run verified.
    pub(crate) known: Bitfield,
    /// There is nothing on the disk that could be checked.
    pub(crate) is_blank: bool,
}

/// A job of this torrent is done.
#[derive(Debug)]
pub(super) enum Done {
    Stored {
        pieces: Vec<PieceIndex>,
        stored: Result<Vec<Stored>, JobPanicked>,
    },
    Through {
        piece: PieceIndex,
        result: Box<super::through::Report>,
    },
    Parsed(Option<Arc<Metainfo>>),
    Opened(Result<Opened, Error>),
    Checked {
        pieces: Range<u32>,
        states: Result<Vec<PieceState>, Error>,
    },
    Settled(Result<(), Error>),
    Selected(Result<(), Error>),
    Finished(Result<(), Error>),
    /// What is verified was recorded, or could not be.
    Checkpointed(Result<Kept, Error>),
    /// The content was opened anew after a failure.
    Reopened(Result<Opened, Error>),
    /// Pieces that could not be read were tried again.
    Reread(Reread),
    /// What a seed holds was recorded.
    Sealed,
}

/// All that decides how a torrent's storage is opened.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) mode: Mode,
    pub(crate) selection: Selection,
    pub(crate) overwrite: bool,
    /// Where finished and served content is recorded.
    pub(crate) state_folder: Option<PathBuf>,
    /// How many files all torrents keep open.
    pub(crate) files: Arc<OpenFiles>,
}

impl Opening {
    pub(crate) fn new(torrent: &AddTorrent, shared: &Shared) -> Self {
        Self {
            mode: torrent.mode.clone(),
            selection: torrent.selection.clone(),
            overwrite: torrent.overwrite,
            state_folder: shared.config.state_folder.clone(),
            files: Arc::clone(&shared.files),
        }
    }

    /// Opens the storage, and tells what of it needs no check. Blocks.
    ///
    /// # Errors
    /// When a different file is in the way, or the storage fails.
    pub(crate) fn open(&self, metainfo: Arc<Metainfo>) -> Result<Opened, Error> {
        let mut storage = match &self.mode {
            Mode::Fetch { folder } => {
                let progress = Progress::new(metainfo.clone(), &self.selection);
                if progress.is_nothing_wanted() {
                    return Err(Error::EmptySelection);
                }
                let is_wanted = |file| progress.is_wanted(file);
                FsStorage::fetch(folder, &metainfo, &is_wanted, self.overwrite)?
            }
            Mode::Seed { content, .. } => FsStorage::seed(content, &metainfo)?,
        };
        storage = storage.share_files(Arc::clone(&self.files));
        if let Some(folder) = &self.state_folder {
            storage = storage.remember_in(folder);
        }
        let known = storage.recall();
        let is_blank = storage.is_blank();
        Ok(Opened { metainfo, storage: Arc::new(storage), known, is_blank })
    }

    pub(super) const fn is_fetch(&self) -> bool {
        matches!(self.mode, Mode::Fetch { .. })
    }
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
        if let Some(link) = self.link.as_ref().filter(|link| !link.peers().is_empty()) {
            let look_up = look_up(self.face.clone(), link.peers().to_vec());
            self.shared.tasks.spawn("look up peers", look_up);
        }
    }

    pub(super) fn on_done(&mut self, now: Moment, done: Done) {
        match done {
            Done::Stored { pieces, stored } => self.on_stored(now, pieces, stored),
            Done::Through { piece, result } => self.on_through(now, piece, *result),
            Done::Parsed(Some(metainfo)) => self.open(metainfo),
            Done::Parsed(None) => self.feed(now, Input::MetadataRefused),
            Done::Opened(Ok(opened)) => self.on_opened(now, opened),
            Done::Checked { pieces, states: Ok(states) } => {
                self.on_checked(now, pieces, &states);
            }
            Done::Settled(Ok(())) => self.on_settled(now),
            Done::Selected(Ok(())) => {}
            Done::Finished(Ok(())) => self.on_finished(now),
            Done::Checkpointed(result) => self.on_checkpointed(now, result),
            Done::Reopened(result) => self.on_reopened(now, result),
            Done::Reread(reread) => self.on_reread(now, reread),
            Done::Sealed => {}
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
        if let (Selection::All, Some(link)) = (&self.opening.selection, &self.link) {
            self.opening.selection = selection_of(link, &metainfo);
        }
        let opening = self.opening.clone();
        self.background(move || opening.open(metainfo), |opened| Done::Opened(flatten(opened)));
    }

    fn on_opened(&mut self, now: Moment, opened: Opened) {
        let Opened { metainfo, storage, known, is_blank } = opened;
        let geometry = *metainfo.geometry();
        let progress = Arc::new(Progress::new(metainfo.clone(), &self.opening.selection));
        // Only ever set here, and metadata comes once.
        let _ = self.face.progress.set(progress.clone());
        self.face.known_pieces.store(known.count(), Ordering::Relaxed);
        let check = if is_blank { Check::blank(known.len()) } else { Check::new(known) };
        let content = Content { metainfo: metainfo.clone(), geometry, storage, progress, check };
        for link in self.links.values() {
            link.outbox.set_source(content.source());
        }
        self.content = Some(content);
        self.face.advance(|status| status.metainfo = Some(metainfo.clone()));
        self.face.tell(Event::Metadata(metainfo.clone()));
        self.feed(now, Input::Metainfo(metainfo));
        if matches!(self.opening.mode, Mode::Seed { verified: true, .. }) {
            self.trust_all(now);
        } else {
            self.check(now);
        }
    }

    /// Hashes what is on the disk and not known to be good.
    pub(super) fn check(&mut self, now: Moment) {
        self.check_more();
        // Nothing had to be hashed.
        if self.content.as_ref().is_some_and(|content| content.check.is_done()) {
            self.settle(now);
        }
    }

    /// The caller has hashed the content a moment ago.
    fn trust_all(&mut self, now: Moment) {
        let Some(content) = &mut self.content else { return };
        content.check = Check::new(Bitfield::all(content.geometry.piece_count()));
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
        if check.running >= limit {
            return None;
        }
        let pieces = check.next_run(check::pieces_per_call(geometry.piece_length()))?;
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
        if check.is_done() {
            self.settle(now);
        } else {
            self.check_more();
        }
    }

    /// What is on the disk is known: lets the storage act on it before anything is written.
    fn settle(&mut self, now: Moment) {
        let Some(content) = &self.content else { return };
        if !self.opening.is_fetch() {
            return self.on_settled(now);
        }
        let (storage, good) = (content.storage.clone(), content.check.good.clone());
        let mut missing = content.progress.wanted_pieces().iter().collect::<Vec<_>>();
        missing.retain(|piece| !good.contains(*piece));
        let renew = !missing.is_empty() && (storage.has_record() || !good.is_none());
        self.background(
            move || settle(&storage, &good, renew),
            |settled| Done::Settled(flatten(settled)),
        );
    }

    fn on_settled(&mut self, now: Moment) {
        let Some(content) = &mut self.content else { return };
        let known = content.check.known;
        let have = std::mem::take(&mut content.check.good);
        let count = have.count();
        // A seed writes nothing, so it wants nothing but what it has.
        let wanted = match self.opening.mode {
            Mode::Fetch { .. } => content.progress.wanted_pieces(),
            Mode::Seed { .. } => have.clone(),
        };
        self.face.checked_pieces.store(content.geometry.piece_count(), Ordering::Relaxed);
        for file in content.progress.recount(&have) {
            self.face.tell(Event::FileDone { file });
        }
        self.recovered();
        if !self.opening.is_fetch() && known < count {
            self.seal(have.clone());
        }
        self.feed(now, Input::Wanted(wanted));
        self.feed(now, Input::Checked { have });
        self.face.advance(|status| status.checked = Some(count));
        // A completed fetch has its name already; what it does is told by its phase.
        tracing::debug!(pieces = count, known, "checked");
    }

    /// Another choice of files.
    pub(super) fn on_selection(&mut self, now: Moment, selection: Selection) {
        self.opening.selection = selection;
        let Some(content) = &self.content else { return };
        if matches!(self.opening.mode, Mode::Seed { .. }) {
            return;
        }
        content.progress.select(&self.opening.selection);
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
        if matches!(self.opening.mode, Mode::Seed { .. }) {
            return self.on_finished(now);
        }
        let storage = content.storage.clone();
        let have = self.core.have().cloned().unwrap_or_default();
        self.keep.clear();
        self.background(
            move || storage.sync().and_then(|()| storage.conclude(&have)).map_err(Error::from),
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
    pub(super) fn background<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(Result<T, JobPanicked>) -> Done + Send + 'static,
    ) {
        let report = self.jobs.reporter();
        self.jobs.push(Job::new(Kind::Background, work, move |result| report(done(result))));
    }
}

/// Lets the storage act on what a check found, and records it before anything is written.
/// Blocks.
fn settle(storage: &FsStorage, good: &Bitfield, renew: bool) -> Result<(), Error> {
    storage.settle(good)?;
    if renew && let Kept::No(error) = storage.checkpoint(good)? {
        tracing::warn!(%error, "what is verified is not recorded");
    }
    Ok(())
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
    /// All but these pieces is to be hashed.
    pub(super) fn new(known: Bitfield) -> Self {
        let done = known.count();
        Self { next: 0, running: 0, done, known: done, good: known }
    }

    /// None of so many pieces is there.
    fn blank(total: u32) -> Self {
        Self { next: total, running: 0, done: total, known: 0, good: Bitfield::none(total) }
    }

    /// The next at most `longest` pieces in a row to hash.
    fn next_run(&mut self, longest: u32) -> Option<Range<u32>> {
        let total = self.good.len();
        let is_known = |piece| self.good.contains(PieceIndex::new(piece));
        let start = (self.next..total).find(|piece| !is_known(*piece)).unwrap_or(total);
        let longest_end = start.saturating_add(longest).min(total);
        let end = (start..longest_end).find(|piece| is_known(*piece)).unwrap_or(longest_end);
        self.next = end;
        (start < end).then_some(start..end)
    }

    const fn is_done(&self) -> bool {
        self.done == self.good.len()
    }
}

pub(super) fn flatten<T>(result: Result<Result<T, Error>, JobPanicked>) -> Result<T, Error> {
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
