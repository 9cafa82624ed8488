//! The threads that hash and do disk work, and the bounded queue before them.
//!
//! Their number is fixed, so that however many torrents there are the machine is shared by as
//! many threads as it has cores. Each [`Kind`] of job waits in its own line and the lines take
//! turns: reads for uploads do not starve behind stores, nor stores behind a long check.
//! Submitting never blocks; when a line is full the caller keeps the job, and is told when
//! there is room again. A panic in a job ends that job only.
//!
//! Not here: what the jobs do (`jobs`), and how much memory they may hold (`engine`).

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// Which line a job waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Reading blocks for uploads: short, and a peer waits for it.
    Read,
    /// Hashing and writing a piece.
    Store,
    /// Checking, syncing, finishing: long, and nothing but progress waits for it.
    Background,
}

/// One piece of work and what to do with its result.
pub struct Job {
    kind: Kind,
    run: Box<dyn FnOnce() + Send>,
}

/// The work panicked. That is a bug of ours; the thread goes on with the next job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker's job panicked")]
pub struct JobPanicked;

/// Fixed threads before one bounded queue.
///
/// Dropping it lets queued jobs finish without waiting for them; [`Self::shutdown`] waits.
pub struct Workers {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
}

type Waiter = Box<dyn FnOnce() + Send>;

struct Queue {
    lines: [VecDeque<Job>; Kind::COUNT],
    /// The line whose turn is next.
    turn: usize,
    bound: usize,
    open: bool,
    waiters: Vec<Waiter>,
}

impl Kind {
    const COUNT: usize = 3;

    const fn line(self) -> usize {
        match self {
            Self::Read => 0,
            Self::Store => 1,
            Self::Background => 2,
        }
    }
}

impl Job {
    /// Work whose result, or panic, is handed to `done` on the worker's thread.
    ///
    /// `done` must be short and must not block: the next job waits for it.
    pub fn new<T>(
        kind: Kind,
        work: impl FnOnce() -> T + Send + 'static,
        done: impl FnOnce(Result<T, JobPanicked>) + Send + 'static,
    ) -> Self {
        // What the closure owned is dropped with it; shared state it touched is a storage or a
        // pool, whose locks recover from poisoning.
        let run = move || done(catch_unwind(AssertUnwindSafe(work)).map_err(|_| JobPanicked));
        Self { kind, run: Box::new(run) }
    }

    /// Which line it waits in.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }
}

