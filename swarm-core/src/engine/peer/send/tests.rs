//! Blocks from files over a loopback socket, with the test as torrent, worker and remote peer.

use super::super::{Mail, Outbox, Parts, run};
use super::*;
use crate::data::BlockPool;
use crate::engine::clock::Clock;
use crate::engine::gate::{Gate, Throttle};
use crate::engine::tasks::Tasks;
use crate::geometry::Geometry;
use crate::proto::PeerKey;
use crate::storage::{Presence, Storage, StorageError};
use crate::types::PieceIndex;
use crate::wire::{Message, frame};
use bytes::BytesMut;
use socket2::SockRef;
use std::fs::File;
use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(20);
const BLOCK: u64 = BLOCK_SIZE as u64;
const BLOCK_LEN: usize = BLOCK_SIZE as usize;

/// A file, and what is claimed to be in memory of a range of it.
#[derive(Debug)]
struct Claims {
    file: Arc<File>,
    claim: fn(Range<u64>) -> Option<u64>,
}

impl Storage for Claims {
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<(), StorageError> {
        let mut at = offset;
        for buf in bufs {
            let read = self.file.read_exact_at(buf, at);
            read.map_err(|error| StorageError::new("read", "test", error))?;
            at += buf.len() as u64;
        }
        Ok(())
    }

    fn write_at(&self, _: u64, _: &[IoSlice<'_>]) -> Result<(), StorageError> {
        unreachable!("nothing is written")
    }

    fn presence(&self, _: Range<u64>) -> Presence {
        Presence::Data
    }

    fn in_memory(&self, range: Range<u64>) -> Option<Extent> {
        let offset = range.start;
        let length = (self.claim)(range)?;
        Some(Extent { file: self.file.clone(), offset, length })
    }

    fn sync(&self) -> Result<(), StorageError> {
        Ok(())
    }

    fn finish(&self) -> Result<(), StorageError> {
        Ok(())
    }
}

struct World {
    remote: TcpStream,
    outbox: Outbox,
    mail: mpsc::Receiver<Mail>,
    storage: Arc<Claims>,
    geometry: Geometry,
    pool: BlockPool,
    /// Blocks asked of the workers.
    cold: u64,
    /// Blocks reported as not to be read.
    unread: Vec<Span>,
    closed: Option<CloseReason>,
}

fn content(blocks: u64) -> Vec<u8> {
    let byte = |at: u64| u8::try_from((at * 31 + at / 253) % 256).unwrap();
    (0..blocks * BLOCK).map(byte).collect()
}

fn spans(blocks: u64) -> Vec<Span> {
    (0..u32::try_from(blocks).unwrap())
        .map(|piece| Span { piece: PieceIndex::new(piece), begin: 0, length: BLOCK_SIZE })
        .collect()
}

fn due(blocks: u64) -> Vec<u8> {
    frames(&content(blocks), &spans(blocks))
}

fn frames(content: &[u8], spans: &[Span]) -> Vec<u8> {
    let mut frames = BytesMut::new();
    for span in spans {
        Message::Piece(*span).encode(&mut frames);
        let at = (span.piece.get() * BLOCK_SIZE + span.begin) as usize;
        frames.extend_from_slice(&content[at..at + span.length as usize]);
    }
    frames.to_vec()
}

/// A connection whose socket takes little at a time, with `blocks` blocks of one piece each.
async fn world(blocks: u64, rate: Option<u64>, claim: fn(Range<u64>) -> Option<u64>) -> World {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&content(blocks), 0).unwrap();
    world_of(file, blocks, rate, claim).await
}

async fn world_of(
    file: File,
    blocks: u64,
    rate: Option<u64>,
    claim: fn(Range<u64>) -> Option<u64>,
) -> World {
    world_in_pieces(file, blocks, 1, rate, claim).await
}

/// The same with so many blocks in every piece.
async fn world_in_pieces(
    file: File,
    blocks: u64,
    per_piece: u64,
    rate: Option<u64>,
    claim: fn(Range<u64>) -> Option<u64>,
) -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    SockRef::from(&stream).set_send_buffer_size(20_000).unwrap();
    let (inbox, mail) = mpsc::channel(64);
    let (outbox, pool) = (Outbox::default(), BlockPool::new(8));
    let clock = Clock::start();
    let gate = |rate| Arc::new(Gate::new(clock, rate));
    let connection = run(Parts {
        key: PeerKey(1),
        stream,
        outbox: outbox.clone(),
        inbox,
        pool: pool.clone(),
        down: Throttle::new(gate(None), gate(None)),
        up: Throttle::new(gate(rate), gate(None)),
    });
    let storage = Arc::new(Claims { file: Arc::new(file), claim });
    let geometry = Geometry::new(per_piece * BLOCK, blocks * BLOCK).unwrap();
    outbox.set_source(Source { storage: storage.clone(), geometry });
    Tasks::new().spawn("peer", connection);
    let (cold, unread, closed) = (0, Vec::new(), None);
    World { remote, outbox, mail, storage, geometry, pool, cold, unread, closed }
}

