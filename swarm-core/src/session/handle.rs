//! Commands for one torrent.

use super::{Error, EventStream, TorrentStats};
use crate::engine::torrent::{Face, Status};
use crate::metainfo::Metainfo;
use crate::types::InfoHashes;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One torrent of a session. Cheap to clone; dropping it does not stop the torrent.
#[derive(Clone, Debug)]
pub struct TorrentHandle {
    face: Arc<Face>,
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
    pub(crate) const fn new(face: Arc<Face>) -> Self {
        Self { face }
    }

    /// The hashes the torrent is known by.
    #[must_use]
    pub fn hashes(&self) -> InfoHashes {
        self.face.hashes
    }

    /// The metadata, once known.
    #[must_use]
    pub fn metainfo(&self) -> Option<Arc<Metainfo>> {
        self.face.status.borrow().metainfo.clone()
    }

    /// Waits for the metadata of a magnet link.
    ///
    /// # Errors
    /// [`Error::Stopped`], or what made the torrent fail.
    pub async fn metadata(&self) -> Result<Arc<Metainfo>, Error> {
        self.wait(|status| status.metainfo.clone()).await
    }

    /// Waits until everything wanted is verified and under its final name; at once when it
    /// already is. Cannot miss the moment, and ends when the torrent fails or is removed.
    ///
    /// # Errors
    /// [`Error::Stopped`], or what made the torrent fail.
    pub async fn completed(&self) -> Result<Completed, Error> {
        self.wait(|status| match &status.outcome {
            Some(Ok(completed)) => Some(completed.clone()),
            _ => None,
        })
        .await
    }

    /// Waits until what is on the disk has been hashed: number of pieces that are good.
    ///
    /// # Errors
    /// [`Error::Stopped`], or what made the torrent fail.
    pub async fn checked(&self) -> Result<u32, Error> {
        self.wait(|status| status.checked).await
    }

    /// Events from now on.
    #[must_use]
    pub fn events(&self) -> EventStream {
        EventStream::new(self.face.listen())
    }

    /// A snapshot, at most a second old for rates and transfer totals, exact for the phase
    /// and for what is verified.
    #[must_use]
    pub fn stats(&self) -> TorrentStats {
        TorrentStats::of(&self.face)
    }

    /// Adds peers to dial.
    pub fn add_peers(&self, peers: Vec<SocketAddr>) {
        self.face.order(|orders| orders.peers.extend(peers));
    }

    /// Chooses files anew. A selection that names no file of the torrent fetches nothing.
    pub fn select(&self, selection: super::Selection) {
        self.face.order(|orders| orders.selection = Some(selection));
    }

    /// Limits the torrent, bytes a second; `None` is no limit.
    pub fn set_limits(&self, up: Option<u64>, down: Option<u64>) {
        self.face.up.set(up);
        self.face.down.set(down);
    }

    /// Stops transfers and closes connections.
    pub fn pause(&self) {
        self.face.order(|orders| orders.pause = Some(true));
    }

    /// Undoes [`Self::pause`].
    pub fn resume(&self) {
        self.face.order(|orders| orders.pause = Some(false));
    }

    /// Takes the torrent out of the session; its files stay. Returns once its connections
    /// are closed and nothing is written any more.
    pub async fn remove(self) {
        self.face.order(|orders| orders.stop = true);
        self.face.ended().await;
    }

    /// Waits for `found`, the torrent's failure or its end, whichever is first.
    async fn wait<T>(&self, found: impl Fn(&Status) -> Option<T>) -> Result<T, Error> {
        let mut status = self.face.status.subscribe();
        let is_due = |status: &Status| {
            found(status).is_some() || status.ended || matches!(status.outcome, Some(Err(_)))
        };
        let status = status.wait_for(is_due).await.map_err(|_| Error::Stopped)?;
        found(&status).ok_or_else(|| match &status.outcome {
            Some(Err(error)) => error.clone(),
            _ => Error::Stopped,
        })
    }
}
