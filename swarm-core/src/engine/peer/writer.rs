//! What goes out on one connection next, without a socket.
//!
//! A block once begun is finished; then every control message; then more blocks, in the order
//! they were asked for. So requests and haves never wait behind a queue of payload. A block is
//! in one of three places ([`Body`]): in the storage, with a worker that reads it, or here. One
//! write gathers up to [`GATHER`] parts of what is here; what is in the storage leaves by itself.
//!
//! For a peer that takes runs, blocks in the storage that lie end to end are joined into one frame
//! just before it is begun: the first has the header of all, the others have none.
//!
//! Not here: how much may be sent (`gate`), what is sent (`proto`), how (`send`).

use crate::data::BlockBuf;
use crate::proto::input::CloseReason;
use crate::types::{BLOCK_SIZE, Span};
use crate::wire::frame::{PIECE_HEADER_LEN, piece_header};
use bytes::{Buf as _, BytesMut};
use std::collections::VecDeque;
use std::io::IoSlice;
use std::ops::Range;

/// Parts of one gathered write: 32 blocks with their headers, 512 KiB.
pub(crate) const GATHER: usize = 64;
/// Blocks looked for in memory at once: 512 KiB.
pub(crate) const STORED_RUN_MAX: usize = 32;

/// The unsent part of one connection's stream.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    control: BytesMut,
    blocks: VecDeque<Framed>,
    /// Bytes of the first block and its header that are sent.
    begun: usize,
    /// Blocks that a worker reads.
    awaited: usize,
}

#[derive(Debug)]
struct Framed {
    /// `None`: it goes on with the frame of the block before it.
    header: Option<[u8; PIECE_HEADER_LEN]>,
    span: Span,
    /// Where in the torrent the block begins.
    offset: u64,
    body: Body,
}

/// Where the bytes of a block are.
#[derive(Debug)]
enum Body {
    /// In the storage; nobody has looked yet.
    Stored,
    /// A worker reads them.
    Awaited,
    /// Here.
    Read(BlockBuf),
}

