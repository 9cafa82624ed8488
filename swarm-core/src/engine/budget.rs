//! One amount of memory for pieces under way, shared evenly by the torrents that fetch.
//!
//! A torrent holds a [`Share`] while it fetches. When one comes or goes everybody is told its
//! new part, and the state machine asks for no more than fits.
//!
//! Not here: counting bytes (`proto` counts what it asked for).

use super::torrent::Face;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The amount and who shares it. Clones are the same budget.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    bytes: u64,
    members: Mutex<Vec<Arc<Face>>>,
}

/// The right to a part of the budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Budget,
    face: Arc<Face>,
}

impl Budget {
    /// `bytes` to share.
    pub(crate) fn new(bytes: u64) -> Self {
        Self { inner: Arc::new(Inner { bytes, members: Mutex::default() }) }
    }

    /// Takes a torrent in.
    pub(crate) fn join(&self, face: Arc<Face>) -> Share {
        let mut members = self.members();
        members.push(face.clone());
        self.tell(&members);
        Share { budget: self.clone(), face }
    }

    fn tell(&self, members: &[Arc<Face>]) {
        let count = u64::try_from(members.len()).unwrap_or(u64::MAX).max(1);
        let part = self.inner.bytes / count;
        for member in members {
            member.order(|orders| orders.capacity_bytes = Some(part));
        }
    }

    fn members(&self) -> MutexGuard<'_, Vec<Arc<Face>>> {
        // A list is whole at every step: a panic cannot tear it.
        self.inner.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut members = self.budget.members();
        if let Some(at) = members.iter().position(|member| Arc::ptr_eq(member, &self.face)) {
            members.swap_remove(at);
        }
        self.budget.tell(&members);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::clock::Clock;
    use crate::engine::gate::Gate;
    use crate::types::{InfoHash, InfoHashes};

    fn face() -> Arc<Face> {
        let gate = || Gate::new(Clock::start(), None);
        Arc::new(Face::new(InfoHashes::v1(InfoHash::new([1; 20])), gate(), gate()))
    }

    #[tokio::test]
    async fn whoever_fetches_has_an_even_part() {
        let budget = Budget::new(90);
        let faces = [face(), face(), face()];
        let shares = faces.clone().map(|face| budget.join(face));
        let parts = || faces.clone().map(|face| face.take_orders().capacity_bytes);
        assert_eq!(parts(), [Some(30); 3]);
        let [first, ..] = shares;
        drop(first);
        assert_eq!(parts(), [None, Some(45), Some(45)]);
    }
}
