//! One connection: the task that owns its socket.
//!
//! It turns bytes into messages and blocks and the other way round, and tells the torrent
//! once per read or write, not once per block. It never waits for the torrent while it could
//! write, nor for the socket while the torrent has something for it: one `poll` tries each
//! way and sleeps when none goes. When the torrent's inbox is full it stops reading, and TCP
//! passes that on to the peer.
//!
//! Not here: what a message means and when to say one (`proto`), how bytes leave (`send`).

mod backlog;
pub(crate) mod outbox;
mod reader;
mod send;
mod writer;

pub(crate) use outbox::{Outbox, Source};
pub(crate) use reader::Incoming;

use super::gate::Throttle;
use super::torrent::{Inbox, Mail};
use crate::data::BlockPool;
use crate::proto::PeerKey;
use crate::proto::input::CloseReason;
use crate::types::Span;
use backlog::Backlog;
use reader::Reader;
use send::Sender;
use socket2::{SockRef, Socket};
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{OwnedPermit, error::TrySendError};
use writer::Writer;

/// Bytes one read may take.
const READ_MAX: usize = reader::READ_MAX;

/// What one connection has for its torrent since the last time.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// What came, in order.
    pub(crate) items: Vec<Incoming>,
    /// Payload bytes among what came, those of unfinished blocks too.
    pub(crate) payload_bytes: u64,
    /// Blocks that went out.
    pub(crate) sent: Vec<Span>,
    /// Blocks to be sent that are not in memory: a worker must read them.
    pub(crate) cold: Vec<Span>,
    /// Blocks we promised and could not read.
    pub(crate) unread: Vec<Span>,
    /// Messages had piled up, and all of them went out.
    pub(crate) flushed: bool,
}

/// What a connection's task is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    /// The connection's name in the torrent.
    pub(crate) key: PeerKey,
    /// The socket, just after the handshake.
    pub(crate) stream: TcpStream,
    /// What the torrent has for the peer.
    pub(crate) outbox: Outbox,
    /// Where reports go.
    pub(crate) inbox: Inbox,
    /// Where block buffers come from.
    pub(crate) pool: BlockPool,
    /// Limit on what is received, every byte counted.
    pub(crate) down: Throttle,
    /// Limit on the blocks that are sent; messages pass free.
    pub(crate) up: Throttle,
}

/// One connection.
struct Connection {
    key: PeerKey,
    stream: TcpStream,
    outbox: Outbox,
    inbox: Inbox,
    reader: Reader,
    writer: Writer,
    sender: Sender,
    backlog: Backlog,
    down: Throttle,
    up: Throttle,
    report: Report,
    permit: Option<Pin<Box<dyn Future<Output = Permit> + Send>>>,
}

type Permit = Result<OwnedPermit<Mail>, tokio::sync::mpsc::error::SendError<()>>;

/// Whether a direction may have more to do at once.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// The socket, the limit or the inbox will wake us.
    Wait,
    /// Something moved; ask again once others had their turn.
    Again,
}

type Step = Result<Turn, CloseReason>;

/// Drives one connection to its end and reports why it ended.
pub(crate) async fn run(parts: Parts) {
    let Parts { key, stream, outbox, inbox, pool, down, up } = parts;
    let backlog = Backlog::new(up.now(), &stream);
    let mut connection = Connection {
        key,
        stream,
        outbox,
        inbox: inbox.clone(),
        reader: Reader::new(pool),
        writer: Writer::default(),
        sender: Sender::default(),
        backlog,
        down,
        up,
        report: Report::default(),
        permit: None,
    };
    let why = poll_fn(|cx| connection.poll(cx)).await;
    connection.say_last();
    drop(connection);
    // When the torrent is gone there is nobody left to tell.
    let _ = inbox.send(Mail::Closed { peer: key, why }).await;
}

impl Connection {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<CloseReason> {
        match self.turn(cx) {
            Ok(Turn::Wait) => Poll::Pending,
            Ok(Turn::Again) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Err(why) => Poll::Ready(why),
        }
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Step {
        self.take_orders(cx)?;
        let wrote = self.write(cx)?;
        let stuck = !self.report.items.is_empty();
        let read = if stuck { Turn::Wait } else { self.read(cx)? };
        self.tell(cx)?;
        // The socket was not asked while the inbox was full, so it will not wake us.
        let unstuck = stuck && self.report.items.is_empty();
        let again = unstuck || wrote == Turn::Again || read == Turn::Again;
        Ok(if again { Turn::Again } else { Turn::Wait })
    }