/// The first block, when it is in the storage and may go now.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Which block.
    pub(crate) span: Span,
    header: Option<[u8; PIECE_HEADER_LEN]>,
    /// Bytes of the header that are sent.
    begun: usize,
    /// The unsent part of its bytes, by offset in the torrent.
    pub(crate) payload: Range<u64>,
    /// Where those blocks of its frame end that are in the storage.
    pub(crate) frame_end: u64,
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

    /// Takes over blocks with their offset in the torrent.
    pub(crate) fn push_blocks(&mut self, blocks: impl IntoIterator<Item = (Span, u64)>) {
        self.blocks.extend(blocks.into_iter().map(|(span, offset)| Framed {
            header: Some(piece_header(span)),
            span,
            offset,
            body: Body::Stored,
        }));
    }

    /// Whether a worker has been asked for a block that is not here yet.
    pub(crate) const fn is_awaiting(&self) -> bool {
        self.awaited > 0
    }

    /// Counts every block that is in the storage as asked of the workers; appends them to `cold`.
    pub(crate) fn await_all(&mut self, cold: &mut Vec<Span>) {
        self.part();
        for framed in &mut self.blocks {
            if matches!(framed.body, Body::Stored) {
                framed.body = Body::Awaited;
                self.awaited += 1;
                cold.push(framed.span);
            }
        }
    }

    /// Makes one frame of the first block and of those that lie behind it in its piece, in the
    /// queue as in the storage: up to `end` in the torrent, `most` bytes at most. A frame that is
    /// begun stays as it is.
    pub(crate) fn join(&mut self, end: u64, most: u32) {
        if self.is_open() {
            return;
        }
        self.part();
        let Some(mut span) = self.blocks.front().map(|first| first.span) else { return };
        let mut count = 1;
        for next in self.blocks.iter().skip(1) {
            let length = span.length.saturating_add(next.span.length);
            let goes_on = next.span.piece == span.piece
                && span.begin.checked_add(span.length) == Some(next.span.begin)
                && span.length.is_multiple_of(BLOCK_SIZE)
                && next.span.length <= BLOCK_SIZE
                && matches!(next.body, Body::Stored);
            if !goes_on || length > most || next.end() > end {
                break;
            }
            span.length = length;
            count += 1;
        }
        for (at, framed) in self.blocks.iter_mut().take(count).enumerate() {
            framed.header = (at == 0).then(|| piece_header(span));
        }
    }

    /// Undoes a join of which no byte is sent. Only the first blocks can be joined.
    fn part(&mut self) {
        if self.is_open() {
            return;
        }
        for (at, framed) in self.blocks.iter_mut().enumerate() {
            if at > 0 && framed.header.is_some() {
                break;
            }
            framed.header = Some(piece_header(framed.span));
        }
    }

    /// Whether a frame is begun and not finished.
    fn is_open(&self) -> bool {
        self.begun > 0 || self.blocks.front().is_some_and(|first| first.header.is_none())
    }

    /// Takes in what a worker has read.
    pub(crate) fn fill(&mut self, span: Span, data: BlockBuf) {
        debug_assert_eq!(data.len(), span.length as usize, "a block is read whole");
        let awaits = |framed: &&mut Framed| framed.is_awaited(span);
        if let Some(framed) = self.blocks.iter_mut().find(awaits) {
            framed.body = Body::Read(data);
            self.awaited -= 1;
        }
    }

    /// Forgets blocks that no worker can read.
    ///
    /// # Errors
    /// When one of them is begun: its frame cannot be finished.
    pub(crate) fn drop_unread(&mut self, spans: &[Span]) -> Result<(), CloseReason> {
        for span in spans {
            let at = self.blocks.iter().position(|framed| framed.is_awaited(*span));
            match at {
                None => continue,
                Some(at) if self.is_promised(at) => return Err(CloseReason::Lost),
                Some(at) => self.blocks.remove(at),
            };
            self.awaited -= 1;
        }
        Ok(())
    }

    /// Whether the header of its frame has gone.
    fn is_promised(&self, at: usize) -> bool {
        let goes_on = self.blocks.get(at).is_some_and(|framed| framed.header.is_none());
        goes_on || at == 0 && self.begun > 0
    }

    /// Control bytes that wait.
    pub(crate) fn control_len(&self) -> usize {
        self.control.len()
    }

    /// Bytes of blocks that could go now, headers included, but counted only up to `most`.
    pub(crate) fn blocks_len(&self, most: usize) -> usize {
        let mut len = 0;
        for framed in &self.blocks {
            if len >= most + self.begun || matches!(framed.body, Body::Awaited) {
                break;
            }
            len += framed.len();
        }
        len.saturating_sub(self.begun).min(most)
    }

    /// The first block, when it is in the storage and no message goes before it.
    pub(crate) fn stored(&self) -> Option<Stored> {
        let first = self.blocks.front().filter(|first| matches!(first.body, Body::Stored))?;
        if !self.is_open() && !self.control.is_empty() {
            return None;
        }
        let sent = self.begun.saturating_sub(first.header().len());
        let payload = first.offset + u64::try_from(sent).unwrap_or(u64::MAX)..first.end();
        let goes_on = |next: &&Framed| next.header.is_none() && matches!(next.body, Body::Stored);
        let last = self.blocks.iter().skip(1).take_while(goes_on).last().unwrap_or(first);
        let (header, begun, frame_end) = (first.header, self.begun, last.end());
        Some(Stored { span: first.span, header, begun, payload, frame_end })
    }

    /// The unsent bytes of the first stored block and of those that lie behind it in the
    /// storage as in the queue, by offset in the torrent.
    pub(crate) fn stored_run(&self) -> Option<Range<u64>> {
        let mut run = self.stored()?.payload;
        for next in self.blocks.iter().take(STORED_RUN_MAX).skip(1) {
            // A message cuts in as soon as the frame that is begun is through.
            let waits = next.header.is_some() && !self.control.is_empty();
            if waits || !matches!(next.body, Body::Stored) || next.offset != run.end {
                break;
            }
            run.end = next.end();
        }
        Some(run)
    }

    /// The next write of what is here, with at most `payload_max` bytes of blocks in it.
    pub(crate) fn gather(&self, payload_max: usize) -> Gathered<'_> {
        let mut out = Gathered { parts: [IoSlice::new(&[]); GATHER], count: 0, bytes: 0 };
        let mut room = payload_max;
        let mut blocks = self.blocks.iter().peekable();
        let (mut due, mut skip) = (0, self.begun);
        let goes_on = |framed: &&Framed| framed.header.is_none();
        while self.is_open()
            && let Some(framed) = blocks.next_if(|framed| due == 0 || goes_on(framed))
        {
            let Body::Read(data) = &framed.body else { return out };
            room = out.push_block(framed, data, skip, room);
            due += framed.len() - std::mem::take(&mut skip);
            if out.len() < due {
                // The frame cannot be finished in this write, and nothing may cut into it.
                return out;
            }
        }
        out.push(&self.control);
        for framed in blocks {
            let Body::Read(data) = &framed.body else { break };
            if room == 0 || out.count + 2 > GATHER {
                break;
            }
            room = out.push_block(framed, data, 0, room);
        }
        out
    }

    /// Takes in that the first `count` bytes of [`Self::gather`], or of the frame of
    /// [`Self::stored`], are sent; appends the blocks they completed to `sent`. Gives how many of them were bytes of blocks.
    pub(crate) fn advance(&mut self, count: usize, sent: &mut Vec<Span>) -> usize {
        let mut left = count;
        let mut payload = 0;
        while left > 0 && self.is_open() {
            payload += self.advance_block(&mut left, sent);
        }
        if !self.is_open() {
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
            sent.push(first.span);
            self.begun = 0;
            self.blocks.pop_front();
        }
        taken
    }
}

impl Framed {
    fn len(&self) -> usize {
        self.header().len() + self.span.length as usize
    }

    fn header(&self) -> &[u8] {
        self.header.as_ref().map_or(&[], |header| header)
    }

    fn end(&self) -> u64 {
        self.offset + u64::from(self.span.length)
    }

    fn is_awaited(&self, span: Span) -> bool {
        self.span == span && matches!(self.body, Body::Awaited)
    }
}

impl Stored {
    /// The unsent part of its header.
    pub(crate) fn header(&self) -> &[u8] {
        self.header.as_ref().and_then(|header| header.get(self.begun..)).unwrap_or_default()
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
    fn push_block(
        &mut self,
        framed: &'a Framed,
        data: &'a [u8],
        skip: usize,
        room: usize,
    ) -> usize {
        let header = framed.header();
        let in_header = skip.min(header.len());
        let mut left = room;
        for (part, passed) in [(header, in_header), (data, skip - in_header)] {
            let part = part.get(passed..).unwrap_or_default();
            let part = part.get(..left.min(part.len())).unwrap_or_default();
            self.push(part);
            left -= part.len();
        }
        left
    }
}

#[cfg(test)]
mod tests;