impl World {
    /// Receives so many bytes while the torrent does its part; gives the blocks reported sent.
    async fn receive(&mut self, count: usize) -> (Vec<u8>, Vec<Span>) {
        let mut came = vec![0; count];
        let (mut at, mut sent) = (0, Vec::new());
        while at < count {
            tokio::select! {
                read = timeout(LIMIT, self.remote.read(&mut came[at..])) => {
                    match read.expect("in time") {
                        Ok(0) | Err(_) => break,
                        Ok(count) => at += count,
                    }
                }
                Some(mail) = self.mail.recv() => self.on_mail(mail, &mut sent),
            }
        }
        came.truncate(at);
        (came, sent)
    }

    fn on_mail(&mut self, mail: Mail, sent: &mut Vec<Span>) {
        let report = match mail {
            Mail::Report { report, .. } => report,
            Mail::Closed { why, .. } => {
                self.closed = Some(why);
                return;
            }
            other => panic!("{other:?}"),
        };
        sent.extend(report.sent);
        self.unread.extend(report.unread);
        self.cold += report.cold.len() as u64;
        for span in report.cold {
            let mut data = self.pool.take();
            data.set_len(BLOCK_LEN);
            let offset = self.geometry.span_range(span).start;
            match self.storage.read_at(offset, &mut [IoSliceMut::new(data.as_mut())]) {
                Ok(()) => self.outbox.post_read([(span, data)]),
                Err(_) => self.outbox.post_unread([span]),
            }
        }
    }

    async fn closed(&mut self) -> CloseReason {
        loop {
            if let Some(why) = self.closed {
                return why;
            }
            let mail = timeout(LIMIT, self.mail.recv()).await.expect("in time");
            self.on_mail(mail.expect("an inbox"), &mut Vec::new());
        }
    }
}

fn all(range: Range<u64>) -> Option<u64> {
    range.end.checked_sub(range.start)
}

const fn nothing(_: Range<u64>) -> Option<u64> {
    None
}

/// Four blocks in memory, three not, and so on; and never to the end of what was asked for.
fn some(range: Range<u64>) -> Option<u64> {
    let (block, length) = (range.start / BLOCK, range.end - range.start);
    (block % 7 < 4).then_some(length.saturating_sub(BLOCK / 2).max(1))
}

#[tokio::test]
async fn the_same_bytes_come_from_files_from_workers_and_from_both() {
    const BLOCKS: u64 = 100;
    for (claim, cold) in [
        (all as fn(Range<u64>) -> Option<u64>, 0..=0),
        (nothing, BLOCKS..=BLOCKS),
        (some, 1..=BLOCKS),
    ] {
        let mut world = world(BLOCKS, None, claim).await;
        let half = spans(BLOCKS).len() / 2;
        let (first, second) = (&spans(BLOCKS)[..half], &spans(BLOCKS)[half..]);
        world.outbox.post_blocks(first);
        let due = due(BLOCKS);
        let (mut came, mut sent) = world.receive(due.len() / 4).await;
        world.outbox.post_blocks(second);
        let (rest, more) = world.receive(due.len() - came.len()).await;
        came.extend(rest);
        sent.extend(more);
        assert!(came == due, "every byte, in order");
        assert!(cold.contains(&world.cold), "{} cold", world.cold);
        while (sent.len() as u64) < BLOCKS {
            let mail = timeout(LIMIT, world.mail.recv()).await.expect("in time").unwrap();
            world.on_mail(mail, &mut sent);
        }
        assert_eq!(sent, spans(BLOCKS));
        assert_eq!(world.pool.in_use(), 0);
    }
}

