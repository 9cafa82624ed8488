//! What happened, for the reader of a failure and for the proof that a run repeats.
//!
//! Every event goes into one hash, and the last ones are kept to be written out when a run
//! fails. Nothing is formatted before: that would cost more than all the rest of the world.

use std::collections::VecDeque;
use swarm_core::proto::output::Disposition;
use swarm_core::proto::{Input, Output, PeerKey};
use swarm_core::types::{Moment, PieceIndex, Span};
use swarm_core::wire::Message;

/// The record of one run.
#[derive(Debug)]
pub(super) struct Trace {
    seed: u64,
    last: VecDeque<(Moment, usize, Line)>,
    /// Lines kept for a failure.
    kept: usize,
    hash: u64,
    events: u64,
}

/// One event of a host.
#[derive(Debug)]
pub(super) enum Line {
    In(Input),
    Out(Output),
    Block { from: PeerKey, span: Span, good: bool, disposition: Disposition },
    Killed,
}

/// Lines kept for a failure, unless `SWARM_TRACE` says how many.
const KEPT: usize = 200;
/// Offset basis and prime of the 64-bit FNV-1a hash, which takes words here.
const FNV: (u64, u64) = (0xcbf2_9ce4_8422_2325, 0x0100_0000_01b3);

impl Trace {
    pub(super) fn new(seed: u64) -> Self {
        let kept = std::env::var("SWARM_TRACE").ok().and_then(|count| count.parse().ok());
        let kept = kept.unwrap_or(KEPT);
        Self { seed, last: VecDeque::new(), kept, hash: FNV.0, events: 0 }
    }

    /// Adds one line.
    pub(super) fn note(&mut self, now: Moment, host: usize, line: Line) {
        self.mix(now.as_micros());
        self.mix(host as u64);
        self.mix_line(&line);
        self.events += 1;
        if self.last.len() == self.kept {
            self.last.pop_front();
        }
        self.last.push_back((now, host, line));
    }

    /// Number that two equal runs share.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Lines written in all.
    pub(super) fn events(&self) -> u64 {
        self.events
    }

    fn mix(&mut self, word: u64) {
        // The rotation brings high bits, which only multiplication reaches, down again.
        self.hash = (self.hash ^ word).wrapping_mul(FNV.1).rotate_left(29);
    }

    /// What moves in large numbers by its fields, the rest by its name.
    fn mix_line(&mut self, line: &Line) {
        match line {
            Line::In(Input::Wake) => self.mix(1),
            Line::In(Input::Message { peer, message }) => self.mix_message(2, *peer, message),
            Line::In(Input::Progress { peer, bytes }) => {
                self.mix(3 | u64::from(peer.0) << 8);
                self.mix(*bytes);
            }
            Line::In(Input::Sent { peer, span }) => self.mix_span(4, *peer, *span),
            Line::Out(Output::Send { peer, message }) => self.mix_message(5, *peer, message),
            Line::Out(Output::Serve { peer, span }) => self.mix_span(6, *peer, *span),
            Line::Block { from, span, good, disposition } => {
                self.mix_span(7, *from, *span);
                self.mix(u64::from(*good) << 1 | u64::from(*disposition == Disposition::Keep));
            }
            Line::Killed => self.mix(8),
            Line::In(other) => self.mix_name(&format!("{other:?}")),
            Line::Out(other) => self.mix_name(&format!("{other:?}")),
        }
    }

    fn mix_message(&mut self, tag: u64, peer: PeerKey, message: &Message) {
        let piece = |piece: &PieceIndex| u64::from(piece.get());
        let (kind, value) = match message {
            Message::Choke => (0, 0),
            Message::Unchoke => (1, 0),
            Message::Interested => (2, 0),
            Message::NotInterested => (3, 0),
            Message::Have(index) => (4, piece(index)),
            Message::Request(span) => return self.mix_span(tag | 6 << 4, peer, *span),
            Message::Cancel(span) => return self.mix_span(tag | 8 << 4, peer, *span),
            Message::Reject(span) => return self.mix_span(tag | 16 << 4, peer, *span),
            other => {
                self.mix_name(&format!("{other:?}"));
                (99, 0)
            }
        };
        self.mix(tag | kind << 8 | u64::from(peer.0) << 32);
        self.mix(value);
    }

    fn mix_span(&mut self, tag: u64, peer: PeerKey, span: Span) {
        self.mix(tag | u64::from(peer.0) << 32);
        self.mix(u64::from(span.piece.get()) << 32 | u64::from(span.begin));
    }

    fn mix_name(&mut self, name: &str) {
        for byte in name.bytes() {
            self.mix(byte.into());
        }
    }
}

/// Also when the core itself panics, the way there is shown.
impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (now, host, line) in &self.last {
                eprintln!("{:>12} #{host} {line:?}", now.as_micros());
            }
            eprintln!("replay with SWARM_SEED={} ({} events)", self.seed, self.events);
        }
    }
}
