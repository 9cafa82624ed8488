//! Links: every host has one uplink and one downlink, shared by its connections.
//!
//! An uplink sends one batch at a time, at most [`BATCH`] bytes of one connection, and takes
//! its connections in turn: about what TCP flows through one bottleneck get. A batch then
//! travels for the latency and queues for the receiver's downlink. Order within a connection
//! is kept. Not modelled: loss and congestion control; what breaks is whole connections.

use std::collections::VecDeque;
use std::time::Duration;
use swarm_core::types::{Moment, Span};
use swarm_core::wire::Message;

/// What travels on a connection.
#[derive(Clone, Debug)]
pub(super) enum Frame {
    Message(Message),
    /// A block: no payload, only whether it is right.
    Block {
        span: Span,
        good: bool,
    },
}

/// One direction of one connection.
#[derive(Debug, Default)]
pub(super) struct Queue {
    frames: VecDeque<Frame>,
}

/// The rate of one direction of a host's line, and when it is free again.
#[derive(Debug)]
pub(super) struct Line {
    bytes_per_second: u64,
    free: Moment,
    /// What is left of a byte's time beyond `free`, in bytes x microseconds: at 10 Gbit/s a
    /// block takes 13 of them, and rounding each would cost the line a fourteenth.
    rest: u64,
}

/// Bytes a connection may send before the next one has its turn.
const BATCH: u64 = 16 * 1024;
/// Length and id in front of every message but a keep-alive; index and offset of a block.
const HEADER: u64 = 5;
const BLOCK_HEADER: u64 = 13;

impl Frame {
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Block { span, .. } => BLOCK_HEADER + u64::from(span.length),
            Self::Message(Message::KeepAlive) => 4,
            Self::Message(Message::Bitfield(bits)) => HEADER + len(bits),
            Self::Message(Message::Extended { payload, .. }) => HEADER + 1 + len(payload),
            Self::Message(Message::Request(_) | Message::Cancel(_) | Message::Reject(_)) => {
                HEADER + 12
            }
            Self::Message(_) => HEADER + 4,
        }
    }
}

impl Queue {
    pub(super) fn push(&mut self, frame: Frame) {
        self.frames.push_back(frame);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Takes one batch off the front.
    pub(super) fn batch(&mut self) -> Vec<Frame> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while bytes < BATCH
            && let Some(frame) = self.frames.pop_front()
        {
            bytes += frame.bytes();
            batch.push(frame);
        }
        batch
    }
}

impl Line {
    pub(super) fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), free: Moment::ZERO, rest: 0 }
    }

    /// Sends `bytes` as soon as the line is free, at `earliest` at the soonest: when they are out.
    pub(super) fn take(&mut self, earliest: Moment, bytes: u64) -> Moment {
        let idle = self.free < earliest;
        let due = bytes * 1_000_000 + if idle { 0 } else { self.rest };
        self.rest = due % self.bytes_per_second;
        self.free = self.free.max(earliest) + Duration::from_micros(due / self.bytes_per_second);
        self.free
    }
}

fn len(bytes: &bytes::Bytes) -> u64 {
    u64::try_from(bytes.len()).expect("a length fits 64 bits")
}
