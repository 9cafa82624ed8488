//! What is to happen, ordered by time and then by the order in which it was made.
//!
//! The heap moves small keys only; what happens lies still in a slab beside it.

use super::Happening;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use swarm_core::types::Moment;

/// The events of a world that have not happened yet.
#[derive(Debug, Default)]
pub(super) struct Events {
    heap: BinaryHeap<Reverse<(Moment, u64, usize)>>,
    slab: Vec<Option<Happening>>,
    free: Vec<usize>,
    made: u64,
}

impl Events {
    pub(super) fn push(&mut self, at: Moment, happening: Happening) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            self.slab.len() - 1
        });
        self.slab[slot] = Some(happening);
        self.heap.push(Reverse((at, self.made, slot)));
        self.made += 1;
    }

    /// Takes the first event unless it comes after `end`.
    pub(super) fn pop(&mut self, end: Moment) -> Option<(Moment, Happening)> {
        self.heap.peek().filter(|Reverse((at, ..))| *at <= end)?;
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        Some((at, self.slab[slot].take().expect("a slot in the heap is full")))
    }
}
