//! Requests a peer made of us: queued here, handed to the driver a window at a time.
//!
//! The window is what the driver reads ahead and holds in memory for this peer; it follows
//! the peer's rate, so that a slow peer costs little and can still cancel.
//!
//! Not here: whether the peer may ask (see `choker`), reading and sending.

use crate::types::Span;
use std::collections::VecDeque;

/// Requests queued from one peer, and what we advertise as `reqq`. Deep enough for a long
/// fat pipe between two of us (10 Gbit/s x 20 ms is 1,526); a request takes 12 bytes here.
pub(crate) const QUEUE_MAX: u16 = 2048;
/// Requests that make no sense before the connection is closed.
pub(crate) const INVALID_MAX: u32 = 300;
/// Least a peer's window holds, bytes: one large read.
const WINDOW_MIN: u64 = 256 * 1024;
/// Most a peer's window holds, bytes.
const WINDOW_MAX: u64 = 1024 * 1024;

/// What one peer wants of us.
#[derive(Debug, Default)]
pub(crate) struct Serving {
    queue: VecDeque<Span>,
    /// Bytes in `queue`.
    queued: u64,
    sending: u64,
    pub(crate) invalid: u32,
}

impl Serving {
    /// Queues a request; false when the queue is full.
    pub(crate) fn push(&mut self, span: Span) -> bool {
        if self.queue.len() >= usize::from(QUEUE_MAX) {
            return false;
        }
        self.queue.push_back(span);
        self.queued += u64::from(span.length);
        true
    }

    /// Takes the next request while the window has room for it and it is the peer's `turn`.
    pub(crate) fn next(
        &mut self,
        rate: u64,
        share: u64,
        turn: impl FnOnce(Span) -> bool,
    ) -> Option<Span> {
        let window = (rate / 2).clamp(WINDOW_MIN, WINDOW_MAX).min(share);
        let span = *self.queue.front()?;
        if self.sending > 0 && self.sending + u64::from(span.length) > window || !turn(span) {
            return None;
        }
        self.queue.pop_front();
        self.queued -= u64::from(span.length);
        self.sending += u64::from(span.length);
        Some(span)
    }

    /// The driver is done with a request that `next` gave.
    pub(crate) fn done(&mut self, span: Span) {
        self.sending = self.sending.saturating_sub(u64::from(span.length));
    }

    /// Forgets a request not yet handed out; false when it is not queued.
    pub(crate) fn cancel(&mut self, span: Span) -> bool {
        let Some(at) = self.queue.iter().position(|queued| *queued == span) else { return false };
        self.queued -= u64::from(span.length);
        self.queue.remove(at).is_some()
    }

    /// Forgets all requests not yet handed out, but those that `keep` holds on to.
    pub(crate) fn clear(&mut self, keep: impl Fn(&Span) -> bool) -> Vec<Span> {
        let (kept, dropped) = self.queue.drain(..).partition(|span| keep(span));
        self.queue = kept;
        self.queued = self.queue.iter().map(|span| u64::from(span.length)).sum();
        Vec::from_iter::<VecDeque<Span>>(dropped)
    }

    /// Bytes handed to the driver and not yet sent.
    pub(crate) fn sending(&self) -> u64 {
        self.sending
    }

    /// Bytes requested and not handed out yet.
    pub(crate) fn queued(&self) -> u64 {
        self.queued
    }

    pub(crate) fn is_waiting(&self) -> bool {
        !self.queue.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::PieceIndex;

    fn span(begin: u32) -> Span {
        Span { piece: PieceIndex::new(0), begin, length: 16384 }
    }

    #[test]
    fn the_queue_is_bounded() {
        let mut serving = Serving::default();
        for index in 0..QUEUE_MAX {
            assert!(serving.push(span(u32::from(index))));
        }
        assert!(!serving.push(span(0)));
    }

    #[test]
    fn the_window_opens_as_bytes_leave() {
        let mut serving = Serving::default();
        for index in 0..40 {
            serving.push(span(index));
        }
        let mut out = Vec::new();
        while let Some(next) = serving.next(0, u64::MAX, |_| true) {
            out.push(next);
        }
        assert_eq!(out.len(), 16, "256 KiB at the least");
        serving.done(out[0]);
        assert!(serving.next(0, u64::MAX, |_| true).is_some());
        assert!(serving.next(0, u64::MAX, |_| true).is_none());
    }

    #[test]
    fn a_small_share_still_lets_one_block_through() {
        let mut serving = Serving::default();
        serving.push(span(0));
        serving.push(span(1));
        assert!(serving.next(0, 1, |_| true).is_some());
        assert!(serving.next(0, 1, |_| true).is_none());
    }

    #[test]
    fn a_cancelled_request_is_not_served() {
        let mut serving = Serving::default();
        serving.push(span(0));
        serving.push(span(1));
        assert!(serving.cancel(span(0)));
        assert!(!serving.cancel(span(0)));
        assert_eq!(serving.next(0, u64::MAX, |_| true), Some(span(1)));
    }
}
