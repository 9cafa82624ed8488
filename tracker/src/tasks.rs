//! The only spawner. Every task is told to stop and waited for on shutdown.
//!
//! Not here: how many tasks there may be (`http::connections`).

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The tasks of one tracker. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    running: Arc<Mutex<JoinSet<()>>>,
    stop: watch::Sender<bool>,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        Self { running: Arc::default(), stop: watch::Sender::new(false) }
    }

    /// Starts a task. It ends by itself or when [`Tasks::stop`] is called: its future is
    /// dropped at the next point where it waits.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut stopped = self.stop.subscribe();
        let mut running = self.lock();
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

    /// Stops every task and waits until the last has ended. Tasks spawned later end at once.
    pub(crate) async fn stop(&self) {
        self.stop.send_replace(true);
        let mut running = std::mem::take(&mut *self.lock());
        while running.join_next().await.is_some() {}
    }

    /// Tasks that have not ended.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        let mut running = self.lock();
        while running.try_join_next().is_some() {}
        running.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, JoinSet<()>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            tasks.spawn(async move {
                std::future::pending::<()>().await;
                drop(held);
            });
        }
        assert_eq!(tasks.count(), 3);
        tasks.stop().await;
        assert_eq!(Arc::strong_count(&held), 1, "every task has dropped what it held");
    }
}
