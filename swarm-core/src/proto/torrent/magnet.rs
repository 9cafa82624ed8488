//! The extension protocol (BEP 10) and what rides on it: metadata exchange (BEP 9),
//! upload-only peers (BEP 21), pieces taken back (BEP 54).

use super::super::PeerKey;
use super::super::input::CloseReason;
use super::super::output::Output;
use super::super::peer::{Greeting, Peer, serving};
use super::blame::Giver;
use super::metadata::Step;
use super::{Phase, Torrent};
use crate::types::{Limit, Moment};
use crate::wire::Message;
use crate::wire::extended::{self, ExtendedHandshake, Extension, ExtensionIds};
use crate::wire::frame::RUN_MAX;
use crate::wire::ut_metadata::{METADATA_PIECE_LEN, MetadataMessage, metadata_piece_count};
use bytes::Bytes;

/// The extensions we speak, beside `ut_pex`.
const SPOKEN: [Extension; 4] =
    [Extension::UtMetadata, Extension::LtDonthave, Extension::UploadOnly, Extension::Mate];

impl Torrent {
    /// What we say of ourselves to this peer.
    pub(super) fn extended_handshake(&self, key: PeerKey) -> Bytes {
        // Also who seeds a part and wants no more of it (BEP 21).
        let upload_only = self.phase == Phase::Seeding && !self.is_veiled(key);
        let pex = self.exchanges_peers().then_some(Extension::UtPex);
        let spoken: Vec<Extension> = SPOKEN.into_iter().chain(pex).collect();
        ExtendedHandshake {
            ids: ExtensionIds::local(&spoken),
            metadata_size: self.metadata_size(),
            reqq: Some(serving::QUEUE_MAX),
            client: Some(self.params.client.clone()),
            port: self.params.listen_port,
            your_ip: self.peers.get(&key).map(|peer| peer.addr.ip().to_canonical()),
            upload_only: upload_only.then_some(true),
            run_max: Some(RUN_MAX),
        }
        .encode()
    }

    pub(super) fn on_extended(&mut self, now: Moment, key: PeerKey, id: u8, payload: &Bytes) {
        if id == extended::HANDSHAKE_ID {
            self.on_extended_handshake(now, key, payload);
            return;
        }
        // An id that we never gave is harmless.
        match Extension::from_local_id(id) {
            Some(Extension::UtMetadata) => self.on_ut_metadata(now, key, payload),
            Some(Extension::LtDonthave) => match extended::decode_donthave(payload) {
                Some(piece) => self.on_dont_have(now, key, piece),
                None => self.disconnect(now, key, CloseReason::Malformed),
            },
            Some(Extension::UploadOnly) => {
                let said = extended::decode_upload_only(payload);
                if let (Some(peer), Some(upload_only)) = (self.peers.get_mut(&key), said) {
                    peer.wire.upload_only = upload_only;
                    self.drop_redundant(now);
                    self.seek_neighbours(now);
                }
            }
            Some(Extension::Mate) => self.on_mate_message(now, key, payload),
            Some(Extension::UtPex) => self.on_pex(now, key, payload),
            None => {}
        }
    }

    fn on_extended_handshake(&mut self, now: Moment, key: PeerKey, payload: &Bytes) {
        let Some(peer) = self.peers.get_mut(&key) else { return };
        // One may come again with what has changed; it may be long, and what it changes is work.
        if !peer.floods.toggles.allow(now) {
            self.disconnect(now, key, CloseReason::Misbehaved);
            return;
        }
        let Ok(said) = ExtendedHandshake::decode(payload) else {
            self.disconnect(now, key, CloseReason::Malformed);
            return;
        };
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if let Some(reqq) = said.reqq {
            peer.download.pipeline.set_reqq(reqq.into());
        }
        peer.wire.ids.update(&said.ids);
        peer.wire.metadata_size = said.metadata_size.or(peer.wire.metadata_size);
        peer.wire.upload_only = said.upload_only.unwrap_or(peer.wire.upload_only);
        peer.wire.client = said.client.or_else(|| peer.wire.client.take());
        let is_mate = peer.wire.ids.id_of(Extension::Mate).is_some();
        if let Some(bytes) = said.run_max.filter(|_| is_mate) {
            self.outbox.push_back(Output::Runs { peer: key, bytes });
        }
        if let Some(port) = said.port {
            self.learn_port(now, key, port);
        }
        if self.phase == Phase::Metadata {
            self.ask_metadata(now, key);
        }
        self.review_standing(now, key);
        self.drop_redundant(now);
        self.seek_neighbours(now);
    }

    /// See [`Self::tell_upload_only`].
    pub(super) fn tell_all_upload_only(&mut self, now: Moment) {
        let all: Vec<PeerKey> = self.peers.keys().copied().collect();
        self.tell_upload_only(now, &all);
    }

    /// Tells those who understand it whether we fetch anything, when that has changed.
    pub(super) fn tell_upload_only(&mut self, now: Moment, whom: &[PeerKey]) {
        let payload = extended::encode_upload_only(self.phase == Phase::Seeding);
        let told: Vec<(PeerKey, u8)> = whom
            .iter()
            .filter_map(|key| self.peers.get(key))
            .filter(|peer| peer.greeting != Greeting::Due && peer.upload.veil.is_none())
            .filter_map(|peer| peer.wire.ids.id_of(Extension::UploadOnly).map(|id| (peer.key, id)))
            .collect();
        for (key, id) in told {
            self.send(now, key, Message::Extended { id, payload: payload.clone() });
        }
    }

