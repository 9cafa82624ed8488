//! How bytes leave one connection.
//!
//! Messages, and blocks that a worker has read, leave with one gathered write. A block that is
//! in memory leaves from its file by `sendfile` behind its header, and its bytes never pass
//! through this process. Whether it is in memory is asked for a few blocks at a time, just
//! before they are sent: nothing here waits for a disk. A block that is not is reported as cold,
//! and so is everything behind it, so that a worker reads far ahead; while one is awaited, what
//! comes new is asked for at once.
//!
//! A peer that takes runs is sent blocks that lie end to end under one header, as many as leave in
//! a few milliseconds: one call of the system for all of them, and no message waits long.
//!
//! The header goes first, so a file that turns out to be shorter in the middle of a block
//! leaves a frame that cannot be finished: the connection ends.
//!
//! Not here: in what order (`writer`), how much (`gate`), what is in memory (`storage`).

use super::outbox::Source;
use super::writer::{GATHER, Stored, Writer};
use super::{Connection, Report, Step, Turn, lost, transfer};
use crate::proto::input::CloseReason;
use crate::storage::Extent;
use crate::types::{BLOCK_SIZE, Span};
use crate::wire::frame::PIECE_HEADER_LEN;
use std::io::{self, ErrorKind, Write as _};
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes of blocks one turn may send.
const WRITE_MAX: usize = (GATHER / 2) * (BLOCK_SIZE as usize + PIECE_HEADER_LEN);
/// Bytes of messages that make a pile worth a word when it is gone.
const PILE: usize = 16 << 10;

/// What sending needs besides the queue.
#[derive(Debug, Default)]
pub(super) struct Sender {
    source: Option<Source>,
    way: Way,
    /// Bytes of blocks that the peer takes in one message, where it takes several.
    run_max: Option<u32>,
    /// So many bytes of messages waited that the torrent is told when they are out.
    piled_up: bool,
}

/// How blocks get from their file to the socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Way {
    /// The system sends what is in memory.
    #[default]
    Direct,
    /// It has refused to, and workers read everything.
    Workers,
}

/// What a turn of sending came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// There was nothing to send.
    Nothing,
    /// The socket takes no more.
    Full,
    /// All that was offered has gone; there may be more.
    Gone,
    /// The next block must be read first.
    Cold,
}

/// One turn of sending from files.
struct Pass<'a> {
    stream: &'a TcpStream,
    writer: &'a mut Writer,
    sent: &'a mut Vec<Span>,
    /// Bytes that may still go.
    room: usize,
    /// Bytes of blocks to put in one message.
    run_max: u32,
    way: &'a mut Way,
}

impl Sender {
    pub(super) fn set_source(&mut self, source: Source) {
        self.source = Some(source);
    }

    pub(super) const fn set_run_max(&mut self, bytes: u32) {
        self.run_max = Some(bytes);
    }

    /// Takes over blocks to send.
    pub(super) fn push_blocks(
        &self,
        writer: &mut Writer,
        blocks: impl Iterator<Item = Span>,
        report: &mut Report,
    ) {
        let Some(source) = &self.source else {
            // Nothing is served before it is known what of.
            report.unread.extend(blocks);
            return;
        };
        let geometry = &source.geometry;
        writer.push_blocks(blocks.map(|span| (span, geometry.span_range(span).start)));
        if writer.is_awaiting() || self.way == Way::Workers {
            writer.await_all(&mut report.cold);
        }
    }
}

impl Connection {
    /// Sends as much as the limit allows and the socket takes in one turn.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> Step {
        let blocks = self.writer.blocks_len(WRITE_MAX);
        if blocks == 0 && self.writer.control_len() == 0 {
            return Ok(Turn::Wait);
        }
        if self.stream.poll_write_ready(cx).map_err(lost)?.is_pending() {
            return Ok(Turn::Wait);
        }
        let granted = match blocks {
            0 => 0,
            blocks => match self.up.poll_take(cx, blocks) {
                Poll::Ready(granted) => granted,
                Poll::Pending => 0,
            },
        };
        let (outcome, payload) = match self.writer.stored() {
            Some(_) if granted > 0 => self.send_stored(granted)?,
            _ => self.send_gathered(granted)?,
        };
        self.up.give_back(granted.saturating_sub(payload));
        if payload > 0 {
            self.backlog.sent(self.up.now(), payload, &self.stream);
        }
        match outcome {
            Outcome::Nothing => Ok(Turn::Wait),
            Outcome::Gone | Outcome::Cold => Ok(Turn::Again),
            Outcome::Full if self.stream.poll_write_ready(cx).map_err(lost)?.is_pending() => {
                Ok(Turn::Wait)
            }
            Outcome::Full => Ok(Turn::Again),
        }
    }

    /// One write of what is in our own memory.
    fn send_gathered(&mut self, granted: usize) -> Result<(Outcome, usize), CloseReason> {
        let gathered = self.writer.gather(granted);
        let offered = gathered.len();
        if offered == 0 {
            return Ok((Outcome::Nothing, 0));
        }
        let written = transfer(&self.stream, Interest::WRITABLE, offered, |mut socket| {
            socket.write_vectored(gathered.parts())
        });
        let written = written.map_err(lost)?;
        self.sender.piled_up |= self.writer.control_len() >= PILE;
        let payload = self.writer.advance(written, &mut self.report.sent);
        if self.sender.piled_up && self.writer.control_len() == 0 {
            self.sender.piled_up = false;
            self.report.flushed = true;
        }
        let outcome = if written < offered { Outcome::Full } else { Outcome::Gone };
        Ok((outcome, payload))
    }

    /// Sends blocks from their files.
    fn send_stored(&mut self, granted: usize) -> Result<(Outcome, usize), CloseReason> {
        let Self { stream, writer, sender, report, backlog, .. } = self;
        let run_max = sender.run_max.map_or(0, |most| most.min(backlog.brief()));
        let Some(source) = &sender.source else { return Ok((Outcome::Nothing, 0)) };
        let way = &mut sender.way;
        let mut pass = Pass { stream, writer, sent: &mut report.sent, room: granted, run_max, way };
        let result = stream.try_io(Interest::WRITABLE, || pass.run(source));
        let payload = granted - pass.room;
        let outcome = match result {
            Ok(outcome) => outcome,
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::Interrupted => Outcome::Full,
                _ => return Err(lost(error)),
            },
        };
        if outcome == Outcome::Cold {
            self.writer.await_all(&mut self.report.cold);
        }
        Ok((outcome, payload))
    }
}

