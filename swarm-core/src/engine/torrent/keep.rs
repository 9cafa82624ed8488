//! Checkpoints: when what is verified is recorded, so that a restart need not hash it again.
//!
//! One is due ten seconds after the first piece that no record claims, or when 64 MiB are not
//! claimed, whichever is first (LIMITS 4.6). It waits for the disk on a thread of its own, so
//! that no worker is kept from hashing and no network task ever waits. One at a time for each
//! torrent and a few for the session; a disk that takes long is left alone for some time
//! afterwards, so that it is not busy with this alone.
//!
//! Not here: what makes a record true (`storage::fs::journal`).

use super::TorrentTask;
use super::content::Done;
use crate::session::Error;
use crate::storage::{FsStorage, Kept, StorageError};
use crate::types::{Bitfield, Moment};
use std::time::Duration;

/// Longest that a verified piece waits for a record (LIMITS 5.2).
pub(super) const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// Most bytes of verified pieces that wait for one (LIMITS 5.2).
pub(super) const CHECKPOINT_BYTES: u64 = 64 << 20;
/// After a checkpoint the disk is left alone for this many times as long as it took.
const REST: u32 = 3;

/// What is verified and not recorded.
#[derive(Debug, Default)]
pub(super) struct Keep {
    unclaimed_bytes: u64,
    /// When the oldest of them was written.
    since: Option<Moment>,
    /// When the checkpoint that is under way began.
    begun: Option<Moment>,
    not_before: Moment,
}

impl Keep {
    /// A verified piece was written.
    pub(super) fn written(&mut self, now: Moment, bytes: u64) {
        self.unclaimed_bytes = self.unclaimed_bytes.saturating_add(bytes);
        self.since.get_or_insert(now);
    }

    /// When the next checkpoint is due.
    pub(super) fn deadline(&self) -> Moment {
        match (self.since, self.begun) {
            (Some(since), None) if self.unclaimed_bytes < CHECKPOINT_BYTES => {
                (since + CHECKPOINT_EVERY).max(self.not_before)
            }
            (Some(_), None) => self.not_before,
            _ => Moment::NEVER,
        }
    }

    /// Nothing waits: the content is finished, or given up.
    pub(super) fn clear(&mut self) {
        self.unclaimed_bytes = 0;
        self.since = None;
    }

    fn begin(&mut self, now: Moment) {
        self.clear();
        self.begun = Some(now);
    }

    /// The checkpoint is done; when it failed all of it is still to do.
    fn done(&mut self, now: Moment, is_kept: bool) {
        let took = self.begun.take().map_or(Duration::ZERO, |begun| now.since(begun));
        self.not_before = now + (took * REST).min(CHECKPOINT_EVERY);
        if !is_kept {
            self.since.get_or_insert(now);
        }
    }

    const fn has_unclaimed(&self) -> bool {
        self.since.is_some()
    }
}

impl TorrentTask {
    /// Begins a checkpoint when one is due.
    pub(super) fn checkpoint(&mut self, now: Moment) {
        if now < self.keep.deadline() {
            return;
        }
        let (Some(content), Some(have), false) =
            (&self.content, self.core.have(), self.trouble.is_on())
        else {
            // After a failure everything that no record claims is hashed.
            return self.keep.clear();
        };
        let (storage, have) = (content.storage.clone(), have.clone());
        self.keep.begin(now);
        let report = self.jobs.beside();
        let shared = self.shared.clone();
        self.shared.tasks.spawn("checkpoint", async move {
            // Fails when the semaphore is closed, which nobody does.
            let _turn = shared.checkpoints.acquire().await;
            let write = move || storage.checkpoint(&have).map_err(Error::from);
            let kept = shared.tasks.blocking("checkpoint", write).await;
            report(Done::Checkpointed(kept.unwrap_or(Err(Error::Internal))));
        });
    }

