//! Bytes off one connection to messages and blocks, without a socket.
//!
//! A read goes to two places at once: the rest of the block that is arriving, then a scratch
//! buffer. So the payload of a block is copied at most once, out of the scratch buffer while
//! that is hot, and what had not been read yet comes straight to its place. The scratch
//! buffer is small for a quiet peer and grows while reads fill it.
//!
//! A buffer is taken for a block only when we asked the peer for one: a peer that sends
//! blocks unasked costs no memory and is closed after [`UNASKED_MAX`] of them.
//!
//! Not here: whether a message is legal now (`proto`), how much may be read (`gate`).

use crate::data::{BlockBuf, BlockPool};
use crate::proto::input::CloseReason;
use crate::types::Span;
use crate::wire::{FrameLimits, Message, frame};
use std::io::IoSliceMut;

/// Scratch of a quiet peer, bytes.
pub(crate) const SCRATCH_MIN: usize = 4 << 10;
/// Scratch of a busy peer, bytes: 16 blocks a read.
pub(crate) const SCRATCH_MAX: usize = 256 << 10;
/// Blocks beyond those we asked for after which a peer is closed (LIMITS 5.2).
pub(crate) const UNASKED_MAX: u32 = 32;
/// Messages and blocks handed on at once: a peer may pack 65,000 messages into one read, and
/// what waits for the torrent must not take more memory than was read.
pub(crate) const ITEMS_MAX: usize = 1024;
/// Reads in a row that leave most of the scratch empty before it shrinks again.
const QUIET_READS: u32 = 64;

/// Something a peer sent.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A message, never `Piece`.
    Message(Message),
    /// A whole block.
    Block(Span, BlockBuf),
}

/// The unfinished part of one connection's stream.
#[derive(Debug)]
pub(crate) struct Reader {
    pool: BlockPool,
    limits: FrameLimits,
    scratch: Vec<u8>,
    start: usize,
    end: usize,
    block: Option<Arriving>,
    asked: u64,
    unasked: u32,
    quiet: u32,
    more: bool,
}

/// A block whose header is in and whose payload is not. While there is one, the scratch
/// buffer holds no byte before its end.
#[derive(Debug)]
struct Arriving {
    span: Span,
    filled: usize,
    /// `None`: nobody asked for it, so its bytes are passed over.
    to: Option<BlockBuf>,
}

impl Reader {
    /// A reader at the start of a stream, just after the handshake.
    pub(crate) fn new(pool: BlockPool) -> Self {
        Self {
            pool,
            limits: FrameLimits::default(),
            scratch: Vec::new(),
            start: 0,
            end: 0,
            block: None,
            asked: 0,
            unasked: 0,
            quiet: 0,
            more: false,
        }
    }

    /// Whether bytes that are here already may hold more: then call [`Self::advance`] with 0
    /// before the next read.
    pub(crate) const fn has_more(&self) -> bool {
        self.more
    }

    /// So many more blocks may come.
    pub(crate) const fn ask(&mut self, blocks: u64) {
        self.asked = self.asked.saturating_add(blocks);
    }

    /// The torrent is known to have so many pieces.
    pub(crate) const fn set_piece_count(&mut self, pieces: u32) {
        self.limits.piece_count = Some(pieces);
    }

    /// Where the next read goes: at most `limit` bytes in all.
    pub(crate) fn buffers(&mut self, limit: usize) -> [IoSliceMut<'_>; 2] {
        if self.scratch.len() < SCRATCH_MIN {
            self.scratch.resize(SCRATCH_MIN, 0);
        }
        let block = match &mut self.block {
            Some(Arriving { span, filled, to: Some(to) }) => {
                to.as_mut().get_mut(*filled..span.length as usize).unwrap_or_default()
            }
            _ => &mut [],
        };
        let block_take = block.len().min(limit);
        let block = block.get_mut(..block_take).unwrap_or_default();
        let free = self.scratch.get_mut(self.end..).unwrap_or_default();
        let free_take = free.len().min(limit - block.len());
        let free = free.get_mut(..free_take).unwrap_or_default();
        [IoSliceMut::new(block), IoSliceMut::new(free)]
    }

