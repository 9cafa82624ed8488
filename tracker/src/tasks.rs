//! The only spawner of a tracker's tasks. Every task is told to stop and waited for on shutdown.
//!
//! Not here: how many tasks there may be (`http::connections`).

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The tasks of one tracker. Dropping it ends them without waiting.
#[derive(Debug)]
pub(crate) struct Tasks {
    running: Arc<Mutex<JoinSet<()>>>,
    stop: watch::Sender<bool>,
}

/// Starts tasks of a [`Tasks`] without keeping it alive: a task may hold one.
#[derive(Clone, Debug)]
pub(crate) struct Spawner {
    running: Weak<Mutex<JoinSet<()>>>,
    stopped: watch::Receiver<bool>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { running: Arc::default(), stop: watch::Sender::new(false) }
    }

    pub(crate) fn spawner(&self) -> Spawner {
        Spawner { running: Arc::downgrade(&self.running), stopped: self.stop.subscribe() }
    }

    /// Stops every task and waits until the last has ended. Tasks started later end at once.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        loop {
            let mut running = std::mem::take(&mut *lock(&self.running));
            if running.is_empty() {
                return;
            }
            while running.join_next().await.is_some() {}
        }
    }
}

impl Spawner {
    /// Starts a task. It ends by itself or when the tracker stops: its future is then dropped
    /// at the next point where it waits.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let Some(running) = self.running.upgrade() else { return };
        let mut stopped = self.stopped.clone();
        let mut running = lock(&running);
        // Ended tasks are forgotten here, so that they do not pile up until shutdown.
        while running.try_join_next().is_some() {}
        running.spawn(async move {
            tokio::select! {
                () = task => {}
                // An error means that nobody can stop us any more: stop as well.
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        });
    }
}

fn lock(running: &Mutex<JoinSet<()>>) -> MutexGuard<'_, JoinSet<()>> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn stopping_waits_for_every_task() {
        let tasks = Tasks::new();
        let held = Arc::new(());
        for _ in 0..3 {
            let held = held.clone();
            tasks.spawner().spawn(async move {
                std::future::pending::<()>().await;
                drop(held);
            });
        }
        assert_eq!(Arc::strong_count(&held), 4);
        tasks.stop().await;
        assert_eq!(Arc::strong_count(&held), 1, "every task has dropped what it held");
    }

    #[tokio::test]
    async fn ended_tasks_are_forgotten_and_late_ones_end_at_once() {
        let tasks = Tasks::new();
        let spawner = tasks.spawner();
        for _ in 0..100 {
            spawner.spawn(async {});
            tokio::task::yield_now().await;
        }
        assert!(lock(&tasks.running).len() < 100);
        tasks.stop().await;
        spawner.spawn(std::future::pending());
        tasks.stop().await;
        drop(tasks);
        spawner.spawn(std::future::pending());
    }
}
