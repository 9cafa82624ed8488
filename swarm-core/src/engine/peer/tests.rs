//! One connection over a loopback socket, with the test as torrent and as remote peer.

use super::*;
use crate::engine::clock::Clock;
use crate::engine::gate::Gate;
use crate::engine::tasks::Tasks;
use crate::geometry::Geometry;
use crate::storage::MemStorage;
use crate::types::PieceIndex;
use crate::wire::Message;
use bytes::BytesMut;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(10);

struct World {
    remote: TcpStream,
    outbox: Outbox,
    mail: mpsc::Receiver<Mail>,
    pool: BlockPool,
}

/// A connection whose torrent has room for one report.
async fn world() -> World {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let remote = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let (inbox, mail) = mpsc::channel(1);
    let (outbox, pool) = (Outbox::default(), BlockPool::new(8));
    let open = || Arc::new(Gate::new(Clock::start(), None));
    let throttle = || Throttle::new(open(), open());
    let connection = run(Parts {
        key: PeerKey(1),
        stream,
        outbox: outbox.clone(),
        inbox,
        pool: pool.clone(),
        down: throttle(),
        up: throttle(),
    });
    Tasks::new().spawn("peer", connection);
    World { remote, outbox, mail, pool }
}

impl World {
    async fn next(&mut self) -> Mail {
        timeout(LIMIT, self.mail.recv()).await.expect("in time").expect("a torrent's inbox")
    }

    async fn closed(&mut self) -> CloseReason {
        loop {
            if let Mail::Closed { why, .. } = self.next().await {
                return why;
            }
        }
    }
}

fn have(piece: u32) -> Message {
    Message::Have(PieceIndex::new(piece))
}

#[tokio::test]
async fn nothing_is_lost_or_stuck_when_the_torrent_is_slow() {
    const COUNT: u32 = 200_000;
    let mut world = world().await;
    let mut stream = BytesMut::new();
    (0..COUNT).for_each(|piece| have(piece).encode(&mut stream));
    let mut next = 0;
    let mut sent = 0;
    while next < COUNT {
        let more = stream.get(sent..).unwrap_or_default();
        tokio::select! {
            wrote = world.remote.write(more), if !more.is_empty() => sent += wrote.unwrap(),
            mail = timeout(LIMIT, world.mail.recv()) => {
                let Mail::Report { report, .. } = mail.unwrap().unwrap() else { panic!("open") };
                for item in report.items {
                    let Incoming::Message(message) = item else { panic!("no block was sent") };
                    assert_eq!(message, have(next));
                    next += 1;
                }
            }
        }
    }
    drop(world.remote.shutdown().await);
    assert_eq!(world.closed().await, CloseReason::Remote);
}

#[tokio::test]
async fn blocks_go_out_after_messages_and_are_reported() {
    let mut world = world().await;
    let storage = Arc::new(MemStorage::holding(vec![7; 4000]));
    world.outbox.set_source(Source { storage, geometry: Geometry::new(1000, 4000).unwrap() });
    let span = Span { piece: PieceIndex::new(3), begin: 0, length: 1000 };
    world.outbox.post_blocks(&[span]);
    let Mail::Report { report, .. } = world.next().await else { panic!("open") };
    assert_eq!(report.cold, [span], "this storage has no files");
    let mut data = world.pool.take();
    data.as_mut().fill(7);
    data.set_len(1000);
    let mut control = BytesMut::new();
    have(9).encode(&mut control);
    world.outbox.post(&mut control, 0).unwrap();
    world.outbox.post_read([(span, data)]);
    let mut due = BytesMut::new();
    have(9).encode(&mut due);
    Message::Piece(span).encode(&mut due);
    due.extend_from_slice(&[7; 1000]);
    let mut came = vec![0; due.len()];
    timeout(LIMIT, world.remote.read_exact(&mut came)).await.unwrap().unwrap();
    assert_eq!(came, due);
    let Mail::Report { report, .. } = world.next().await else { panic!("open") };
    assert_eq!(report.sent, [span]);
    assert_eq!(world.pool.in_use(), 0);
}

#[tokio::test]
async fn a_peer_that_never_reads_is_let_go() {
    let mut world = world().await;
    let mut batch = BytesMut::zeroed(outbox::CONTROL_MAX);
    while world.outbox.post(&mut batch, 0).is_ok() {
        batch = BytesMut::zeroed(outbox::CONTROL_MAX / 2);
        tokio::task::yield_now().await;
        if world.mail.try_recv().is_ok() {
            return;
        }
    }
    // What the torrent does when it is told that the queue is full.
    world.outbox.close(CloseReason::Overloaded);
    assert_eq!(world.closed().await, CloseReason::Overloaded);
}

#[tokio::test]
async fn garbage_ends_the_connection_and_a_torrent_that_is_gone_too() {
    let mut first = world().await;
    first.remote.write_all(&[0xff; 64]).await.unwrap();
    assert_eq!(first.closed().await, CloseReason::Malformed);

    let mut second = world().await;
    drop(second.mail);
    let mut bytes = BytesMut::new();
    have(1).encode(&mut bytes);
    second.remote.write_all(&bytes).await.unwrap();
    let mut end = [0];
    let read = timeout(LIMIT, second.remote.read(&mut end)).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)));
}