    /// Takes in the `count` bytes that a read has just put into [`Self::buffers`], and
    /// appends what is complete to `out`, up to [`ITEMS_MAX`] items; see [`Self::has_more`].
    /// Gives how many of the bytes were payload.
    ///
    /// # Errors
    /// Why the connection must be closed.
    pub(crate) fn advance(
        &mut self,
        count: usize,
        out: &mut Vec<Incoming>,
    ) -> Result<u64, CloseReason> {
        self.resize(count);
        let direct = self.fill_directly(count, out);
        self.end += count - direct;
        let mut payload = direct;
        self.more = false;
        loop {
            payload += self.fill_from_scratch(out);
            if out.len() >= ITEMS_MAX {
                self.more = true;
                break;
            }
            let unread = self.scratch.get(self.start..self.end).unwrap_or_default();
            let decoded = frame::decode(unread, &self.limits);
            let Some((taken, message)) = decoded.map_err(|_| CloseReason::Malformed)? else {
                break;
            };
            self.start += taken;
            match message {
                Message::Piece(span) => self.begin_block(span)?,
                message => out.push(Incoming::Message(message)),
            }
        }
        self.make_room()?;
        Ok(payload as u64)
    }

    /// The part of a read that went straight into the arriving block.
    fn fill_directly(&mut self, count: usize, out: &mut Vec<Incoming>) -> usize {
        let Some(Arriving { span, filled, to: Some(_) }) = &mut self.block else { return 0 };
        let direct = (span.length as usize - *filled).min(count);
        *filled += direct;
        self.finish_block(out);
        direct
    }

    /// Moves what the scratch buffer holds of the arriving block to its place.
    fn fill_from_scratch(&mut self, out: &mut Vec<Incoming>) -> usize {
        let Some(Arriving { span, filled, to }) = &mut self.block else { return 0 };
        let unread = self.scratch.get(self.start..self.end).unwrap_or_default();
        let count = (span.length as usize - *filled).min(unread.len());
        if let Some(to) = to {
            let from = unread.get(..count).unwrap_or_default();
            if let Some(place) = to.as_mut().get_mut(*filled..*filled + count) {
                place.copy_from_slice(from);
            }
        }
        *filled += count;
        self.start += count;
        self.finish_block(out);
        count
    }

    fn begin_block(&mut self, span: Span) -> Result<(), CloseReason> {
        let to = if self.asked > 0 {
            self.asked -= 1;
            Some(self.pool.take())
        } else {
            self.unasked += 1;
            None
        };
        if self.unasked > UNASKED_MAX {
            return Err(CloseReason::Misbehaved);
        }
        self.block = Some(Arriving { span, filled: 0, to });
        Ok(())
    }

    fn finish_block(&mut self, out: &mut Vec<Incoming>) {
        let whole = |block: &mut Arriving| block.filled == block.span.length as usize;
        if let Some(Arriving { span, filled, to: Some(mut to) }) = self.block.take_if(whole) {
            to.set_len(filled);
            out.push(Incoming::Block(span, to));
        }
    }

    /// Moves an unfinished frame to the front, with room for the rest of it behind.
    fn make_room(&mut self) -> Result<(), CloseReason> {
        self.scratch.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let unread = self.scratch.get(..self.end).unwrap_or_default();
        let required = frame::required(unread, &self.limits).map_err(|_| CloseReason::Malformed)?;
        if self.scratch.len() < required {
            self.scratch.resize(required, 0);
        }
        Ok(())
    }

    /// Grows the scratch buffer after a read that filled it, shrinks it after many that
    /// left most of it empty. Only its unused part is touched.
    fn resize(&mut self, count: usize) {
        let len = self.scratch.len();
        if self.end + count >= len {
            self.quiet = 0;
            if len < SCRATCH_MAX {
                self.scratch.resize((len * 4).min(SCRATCH_MAX), 0);
            }
        } else if self.end + count > len / 8 || len <= SCRATCH_MIN {
            self.quiet = 0;
        } else {
            self.quiet += 1;
        }
        if self.quiet > QUIET_READS {
            self.quiet = 0;
            self.scratch.truncate((self.end + count).max(SCRATCH_MIN));
            self.scratch.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests;
