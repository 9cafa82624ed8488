//! What a torrent and the workers have for one peer, until its task takes it.
//!
//! The torrent appends encoded messages and names of blocks to send, workers append blocks they
//! have read; the peer's task takes everything at once. Nobody waits for anybody: a peer that does not read makes
//! its own queue long, and when the control part passes [`CONTROL_MAX`] the connection is
//! closed. The payload part is bounded by what the core lets a peer have under way.
//!
//! The lock is held for a few moves of memory, never across a call that can block.
//!
//! Not here: what goes out first (`writer`).

use crate::data::BlockBuf;
use crate::geometry::Geometry;
use crate::proto::input::CloseReason;
use crate::storage::Storage;
use crate::types::Span;
use bytes::BytesMut;
use futures::task::AtomicWaker;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};

/// Unsent control bytes of one peer at which it is too slow to keep (LIMITS 5.2, B11).
pub(crate) const CONTROL_MAX: usize = 1 << 20;

/// One peer's queue. Clones are the same queue.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queue: Mutex<Queue>,
    taker: AtomicWaker,
}

/// What waits to be taken.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// Encoded messages, none of them a block.
    pub(crate) control: BytesMut,
    /// Blocks asked of the peer by those messages: so many may come back.
    pub(crate) asked: u64,
    /// Blocks to send, in this order.
    pub(crate) blocks: Vec<Span>,
    /// Those of them that had to be read by a worker, in any order.
    pub(crate) read: Vec<(Span, BlockBuf)>,
    /// Blocks we promised and cannot read.
    pub(crate) unread: Vec<Span>,
    /// What the torrent consists of, once known.
    pub(crate) source: Option<Source>,
    /// The peer takes and sends blocks in runs of so many bytes, since just now.
    pub(crate) run_max: Option<u32>,
    /// End the connection.
    pub(crate) close: Option<CloseReason>,
}

/// Where the blocks of a torrent lie.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) geometry: Geometry,
}

/// The queue is full: the peer does not read what we send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Overloaded;

impl Outbox {
    /// Queues messages that ask for `asked` blocks in all. Takes the bytes out of `control`.
    ///
    /// # Errors
    /// [`Overloaded`] when more than [`CONTROL_MAX`] bytes would wait; nothing is queued.
    pub(crate) fn post(&self, control: &mut BytesMut, asked: u64) -> Result<(), Overloaded> {
        let mut queue = self.lock();
        if queue.control.len() + control.len() > CONTROL_MAX {
            return Err(Overloaded);
        }
        if queue.control.is_empty() {
            std::mem::swap(&mut queue.control, control);
        } else {
            queue.control.extend_from_slice(control);
        }
        control.clear();
        queue.asked += asked;
        drop(queue);
        self.inner.taker.wake();
        Ok(())
    }

    /// Queues blocks, in the order they are to be sent.
    pub(crate) fn post_blocks(&self, blocks: &[Span]) {
        self.lock().blocks.extend_from_slice(blocks);
        self.inner.taker.wake();
    }

    /// Brings blocks that the connection has asked to be read.
    pub(crate) fn post_read(&self, read: impl IntoIterator<Item = (Span, BlockBuf)>) {
        self.lock().read.extend(read);
        self.inner.taker.wake();
    }

    /// Says that blocks cannot be read; they come back in the peer's next report.
    pub(crate) fn post_unread(&self, spans: impl IntoIterator<Item = Span>) {
        self.lock().unread.extend(spans);
        self.inner.taker.wake();
    }

    /// Says what the torrent consists of: bounds what the peer may send, and is what it is sent.
    pub(crate) fn set_source(&self, source: Source) {
        self.lock().source = Some(source);
        self.inner.taker.wake();
    }

    /// Says that the peer takes and sends several blocks in a message, up to so many bytes.
    pub(crate) fn set_run_max(&self, bytes: u32) {
        self.lock().run_max = Some(bytes);
        self.inner.taker.wake();
    }

    /// Ends the connection; the first reason given stands.
    pub(crate) fn close(&self, why: CloseReason) {
        self.lock().close.get_or_insert(why);
        self.inner.taker.wake();
    }

    /// Takes everything out, after `take` has seen it, and wakes `cx` when there is more.
    pub(crate) fn take<T>(&self, cx: &Context<'_>, take: impl FnOnce(&mut Queue) -> T) -> T {
        self.register(cx.waker());
        take(&mut self.lock())
    }

    fn register(&self, waker: &Waker) {
        self.inner.taker.register(waker);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change leaves the queue whole at each step: a panic cannot tear it.
        self.inner.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_does_not_read_is_overloaded_at_one_mebibyte() {
        let outbox = Outbox::default();
        let mut batch = BytesMut::zeroed(CONTROL_MAX);
        assert_eq!(outbox.post(&mut batch, 1), Ok(()));
        assert!(batch.is_empty());
        batch.extend_from_slice(&[0]);
        assert_eq!(outbox.post(&mut batch, 1), Err(Overloaded));
        let taken = outbox.lock();
        assert_eq!((taken.control.len(), taken.asked), (CONTROL_MAX, 1));
    }

    #[test]
    fn the_first_reason_to_close_stands() {
        let outbox = Outbox::default();
        outbox.close(CloseReason::Banned);
        outbox.close(CloseReason::Stopping);
        assert_eq!(outbox.lock().close, Some(CloseReason::Banned));
    }
}
