//! Scripted peers: plain sockets, our own encoder or raw bytes, and no manners.
//!
//! A script waits for what the victim says or does, never for a time to pass; what does not
//! come within the patience of all tests fails the case.

use super::victim::{Goods, Victim, hash};
use crate::support::PATIENCE;
use bytes::{Buf, BytesMut};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use swarm_core::PeerId;
use swarm_core::bencode;
use swarm_core::types::{PieceIndex, Span};
use swarm_core::wire::handshake::HANDSHAKE_LEN;
use swarm_core::wire::{FrameLimits, Handshake, HandshakeProgress, Message, Reserved, frame};

/// One connection of an attacker.
pub(super) struct Attacker {
    pub(super) stream: TcpStream,
    inbox: BytesMut,
    /// Bytes of a block that are still to be passed over.
    payload: usize,
    /// For questions that have one answer.
    question: u32,
}

impl Attacker {
    /// Connects and says nothing.
    pub(super) fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).expect("the victim listens");
        Self::over(stream)
    }

    fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, inbox: BytesMut::new(), payload: 0, question: 0 }
    }

    /// Connects and shakes hands as anybody would.
    pub(super) fn join(victim: &Victim) -> Self {
        Self::join_as(victim, any_id())
    }

    pub(super) fn join_as(victim: &Victim, id: PeerId) -> Self {
        let mut attacker = Self::connect(victim.addr);
        attacker.shake(id, Reserved::OURS);
        attacker
    }

    /// Takes the victim's next dial and says nothing.
    pub(super) fn connect_of(listener: &TcpListener) -> Self {
        Self::over(listener.accept().expect("a dial").0)
    }

    /// Takes the victim's next dial, and shakes hands.
    pub(super) fn accept(listener: &TcpListener, id: PeerId) -> Self {
        let mut attacker = Self::connect_of(listener);
        attacker.shake(id, Reserved::OURS);
        attacker
    }

    pub(super) fn shake(&mut self, peer_id: PeerId, reserved: Reserved) {
        self.send(&Handshake { reserved, info_hash: hash(), peer_id }.encode());
        self.await_handshake();
    }

    /// Reads the victim's handshake.
    pub(super) fn await_handshake(&mut self) -> Handshake {
        while self.inbox.len() < HANDSHAKE_LEN {
            assert!(self.read(), "closed in place of a handshake");
        }
        let bytes = self.inbox.split_to(HANDSHAKE_LEN);
        let Ok(HandshakeProgress::Whole(theirs)) = Handshake::parse(&bytes) else {
            panic!("no handshake: {bytes:?}");
        };
        theirs
    }

    /// Sends raw bytes; false when the connection is gone.
    pub(super) fn send(&mut self, bytes: &[u8]) -> bool {
        match self.stream.write_all(bytes) {
            Ok(()) => true,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("it does not read on: {error}")
            }
            Err(_) => false,
        }
    }

    pub(super) fn say(&mut self, message: &Message) -> bool {
        self.send(&encoded(message))
    }

    /// Sends the same bytes again and again until the connection is gone; how often at most.
    pub(super) fn flood(&mut self, bytes: &[u8], times: usize) {
        let batch = (1_usize << 16).div_ceil(bytes.len()).min(times);
        let bytes = bytes.repeat(batch);
        for _ in 0..times.div_ceil(batch) {
            if !self.send(&bytes) {
                return;
            }
        }
    }

    /// The next message; `None` when the victim has closed the connection.
    pub(super) fn hear(&mut self) -> Option<Message> {
        loop {
            let passed = self.payload.min(self.inbox.len());
            self.inbox.advance(passed);
            self.payload -= passed;
            let decoded = frame::decode(&self.inbox, &FrameLimits::default());
            if let (0, Some((taken, message))) = (self.payload, decoded.expect("it speaks right")) {
                self.inbox.advance(taken);
                if let Message::Piece(span) = message {
                    self.payload = span.length as usize;
                }
                return Some(message);
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// The next message that `wanted` takes; fails when the connection ends before.
    pub(super) fn hear_for<T>(&mut self, wanted: impl Fn(&Message) -> Option<T>) -> T {
        loop {
            let message = self.hear().expect("the connection goes on");
            if let Some(found) = wanted(&message) {
                return found;
            }
        }
    }

    /// Fails unless the victim closes the connection; what it said until then.
    pub(super) fn is_closed(&mut self) -> Vec<Message> {
        std::iter::from_fn(|| self.hear()).collect()
    }

    /// Fails unless the victim closes the connection without having said a byte.
    pub(super) fn is_closed_in_silence(&mut self) {
        let heard = self.read();
        assert!(!heard && self.inbox.is_empty(), "it said {:?}", self.inbox);
    }

    /// Fails unless the victim still talks to us: an impossible request has an answer.
    pub(super) fn is_kept(&mut self) {
        self.question += 1;
        let absurd = Span { piece: PieceIndex::new(u32::MAX), begin: self.question, length: 1 };
        self.say(&Message::Request(absurd));
        self.hear_for(|message| (*message == Message::Reject(absurd)).then_some(()));
    }

    /// Says that it has everything, and serves whoever asks, with what `spoil` makes of each
    /// block, until the victim closes the connection.
    pub(super) fn gives(&mut self, spoil: impl Fn(Span, &mut [u8])) {
        self.say(&Message::HaveAll);
        self.say(&Message::Unchoke);
        while let Some(message) = self.hear() {
            let Message::Request(span) = message else { continue };
            let mut frame = block(span);
            let mut data = frame.split_off(frame::PIECE_HEADER_LEN);
            spoil(span, &mut data);
            frame.extend(data);
            if !self.send(&frame) {
                return;
            }
        }
    }

    /// Says that it has everything; the first request for a block.
    pub(super) fn is_asked(&mut self) -> Span {
        self.say(&Message::HaveAll);
        self.say(&Message::Unchoke);
        self.hear_for(|message| match message {
            Message::Request(span) => Some(*span),
            _ => None,
        })
    }

    /// Waits for this long for the victim to close the connection; whether it did.
    pub(super) fn closes_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let mut byte = [0];
        let closed = match self.stream.read(&mut byte) {
            Ok(count) => count == 0,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        closed
    }

    /// Reads something; false when the connection is gone.
    fn read(&mut self) -> bool {
        let mut buffer = [0; 1 << 14];
        match self.stream.read(&mut buffer) {
            Ok(count) => {
                self.inbox.extend_from_slice(&buffer[..count]);
                count > 0
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("neither a word nor an end in {PATIENCE:?}")
            }
            Err(_) => false,
        }
    }
}

/// An id that no other attacker has.
pub(super) fn any_id() -> PeerId {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut id = *b"-XX0000-............";
    id[8..12].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    id[12..16].copy_from_slice(&std::process::id().to_be_bytes());
    PeerId::new(id)
}

pub(super) fn encoded(message: &Message) -> Vec<u8> {
    let mut out = BytesMut::new();
    message.encode(&mut out);
    out.to_vec()
}

/// A frame of any kind and length.
pub(super) fn raw(id: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len() + 1).unwrap();
    [&length.to_be_bytes()[..], &[id], payload].concat()
}

/// A right block with its header.
pub(super) fn block(span: Span) -> Vec<u8> {
    let goods = Goods::get();
    let start = u64::from(span.piece.get()) * u64::from(goods.metainfo.geometry().piece_length());
    let start = usize::try_from(start).unwrap() + span.begin as usize;
    let mut frame = frame::piece_header(span).to_vec();
    frame.extend(&goods.bytes[start..start + span.length as usize]);
    frame
}

/// The first so many bytes of a piece.
pub(super) fn span(piece: u32, begin: u32, length: u32) -> Span {
    Span { piece: PieceIndex::new(piece), begin, length }
}

/// An extension message (BEP 10), dictionary and all.
pub(super) fn extended(id: u8, payload: &[u8]) -> Vec<u8> {
    raw(20, &[&[id], payload].concat())
}

/// An extension handshake that names `ut_metadata` under 9 and `ut_pex` under 8, and so many
/// bytes of metadata.
pub(super) fn extended_handshake(metadata_size: i64) -> Vec<u8> {
    let payload = bencode::encode_dict(|dict| {
        dict.dict("m", |m| {
            m.int("ut_metadata", 9);
            m.int("ut_pex", 8);
        });
        dict.int("metadata_size", metadata_size);
    });
    extended(0, &payload)
}
