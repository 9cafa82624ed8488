//! The extension protocol (BEP 10) and what rides on it: metadata exchange (BEP 9),
//! upload-only peers (BEP 21), pieces taken back (BEP 54).

use super::super::PeerKey;
use super::super::input::{CloseReason, Direction};
use super::super::output::Output;
use super::super::peer::serving;
use super::blame::Giver;
use super::metadata::{METADATA_PIECE, Step};
use super::{Phase, Torrent};
use crate::types::Moment;
use crate::wire::Message;
use crate::wire::extended::{self, ExtendedHandshake};
use crate::wire::ut_metadata::UtMetadata;
use bytes::Bytes;
use std::net::SocketAddr;

impl Torrent {
    /// What we say of ourselves to this peer.
    pub(super) fn extended_handshake(&self, key: PeerKey) -> Bytes {
        let metadata_size = self
            .content
            .as_ref()
            .and_then(|content| u32::try_from(content.metainfo.info_bytes().len()).ok());
        let upload_only = self.phase == Phase::Seeding
            && self.content.as_ref().is_some_and(|content| content.picker.have().is_all());
        ExtendedHandshake {
            ut_metadata: Some(extended::LOCAL_UT_METADATA),
            dont_have: Some(extended::LOCAL_DONT_HAVE),
            metadata_size,
            reqq: Some(serving::QUEUE_MAX),
            client: Some(self.params.client.clone()),
            port: self.params.listen_port,
            your_ip: self.peers.get(&key).map(|peer| peer.addr.ip().to_canonical()),
            upload_only,
        }
        .encode()
    }

    pub(super) fn on_extended(&mut self, now: Moment, key: PeerKey, id: u8, payload: &Bytes) {
        let fine = match id {
            extended::HANDSHAKE => self.on_extended_handshake(now, key, payload),
            extended::LOCAL_UT_METADATA => self.on_ut_metadata(now, key, payload),
            extended::LOCAL_DONT_HAVE => match extended::decode_dont_have(payload) {
                Ok(piece) => {
                    self.on_dont_have(now, key, piece);
                    true
                }
                Err(_) => false,
            },
            // An id we never gave: harmless.
            _ => true,
        };
        if !fine {
            self.disconnect(now, key, CloseReason::Malformed);
        }
    }

    fn on_extended_handshake(&mut self, now: Moment, key: PeerKey, payload: &Bytes) -> bool {
        let Ok(said) = ExtendedHandshake::decode(payload) else { return false };
        let Some(peer) = self.peers.get_mut(&key) else { return true };
        if let Some(reqq) = said.reqq {
            peer.download.pipeline.set_reqq(reqq);
        }
        peer.wire.ut_metadata = said.ut_metadata;
        peer.wire.dont_have = said.dont_have;
        peer.wire.metadata_size = said.metadata_size;
        peer.wire.upload_only = said.upload_only;
        if said.client.is_some() {
            peer.wire.client = said.client;
        }
        if peer.direction == Direction::Incoming {
            peer.listens_at = said.port.map(|port| SocketAddr::new(peer.addr.ip(), port));
        }
        if self.phase == Phase::Metadata {
            self.ask_metadata(now, key);
        }
        self.drop_redundant(now);
        true
    }

    /// Begins or goes on fetching the metadata from every peer that offers it.
    pub(super) fn seek_metadata(&mut self, now: Moment) {
        self.metadata.expire(now);
        let keys: Vec<PeerKey> = self.peers.keys().copied().collect();
        for key in keys {
            self.ask_metadata(now, key);
        }
    }

    fn ask_metadata(&mut self, now: Moment, key: PeerKey) {
        let Some(peer) = self.peers.get(&key) else { return };
        let (Some(id), Some(size)) = (peer.wire.ut_metadata, peer.wire.metadata_size) else {
            return;
        };
        self.metadata.begin(now, key, size);
        for piece in self.metadata.ask(key) {
            let payload = UtMetadata::Request { piece }.encode();
            self.send(now, key, Message::Extended { id, payload });
        }
    }

    fn on_ut_metadata(&mut self, now: Moment, key: PeerKey, payload: &Bytes) -> bool {
        let Ok(message) = UtMetadata::decode(payload) else { return false };
        match message {
            UtMetadata::Request { piece } => self.serve_metadata(now, key, piece),
            UtMetadata::Reject { .. } => self.metadata.give_up(key),
            UtMetadata::Data { piece, data, .. } => {
                match self.metadata.received(now, key, piece, &data) {
                    Step::Ignored | Step::Refused => {}
                    Step::More => self.ask_metadata(now, key),
                    Step::Whole(info) => self.outbox.push_back(Output::Metadata { info }),
                }
            }
        }
        true
    }

    fn serve_metadata(&mut self, now: Moment, key: PeerKey, piece: u32) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        let Some(id) = peer.wire.ut_metadata else { return };
        let allowed = peer.floods.metadata.allow(now);
        let info = self.content.as_ref().map(|content| content.metainfo.info_bytes());
        let chunk = info.filter(|_| allowed).and_then(|info| {
            let start = usize::try_from(u64::from(piece) * u64::from(METADATA_PIECE)).ok()?;
            let end = info.len().min(start.checked_add(METADATA_PIECE as usize)?);
            (start < end).then(|| (info.slice(start..end), info.len()))
        });
        let answer = match chunk {
            Some((data, total)) => {
                let total_size = u32::try_from(total).unwrap_or(u32::MAX);
                UtMetadata::Data { piece, total_size, data }
            }
            None => UtMetadata::Reject { piece },
        };
        let payload = answer.encode();
        self.send(now, key, Message::Extended { id, payload });
    }

    /// The dictionary was not what the torrent's name promises: one peer gave it all.
    pub(super) fn on_metadata_refused(&mut self, now: Moment) {
        let liar = self.metadata.refused().and_then(|key| self.peers.get(&key));
        if let Some(giver) = liar.map(|peer| Giver { key: peer.key, addr: peer.addr, id: peer.id }) {
            self.ban(now, giver);
        }
        if self.phase == Phase::Metadata {
            self.seek_metadata(now);
        }
    }
}