#[tokio::test]
async fn blocks_go_in_the_order_of_the_requests_wherever_they_lie() {
    const BLOCKS: u64 = 40;
    let at = |piece, begin, length| Span { piece: PieceIndex::new(piece), begin, length };
    let mut asked = vec![at(5, 0, 16_384), at(3, 0, 16_384), at(3, 0, 16_384)];
    asked.extend((0..40).rev().map(|piece| at(piece, 0, 16_384)));
    // Neighbours, then one inside of what was just looked at, then one before it.
    asked.extend([at(7, 0, 16_384), at(8, 0, 16_384), at(7, 100, 1), at(8, 16_383, 1)]);
    asked.extend((0..40).map(|step| at(step * 17 % 40, step * 100, 1 + step * 300)));
    let mut world = world(BLOCKS, None, all).await;
    world.outbox.post_blocks(&asked);
    let due = frames(&content(BLOCKS), &asked);
    assert!(world.receive(due.len()).await.0 == due);
}

/// The payload of the `piece` messages in a stream, and the longest of them; `None` while the last
/// of them is not whole.
fn taken_apart(mut stream: &[u8]) -> Option<(Vec<u8>, usize)> {
    let limits = frame::FrameLimits { piece_count: None, run_max: Some(frame::RUN_MAX) };
    let (mut all, mut longest) = (Vec::new(), 0);
    while !stream.is_empty() {
        let (taken, message) = frame::decode(stream, &limits).unwrap()?;
        let Message::Piece(span) = message else { panic!("{message:?}") };
        let (frame, rest) = stream.split_at_checked(taken + span.length as usize)?;
        all.extend_from_slice(&frame[taken..]);
        longest = longest.max(frame.len() - taken);
        stream = rest;
    }
    Some((all, longest))
}

const RUN_BLOCKS: u64 = 240;
const RUN_PER_PIECE: u32 = 24;

/// Blocks in order, piece after piece.
fn in_order() -> Vec<Span> {
    let block = |at: u32| {
        let (piece, block) = (at / RUN_PER_PIECE, at % RUN_PER_PIECE);
        Span { piece: PieceIndex::new(piece), begin: block * BLOCK_SIZE, length: BLOCK_SIZE }
    };
    (0..u32::try_from(RUN_BLOCKS).unwrap()).map(block).collect()
}

/// What comes of passes in which a message may have so many bytes of blocks, and the bytes that
/// the longest had.
async fn sent_in_runs(run_max: u32) -> (Vec<u8>, usize) {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&content(RUN_BLOCKS), 0).unwrap();
    let storage = Arc::new(Claims { file: Arc::new(file), claim: all });
    let geometry = Geometry::new(u64::from(RUN_PER_PIECE) * BLOCK, RUN_BLOCKS * BLOCK).unwrap();
    let source = Source { storage, geometry };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut remote = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let mut writer = Writer::default();
    writer.push_blocks(in_order().into_iter().map(|span| (span, geometry.span_range(span).start)));
    let (mut came, mut sent, mut way) = (Vec::new(), Vec::new(), Way::Direct);
    loop {
        if let Some((all, longest)) = taken_apart(&came)
            && sent.len() as u64 == RUN_BLOCKS
            && all.len() as u64 == RUN_BLOCKS * BLOCK
        {
            assert_eq!(sent, in_order(), "each block is reported");
            return (all, longest);
        }
        let (room, sent, way) = (100_000, &mut sent, &mut way);
        let mut pass = Pass { stream: &stream, writer: &mut writer, sent, room, run_max, way };
        // A full socket is no error here: the other end reads on.
        let _ = stream.try_io(Interest::WRITABLE, || pass.run(&source));
        assert_ne!(timeout(LIMIT, remote.read_buf(&mut came)).await.expect("in time").unwrap(), 0);
    }
}

#[tokio::test]
async fn blocks_go_in_runs_as_long_as_the_peer_takes_them() {
    for (run_max, longest) in
        [(0, 1), (3 * BLOCK_SIZE - 1, 2), (3 * BLOCK_SIZE, 3), (frame::RUN_MAX, 16)]
    {
        let (came, found) = sent_in_runs(run_max).await;
        assert!(came == content(RUN_BLOCKS), "every byte, in order");
        assert_eq!(found, longest * BLOCK_LEN);
    }
}

#[tokio::test]
async fn the_same_bytes_come_in_runs_from_files_and_workers() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(&content(RUN_BLOCKS), 0).unwrap();
    let mut world = world_in_pieces(file, RUN_BLOCKS, RUN_PER_PIECE.into(), None, some).await;
    world.outbox.set_run_max(frame::RUN_MAX);
    world.outbox.post_blocks(&in_order());
    let (mut stream, mut sent) = (Vec::new(), Vec::new());
    loop {
        if let Some((came, _)) = taken_apart(&stream)
            && came.len() as u64 == RUN_BLOCKS * BLOCK
        {
            assert!(came == content(RUN_BLOCKS), "every byte, in order");
            return;
        }
        tokio::select! {
            read = timeout(LIMIT, world.remote.read_buf(&mut stream)) => {
                assert_ne!(read.expect("in time").unwrap(), 0);
            }
            Some(mail) = world.mail.recv() => world.on_mail(mail, &mut sent),
        }
    }
}