    /// Takes what the torrent and the workers have queued.
    fn take_orders(&mut self, cx: &Context<'_>) -> Result<(), CloseReason> {
        let Self { outbox, reader, writer, sender, report, .. } = self;
        outbox.take(cx, |queue| {
            if let Some(why) = queue.close {
                writer.push_control(&mut queue.control);
                return Err(why);
            }
            if let Some(source) = queue.source.take() {
                reader.set_piece_count(source.geometry.piece_count());
                sender.set_source(source);
            }
            if let Some(bytes) = queue.run_max.take() {
                reader.set_run_max(bytes);
                sender.set_run_max(bytes);
            }
            reader.ask(std::mem::take(&mut queue.asked));
            writer.push_control(&mut queue.control);
            sender.push_blocks(writer, queue.blocks.drain(..), report);
            for (span, data) in queue.read.drain(..) {
                writer.fill(span, data);
            }
            writer.drop_unread(&queue.unread)?;
            report.unread.append(&mut queue.unread);
            Ok(())
        })?;
        if self.writer.control_len() > outbox::CONTROL_MAX {
            return Err(CloseReason::Overloaded);
        }
        Ok(())
    }

    /// What the socket takes at once of the messages that are left; a block that was begun
    /// cannot be finished, and nothing may come after its first half.
    fn say_last(&self) {
        let last = self.writer.gather(0);
        if last.len() > 0 {
            // Whoever is gone does not hear it.
            let _ = transfer(&self.stream, Interest::WRITABLE, last.len(), |mut socket| {
                socket.write_vectored(last.parts())
            });
        }
    }

    /// One read of as much as the limit allows.
    fn read(&mut self, cx: &mut Context<'_>) -> Step {
        if self.reader.has_more() {
            self.report.payload_bytes += self.reader.advance(0, &mut self.report.items)?;
            return Ok(Turn::Again);
        }
        if self.stream.poll_read_ready(cx).map_err(lost)?.is_pending() {
            return Ok(Turn::Wait);
        }
        let Poll::Ready(granted) = self.down.poll_take(cx, READ_MAX) else {
            return Ok(Turn::Wait);
        };
        let mut buffers = self.reader.buffers(granted);
        let offered = buffers.iter().map(|buffer| buffer.len()).sum();
        let read = transfer(&self.stream, Interest::READABLE, offered, |mut socket| {
            match socket.read_vectored(&mut buffers)? {
                0 => Err(ErrorKind::UnexpectedEof.into()),
                count => Ok(count),
            }
        });
        let read = read.map_err(lost)?;
        self.down.give_back(granted.saturating_sub(read));
        if read > 0 {
            self.report.payload_bytes += self.reader.advance(read, &mut self.report.items)?;
        }
        let empty = read < offered && self.stream.poll_read_ready(cx).map_err(lost)?.is_pending();
        Ok(if empty { Turn::Wait } else { Turn::Again })
    }

    /// Hands the report to the torrent, or gets in line for its inbox.
    fn tell(&mut self, cx: &mut Context<'_>) -> Result<(), CloseReason> {
        if self.report.is_empty() {
            return Ok(());
        }
        if let Some(permit) = &mut self.permit {
            let Poll::Ready(permit) = permit.as_mut().poll(cx) else { return Ok(()) };
            self.permit = None;
            let report = std::mem::take(&mut self.report);
            permit
                .map_err(|_| CloseReason::Stopping)?
                .send(Mail::Report { peer: self.key, report });
            return Ok(());
        }
        let report = std::mem::take(&mut self.report);
        match self.inbox.try_send(Mail::Report { peer: self.key, report }) {
            Ok(()) => Ok(()),
            Err(TrySendError::Closed(_)) => Err(CloseReason::Stopping),
            Err(TrySendError::Full(mail)) => {
                if let Mail::Report { report, .. } = mail {
                    self.report = report;
                }
                self.permit = Some(Box::pin(self.inbox.clone().reserve_owned()));
                self.tell(cx)
            }
        }
    }
}

impl Report {
    fn is_empty(&self) -> bool {
        self.items.is_empty()
            && self.payload_bytes == 0
            && self.sent.is_empty()
            && self.cold.is_empty()
            && self.unread.is_empty()
            && !self.flushed
    }
}

/// One system call. Gives the bytes moved, 0 when none could be.
///
/// Moving fewer bytes than offered means that the socket has no more to give or take: the
/// runtime is told so, which saves the call that would find it out.
fn transfer(
    stream: &TcpStream,
    interest: Interest,
    offered: usize,
    call: impl FnOnce(&Socket) -> io::Result<usize>,
) -> io::Result<usize> {
    let mut moved = 0;
    let result = stream.try_io(interest, || {
        moved = call(&SockRef::from(stream))?;
        if moved < offered { Err(ErrorKind::WouldBlock.into()) } else { Ok(()) }
    });
    match result {
        Ok(()) => Ok(moved),
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
            Ok(moved)
        }
        Err(error) => Err(error),
    }
}

/// Why a connection ended, by what its socket says.
fn lost(error: io::Error) -> CloseReason {
    match error.kind() {
        ErrorKind::UnexpectedEof => CloseReason::Remote,
        _ => CloseReason::Lost,
    }
}

#[cfg(test)]
mod tests;
