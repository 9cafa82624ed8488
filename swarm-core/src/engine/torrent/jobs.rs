//! The jobs of one torrent: handed to the workers as they have room, counted until done.
//!
//! A job reports through a channel that has room for every job under way, so a worker never
//! waits for a torrent. Reads for peers report to the peer's connection instead and are not
//! counted.
//!
//! Not here: what the jobs do (`data`), what follows (`content`, `act`).

use super::content::Done;
use crate::data::workers::Kind;
use crate::data::{Job, Workers};
use std::collections::VecDeque;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

/// Jobs of one torrent in the workers' hands; more wait here.
const UNDER_WAY_MAX: usize = 256;

/// Pieces of work of one torrent on threads of their own: a checkpoint.
const BESIDE_MAX: usize = 1;

/// What the workers do for one torrent.
#[derive(Debug)]
pub(super) struct Jobs {
    sender: mpsc::Sender<Done>,
    done: mpsc::Receiver<Done>,
    under_way: usize,
    /// Bounded by the memory the core gives out: a job holds what it works on.
    waiting: VecDeque<Job>,
}

impl Jobs {
    pub(super) fn new() -> Self {
        let (sender, done) = mpsc::channel(UNDER_WAY_MAX + BESIDE_MAX);
        Self { sender, done, under_way: 0, waiting: VecDeque::new() }
    }

    /// How a job tells that it is done.
    pub(super) fn reporter(&self) -> impl FnOnce(Done) + Send + use<> {
        let sender = self.sender.clone();
        move |done| {
            let sent = sender.try_send(done);
            let is_full = matches!(sent, Err(TrySendError::Full(_)));
            debug_assert!(!is_full, "the channel has room for every job under way");
        }
    }

    /// Counts work that is done on a thread of its own, beside the workers: one that waits for
    /// a disk would keep a core from hashing. To be told when it is done like any job.
    pub(super) fn beside(&mut self) -> impl FnOnce(Done) + Send + use<> {
        self.under_way += 1;
        self.reporter()
    }

    /// Puts a job in line.
    pub(super) fn push(&mut self, job: Job) {
        self.waiting.push_back(job);
    }

    /// Gives the workers what they have room for; `when_room` is called once they have more.
    pub(super) fn submit(&mut self, workers: &Workers, when_room: impl FnOnce() + Send + 'static) {
        while let Some(job) = self.waiting.pop_front() {
            let counts = job.kind() != Kind::Read;
            if counts && self.under_way >= UNDER_WAY_MAX {
                // The next one that is done brings us back here.
                self.waiting.push_front(job);
                return;
            }
            if let Err(job) = workers.submit(job) {
                self.waiting.push_front(job);
                workers.when_room(when_room);
                return;
            }
            self.under_way += usize::from(counts);
        }
    }

    /// Jobs in the workers' hands.
    pub(super) const fn under_way(&self) -> usize {
        self.under_way
    }

    /// Drops what the workers have not got yet.
    pub(super) fn give_up_waiting(&mut self) {
        self.waiting.clear();
    }

    /// The next job that is done.
    pub(super) async fn next(&mut self) -> Option<Done> {
        let done = self.done.recv().await?;
        self.under_way -= 1;
        Some(done)
    }

    /// The next job that is done already.
    pub(super) fn try_next(&mut self) -> Option<Done> {
        let done = self.done.try_recv().ok()?;
        self.under_way -= 1;
        Some(done)
    }

    /// Whether nothing is under way or in line.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way == 0 && self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::mpsc::sync_channel;
    use tokio::sync::Notify;

    #[tokio::test]
    async fn every_job_is_done_however_little_room_the_workers_have() {
        let workers = Workers::new(1, 2).unwrap();
        let room = Arc::new(Notify::new());
        let (release, blocked) = sync_channel::<()>(0);
        let mut jobs = Jobs::new();
        let report = jobs.reporter();
        let wait = move || blocked.recv().unwrap_or_default();
        jobs.push(Job::new(Kind::Store, wait, |_| report(Done::Parsed(None))));
        for _ in 0..3 * UNDER_WAY_MAX {
            let report = jobs.reporter();
            jobs.push(Job::new(Kind::Store, || {}, |_| report(Done::Parsed(None))));
        }
        let nudge = |room: &Arc<Notify>| {
            let room = room.clone();
            move || room.notify_one()
        };
        jobs.submit(&workers, nudge(&room));
        assert!(jobs.under_way <= 3, "one runs, two wait");
        release.send(()).unwrap();
        let mut done = 0;
        while done < 3 * UNDER_WAY_MAX + 1 {
            tokio::select! {
                () = room.notified() => {}
                _ = jobs.next() => done += 1,
            }
            jobs.submit(&workers, nudge(&room));
        }
        assert!(jobs.is_idle() && jobs.waiting.is_empty());
        workers.shutdown();
    }
}