    pub(super) fn on_checkpointed(&mut self, now: Moment, result: Result<Kept, Error>) {
        self.keep.done(now, matches!(result, Ok(Kept::Yes)));
        match result {
            Ok(Kept::Yes) => self.trouble.calm(),
            // The content is safe and the old record whole: nothing but time is lost.
            Ok(Kept::No(error)) => {
                tracing::warn!(%error, "what is verified is not recorded");
            }
            Err(error) => self.fail(now, error),
        }
    }

    /// The last checkpoint of a torrent that ends well. One that does not leaves what a kill
    /// would.
    pub(super) fn last_checkpoint(&self) -> impl Future<Output = ()> + Send + use<> {
        let (shared, is_well) = (self.shared.clone(), !self.trouble.is_on());
        let due = self.keep.has_unclaimed() || !is_well;
        let content = self.content.as_ref().filter(|_| due && self.opening.is_fetch());
        let last = content.zip(self.core.have());
        let last = last.map(|(content, have)| (content.storage.clone(), have.clone()));
        async move {
            let Some((storage, have)) = last else { return };
            let write = move || end(&storage, &have, is_well);
            if let Some(Err(error)) = shared.tasks.blocking("checkpoint", write).await {
                tracing::warn!(%error, "what is verified is not recorded");
            }
        }
    }

    /// Records what a seed holds, for its next start.
    pub(super) fn seal(&mut self, have: Bitfield) {
        let Some(content) = &self.content else { return };
        if self.opening.state_folder.is_none() {
            return;
        }
        let storage = content.storage.clone();
        self.background(
            move || {
                if let Err(error) = storage.conclude(&have) {
                    tracing::warn!(%error, "what is verified is not recorded");
                }
            },
            |_| Done::Sealed,
        );
    }
}

/// Records what is verified, or lets go of the content as a kill would. Blocks.
fn end(storage: &FsStorage, have: &Bitfield, is_well: bool) -> Result<(), StorageError> {
    if !is_well {
        storage.abandon();
        return Ok(());
    }
    match storage.checkpoint(have) {
        Ok(Kept::Yes) => Ok(()),
        Ok(Kept::No(error)) | Err(error) => {
            storage.abandon();
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn no_verified_piece_waits_longer_than_ten_seconds() {
        let mut keep = Keep::default();
        assert_eq!(keep.deadline(), Moment::NEVER);
        keep.written(at(5), 1);
        keep.written(at(14), 1);
        assert_eq!(keep.deadline(), at(5) + CHECKPOINT_EVERY);
    }

    #[test]
    fn sixty_four_mebibytes_do_not_wait_at_all() {
        let mut keep = Keep::default();
        keep.written(at(5), CHECKPOINT_BYTES - 1);
        assert!(keep.deadline() > at(5));
        keep.written(at(5), 1);
        assert!(keep.deadline() <= at(5));
    }

    #[test]
    fn one_at_a_time_and_a_slow_disk_is_left_alone_for_a_while() {
        let mut keep = Keep::default();
        keep.written(at(0), CHECKPOINT_BYTES);
        keep.begin(at(0));
        keep.written(at(1), CHECKPOINT_BYTES);
        assert_eq!(keep.deadline(), Moment::NEVER, "one is under way");
        keep.done(at(2), true);
        assert_eq!(keep.deadline(), at(2) + Duration::from_secs(2) * REST);
        keep.begin(at(8));
        keep.done(at(100), true);
        keep.written(at(100), CHECKPOINT_BYTES);
        assert_eq!(keep.deadline(), at(100) + CHECKPOINT_EVERY, "but not for ever");
    }

    #[test]
    fn what_could_not_be_recorded_is_due_again() {
        let mut keep = Keep::default();
        keep.written(at(0), 1);
        keep.begin(at(10));
        keep.done(at(10), false);
        assert_eq!(keep.deadline(), at(10) + CHECKPOINT_EVERY);
    }
}