#[tokio::test]
async fn a_message_comes_between_two_blocks_while_the_socket_is_full_of_files() {
    const BLOCKS: u64 = 200;
    let mut world = world(BLOCKS, None, all).await;
    world.outbox.post_blocks(&spans(BLOCKS));
    let (mut came, _) = world.receive(100_000).await;
    let mut control = BytesMut::new();
    Message::Have(PieceIndex::new(9)).encode(&mut control);
    let have = control.to_vec();
    world.outbox.post(&mut control, 0).unwrap();
    let due = due(BLOCKS);
    came.extend(world.receive(due.len() + have.len() - came.len()).await.0);
    let frame = BLOCK_LEN + PIECE_HEADER_LEN;
    let cut =
        came.chunks(frame).position(|chunk| chunk.starts_with(&have)).expect("a have") * frame;
    assert!(cut < due.len() - frame, "before the last block");
    assert!(came[..cut] == due[..cut] && came[cut + have.len()..] == due[cut..]);
}

#[tokio::test]
async fn a_limit_cuts_blocks_from_files_anywhere() {
    const BLOCKS: u64 = 6;
    // Grants of 10,000 bytes.
    let mut world = world(BLOCKS, Some(160_000), all).await;
    world.outbox.post_blocks(&spans(BLOCKS));
    let due = due(BLOCKS);
    let clock = Clock::start();
    let began = clock.now();
    let (came, _) = world.receive(due.len()).await;
    assert!(came == due);
    assert!(clock.now().since(began) > Duration::from_millis(400), "98 KB at 160 KB a second");
}

#[tokio::test]
async fn a_file_that_is_cut_off_while_it_is_sent_ends_the_connection_and_no_garbage_is_sent() {
    const BLOCKS: u64 = 400;
    let mut world = world(BLOCKS, None, all).await;
    world.outbox.post_blocks(&spans(BLOCKS));
    let (mut came, _) = world.receive(50_000).await;
    world.storage.file.set_len(0).unwrap();
    let due = due(BLOCKS);
    came.extend(world.receive(due.len() - came.len()).await.0);
    assert!(came.len() < due.len() && came == due[..came.len()]);
    assert_eq!(world.closed().await, CloseReason::Lost);
}

#[tokio::test]
async fn a_file_that_is_gone_before_it_is_sent_is_reported_and_the_connection_lives() {
    const BLOCKS: u64 = 3;
    let mut world = world(BLOCKS, None, nothing).await;
    world.storage.file.set_len(BLOCK).unwrap();
    world.outbox.post_blocks(&spans(BLOCKS));
    let frame = BLOCK_LEN + PIECE_HEADER_LEN;
    let (came, _) = world.receive(frame).await;
    assert!(came == due(BLOCKS)[..frame]);
    while world.unread.len() < 2 {
        let mail = timeout(LIMIT, world.mail.recv()).await.expect("in time").unwrap();
        world.on_mail(mail, &mut Vec::new());
    }
    assert_eq!((&world.unread[..], world.closed), (&spans(BLOCKS)[1..], None));
}

#[tokio::test]
async fn a_file_that_the_system_refuses_to_send_is_read_by_workers_from_then_on() {
    const BLOCKS: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("content");
    std::fs::write(&path, content(BLOCKS)).unwrap();
    // A descriptor that may only write is refused when the header has gone already.
    let refused = File::options().write(true).open(&path).unwrap();
    let mut world = world_of(refused, BLOCKS, None, all).await;
    world.storage = Arc::new(Claims { file: Arc::new(File::open(&path).unwrap()), claim: all });
    world.outbox.post_blocks(&spans(BLOCKS));
    let due = due(BLOCKS);
    let (mut came, _) = world.receive(due.len()).await;
    assert_eq!(world.cold, BLOCKS);
    world.outbox.post_blocks(&spans(BLOCKS));
    came.extend(world.receive(due.len()).await.0);
    assert!(came == [due.clone(), due].concat());
    assert_eq!(world.cold, 2 * BLOCKS);
}
