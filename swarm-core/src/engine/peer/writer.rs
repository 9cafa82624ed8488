//! What goes out on one connection next, without a socket.
//!
//! A block once begun is finished; then every control message; then more blocks. So requests
//! and haves never wait behind a queue of payload. One write gathers up to [`GATHER`] parts.
//!
//! Not here: how much may be sent (`gate`), what is sent (`proto`).

use super::outbox::OutgoingBlock;
use crate::types::Span;
use crate::wire::frame::{PIECE_HEADER_LEN, piece_header};
use bytes::{Buf as _, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;

/// Parts of one gathered write: 32 blocks with their headers, 512 KiB.
pub(crate) const GATHER: usize = 64;

/// The unsent part of one connection's stream.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    control: BytesMut,
    blocks: VecDeque<Framed>,
    /// Bytes of the first block's frame that are sent.
    begun: usize,
}

#[derive(Debug)]
struct Framed {
    header: [u8; PIECE_HEADER_LEN],
    block: OutgoingBlock,
}

/// What one write may consist of.
#[derive(Debug)]
pub(crate) struct Gathered<'a> {
    parts: [IoSlice<'a>; GATHER],
    count: usize,
    bytes: usize,
}

impl Writer {
    /// Takes over messages; `control` is left empty.
    pub(crate) fn push_control(&mut self, control: &mut BytesMut) {
        if self.control.is_empty() {
            std::mem::swap(&mut self.control, control);
            control.clear();
        } else {
            self.control.extend_from_slice(control);
            control.clear();
        }
    }

    /// Takes over blocks.
    pub(crate) fn push_blocks(&mut self, blocks: impl IntoIterator<Item = OutgoingBlock>) {
        let framed = |block: OutgoingBlock| Framed { header: piece_header(block.span), block };
        self.blocks.extend(blocks.into_iter().map(framed));
    }

    /// Control bytes that wait.
    pub(crate) fn control_len(&self) -> usize {
        self.control.len()
    }

    /// Bytes of blocks that wait, headers included, but counted only up to `most`.
    pub(crate) fn blocks_len(&self, most: usize) -> usize {
        let mut len = 0;
        for framed in &self.blocks {
            if len >= most + self.begun {
                break;
            }
            len += framed.len();
        }
        len.saturating_sub(self.begun).min(most)
    }

    /// The next write, with at most `payload_max` bytes of blocks in it.
    pub(crate) fn gather(&self, payload_max: usize) -> Gathered<'_> {
        let mut out = Gathered { parts: [IoSlice::new(&[]); GATHER], count: 0, bytes: 0 };
        let mut room = payload_max;
        let mut blocks = self.blocks.iter();
        if self.begun > 0
            && let Some(first) = blocks.next()
        {
            room = out.push_block(first, self.begun, room);
            if room == 0 && !out.ends(first, self.begun) {
                // The block cannot be finished in this write, and nothing may cut into it.
                return out;
            }
        }
        out.push(&self.control);
        for framed in blocks {
            if room == 0 || out.count + 2 > GATHER {
                break;
            }
            room = out.push_block(framed, 0, room);
        }
        out
    }

    /// Takes in that the first `count` bytes of [`Self::gather`] are sent; appends the blocks
    /// they completed to `sent`. Gives how many of them were bytes of blocks.
    pub(crate) fn advance(&mut self, count: usize, sent: &mut Vec<Span>) -> usize {
        let mut left = count;
        let mut payload = 0;
        if self.begun > 0 {
            payload += self.advance_block(&mut left, sent);
        }
        if self.begun == 0 {
            let control = left.min(self.control.len());
            self.control.advance(control);
            left -= control;
        }
        while left > 0 && !self.blocks.is_empty() {
            payload += self.advance_block(&mut left, sent);
        }
        payload
    }

    fn advance_block(&mut self, left: &mut usize, sent: &mut Vec<Span>) -> usize {
        let Some(first) = self.blocks.front() else { return 0 };
        let taken = (first.len() - self.begun).min(*left);
        *left -= taken;
        self.begun += taken;
        if self.begun == first.len() {
            sent.push(first.block.span);
            self.begun = 0;
            self.blocks.pop_front();
        }
        taken
    }
}

impl Framed {
    fn len(&self) -> usize {
        self.header.len() + self.block.data.as_ref().len()
    }
}

impl<'a> Gathered<'a> {
    /// What to write.
    pub(crate) fn parts(&self) -> &[IoSlice<'a>] {
        self.parts.get(..self.count).unwrap_or_default()
    }

    /// Bytes in all the parts.
    pub(crate) const fn len(&self) -> usize {
        self.bytes
    }

    fn push(&mut self, part: &'a [u8]) {
        if part.is_empty() {
            return;
        }
        if let Some(place) = self.parts.get_mut(self.count) {
            *place = IoSlice::new(part);
            self.count += 1;
            self.bytes += part.len();
        }
    }

    /// Appends a block from `skip` on, at most `room` bytes; gives the room left.
    fn push_block(&mut self, framed: &'a Framed, skip: usize, room: usize) -> usize {
        let before = self.bytes;
        for part in [framed.header.as_slice(), framed.block.data.as_ref()] {
            let passed = if std::ptr::eq(part.as_ptr(), framed.header.as_ptr()) {
                skip
            } else {
                skip.saturating_sub(framed.header.len())
            };
            let part = part.get(passed..).unwrap_or_default();
            let left = room - (self.bytes - before);
            self.push(part.get(..left.min(part.len())).unwrap_or_default());
        }
        room - (self.bytes - before)
    }

    /// Whether what is gathered so far reaches the end of this one block.
    fn ends(&self, framed: &Framed, skip: usize) -> bool {
        self.bytes == framed.len() - skip
    }
}

#[cfg(test)]
mod tests;
