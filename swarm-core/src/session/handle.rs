//! Commands for one torrent.

use super::{Error, EventStream, TorrentStats};
use crate::metainfo::Metainfo;
use crate::types::InfoHashes;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One torrent of a session. Cheap to clone; dropping it does not stop the torrent.
#[derive(Clone, Debug)]
pub struct TorrentHandle {
    _private: (),
}

/// The account of a finished fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Completed {
    /// Where the content lies: the file, or the folder.
    pub path: PathBuf,
    /// Bytes of wanted content.
    pub bytes: u64,
    /// Payload bytes received since the torrent was added.
    pub downloaded: u64,
    /// Payload bytes sent since then.
    pub uploaded: u64,
    /// Payload bytes received in vain: duplicates, wrong data.
    pub wasted: u64,
    /// Peers that gave at least one block.
    pub peers: usize,
    /// From adding the torrent to its completion.
    pub elapsed: Duration,
}

impl TorrentHandle {
    /// The hashes the torrent is known by.
    #[must_use]
    pub fn hashes(&self) -> InfoHashes {
        unimplemented!()
    }

    /// The metadata, once known.
    #[must_use]
    pub fn metainfo(&self) -> Option<Arc<Metainfo>> {
        unimplemented!()
    }

    /// Waits for the metadata of a magnet link.
    ///
    /// # Errors
    /// [`Error::Stopped`], or what made the torrent fail.
    pub async fn metadata(&self) -> Result<Arc<Metainfo>, Error> {
        unimplemented!()
    }

    /// Waits until everything wanted is verified and under its final name; at once when it
    /// already is. Cannot miss the moment, and ends when the torrent fails or is removed.
    ///
    /// # Errors
    /// [`Error::Stopped`], or what made the torrent fail.
    pub async fn completed(&self) -> Result<Completed, Error> {
        unimplemented!()
    }

    /// Waits until what is on the disk has been hashed: number of pieces that are good.
    ///
    /// # Errors
    /// [`Error::Stopped`], or what made the torrent fail.
    pub async fn checked(&self) -> Result<u32, Error> {
        unimplemented!()
    }

    /// Events from now on.
    #[must_use]
    pub fn events(&self) -> EventStream {
        unimplemented!()
    }

    /// A snapshot, at most a second old for rates, exact for counts.
    #[must_use]
    pub fn stats(&self) -> TorrentStats {
        unimplemented!()
    }

    /// Adds peers to dial.
    pub fn add_peers(&self, _peers: Vec<SocketAddr>) {
        unimplemented!()
    }

    /// Chooses files anew, once the metadata is known.
    pub fn select(&self, _selection: super::Selection) {
        unimplemented!()
    }

    /// Limits the torrent, bytes a second; `None` is no limit.
    pub fn set_limits(&self, _up: Option<u64>, _down: Option<u64>) {
        unimplemented!()
    }

    /// Stops transfers and closes connections.
    pub fn pause(&self) {
        unimplemented!()
    }

    /// Undoes [`Self::pause`].
    pub fn resume(&self) {
        unimplemented!()
    }

    /// Takes the torrent out of the session; its files stay.
    pub async fn remove(self) {
        unimplemented!()
    }
}
