//! Where the next blocks will land, if the peer just goes on with what it was asked for.
//!
//! Most of what a fetch reads is one block after the other, each of them whole and 16 KiB long,
//! alone or in runs that are as long as the last one was. So a read is offered the headers and the
//! payloads of the coming blocks in turn, each in its place, and their bytes need no copy at all. When something else came, everything from there
//! on is put together again as it came, and is taken apart the slow way: one copy more, for
//! the rest of one read.
//!
//! Buffers are taken for a read and given back after it; only one that waits for the rest of
//! its header is kept.
//!
//! Not here: what a header may say (`wire::frame`).

use crate::data::{BlockBuf, BlockPool};
use crate::types::{BLOCK_SIZE, Span};
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
    /// `None`: the block goes on with a message that began before it.
    header: Option<[u8; PIECE_HEADER_LEN]>,
    to: BlockBuf,
}

/// What a read left in one of the places.
pub(super) enum Landed {
    /// A block, whole or in part; the span is that of it and of what follows in its message.
    Blocks { span: Span, filled: usize, to: BlockBuf },
    /// The read ended before the header did, or just before it.
    Nothing,
    /// Something else: see [`Ahead::join`].
    Else,
}

impl Ahead {
    /// Makes places for at most `most` blocks: for those that `rest` is to come of a message, then
    /// for messages of `run` blocks.
    pub(super) fn prepare(&mut self, pool: &BlockPool, most: u64, rest: Option<Span>, run: usize) {
        let rest = rest.map_or(0, |rest| rest.length);
        let (whole, is_cut) = ((rest / BLOCK_SIZE) as usize, !rest.is_multiple_of(BLOCK_SIZE));
        // Behind a block that is no whole one nothing has a known place.
        let known = if is_cut { whole } else { AHEAD_MAX };
        let wanted = (2 * self.used + run).min(AHEAD_MAX).min(known);
        let count = usize::try_from(most).unwrap_or(AHEAD_MAX).min(wanted);
        // The only slot there may be has a header.
        let mut before_header = if self.slots.is_empty() { whole } else { run - 1 };
        while self.slots.len() < count {
            let leads = before_header == 0;
            before_header = if leads { run - 1 } else { before_header - 1 };
            let header = leads.then_some([0; PIECE_HEADER_LEN]);
            self.slots.push_back(Slot { header, to: pool.take() });
        }
        self.used = 0;
    }

    /// The places in the order in which they are filled.
    pub(super) fn parts(&mut self) -> impl Iterator<Item = &mut [u8]> {
        let begun = self.begun;
        self.slots.iter_mut().enumerate().flat_map(move |(at, slot)| {
            let skip = if at == 0 { begun } else { 0 };
            let header = slot.header.as_mut().and_then(|header| header.get_mut(skip..));
            [header.unwrap_or_default(), slot.to.as_mut()]
        })
    }

    /// Takes what a read left in the first place. `left` are the bytes of the read from there on,
    /// `rest` is to come of the message before them.
    pub(super) fn take(
        &mut self,
        left: &mut usize,
        rest: Option<Span>,
        limits: &FrameLimits,
    ) -> Landed {
        let Some(first) = self.slots.front() else { return Landed::Nothing };
        if *left == 0 {
            return Landed::Nothing;
        }
        let span = match (&first.header, rest) {
            (None, Some(rest)) => rest,
            (Some(header), None) => {
                let here = (self.begun + *left).min(PIECE_HEADER_LEN);
                let header = header.get(..here).unwrap_or_default();
                match whole_block(header, limits) {
                    Some(span) => {
                        *left -= PIECE_HEADER_LEN - std::mem::take(&mut self.begun);
                        span
                    }
                    None if begins_whole_block(header) => {
                        self.begun = here;
                        *left = 0;
                        return Landed::Nothing;
                    }
                    None => return Landed::Else,
                }
            }
            _ => return Landed::Else,
        };
        let Some(Slot { to, .. }) = self.slots.pop_front() else { return Landed::Nothing };
        let filled = (*left).min(BlockBuf::CAPACITY);
        *left -= filled;
        self.used += 1;
        Landed::Blocks { span, filled, to }
    }

    /// Gives back what no byte came for.
    pub(super) fn release(&mut self) {
        self.slots.truncate(usize::from(self.begun > 0));
    }

    /// Puts what landed in the places in front of what landed in `scratch` behind them, so that
    /// all of it lies there as it came. Gives the bytes in all.
    pub(super) fn join(&mut self, left: usize, scratch: &mut Vec<u8>) -> usize {
        let all = std::mem::take(&mut self.begun) + left;
        let headers = self.slots.iter().filter(|slot| slot.header.is_some()).count();
        let places = headers * PIECE_HEADER_LEN + self.slots.len() * BlockBuf::CAPACITY;
        let here = all.min(places);
        if scratch.len() < all {
            scratch.resize(all, 0);
        }
        scratch.copy_within(..all - here, here);
        let mut rest = scratch.get_mut(..here).unwrap_or_default();
        for slot in &mut self.slots {
            let header = slot.header.as_ref().map_or(&[][..], |header| header);
            for part in [header, slot.to.as_mut()] {
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

/// What a whole header announces, when it is one or more blocks of full length.
fn whole_block(header: &[u8], limits: &FrameLimits) -> Option<Span> {
    match frame::decode(header, limits) {
        Ok(Some((PIECE_HEADER_LEN, Message::Piece(span))))
            if span.length.is_multiple_of(BLOCK_SIZE) =>
        {
            Some(span)
        }
        _ => None,
    }
}

/// Whether these bytes may become the header of blocks of full length. What is taken for one and
/// proves to be something else only waits for its own end here.
fn begins_whole_block(bytes: &[u8]) -> bool {
    // The length of the message, whose lower half is that of the fields before the payload, and its id.
    let known = [(0xFF, 0), (0xF8, 0), (0x3F, 0), (0xFF, 9), (0xFF, 7)];
    let fits = |(byte, (mask, value)): (&u8, (u8, u8))| byte & mask == value;
    bytes.len() < PIECE_HEADER_LEN && bytes.iter().zip(known).all(fits)
}