impl Pass<'_> {
    /// Sends until nothing more is stored, or granted, or taken.
    fn run(&mut self, source: &Source) -> io::Result<Outcome> {
        while self.room > 0 {
            let Some(run) = self.writer.stored_run() else { break };
            let start = run.start;
            let extent = match self.way {
                Way::Direct => source.storage.in_memory(run),
                Way::Workers => None,
            };
            let Some(extent) = extent.filter(|extent| self.holds_first(start, extent)) else {
                return Ok(Outcome::Cold);
            };
            self.send_run(start, &extent)?;
        }
        Ok(Outcome::Gone)
    }

    fn holds_first(&self, start: u64, extent: &Extent) -> bool {
        self.writer.stored().is_some_and(|block| block.payload.end <= start + extent.length)
    }

    /// Sends blocks as long as they lie whole in the extent, which begins at `start` of the
    /// torrent. They come as the peer has asked for them: the next may lie anywhere.
    fn send_run(&mut self, start: u64, extent: &Extent) -> io::Result<()> {
        let end = start + extent.length;
        while self.room > 0 && *self.way == Way::Direct {
            self.writer.join(end, self.run_max);
            let Some(block) = self.writer.stored() else { break };
            let Some(into) = block.payload.start.checked_sub(start) else { break };
            if block.payload.end > end {
                break;
            }
            let length = block.frame_end.min(end) - block.payload.start;
            self.send_frame(&block, extent, extent.offset + into, length)?;
        }
        Ok(())
    }

    /// Sends `length` more bytes of the first frame, or what is granted of them.
    fn send_frame(
        &mut self,
        block: &Stored,
        extent: &Extent,
        at: u64,
        length: u64,
    ) -> io::Result<()> {
        let header = block.header();
        let header = header.get(..header.len().min(self.room)).unwrap_or_default();
        if !header.is_empty() {
            let count = system::send_more(self.stream, header)?;
            self.sent(count);
            if count < header.len() {
                return Ok(());
            }
        }
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(self.room);
        if length == 0 {
            return Ok(());
        }
        match system::send_file(self.stream, extent, at, length) {
            Ok(0) => {
                tracing::warn!(span = ?block.span, "a file was cut off while it was sent");
                Err(ErrorKind::InvalidData.into())
            }
            Ok(count) => {
                self.sent(count);
                Ok(())
            }
            Err(error) if is_refusal(&error) => {
                *self.way = Way::Workers;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn sent(&mut self, count: usize) {
        self.room = self.room.saturating_sub(count);
        self.writer.advance(count, self.sent);
    }
}

/// Whether an error is about the file, not about the connection.
fn is_refusal(error: &io::Error) -> bool {
    // Among `Other` is the disk that fails: a worker will find out and say so.
    !matches!(
        error.kind(),
        ErrorKind::WouldBlock
            | ErrorKind::Interrupted
            | ErrorKind::BrokenPipe
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionAborted
            | ErrorKind::NotConnected
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
    )
}

#[cfg(target_os = "linux")]
mod system {
    use crate::storage::Extent;
    use rustix::net::SendFlags;
    use std::io;
    use tokio::net::TcpStream;

    /// Sends bytes that more will follow at once.
    pub(super) fn send_more(stream: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::net::send(stream, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
    }

    /// Sends bytes of a file; 0 when it has none there.
    pub(super) fn send_file(
        stream: &TcpStream,
        extent: &Extent,
        mut at: u64,
        length: usize,
    ) -> io::Result<usize> {
        Ok(rustix::fs::sendfile(stream, &*extent.file, Some(&mut at), length)?)
    }
}

/// Nothing is known to be in memory where there is no way to send it from there.
#[cfg(not(target_os = "linux"))]
mod system {
    use crate::storage::Extent;
    use std::io::{self, ErrorKind};
    use tokio::net::TcpStream;

    pub(super) fn send_more(_stream: &TcpStream, _bytes: &[u8]) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }

    pub(super) fn send_file(
        _stream: &TcpStream,
        _extent: &Extent,
        _at: u64,
        _length: usize,
    ) -> io::Result<usize> {
        Err(ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
