//! Where the next blocks will land, if the peer just goes on with what it was asked for.
//!
//! Most of what a fetch reads is one block after the other, each of them whole and 16 KiB long.
//! So a read is offered the header and the payload of the coming blocks in turn, each in its
//! place, and their bytes need no copy at all. When something else came, everything from there
//! on is put together again as it came, and is taken apart the slow way: one copy more, for
//! the rest of one read.
//!
//! Buffers are taken for a read and given back after it; only one that waits for the rest of
//! its header is kept.
//!
//! Not here: what a header may say (`wire::frame`).

use crate::data::{BlockBuf, BlockPool};
use crate::types::Span;
use crate::wire::frame::PIECE_HEADER_LEN;
use crate::wire::{FrameLimits, Message, frame};
use std::collections::VecDeque;

/// Most blocks that one read is offered beyond the one that is arriving.
pub(super) const AHEAD_MAX: usize = 16;

/// The places of the coming blocks.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    slots: VecDeque<Slot>,
    /// Bytes of the first header that are here.
    begun: usize,
    /// Blocks that came in the last read.
    used: usize,
}

#[derive(Debug)]
struct Slot {
    header: [u8; PIECE_HEADER_LEN],
    to: BlockBuf,
}

/// What a read left in one of the places.
pub(super) enum Landed {
    /// A block, whole or in part.
    Block { span: Span, filled: usize, to: BlockBuf },
    /// The read ended before the header did, or just before it.
    Nothing,
    /// Something else: see [`Ahead::join`].
    Else,
}

impl Ahead {
    /// Makes places for at most `most` blocks.
    pub(super) fn prepare(&mut self, pool: &BlockPool, most: u64) {
        let wanted = (2 * self.used + 1).min(AHEAD_MAX);
        let count = usize::try_from(most).unwrap_or(AHEAD_MAX).min(wanted);
        while self.slots.len() < count {
            self.slots.push_back(Slot { header: [0; PIECE_HEADER_LEN], to: pool.take() });
        }
        self.used = 0;
    }

    /// The places in the order in which they are filled.
    pub(super) fn parts(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let begun = self.begun;
        self.slots.iter_mut().enumerate().flat_map(move |(at, slot)| {
            let skip = if at == 0 { begun } else { 0 };
            let header = slot.header.get_mut(skip..).unwrap_or_default();
            [header, slot.to.as_mut()]
        })
    }

    /// Takes what a read left in the first place. `left` are the bytes of the read from there on.
    pub(super) fn take(&mut self, left: &mut usize, limits: &FrameLimits) -> Landed {
        let Some(first) = self.slots.front() else { return Landed::Nothing };
        let here = (self.begun + *left).min(PIECE_HEADER_LEN);
        let header = first.header.get(..here).unwrap_or_default();
        if *left == 0 {
            return Landed::Nothing;
        }
        let Some(span) = whole_block(header, limits) else {
            return match begins_whole_block(header) {
                true => {
                    self.begun = here;
                    *left = 0;
                    Landed::Nothing
                }
                false => Landed::Else,
            };
        };
        let Some(Slot { to, .. }) = self.slots.pop_front() else { return Landed::Nothing };
        *left -= PIECE_HEADER_LEN - std::mem::take(&mut self.begun);
        let filled = (*left).min(BlockBuf::CAPACITY);
        *left -= filled;
        self.used += 1;
        Landed::Block { span, filled, to }
    }

    /// Gives back what no byte came for.
    pub(super) fn release(&mut self) {
        self.slots.truncate(usize::from(self.begun > 0));
    }

    /// Puts what landed in the places in front of what landed in `scratch` behind them, so that
    /// all of it lies there as it came. Gives the bytes in all.
    pub(super) fn join(&mut self, left: usize, scratch: &mut Vec<u8>) -> usize {
        let all = std::mem::take(&mut self.begun) + left;
        let places = self.slots.len() * (PIECE_HEADER_LEN + BlockBuf::CAPACITY);
        let here = all.min(places);
        if scratch.len() < all {
            scratch.resize(all, 0);
        }
        scratch.copy_within(..all - here, here);
        let mut rest = scratch.get_mut(..here).unwrap_or_default();
        for slot in &mut self.slots {
            for part in [&slot.header[..], slot.to.as_mut()] {
                let (to, later) = rest.split_at_mut(part.len().min(rest.len()));
                to.copy_from_slice(part.get(..to.len()).unwrap_or_default());
                rest = later;
            }
        }
        all
    }

    /// Whether blocks came to their places in the last read.
    pub(super) const fn is_used(&self) -> bool {
        self.used > 0
    }
}

/// The block that a whole header announces, when it is one of full length.
fn whole_block(header: &[u8], limits: &FrameLimits) -> Option<Span> {
    match frame::decode(header, limits) {
        Ok(Some((PIECE_HEADER_LEN, Message::Piece(span))))
            if span.length as usize == BlockBuf::CAPACITY =>
        {
            Some(span)
        }
        _ => None,
    }
}

/// Whether these bytes may become the header of a block of full length.
fn begins_whole_block(bytes: &[u8]) -> bool {
    bytes.len() < PIECE_HEADER_LEN && bytes.iter().zip(FULL_BLOCK).all(|(a, b)| *a == b)
}

/// How the header of a block of full length begins: the length of the message and its id.
pub(super) const FULL_BLOCK: [u8; 5] = [0, 0, 0x40, 9, 7];
