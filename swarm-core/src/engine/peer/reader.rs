//! Bytes off one connection to messages and blocks, without a socket.
//!
//! A read goes to three places at once: the rest of the block that is arriving, the places of the
//! blocks that will come next (see `ahead`), then a scratch buffer. So the payload of a block is
//! copied at most once, out of the scratch buffer, and only when the peer did not just go on with
//! what it was asked for. The scratch buffer is small and grows while messages fill it.
//!
//! A message of several blocks (a run, see `wire::mate`) is taken apart here: each of its blocks
//! goes on as if it had come alone.
//!
//! A buffer is taken for a block only when we asked the peer for one: a peer that sends
//! blocks unasked costs no memory and is closed after [`UNASKED_MAX`] of them.
//!
//! Not here: whether a message is legal now (`proto`), how much may be read (`gate`).

mod ahead;

use crate::data::{BlockBuf, BlockPool};
use crate::proto::input::CloseReason;
use crate::types::{BLOCK_SIZE, Span};
use crate::wire::frame::PIECE_HEADER_LEN;
use crate::wire::{FrameLimits, Message, frame};
use ahead::{Ahead, Landed};
use std::io::IoSliceMut;

/// Scratch of a quiet peer, bytes.
pub(crate) const SCRATCH_MIN: usize = 4 << 10;
/// Scratch of a busy peer, bytes: 16 blocks a read.
pub(crate) const SCRATCH_MAX: usize = 256 << 10;
/// Bytes one read may take: a whole block, the places of the next ones or a full scratch buffer.
pub(crate) const READ_MAX: usize =
    BLOCK_SIZE as usize + ahead::AHEAD_MAX * (BLOCK_SIZE as usize + PIECE_HEADER_LEN) + SCRATCH_MAX;
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
    /// What comes behind that block in the same message.
    rest: Option<Span>,
    /// Blocks in the latest message of blocks: the next is likely to be like it.
    run: usize,
    ahead: Ahead,
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
            rest: None,
            run: 1,
            ahead: Ahead::default(),
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

    /// The peer may put several blocks into a message, up to so many bytes.
    pub(crate) const fn set_run_max(&mut self, bytes: u32) {
        self.limits.run_max = Some(bytes);
    }

    /// Where the next read goes: at most `limit` bytes in all.
    pub(crate) fn buffers(&mut self, limit: usize) -> Vec<IoSliceMut<'_>> {
        if self.scratch.len() < SCRATCH_MIN {
            self.scratch.resize(SCRATCH_MIN, 0);
        }
        if self.looks_ahead() {
            self.ahead.prepare(&self.pool, self.asked, self.rest, self.run);
        }
        let block = match &mut self.block {
            Some(Arriving { span, filled, to: Some(to) }) => {
                to.as_mut().get_mut(*filled..span.length as usize).unwrap_or_default()
            }
            _ => &mut [],
        };
        let scratch = self.scratch.get_mut(self.end..).unwrap_or_default();
        let parts = [block].into_iter().chain(self.ahead.parts()).chain([scratch]);
        let mut room = limit;
        let mut buffers = Vec::with_capacity(2 * ahead::AHEAD_MAX + 2);
        for part in parts {
            let part_take = part.len().min(room);
            room -= part_take;
            buffers.push(IoSliceMut::new(part.split_at_mut(part_take).0));
        }
        buffers
    }

    /// Whether the next bytes after the arriving block are the next message, and asked for.
    fn looks_ahead(&self) -> bool {
        let skips = matches!(self.block, Some(Arriving { to: None, .. }));
        self.end == 0 && !skips && self.asked > 0
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
        let mut left = count;
        let mut payload = self.fill_directly(&mut left, out);
        payload += self.fill_ahead(&mut left, out);
        self.go_on()?;
        self.resize(left);
        self.end += left;
        self.more = false;
        loop {
            payload += self.fill_from_scratch(out)?;
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
                Message::Piece(span) => self.begin_run(span)?,
                message => out.push(Incoming::Message(message)),
            }
        }
        self.make_room()?;
        Ok(payload as u64)
    }

    /// The part of a read that went straight into the arriving block.
    fn fill_directly(&mut self, left: &mut usize, out: &mut Vec<Incoming>) -> usize {
        let Some(Arriving { span, filled, to: Some(_) }) = &mut self.block else { return 0 };
        let direct = (span.length as usize - *filled).min(*left);
        *filled += direct;
        *left -= direct;
        self.finish_block(out);
        direct
    }

    /// The part of a read that went to the places of the next blocks. What of it proves to be
    /// something else is put in front of what went to the scratch buffer.
    fn fill_ahead(&mut self, left: &mut usize, out: &mut Vec<Incoming>) -> usize {
        let mut payload = 0;
        loop {
            match self.ahead.take(left, self.rest, &self.limits) {
                Landed::Blocks { span, filled, to } => {
                    self.asked -= 1;
                    payload += filled;
                    if self.rest.is_none() {
                        self.run = blocks_of(span);
                    }
                    let span = self.set_apart(span);
                    self.block = Some(Arriving { span, filled, to: Some(to) });
                    self.finish_block(out);
                }
                Landed::Nothing => break,
                Landed::Else => {
                    *left = self.ahead.join(*left, &mut self.scratch);
                    break;
                }
            }
        }
        self.ahead.release();
        payload
    }

    /// Moves what the scratch buffer holds of the arriving message of blocks to its places.
    fn fill_from_scratch(&mut self, out: &mut Vec<Incoming>) -> Result<usize, CloseReason> {
        let mut payload = 0;
        while self.block.is_some() && self.start < self.end {
            payload += self.fill_block_from_scratch(out);
            self.go_on()?;
        }
        Ok(payload)
    }

    fn fill_block_from_scratch(&mut self, out: &mut Vec<Incoming>) -> usize {
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

    /// The header of a message of blocks is in.
    fn begin_run(&mut self, span: Span) -> Result<(), CloseReason> {
        self.run = blocks_of(span);
        let first = self.set_apart(span);
        self.begin_block(first)
    }

    /// Begins the next block of a message whose block before it has come.
    fn go_on(&mut self) -> Result<(), CloseReason> {
        if self.block.is_some() {
            return Ok(());
        }
        let Some(span) = self.rest else { return Ok(()) };
        let next = self.set_apart(span);
        self.begin_block(next)
    }

    /// The first block of what is to come of a message; keeps the others in mind.
    fn set_apart(&mut self, span: Span) -> Span {
        let length = span.length.min(BLOCK_SIZE);
        let rest = span.length - length;
        // A message that says otherwise ends where no piece does, and is asked for by nobody.
        let begin = span.begin.saturating_add(length);
        self.rest = (rest > 0).then_some(Span { begin, length: rest, ..span });
        Span { length, ..span }
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

    /// Grows the scratch buffer after a read that filled it, unless blocks are read to their
    /// places; shrinks it after many that left most of it empty. Only its unused part is touched.
    fn resize(&mut self, count: usize) {
        let len = self.scratch.len();
        if self.end + count >= len {
            self.quiet = 0;
            if len < SCRATCH_MAX && !self.ahead.is_used() {
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

/// Blocks in a message of blocks.
fn blocks_of(span: Span) -> usize {
    span.length.div_ceil(BLOCK_SIZE).max(1) as usize
}

#[cfg(test)]
mod tests;
