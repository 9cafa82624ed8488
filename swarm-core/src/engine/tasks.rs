//! The only spawner. Every task has a name, is counted, and is waited for on shutdown.
//!
//! A task ends because it was told to, not because it was aborted; [`Tasks::joined`] is
//! the proof that all were told. What a task holds is dropped before it stops counting.
//!
//! Not here: worker threads (`data`), which the session joins after its tasks.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The tasks of one session. Clones share the count.
#[derive(Clone, Debug)]
pub(crate) struct Tasks {
    live: Arc<Live>,
}

#[derive(Debug)]
struct Live {
    names: Mutex<Names>,
    count: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct Names {
    next: u64,
    live: BTreeMap<u64, &'static str>,
}

impl Tasks {
    /// No tasks yet.
    pub(crate) fn new() -> Self {
        Self { live: Arc::new(Live { names: Mutex::default(), count: watch::Sender::new(0) }) }
    }

    /// Starts a task under a name.
    pub(crate) fn spawn(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let ticket = self.ticket(name);
        #[expect(clippy::disallowed_methods, reason = "this file is the one spawner")]
        tokio::spawn(async move {
            task.await;
            drop(ticket);
        });
    }

    /// Runs blocking code that is no work for the session's workers: opening a storage,
    /// joining threads. `None` when the code panicked or the runtime is going down.
    pub(crate) async fn blocking<T: Send + 'static>(
        &self,
        name: &'static str,
        code: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let ticket = self.ticket(name);
        let done = tokio::task::spawn_blocking(move || {
            let result = code();
            drop(ticket);
            result
        });
        done.await.ok()
    }

    /// Waits until no task is left.
    pub(crate) async fn joined(&self) {
        // The sender lives in `self`: waiting cannot fail.
        let _ = self.live.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// Names of the tasks that run.
    #[cfg(test)]
    pub(crate) fn names(&self) -> Vec<&'static str> {
        self.live.lock().live.values().copied().collect()
    }

    fn ticket(&self, name: &'static str) -> Ticket {
        let mut names = self.live.lock();
        let number = names.next;
        names.next += 1;
        names.live.insert(number, name);
        self.live.count.send_replace(names.live.len());
        Ticket { live: Arc::clone(&self.live), number }
    }
}

impl Live {
    fn lock(&self) -> std::sync::MutexGuard<'_, Names> {
        // Every change is one call on the map: a panic elsewhere cannot leave it half done.
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Held by a running task; also given back when the task panics or its runtime goes down.
#[derive(Debug)]
struct Ticket {
    live: Arc<Live>,
    number: u64,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut names = self.live.lock();
        names.live.remove(&self.number);
        self.live.count.send_replace(names.live.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn joining_waits_for_every_task_and_names_those_that_are_left() {
        let tasks = Tasks::new();
        let (go, gone) = oneshot::channel::<()>();
        tasks.spawn("waits", async move { gone.await.unwrap_or_default() });
        assert_eq!(tasks.names(), ["waits"]);
        let mut joined = std::pin::pin!(tasks.joined());
        assert!(joined.as_mut().now_or_never().is_none());
        go.send(()).unwrap();
        joined.await;
        assert!(tasks.names().is_empty());
    }

    #[tokio::test]
    async fn a_task_that_panics_is_not_waited_for_for_ever() {
        let tasks = Tasks::new();
        tasks.spawn("panics", async { panic!("on purpose") });
        assert_eq!(tasks.blocking("panics too", || panic!("on purpose")).await, None::<()>);
        tasks.joined().await;
    }
}
