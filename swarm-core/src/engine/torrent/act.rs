//! What the state machine asks for, done.

use super::TorrentTask;
use super::content::Done;
use crate::data::jobs::{Judge, StoreBatch, StoreOutcome, StorePiece, Stored};
use crate::data::workers::JobPanicked;
use crate::engine::dial;
use crate::engine::peer::outbox::Overloaded;
use crate::proto::event::{Event, Phase};
use crate::proto::input::{CloseReason, Input, Verification};
use crate::proto::{Output, PeerKey};
use crate::session::{self, Error};
use crate::types::{Moment, PieceIndex};
use crate::wire::Message;
use std::sync::Arc;

impl TorrentTask {
    /// Does everything the state machine has decided.
    pub(super) fn drain(&mut self, now: Moment) {
        while let Some(output) = self.core.poll() {
            match output {
                Output::Connect { addr } => {
                    let dial =
                        dial::run(self.shared.clone(), self.face.clone(), self.inbox.clone(), addr);
                    self.shared.tasks.spawn("dial", dial);
                }
                Output::Send { peer, message } => self.queue(peer, &message),
                Output::Serve { peer, span } => self.serves.push((peer, span)),
                Output::Runs { peer, bytes } => {
                    if let Some(link) = self.links.get(&peer) {
                        link.outbox.set_run_max(bytes);
                    }
                }
                Output::Verify { piece, digests } => self.verify(now, piece, digests),
                Output::Discard { piece } => self.discard(piece),
                Output::Disconnect { peer, why } => self.disconnect(peer, why),
                Output::Metadata { info } => self.parse(info),
                Output::Emit(event) => self.on_event(now, event),
            }
        }
    }

    fn discard(&mut self, piece: PieceIndex) {
        drop(self.pieces.remove(&piece));
        self.through.discard(piece);
    }

    /// Encodes a message; it goes out at the end of the turn.
    fn queue(&mut self, peer: PeerKey, message: &Message) {
        let Some(link) = self.links.get_mut(&peer) else { return };
        message.encode(&mut link.control);
        link.asked += u64::from(matches!(message, Message::Request(_)));
        self.dirty.insert(peer);
    }

    /// Hands the messages of this turn to their connections.
    pub(super) fn post(&mut self) {
        while let Some(peer) = self.dirty.pop_first() {
            let Some(link) = self.links.get_mut(&peer) else { continue };
            let asked = std::mem::take(&mut link.asked);
            if link.outbox.post(&mut link.control, asked) == Err(Overloaded) {
                // The task closes the socket and reports it, which tells the core.
                link.outbox.close(CloseReason::Overloaded);
                link.control.clear();
            }
        }
    }

    fn disconnect(&mut self, peer: PeerKey, why: CloseReason) {
        if let Some(mut link) = self.links.remove(&peer) {
            // The last words matter: two that have become complete part at once, and only the
            // last `have` tells the other that a copy has been made. No place for them is
            // no reason to wait.
            let _ = link.outbox.post(&mut link.control, link.asked);
            link.outbox.close(why);
        }
    }

    fn verify(&mut self, now: Moment, piece: PieceIndex, digests: bool) {
        let judge = if digests { Judge::Digests } else { Judge::Plain };
        if self.through.judge(piece, judge) {
            return;
        }
        let (Some(content), Some(buf)) = (&self.content, self.pieces.remove(&piece)) else {
            debug_assert!(false, "the core verifies what it had us keep");
            return;
        };
        let Some(hash) = content.metainfo.piece_hash(piece) else { return };
        let store = StorePiece {
            storage: content.storage.clone(),
            geometry: content.geometry,
            buf,
            hash,
            digests,
        };
        self.batch.push(now, store);
    }

    /// Puts the pieces that have waited long enough in line to be hashed and written.
    pub(super) fn line_up_stores(&mut self, now: Moment) {
        if !self.core.is_owed() || self.core.is_full() {
            self.batch.hurry(now);
        }
        self.batch.set_line(self.jobs.under_way() >= self.shared.worker_count);
        for batch in self.batch.take_due(now) {
            self.line_up_batch(batch);
        }
    }

    fn line_up_batch(&mut self, batch: StoreBatch) {
        let pieces = batch.pieces.iter().map(|store| store.buf.piece()).collect();
        let report = self.jobs.reporter();
        self.jobs.push(batch.job(move |stored| report(Done::Stored { pieces, stored })));
    }

    pub(super) fn on_stored(
        &mut self,
        now: Moment,
        pieces: Vec<PieceIndex>,
        stored: Result<Vec<Stored>, JobPanicked>,
    ) {
        match stored {
            Ok(stored) => {
                for (piece, stored) in pieces.into_iter().zip(stored) {
                    self.on_piece_stored(now, piece, Ok(stored));
                }
            }
            Err(JobPanicked) => {
                for piece in pieces {
                    self.on_piece_stored(now, piece, Err(JobPanicked));
                }
            }
        }
    }

    pub(super) fn on_piece_stored(
        &mut self,
        now: Moment,
        piece: PieceIndex,
        stored: Result<Stored, JobPanicked>,
    ) {
        let (outcome, digests) = match stored {
            Ok(Stored { outcome: StoreOutcome::Good, digests }) => (Verification::Good, digests),
            Ok(Stored { outcome: StoreOutcome::Bad, digests }) => (Verification::Bad, digests),
            Ok(Stored { outcome: StoreOutcome::NotWritten(error), digests }) => {
                self.fail(now, Error::Storage(Arc::new(error)));
                (Verification::NotWritten, digests)
            }
            Err(JobPanicked) => {
                self.fail(now, Error::Internal);
                (Verification::NotWritten, Vec::new())
            }
        };
        self.feed(now, Input::Verified { piece, outcome, digests });
    }

    fn on_event(&mut self, now: Moment, event: Event) {
        self.face.tell(session::Event::Torrent(event.clone()));
        match event {
            Event::PieceDone { piece } => {
                if let Some(content) = &self.content {
                    self.keep.written(now, u64::from(content.geometry.piece_size(piece)));
                }
                self.count_piece(piece);
            }
            Event::Phase(phase) => self.on_phase(now, phase),
            _ => {}
        }
    }

    fn on_phase(&mut self, now: Moment, phase: Phase) {
        self.face.advance(|status| status.phase = phase);
        self.review_share(phase);
        if phase == Phase::Seeding {
            self.finish(now);
        }
        self.show_now(now);
    }
}
