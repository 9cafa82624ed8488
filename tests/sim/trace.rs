//! What happened, for the reader of a failure and for the proof that a run repeats.
//!
//! Every event is written as one line; all lines go into one hash, the last ones are kept.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use swarm_core::types::Moment;

/// The record of one run.
#[derive(Debug)]
pub(super) struct Trace {
    seed: u64,
    last: VecDeque<String>,
    hash: u64,
    events: u64,
}

/// Lines kept for a failure.
const KEPT: usize = 200;
/// Offset basis and prime of the 64-bit FNV-1a hash.
const FNV: (u64, u64) = (0xcbf2_9ce4_8422_2325, 0x0100_0000_01b3);

impl Trace {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, last: VecDeque::new(), hash: FNV.0, events: 0 }
    }

    /// Adds one line.
    pub(super) fn note(&mut self, now: Moment, host: usize, what: fmt::Arguments<'_>) {
        let mut line = match self.last.len() {
            KEPT.. => self.last.pop_front().unwrap_or_default(),
            _ => String::new(),
        };
        line.clear();
        write!(line, "{:>12} #{host} {what}", now.as_micros()).expect("a string takes all");
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(FNV.1);
        }
        self.events += 1;
        self.last.push_back(line);
    }

    /// Number that two equal runs share.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// Lines written in all.
    pub(super) fn events(&self) -> u64 {
        self.events
    }
}

/// Also when the core itself panics, the way there is shown.
impl Drop for Trace {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for line in &self.last {
                eprintln!("{line}");
            }
            eprintln!("replay with SWARM_SEED={} ({} events)", self.seed, self.events);
        }
    }
}
