//! What to add to a session, and how.

use crate::engine::web::Trust;
use crate::metainfo::{Magnet, Metainfo};
use crate::proto::announce::TierOrder;
use crate::types::{FileIndex, InfoHashes};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// A torrent to add.
#[derive(Clone, Debug)]
pub struct AddTorrent {
    pub(crate) source: Source,
    pub(crate) mode: Mode,
    pub(crate) peers: Vec<SocketAddr>,
    pub(crate) trackers: Vec<Vec<String>>,
    pub(crate) torrent_trackers: bool,
    pub(crate) selection: Selection,
    pub(crate) overwrite: bool,
    pub(crate) up_limit: Option<u64>,
    pub(crate) down_limit: Option<u64>,
}

/// Where the metadata comes from.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Metainfo(Arc<Metainfo>),
    Magnet(Box<Magnet>),
}

impl Source {
    pub(crate) fn hashes(&self) -> InfoHashes {
        match self {
            Self::Metainfo(metainfo) => metainfo.hashes(),
            Self::Magnet(magnet) => magnet.hashes(),
        }
    }

    /// The link, when the torrent came from one.
    pub(crate) fn into_link(self) -> Option<Box<Magnet>> {
        match self {
            Self::Metainfo(_) => None,
            Self::Magnet(magnet) => Some(magnet),
        }
    }
}

/// What is done with the content.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Fetch into this folder, below the torrent's own name, then serve until removed.
    Fetch {
        /// The folder.
        folder: PathBuf,
    },
    /// Serve existing content where it lies, whatever it is called; write nothing.
    Seed {
        /// The file, or the folder for a multi-file torrent.
        content: PathBuf,
        /// Content was hashed by the caller a moment ago: skip checking.
        verified: bool,
    },
}

/// Which files to fetch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Selection {
    /// Every file.
    #[default]
    All,
    /// These files, by their place in the torrent.
    Files(Vec<FileIndex>),
}

impl AddTorrent {
    /// Fetches a torrent into `folder`.
    #[must_use]
    pub fn fetch(metainfo: impl Into<Arc<Metainfo>>, folder: impl Into<PathBuf>) -> Self {
        Self::new(Source::Metainfo(metainfo.into()), Mode::Fetch { folder: folder.into() })
    }

    /// Fetches what a magnet link names into `folder`. The link's peers and trackers are
    /// used, and its `so=` selection.
    #[must_use]
    pub fn fetch_magnet(magnet: Magnet, folder: impl Into<PathBuf>) -> Self {
        Self::new(Source::Magnet(Box::new(magnet)), Mode::Fetch { folder: folder.into() })
    }

    /// Serves existing content from where it lies.
    #[must_use]
    pub fn seed(metainfo: impl Into<Arc<Metainfo>>, content: impl Into<PathBuf>) -> Self {
        let mode = Mode::Seed { content: content.into(), verified: false };
        Self::new(Source::Metainfo(metainfo.into()), mode)
    }

    /// With [`Self::seed`]: the caller has just hashed the content, so it is not checked again.
    #[must_use]
    pub fn already_verified(mut self) -> Self {
        if let Mode::Seed { verified, .. } = &mut self.mode {
            *verified = true;
        }
        self
    }

    /// Adds peers to dial.
    #[must_use]
    pub fn peers(mut self, peers: impl IntoIterator<Item = SocketAddr>) -> Self {
        self.peers.extend(peers);
        self
    }

    /// Adds one tier of trackers before those of the torrent (BEP 12). These are the caller's word:
    /// unlike a torrent's own they may lead into the local network whatever their path is.
    #[must_use]
    pub fn tracker_tier(mut self, urls: impl IntoIterator<Item = String>) -> Self {
        self.trackers.push(urls.into_iter().collect());
        self
    }

    /// Announces only to trackers given with [`Self::tracker_tier`], not to the torrent's own.
    #[must_use]
    pub fn without_torrent_trackers(mut self) -> Self {
        self.torrent_trackers = false;
        self
    }

    /// Chooses files. Takes the place of a magnet's `so=`.
    #[must_use]
    pub fn selection(mut self, selection: Selection) -> Self {
        self.selection = selection;
        self
    }

    /// Lets the fetch replace a different file that is in the way.
    #[must_use]
    pub fn overwrite(mut self, overwrite: bool) -> Self {
        self.overwrite = overwrite;
        self
    }

    /// Limits this torrent, bytes a second, inside the session's limits.
    #[must_use]
    pub fn limits(mut self, up: Option<u64>, down: Option<u64>) -> Self {
        self.up_limit = up;
        self.down_limit = down;
        self
    }

    /// Tiers of trackers to announce to, the caller's first.
    pub(crate) fn tracker_tiers(&self) -> Vec<Vec<String>> {
        let mut tiers = self.trackers.clone();
        if self.torrent_trackers {
            match &self.source {
                Source::Metainfo(metainfo) => tiers.extend(metainfo.trackers().iter().cloned()),
                // A link knows no tiers: its trackers are equals.
                Source::Magnet(magnet) => {
                    tiers.extend(magnet.trackers().iter().map(|url| vec![url.clone()]));
                }
            }
        }
        tiers
    }

    /// Whose word a tracker's URL is.
    pub(crate) fn trust(&self, url: &str) -> Trust {
        let is_users = self.trackers.iter().flatten().any(|known| known == url);
        if is_users { Trust::User } else { Trust::Torrent }
    }

    /// How those tiers relate.
    pub(crate) fn tier_order(&self) -> TierOrder {
        match &self.source {
            Source::Metainfo(metainfo) if metainfo.is_private() => TierOrder::Strict,
            _ => TierOrder::Parallel,
        }
    }

    fn new(source: Source, mode: Mode) -> Self {
        Self {
            source,
            mode,
            peers: Vec::new(),
            trackers: Vec::new(),
            torrent_trackers: true,
            selection: Selection::All,
            overwrite: false,
            up_limit: None,
            down_limit: None,
        }
    }
}
