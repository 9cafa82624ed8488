//! Any sequence of messages from two peers into a live torrent: no panic, and the picker,
//! the pipelines and the budgets go on agreeing with each other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use swarm_core::Metainfo;
use swarm_core::proto::input::{CloseReason, Direction, Reserved, Verification};
use swarm_core::proto::torrent::{Config, Params};
use swarm_core::proto::{Disposition, Input, Output, PeerKey, Torrent};
use swarm_core::types::{Bitfield, Moment, PeerId, Span};
use swarm_core::wire::Message;
use swarm_core::wire::frame::{self, FrameLimits};

const PIECES: u32 = 6;
const PIECE: u32 = 40_000;

fn metainfo() -> Arc<Metainfo> {
    let length = u64::from(PIECES) * u64::from(PIECE) - 5;
    let hashes = "h".repeat(20 * PIECES as usize);
    let file = format!(
        "d4:infod6:lengthi{length}e4:name1:x12:piece lengthi{PIECE}e6:pieces{}:{hashes}ee",
        hashes.len()
    );
    Arc::new(Metainfo::from_torrent(file.as_bytes()).expect("a valid torrent"))
}

struct Session {
    torrent: Torrent,
    now: Moment,
    /// Connected peers as the driver sees them.
    open: Vec<PeerKey>,
    next: u32,
}

impl Session {
    fn new(mode: u8) -> Self {
        let params = Params {
            info_hash: metainfo().hashes().wire(),
            peer_id: PeerId::new([1; 20]),
            client: "fuzz".to_owned(),
            listen_port: Some(1),
            config: Config::default(),
            seed: u64::from(mode),
        };
        let mut session = Self {
            torrent: Torrent::new(params, Moment::ZERO),
            now: Moment::ZERO,
            open: Vec::new(),
            next: 0,
        };
        if mode & 3 != 0 {
            session.tell(Input::Metainfo(metainfo()));
        }
        match mode & 3 {
            2 => session.tell(Input::Checked { have: Bitfield::none(PIECES) }),
            3 => session.tell(Input::Checked { have: Bitfield::all(PIECES) }),
            _ => {}
        }
        session
    }

    fn tell(&mut self, input: Input) {
        self.torrent.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        let mut answers = Vec::new();
        while let Some(output) = self.torrent.poll() {
            match output {
                Output::Disconnect { peer, .. } => self.open.retain(|open| *open != peer),
                Output::Serve { peer, span } => answers.push(Input::Sent { peer, span }),
                Output::Verify { piece, digests } => {
                    let outcome =
                        if piece.get() % 2 == 0 { Verification::Good } else { Verification::Bad };
                    let digests = if digests { vec![0; 3] } else { Vec::new() };
                    answers.push(Input::Verified { piece, outcome, digests });
                }
                Output::Metadata { .. } => answers.push(Input::MetadataRefused),
                _ => {}
            }
        }
        self.torrent.audit().expect("the invariants hold");
        for answer in answers {
            self.tell(answer);
        }
    }

    fn connect(&mut self, flags: u8) {
        if self.open.len() >= 4 {
            return;
        }
        let peer = PeerKey(self.next);
        self.next += 1;
        self.open.push(peer);
        let host = flags >> 2;
        self.tell(Input::Connected {
            peer,
            addr: SocketAddr::from(([10, 0, 0, host], 6881)),
            direction: if flags & 1 == 0 { Direction::Incoming } else { Direction::Outgoing },
            id: PeerId::new([host.wrapping_add(2); 20]),
            reserved: Reserved { fast: flags & 2 != 0, extended: true },
        });
    }

    fn message(&mut self, peer: PeerKey, message: Message) {
        if let Message::Piece(span) = message {
            let disposition = self.torrent.receive(self.now, peer, span);
            if disposition == Disposition::Keep {
                assert!(span.length <= 16 * 1024, "a kept block is one of ours");
            }
            self.drain();
            self.tell(Input::Progress { peer, bytes: u64::from(span.length) });
        } else {
            self.tell(Input::Message { peer, message });
        }
    }
}

/// Answers what the torrent asked for, so that fuzzing gets past the first request.
fn wanted(byte: u8) -> Span {
    let begin = u32::from(byte >> 4) % 3 * 16_384;
    let size = if u32::from(byte) % PIECES == PIECES - 1 { PIECE - 5 } else { PIECE };
    Span {
        piece: swarm_core::types::PieceIndex::new(u32::from(byte) % PIECES),
        begin,
        length: 16_384.min(size - begin),
    }
}

/// One input.
pub fn run(data: &[u8]) {
    let Some((mode, mut rest)) = data.split_first() else { return };
    let mut session = Session::new(*mode);
    while let Some((op, tail)) = rest.split_first() {
        rest = tail;
        let peer = session.open.get(usize::from(op >> 6) % session.open.len().max(1)).copied();
        match (op & 7, peer) {
            (0, _) => {
                if let Some((flags, tail)) = rest.split_first() {
                    rest = tail;
                    session.connect(*flags);
                }
            }
            (1, _) => {
                session.now += Duration::from_millis(1 << (op >> 3 & 15));
                session.tell(Input::Wake);
            }
            (2, Some(peer)) => {
                session.open.retain(|open| *open != peer);
                session.tell(Input::Disconnected { peer, why: CloseReason::Lost });
            }
            (3, Some(peer)) => {
                if let Some((byte, tail)) = rest.split_first() {
                    rest = tail;
                    session.message(peer, Message::Piece(wanted(*byte)));
                }
            }
            (_, Some(peer)) => match frame::decode(rest, &FrameLimits::default()) {
                Ok(Some((consumed, message))) => {
                    rest = rest.get(consumed..).unwrap_or_default();
                    session.message(peer, message);
                }
                _ => return,
            },
            (_, None) => {}
        }
    }
}
