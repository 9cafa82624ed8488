//! The public face: a [`Session`] holds torrents, a [`TorrentHandle`] commands one.
//!
//! There is no global state: several sessions live side by side in one process. Commands
//! never block on the engine; results come as futures or as an [`EventStream`].

mod add;
mod config;
mod error;
mod event;
mod handle;
mod stats;

pub use add::{AddTorrent, Mode, Selection};
pub use config::Config;
pub use error::Error;
pub use event::{Event, EventStream};
pub use handle::{Completed, TorrentHandle};
pub use stats::{DialReport, FileStats, PeerStats, SourceReport, TorrentStats};

pub use crate::proto::event::Phase;

use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A whole client: one peer id, one set of listening ports, any number of torrents.
///
/// Cheap to clone; every clone is the same session. Dropping the last one ends its tasks
/// without goodbye; prefer [`Session::shutdown`].
#[derive(Clone, Debug)]
pub struct Session {
    _private: (),
}

/// Sets a session up.
#[derive(Debug, Default)]
pub struct SessionBuilder {
    config: Config,
}

impl SessionBuilder {
    /// Replaces the whole configuration.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = config;
        self
    }

    /// Hands connections whose first bytes are an HTTP request, not a peer handshake, to
    /// `to`, with nothing read from them. Without this they are closed. When the channel
    /// is full they are closed too.
    #[must_use]
    pub fn http_connections(self, _to: mpsc::Sender<(TcpStream, SocketAddr)>) -> Self {
        unimplemented!()
    }

    /// Binds the listening ports and starts the session. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Bind`] when an address cannot be listened on.
    pub async fn build(self) -> Result<Session, Error> {
        unimplemented!()
    }
}

impl Session {
    /// Starts setting a session up.
    #[must_use]
    pub fn builder() -> SessionBuilder {
        SessionBuilder::default()
    }

    /// The addresses the session listens on, with their real ports.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<SocketAddr> {
        unimplemented!()
    }

    /// Adds a torrent and starts on it: checks what is on the disk, then fetches or serves.
    ///
    /// Returns once the torrent is known to the session, before checking or metadata.
    ///
    /// # Errors
    /// [`Error::AlreadyAdded`], or [`Error::Storage`] when the output folder cannot be used,
    /// or [`Error::Conflict`] when a different file is in the way.
    pub async fn add(&self, _torrent: AddTorrent) -> Result<TorrentHandle, Error> {
        unimplemented!()
    }

    /// The torrents of this session.
    #[must_use]
    pub fn torrents(&self) -> Vec<TorrentHandle> {
        unimplemented!()
    }

    /// Changes the limits of the whole session, bytes a second; `None` is no limit.
    pub fn set_limits(&self, _up: Option<u64>, _down: Option<u64>) {
        unimplemented!()
    }

    /// Stops everything: closes connections, tells trackers `stopped` (at most
    /// [`Config::shutdown_timeout`]), syncs storage, joins every task and thread.
    pub async fn shutdown(&self) {
        unimplemented!()
    }
}
