//! The torrent of a simulated swarm: a real `info` dictionary over content that never exists.
//!
//! Nobody hashes a payload here, so any 20 bytes do for a piece hash.

use bytes::Bytes;
use sha1::{Digest, Sha1};
use std::sync::Arc;
use swarm_core::Metainfo;
use swarm_core::geometry::Geometry;
use swarm_core::types::{InfoHash, InfoHashes};

/// What everybody in the world shares.
#[derive(Clone, Debug)]
pub(super) struct Content {
    pub(super) metainfo: Arc<Metainfo>,
    pub(super) info_hash: InfoHash,
    pub(super) info: Bytes,
}

impl Content {
    /// One file of `total` bytes.
    pub(super) fn new(total: u64, piece_length: u32) -> Self {
        Self::with(total, piece_length, "")
    }

    /// The same for the members of one tracker only (BEP 27).
    pub(super) fn private(total: u64, piece_length: u32) -> Self {
        Self::with(total, piece_length, "7:privatei1e")
    }

    fn with(total: u64, piece_length: u32, more: &str) -> Self {
        let count = total.div_ceil(u64::from(piece_length));
        let mut info =
            format!("d6:lengthi{total}e4:name3:sim12:piece lengthi{piece_length}e6:pieces")
                .into_bytes();
        info.extend_from_slice(format!("{}:", count * 20).as_bytes());
        for piece in 0..count {
            info.extend_from_slice(&Sha1::digest(piece.to_be_bytes()));
        }
        info.extend_from_slice(more.as_bytes());
        info.push(b'e');
        let info = Bytes::from(info);
        let info_hash = InfoHash::new(Sha1::digest(&info).into());
        let metainfo = Metainfo::from_info(info.clone(), &InfoHashes::v1(info_hash))
            .expect("a valid info dictionary");
        Self { metainfo: Arc::new(metainfo), info_hash, info }
    }

    pub(super) fn geometry(&self) -> &Geometry {
        self.metainfo.geometry()
    }
}