impl Workers {
    /// Starts `threads` threads (at least one) before lines of at most `bound` jobs each.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn new(threads: usize, bound: usize) -> std::io::Result<Self> {
        let queue = Queue {
            lines: Default::default(),
            turn: 0,
            bound: bound.max(1),
            open: true,
            waiters: Vec::new(),
        };
        let shared = Arc::new(Shared { queue: Mutex::new(queue), wake: Condvar::new() });
        let workers = Self { shared, threads: Mutex::default() };
        for number in 0..threads.max(1) {
            let shared = Arc::clone(&workers.shared);
            let thread = thread::Builder::new()
                .name(format!("swarm-data-{number}"))
                .spawn(move || shared.work())?;
            workers.threads().push(thread);
        }
        Ok(workers)
    }

    /// Queues a job. Never blocks.
    ///
    /// # Errors
    /// Gives the job back when its line is full or [`Self::shutdown`] was called.
    pub fn submit(&self, job: Job) -> Result<(), Job> {
        let mut queue = self.shared.lock();
        let bound = queue.bound;
        if !queue.open {
            return Err(job);
        }
        match queue.lines.get_mut(job.kind.line()) {
            Some(line) if line.len() < bound => line.push_back(job),
            _ => return Err(job),
        }
        drop(queue);
        self.shared.wake.notify_one();
        Ok(())
    }

    /// Calls `waiter` once, on a worker's thread, when the next job has left the queue, or at
    /// once when every line has room. For a caller whose job was given back.
    pub fn when_room(&self, waiter: impl FnOnce() + Send + 'static) {
        let mut queue = self.shared.lock();
        if queue.open && queue.is_full() {
            queue.waiters.push(Box::new(waiter));
            return;
        }
        drop(queue);
        waiter();
    }

    /// Jobs waiting, over all lines.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.shared.lock().lines.iter().map(VecDeque::len).sum()
    }

    /// Takes no more jobs, finishes those in the queue, and joins every thread. Blocks.
    /// Idempotent; called from a worker's own thread it does not wait for that one.
    pub fn shutdown(&self) {
        self.shared.close();
        let threads = std::mem::take(&mut *self.threads());
        for thread in threads {
            if thread.thread().id() != thread::current().id() {
                // Jobs contain their panics; a thread has nothing else to fail with.
                let _ = thread.join();
            }
        }
    }

    fn threads(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Shared {
    fn work(&self) {
        while let Some((job, waiters)) = self.next() {
            // A completion that panics has lost its result; the thread must go on regardless.
            for call in waiters.into_iter().chain([job.run]) {
                if catch_unwind(AssertUnwindSafe(call)).is_err() {
                    tracing::error!("a completion panicked on a worker thread");
                }
            }
        }
    }

    fn next(&self) -> Option<(Job, Vec<Waiter>)> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.pop() {
                return Some((job, std::mem::take(&mut queue.waiters)));
            }
            if !queue.open {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        self.lock().open = false;
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // No job runs under this lock, and the queue is valid at every step.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    fn pop(&mut self) -> Option<Job> {
        for step in 0..Kind::COUNT {
            let line = (self.turn + step) % Kind::COUNT;
            if let Some(job) = self.lines.get_mut(line).and_then(VecDeque::pop_front) {
                self.turn = (line + 1) % Kind::COUNT;
                return Some(job);
            }
        }
        None
    }

    fn is_full(&self) -> bool {
        self.lines.iter().any(|line| line.len() >= self.bound)
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("kind", &self.kind).finish_non_exhaustive()
    }
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workers").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// A job that waits to be let go, and tells that it began.
    fn gate(kind: Kind) -> (Job, Receiver<()>, SyncSender<()>) {
        let (began, has_begun) = sync_channel(1);
        let (go, may_go) = sync_channel::<()>(1);
        let work = move || {
            began.send(()).unwrap();
            may_go.recv().unwrap();
        };
        (Job::new(kind, work, |_| {}), has_begun, go)
    }

    fn note(kind: Kind, log: &SyncSender<Kind>) -> Job {
        let log = log.clone();
        Job::new(kind, move || kind, move |kind| log.send(kind.unwrap()).unwrap())
    }

    #[test]
    fn a_full_line_gives_the_job_back_and_tells_when_there_is_room() {
        let workers = Workers::new(1, 2).unwrap();
        let (first, has_begun, go) = gate(Kind::Store);
        workers.submit(first).unwrap();
        has_begun.recv().unwrap();
        let (log, logged) = sync_channel(9);
        workers.submit(note(Kind::Store, &log)).unwrap();
        workers.submit(note(Kind::Store, &log)).unwrap();
        let job = workers.submit(note(Kind::Store, &log)).unwrap_err();
        assert_eq!((job.kind(), workers.waiting()), (Kind::Store, 2));
        workers.submit(note(Kind::Read, &log)).expect("another line has room");
        let (room, has_room) = sync_channel(1);
        workers.when_room(move || room.send(()).unwrap());
        assert!(has_room.try_recv().is_err());
        go.send(()).unwrap();
        has_room.recv().unwrap();
        workers.shutdown();
        assert_eq!(logged.try_iter().count(), 3);
        let (room, has_room) = sync_channel(1);
        workers.when_room(move || room.send(()).unwrap());
        has_room.try_recv().expect("told at once when nothing is full");
    }

    #[test]
    fn reads_and_stores_take_turns() {
        let workers = Workers::new(1, 64).unwrap();
        let (first, has_begun, go) = gate(Kind::Background);
        workers.submit(first).unwrap();
        has_begun.recv().unwrap();
        let (log, logged) = sync_channel(99);
        for _ in 0..20 {
            workers.submit(note(Kind::Store, &log)).unwrap();
        }
        for _ in 0..3 {
            workers.submit(note(Kind::Read, &log)).unwrap();
        }
        workers.submit(note(Kind::Background, &log)).unwrap();
        go.send(()).unwrap();
        workers.shutdown();
        let order: Vec<_> = logged.try_iter().collect();
        assert_eq!(order.len(), 24);
        let last_read = order.iter().rposition(|kind| *kind == Kind::Read).unwrap();
        assert!(last_read < 8, "reads came at {order:?}");
        let first_store = order.iter().position(|kind| *kind == Kind::Store).unwrap();
        assert!(first_store < 3, "stores came at {order:?}");
    }

    #[test]
    fn a_panic_ends_its_job_only() {
        let workers = Workers::new(1, 8).unwrap();
        let (log, logged) = sync_channel(9);
        let told = log.clone();
        let bad = Job::new(
            Kind::Read,
            || panic!("on purpose"),
            move |result: Result<(), _>| {
                told.send(result).unwrap();
            },
        );
        workers.submit(bad).unwrap();
        workers.submit(Job::new(Kind::Read, || {}, |_| panic!("in the completion"))).unwrap();
        workers
            .submit(Job::new(Kind::Read, || {}, move |result| log.send(result).unwrap()))
            .unwrap();
        workers.shutdown();
        assert_eq!(logged.try_iter().collect::<Vec<_>>(), [Err(JobPanicked), Ok(())]);
    }

    #[test]
    fn shutdown_finishes_what_was_queued_and_takes_no_more() {
        let workers = Arc::new(Workers::new(3, 100).unwrap());
        let (log, logged) = sync_channel(100);
        for _ in 0..100 {
            workers.submit(note(Kind::Store, &log)).unwrap();
        }
        workers.shutdown();
        workers.shutdown();
        assert_eq!(logged.try_iter().count(), 100);
        assert!(workers.submit(note(Kind::Store, &log)).is_err());
    }

    #[test]
    fn shutdown_from_a_completion_does_not_wait_for_itself() {
        let workers = Arc::new(Workers::new(1, 4).unwrap());
        let (done, is_done) = sync_channel(1);
        let own = workers.clone();
        let job = Job::new(
            Kind::Read,
            || {},
            move |_| {
                own.shutdown();
                done.send(()).unwrap();
            },
        );
        workers.submit(job).unwrap();
        is_done.recv().unwrap();
    }
}
