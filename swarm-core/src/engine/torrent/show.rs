//! What the torrent shows of itself: snapshots, and how a fetch ended.

use super::TorrentTask;
use super::content::Done;
use crate::data::jobs::{StoreOutcome, Stored};
use crate::proto::announce::Status;
use crate::proto::event::Phase;
use crate::proto::torrent::Snapshot;
use crate::session::{Completed, Event};
use crate::types::Moment;
use std::time::Duration;

/// How often the snapshot is renewed while things happen.
const SHOW_BUSY: Duration = Duration::from_millis(250);

impl TorrentTask {
    /// Renews the snapshot when it is old; without a peer there may be no later turn to do it.
    pub(super) fn show(&mut self, now: Moment) {
        if self.links.is_empty() || now.since(self.shown) >= SHOW_BUSY {
            self.show_now(now);
        }
    }

    /// Renews the snapshot.
    pub(super) fn show_now(&mut self, now: Moment) {
        self.shown = now;
        let snapshot = self.core.snapshot(now);
        if let Some(trackers) = &self.trackers {
            trackers.report(snapshot.phase, self.status(&snapshot));
        }
        self.face.show(snapshot);
    }

    /// The numbers that announces carry.
    fn status(&self, snapshot: &Snapshot) -> Status {
        let progress = self.content.as_ref().map(|content| &content.progress);
        Status {
            uploaded: snapshot.uploaded,
            downloaded: snapshot.downloaded,
            left: progress.map(|progress| progress.total_bytes() - progress.have_bytes()),
            peers: snapshot.peers.len(),
        }
    }

    /// Memory for pieces goes to those who fetch.
    pub(super) fn review_share(&mut self, phase: Phase) {
        match (phase, &self.share) {
            (Phase::Downloading, None) => {
                self.fetched = true;
                self.share = Some(self.shared.budget.join(self.face.clone()));
            }
            (Phase::Downloading, Some(_)) => {}
            _ => self.share = None,
        }
    }

    /// The content has its final name.
    pub(super) fn on_finished(&mut self, now: Moment) {
        // Another selection may have come while the storage was busy.
        if self.core.phase() != Phase::Seeding {
            return;
        }
        self.show_now(now);
        let snapshot = self.core.snapshot(now);
        let Some(content) = &self.content else { return };
        let completed = Completed {
            path: content.storage.path(),
            bytes: content.progress.have_bytes(),
            downloaded: snapshot.downloaded,
            uploaded: snapshot.uploaded,
            wasted: snapshot.wasted,
            peers: snapshot.useful_peers,
            elapsed: now.since(self.started),
        };
        if self.face.is_completed() {
            return;
        }
        // No piece completes an empty file: it is there once everything is. Told before the
        // end is, after which nobody may listen any more.
        let files = content.progress.files().into_iter();
        for empty in files.filter(|file| file.length == 0) {
            self.face.tell(Event::FileDone { file: empty.file });
        }
        self.face.advance(|status| status.outcome = Some(Ok(completed)));
        if let Some(trackers) = &self.trackers
            && self.fetched
        {
            trackers.completed();
        }
        self.face.tell(Event::Completed);
    }

    /// A job reports after the torrent was told to stop: only what it wrote matters.
    pub(super) fn on_last_done(&self, done: Done) {
        let Done::Stored { stored: Ok(stored), .. } = done else { return };
        for Stored { outcome, .. } in stored {
            if let StoreOutcome::NotWritten(error) = outcome {
                tracing::warn!(%error, "a verified piece could not be written");
            }
        }
    }
}
