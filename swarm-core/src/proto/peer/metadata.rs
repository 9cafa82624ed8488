//! Metadata a peer asked us for (BEP 9), sent a little at a time.
//!
//! A torrent of many files has megabytes of metadata, and some clients ask for all of it at
//! once. What has not left our buffers is bounded, the rest of the requests wait; how often
//! a peer may have it all is bounded too.
//!
//! Not here: fetching metadata (see `torrent`).

use crate::proto::limits::{self, EventBucket};
use crate::types::Moment;
use std::collections::VecDeque;

/// Requests of one peer that wait: those for the largest metadata there is.
const QUEUE_MAX: usize = 1024;
/// Bytes of metadata handed out and not sent, of one peer.
const UNSENT_MAX: u64 = 256 * 1024;

/// What one peer asked for.
#[derive(Debug, Default)]
pub(crate) struct MetadataServing {
    queue: VecDeque<u32>,
    unsent: u64,
    allowance: Option<EventBucket>,
}

impl MetadataServing {
    /// Queues a request for one of `pieces` pieces of metadata; false when it is refused.
    pub(crate) fn push(&mut self, now: Moment, piece: u32, pieces: u32) -> bool {
        let allowance = self.allowance.get_or_insert_with(|| {
            let copies = pieces.saturating_mul(limits::METADATA_COPIES_BURST);
            let burst = limits::METADATA_REQUESTS_BURST.saturating_add(copies);
            EventBucket::new(now, limits::METADATA_REQUESTS_PER_SECOND, burst)
        });
        if piece >= pieces || self.queue.len() >= QUEUE_MAX || !allowance.allow(now) {
            return false;
        }
        self.queue.push_back(piece);
        true
    }

    /// The next piece to send, of at most `size` bytes, while there is room for it.
    pub(crate) fn next(&mut self, size: u64) -> Option<u32> {
        if self.unsent + size > UNSENT_MAX {
            return None;
        }
        let piece = self.queue.pop_front()?;
        self.unsent += size;
        Some(piece)
    }

    /// Everything handed out is sent.
    pub(crate) fn flushed(&mut self) {
        self.unsent = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::ZERO;

    #[test]
    fn all_of_it_may_be_asked_for_at_once_and_leaves_as_fast_as_the_peer_reads() {
        let mut serving = MetadataServing::default();
        assert!((0..300).all(|piece| serving.push(NOW, piece, 300)));
        let mut sent = Vec::new();
        for _ in 0..300 {
            sent.extend(std::iter::from_fn(|| serving.next(16_384)));
            assert!(sent.len() % 16 == 0 || sent.len() == 300);
            serving.flushed();
        }
        assert_eq!(sent, (0..300).collect::<Vec<_>>());
    }

    #[test]
    fn a_peer_that_asks_for_ever_is_refused() {
        let mut serving = MetadataServing::default();
        let taken = (0..10_000).filter(|_| serving.push(NOW, 0, 2)).count();
        assert_eq!(taken, 68);
        assert!(!MetadataServing::default().push(NOW, 2, 2), "there is no such piece");
        let mut full = MetadataServing::default();
        let queued = (0..5_000).filter(|_| full.push(NOW, 0, 4_000)).count();
        assert_eq!(queued, QUEUE_MAX);
    }
}
