//! Links: every host has one uplink and one downlink, shared by its connections.
//!
//! An uplink sends one batch at a time, at most [`BATCH`] bytes of one connection, and takes
//! its connections in turn: about what TCP flows through one bottleneck get. A batch then
//! travels for the latency and queues for the receiver's downlink. Within a connection messages
//! overtake blocks that have not begun, as they do in the engine; apart from that order is kept.
//!
//! [`Wire::Tcp`] adds what a small shaped link costs and does in addition: a frame and its
//! header around every segment, acknowledgements on the way back, and a socket buffer for each
//! connection, in which what was sent cannot be overtaken or taken back.
//!
//! Not modelled: loss, congestion control and slow start, jitter; what breaks is whole
//! connections.

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
    /// The beginning of a block; then the connection breaks.
    Torn {
        span: Span,
    },
}

/// What a byte costs on a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    /// A byte, and nothing waits but in our own queues.
    Bare,
    /// As over Ethernet with a token bucket, see above.
    Tcp,
}

/// One direction of one connection.
#[derive(Debug, Default)]
pub(super) struct Queue {
    messages: VecDeque<Message>,
    blocks: VecDeque<Frame>,
    /// In the socket's buffer, and the bytes of it.
    socket: VecDeque<Frame>,
    buffered: u64,
    /// Bytes of `messages`.
    waiting: u64,
    /// Many bytes of messages waited at once, and some still do.
    piled_up: bool,
}

/// What leaves in one go.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) frames: Vec<Frame>,
    pub(super) bytes: u64,
    /// Bytes of blocks without their headers.
    pub(super) payload: u64,
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
/// The core is told when messages have left of which this much had piled up, bytes.
const PILE: u64 = 16 * 1024;
/// A connection's socket takes this much ahead of the line: about what Linux gives one whose
/// window is no larger, bytes.
const SOCKET: u64 = 48 * 1024;
/// Payload of a segment on Ethernet, and what goes around it: frame, IP, TCP with timestamps.
const SEGMENT: u64 = 1448;
const FRAME: u64 = 66;
/// Receivers acknowledge every second one.
const SEGMENTS_PER_ACK: u64 = 2;
/// Length and id in front of every message but a keep-alive; index and offset of a block.
const HEADER: u64 = 5;
const BLOCK_HEADER: u64 = 13;

impl Queue {
    pub(super) fn push(&mut self, frame: Frame) {
        match frame {
            Frame::Message(message) => {
                self.waiting += bytes_of(&message);
                self.piled_up |= self.waiting >= PILE;
                self.messages.push_back(message);
            }
            frame => self.blocks.push_back(frame),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.blocks.is_empty() && self.socket.is_empty()
    }

    /// Hands over to the socket what it has room for; the blocks that were.
    pub(super) fn fill_socket(&mut self) -> Vec<Span> {
        let mut spans = Vec::new();
        while self.buffered < SOCKET
            && let Some(frame) = self.next()
        {
            if let Frame::Block { span, .. } = frame {
                spans.push(span);
            }
            self.buffered += frame.bytes();
            self.socket.push_back(frame);
        }
        spans
    }

    /// Takes one batch off the front: what the socket holds; messages; blocks.
    pub(super) fn batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        while batch.bytes < BATCH {
            let Some(frame) = self.socket.pop_front() else { break };
            self.buffered -= frame.bytes();
            batch.push(frame);
        }
        while batch.bytes < BATCH
            && let Some(frame) = self.next()
        {
            batch.push(frame);
        }
        batch
    }

    fn next(&mut self) -> Option<Frame> {
        if let Some(message) = self.messages.pop_front() {
            self.waiting -= bytes_of(&message);
            return Some(Frame::Message(message));
        }
        self.blocks.pop_front()
    }

    /// True once after messages had piled up and have all gone.
    pub(super) fn take_flushed(&mut self) -> bool {
        self.messages.is_empty() && std::mem::take(&mut self.piled_up)
    }
}

impl Batch {
    fn push(&mut self, frame: Frame) {
        self.bytes += frame.bytes();
        if let Frame::Block { span, .. } = &frame {
            self.payload += u64::from(span.length);
        }
        self.frames.push(frame);
    }

    /// The blocks in it.
    pub(super) fn spans(&self) -> impl Iterator<Item = Span> {
        self.frames.iter().filter_map(|frame| match frame {
            Frame::Block { span, .. } => Some(*span),
            _ => None,
        })
    }
}

impl Frame {
    fn bytes(&self) -> u64 {
        match self {
            Self::Message(message) => bytes_of(message),
            Self::Block { span, .. } => BLOCK_HEADER + u64::from(span.length),
            Self::Torn { span } => BLOCK_HEADER + u64::from(span.length / 2),
        }
    }
}

impl Wire {
    /// Bytes on the line for so many of the stream.
    pub(super) fn cost(self, bytes: u64) -> u64 {
        match self {
            Self::Bare => bytes,
            Self::Tcp => bytes + bytes.div_ceil(SEGMENT) * FRAME,
        }
    }

    /// Bytes that the receiver of so many of the stream sends back.
    pub(super) fn acknowledgement(self, bytes: u64) -> u64 {
        match self {
            Self::Bare => 0,
            Self::Tcp => bytes.div_ceil(SEGMENTS_PER_ACK * SEGMENT) * FRAME,
        }
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

    /// Whether all that it was given is out.
    pub(super) fn is_idle(&self, now: Moment) -> bool {
        self.free <= now
    }
}

/// Bytes of a message on the wire.
fn bytes_of(message: &Message) -> u64 {
    match message {
        Message::KeepAlive => 4,
        Message::Bitfield(bits) => HEADER + len(bits),
        Message::Extended { payload, .. } => HEADER + 1 + len(payload),
        Message::Request(_) | Message::Cancel(_) | Message::Reject(_) => HEADER + 12,
        Message::Choke
        | Message::Unchoke
        | Message::Interested
        | Message::NotInterested
        | Message::HaveAll
        | Message::HaveNone => HEADER,
        _ => HEADER + 4,
    }
}

fn len(bytes: &bytes::Bytes) -> u64 {
    u64::try_from(bytes.len()).expect("a length fits 64 bits")
}
