//! What a caller can be told. Each error blames the caller, the configuration or the machine;
//! what peers and trackers do wrong is an event, not an error.

use crate::storage::StorageError;
use crate::types::InfoHash;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// Why a command or a torrent failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {addr}: {source}")]
    Bind {
        /// The address.
        addr: SocketAddr,
        /// Why.
        source: Arc<std::io::Error>,
    },
    /// The torrent is in the session already.
    #[error("torrent {0} is already in this session")]
    AlreadyAdded(InfoHash),
    /// The session has as many torrents as it may have.
    #[error("the session has {0} torrents, as many as it may have")]
    TooMany(usize),
    /// The disk failed, is full, or may not be written.
    #[error(transparent)]
    Storage(Arc<StorageError>),
    /// A different file is where the content has to go.
    #[error("{} exists and is different", path.display())]
    Conflict {
        /// The path in the way.
        path: PathBuf,
    },
    /// Another process is fetching the same content into the same folder.
    #[error("{} is being fetched by another process", path.display())]
    Locked {
        /// Where the content goes.
        path: PathBuf,
    },
    /// The system gives no entropy, no thread or no socket.
    #[error("the system fails: {0}")]
    System(Arc<std::io::Error>),
    /// A part of this program broke. That is a bug.
    #[error("internal error")]
    Internal,
    /// The torrent can be inspected but not transferred yet (v2 only).
    #[error("transferring a v2-only torrent is not yet supported")]
    Unsupported,
    /// The file selection names no file of this torrent.
    #[error("the selection matches no file")]
    EmptySelection,
    /// The session was shut down, or the torrent removed, before the result came.
    #[error("stopped")]
    Stopped,
}

impl Error {
    /// How the storage failed, when it did.
    pub(crate) fn storage_kind(&self) -> Option<std::io::ErrorKind> {
        match self {
            Self::Storage(error) => Some(error.kind()),
            _ => None,
        }
    }

    /// Whether waiting may help: the machine fails, and nobody has to decide anything.
    pub(crate) fn is_passing(&self) -> bool {
        self.storage_kind().is_some_and(|kind| kind != std::io::ErrorKind::AlreadyExists)
    }

    pub(crate) fn system(error: std::io::Error) -> Self {
        Self::System(Arc::new(error))
    }
}