    /// Begins or goes on fetching the metadata from every peer that offers it.
    /// Those of whom nothing came are asked last.
    pub(super) fn seek_metadata(&mut self, now: Moment) {
        let offers = |peer: &&Peer| {
            peer.wire.metadata_size.is_some()
                && peer.wire.ids.id_of(Extension::UtMetadata).is_some()
        };
        let mut keys: Vec<PeerKey> =
            self.peers.values().filter(offers).map(|peer| peer.key).collect();
        let others_wait = keys.iter().any(|key| !self.metadata.is_asking(*key));
        self.metadata.expire(now, others_wait);
        keys.sort_unstable_by_key(|key| (self.metadata.failures(*key), *key));
        for key in keys {
            self.ask_metadata(now, key);
        }
    }

    fn ask_metadata(&mut self, now: Moment, key: PeerKey) {
        let Some(peer) = self.peers.get(&key) else { return };
        let (Some(id), Some(size)) =
            (peer.wire.ids.id_of(Extension::UtMetadata), peer.wire.metadata_size)
        else {
            return;
        };
        self.metadata.begin(now, key, size);
        for piece in self.metadata.ask(now, key) {
            let payload = MetadataMessage::Request { piece }.encode();
            self.send(now, key, Message::Extended { id, payload });
        }
    }

    fn on_ut_metadata(&mut self, now: Moment, key: PeerKey, payload: &Bytes) {
        let Ok(message) = MetadataMessage::decode(payload) else {
            self.disconnect(now, key, CloseReason::Malformed);
            return;
        };
        match message {
            MetadataMessage::Request { piece } => self.on_metadata_request(now, key, piece),
            MetadataMessage::Reject { .. } => self.metadata.rejected(now, key),
            MetadataMessage::Data { piece, bytes, .. } => {
                match self.metadata.received(now, key, piece, &bytes) {
                    Step::Ignored | Step::Refused => {}
                    Step::More => self.ask_metadata(now, key),
                    Step::Whole(info) => self.outbox.push_back(Output::Metadata { info }),
                }
            }
            _ => {}
        }
    }

    fn on_metadata_request(&mut self, now: Moment, key: PeerKey, piece: u32) {
        let pieces = self.metadata_size().map_or(0, metadata_piece_count);
        let Some(peer) = self.peers.get_mut(&key) else { return };
        if peer.upload.metadata.push(now, piece, pieces) {
            self.serve_metadata(now, key);
        } else {
            self.hit(Limit::MetadataRequests);
            self.send_metadata(now, key, &MetadataMessage::Reject { piece });
        }
    }

    /// All messages to the peer have left our buffers.
    pub(super) fn on_flushed(&mut self, now: Moment, key: PeerKey) {
        if let Some(peer) = self.peers.get_mut(&key) {
            peer.upload.metadata.flushed();
            self.serve_metadata(now, key);
        }
    }

    /// Sends what the peer asked for while its connection takes it.
    fn serve_metadata(&mut self, now: Moment, key: PeerKey) {
        let Some(total_size) = self.metadata_size() else { return };
        loop {
            let Some(peer) = self.peers.get_mut(&key) else { return };
            let Some(piece) = peer.upload.metadata.next(METADATA_PIECE_LEN.into()) else { return };
            let answer = match self.metadata_piece(piece) {
                Some(bytes) => MetadataMessage::Data { piece, total_size, bytes },
                None => MetadataMessage::Reject { piece },
            };
            self.send_metadata(now, key, &answer);
        }
    }

    fn send_metadata(&mut self, now: Moment, key: PeerKey, message: &MetadataMessage) {
        let ids = self.peers.get(&key).map(|peer| peer.wire.ids);
        if let Some(id) = ids.and_then(|ids| ids.id_of(Extension::UtMetadata)) {
            let payload = message.encode();
            self.send(now, key, Message::Extended { id, payload });
        }
    }

    /// Bytes of the metadata we can give.
    fn metadata_size(&self) -> Option<u32> {
        let content = self.content.as_ref()?;
        u32::try_from(content.metainfo.info_bytes().len()).ok()
    }

    fn metadata_piece(&self, piece: u32) -> Option<Bytes> {
        let info = self.content.as_ref()?.metainfo.info_bytes();
        let start = usize::try_from(u64::from(piece) * u64::from(METADATA_PIECE_LEN)).ok()?;
        let end = info.len().min(start.checked_add(METADATA_PIECE_LEN as usize)?);
        (start < end).then(|| info.slice(start..end))
    }

    /// The dictionary was not what the torrent's name promises: one peer gave it all.
    pub(super) fn on_metadata_refused(&mut self, now: Moment) {
        let liar = self.metadata.refused().and_then(|key| self.peers.get(&key));
        if let Some(giver) = liar.map(|peer| Giver { key: peer.key, addr: peer.addr, id: peer.id })
        {
            self.ban(now, giver);
        }
        if self.phase == Phase::Metadata {
            self.seek_metadata(now);
        }
    }
}
