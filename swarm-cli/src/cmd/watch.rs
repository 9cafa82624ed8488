//! Follows one torrent of a session: what a view shows of it, and since when it stands still.

use std::time::Duration;

use swarm_core::TorrentStats;
use swarm_core::session::{Phase, TorrentHandle};
use swarm_core::types::Moment;

use crate::diagnosis::Diagnosis;
use crate::exit::{Code, Failure};
use crate::units;
use crate::view::{FileRow, PeerRow, Snapshot, Stage};

/// A fetch that has stood still for this long says why.
pub(super) const SILENCE: Duration = Duration::from_secs(3);

/// One torrent, over time.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) handle: TorrentHandle,
    /// Shown until the metadata brings a name.
    link: String,
    mark: Mark,
    advanced: Moment,
    ailing: Option<Ailing>,
    checking_since: Option<Moment>,
}

/// This machine fails the fetch.
#[derive(Debug)]
struct Ailing {
    since: Moment,
    /// What was there then. Only more than that is a recovery.
    have_bytes: u64,
    failure: Failure,
}

/// What changes as long as anything comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    phase: Phase,
    downloaded: u64,
    have_bytes: u64,
    checked_pieces: u32,
}

impl Watched {
    pub(crate) fn new(handle: TorrentHandle, link: &str, now: Moment) -> Self {
        let mark = Mark::of(&handle.stats());
        let link = link.chars().take(60).collect();
        Self { handle, link, mark, advanced: now, ailing: None, checking_since: None }
    }

    /// How long nothing has come: no byte, no checked piece, no new phase.
    pub(crate) fn silence(&self, now: Moment) -> Duration {
        now.since(self.advanced)
    }

    /// Notes that this machine fails; true when that is news.
    pub(super) fn ails(&mut self, now: Moment, failure: &Failure) -> bool {
        let have_bytes = self.handle.stats().have_bytes;
        if self.ailing.as_ref().is_some_and(|ailing| ailing.failure == *failure) {
            return false;
        }
        let since = self.ailing.as_ref().map_or(now, |ailing| ailing.since);
        self.ailing = Some(Ailing { since, have_bytes, failure: failure.clone() });
        true
    }

    /// For how long this machine has failed, and how, if it does.
    pub(super) fn ailment(&self, now: Moment) -> Option<(Duration, &Failure)> {
        self.ailing.as_ref().map(|ailing| (now.since(ailing.since), &ailing.failure))
    }

    /// Whether nothing could ever be written, for no want of room: nothing will mend that.
    pub(super) fn is_hopeless(&self) -> bool {
        self.ailing
            .as_ref()
            .is_some_and(|ailing| ailing.have_bytes == 0 && ailing.failure.code() != Code::DiskFull)
    }

    pub(crate) fn info_hash(&self) -> String {
        self.handle.hashes().wire().to_string()
    }

    /// Its name once known, the link it came from until then.
    pub(crate) fn name(&self) -> String {
        self.handle.metainfo().map_or_else(|| self.link.clone(), |meta| meta.name().to_owned())
    }

    /// Looks at the torrent now.
    pub(crate) fn look(&mut self, now: Moment) -> Snapshot {
        let stats = self.handle.stats();
        let mark = Mark::of(&stats);
        if mark != self.mark {
            self.mark = mark;
            self.advanced = now;
        }
        if self.ailing.as_ref().is_some_and(|ailing| stats.have_bytes > ailing.have_bytes) {
            self.ailing = None;
        }
        let stage = stage(&stats);
        let waits = matches!(stage, Stage::Metadata | Stage::Fetching);
        let mut row = Snapshot {
            name: self.name(),
            info_hash: self.info_hash(),
            stage,
            done_bytes: stats.have_bytes,
            total_bytes: stats.total_bytes,
            rate: stats.down_rate,
            up_rate: stats.up_rate,
            uploaded: stats.uploaded,
            peers: peers(&stats, stage),
            files: self.files(&stats),
            diagnosis: (waits && self.silence(now) >= SILENCE).then(|| Diagnosis::of(&stats)),
        };
        if stage == Stage::Checking {
            self.show_check(&mut row, &stats, now);
        } else {
            self.checking_since = None;
        }
        row
    }

    /// While checking, bytes and rate are those of the hashing.
    fn show_check(&mut self, row: &mut Snapshot, stats: &TorrentStats, now: Moment) {
        let since = *self.checking_since.get_or_insert(now);
        let length = self.handle.metainfo().map(|meta| *meta.geometry());
        let Some(geometry) = length else { return };
        let checked = u64::from(stats.checked_pieces) * u64::from(geometry.piece_length());
        row.total_bytes = geometry.total_length();
        row.done_bytes = checked.min(row.total_bytes);
        row.rate = units::average(row.done_bytes, now.since(since));
    }

    fn files(&self, stats: &TorrentStats) -> Vec<FileRow> {
        let Some(metainfo) = self.handle.metainfo() else { return Vec::new() };
        // Views show a few files or none: do not copy the paths of a hundred thousand.
        if stats.files.len() > FILES_MAX {
            return Vec::new();
        }
        let row = |file: &swarm_core::session::FileStats| {
            let path = metainfo.files().get(file.file.as_usize())?.path.join("/");
            Some(FileRow { path, have_bytes: file.have_bytes, length: file.length })
        };
        stats.files.iter().filter_map(row).collect()
    }
}

/// More files than this get no line of their own in any view.
const FILES_MAX: usize = 16;

impl Mark {
    fn of(stats: &TorrentStats) -> Self {
        Self {
            phase: stats.phase,
            downloaded: stats.downloaded,
            have_bytes: stats.have_bytes,
            checked_pieces: stats.checked_pieces,
        }
    }
}

fn stage(stats: &TorrentStats) -> Stage {
    match stats.phase {
        Phase::Metadata => Stage::Metadata,
        Phase::Checking => Stage::Checking,
        Phase::Downloading if stats.total_bytes > 0 && stats.have_bytes == stats.total_bytes => {
            Stage::Finishing
        }
        Phase::Downloading => Stage::Fetching,
        Phase::Seeding => Stage::Serving,
        Phase::Failed if stats.trouble.is_some() => Stage::Waiting,
        _ => Stage::Ended,
    }
}

fn peers(stats: &TorrentStats, stage: Stage) -> Vec<PeerRow> {
    // Peers do not tell a seed what they have got: it knows at least what it gave them.
    let given = |peer: &swarm_core::PeerStats| match stage {
        Stage::Serving if stats.total_bytes > 0 => {
            units::permille(peer.uploaded, stats.total_bytes)
        }
        _ => 0,
    };
    let row = |peer: &swarm_core::PeerStats| PeerRow {
        addr: peer.addr,
        client: peer.client.clone(),
        permille: share(peer.progress).max(given(peer)),
        up_rate: peer.up_rate,
    };
    stats.peers.iter().map(row).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "the value is clamped to 0..=1000 just before"
)]
fn share(progress: f64) -> u64 {
    (progress * 1000.0).clamp(0.0, 1000.0) as u64
}
