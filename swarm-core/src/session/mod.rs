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

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod tests;

pub use add::{AddTorrent, Mode, Selection};
pub use config::Config;
pub use error::Error;
pub use event::{Event, EventStream};
pub use handle::{Completed, TorrentHandle};
pub use stats::{
    DialReport, FileStats, PeerStats, SessionStats, SourceReport, TorrentStats, Trouble,
};

pub use crate::engine::web::{RedirectFault, WebError};
pub use crate::proto::candidates::AddressPolicy;
pub use crate::proto::event::{Event as TorrentEvent, Phase};

use crate::engine::gate::Gate;
use crate::engine::shared::{Entry, Shared};
use crate::engine::torrent::{Face, INBOX_MAX, Opened, Opening, Start, TorrentTask};
use crate::engine::web::{Errand, Trust};
use crate::engine::{accept, entropy, listen};
use crate::metainfo::TORRENT_SIZE_MAX;
use crate::types::Limit;
use add::Source;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// A `.torrent` that has not come from a web server by then never will.
const DOWNLOAD_LIMIT: Duration = Duration::from_secs(30);

/// A whole client: one peer id, one set of listening ports, any number of torrents.
///
/// Cheap to clone; every clone is the same session. Dropping the last one ends its tasks
/// without goodbye; prefer [`Session::shutdown`].
#[derive(Clone, Debug)]
pub struct Session {
    owner: Arc<Owner>,
}

/// Held by every clone of a session and by nothing else.
#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
}

/// Sets a session up.
#[derive(Debug, Default)]
pub struct SessionBuilder {
    config: Config,
    http: Option<mpsc::Sender<(TcpStream, SocketAddr)>>,
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
    pub fn http_connections(mut self, to: mpsc::Sender<(TcpStream, SocketAddr)>) -> Self {
        self.http = Some(to);
        self
    }

    /// Binds the listening ports and starts the session. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`Error::Bind`] when an address cannot be listened on, [`Error::System`] when the
    /// system gives no entropy or no threads.
    pub async fn build(self) -> Result<Session, Error> {
        let listeners = listen::bind_all(&self.config.listen)?;
        let shared = Arc::new(Shared::new(self.config, self.http).map_err(Error::system)?);
        let addrs = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        // Set once, here.
        let _ = shared.listen.set(addrs);
        for listener in listeners {
            shared.tasks.spawn("listener", accept(shared.clone(), listener));
        }
        Ok(Session { owner: Arc::new(Owner { shared }) })
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
        self.shared().listen.get().cloned().unwrap_or_default()
    }

    /// Adds a torrent and starts on it: checks what is on the disk, then fetches or serves.
    ///
    /// Returns once the torrent is known to the session, before checking or metadata.
    ///
    /// # Errors
    /// [`Error::AlreadyAdded`], [`Error::TooMany`], [`Error::Unsupported`],
    /// [`Error::EmptySelection`]; or
    /// [`Error::Storage`] when the output folder cannot be used, [`Error::Conflict`] when a
    /// different file is in the way, [`Error::Locked`] when another process fetches there;
    /// or [`Error::Stopped`] after a shutdown.
    pub async fn add(&self, torrent: AddTorrent) -> Result<TorrentHandle, Error> {
        let shared = self.shared();
        let seed = entropy::seed().map_err(Error::system)?;
        let hashes = torrent.source.hashes();
        if hashes.get_v1().is_none() {
            return Err(Error::Unsupported);
        }
        let gate = |rate| Gate::new(shared.clock, rate);
        let face = Arc::new(Face::new(hashes, gate(torrent.up_limit), gate(torrent.down_limit)));
        let (inbox, mail) = mpsc::channel(INBOX_MAX);
        // Entered first, so that of two equal torrents only one opens its files.
        let entry = Entry { face: face.clone(), inbox: inbox.clone() };
        shared.enter(entry)?;
        let mut entered = Entered(Some((shared.clone(), face.clone())));
        let opened = open(shared, &torrent).await?;
        let start = Start { add: torrent, opened, face: face.clone(), mail, inbox, seed };
        let task = TorrentTask::new(shared.clone(), start);
        shared.tasks.spawn("torrent", task.run());
        // From here on the task takes the torrent out.
        drop(entered.0.take());
        Ok(TorrentHandle::new(face))
    }

    /// The torrents of this session.
    #[must_use]
    pub fn torrents(&self) -> Vec<TorrentHandle> {
        let entries = self.shared().entries();
        entries.into_iter().map(|entry| TorrentHandle::new(entry.face)).collect()
    }

    /// Fetches a `.torrent` from a web server that the user named, and gives its bytes: at most
    /// [`TORRENT_SIZE_MAX`], within 30 s. A redirect leads neither from `https` to `http` nor
    /// from the internet into a local network, and nothing leads to a cloud's metadata service.
    ///
    /// # Errors
    /// Says why there are none.
    pub async fn download_torrent(&self, url: &str) -> Result<Vec<u8>, WebError> {
        let errand = Errand {
            url,
            trust: Trust::User,
            family: None,
            listen: None,
            longest: TORRENT_SIZE_MAX,
        };
        let answer = tokio::time::timeout(DOWNLOAD_LIMIT, self.shared().web.get(errand)).await;
        let answer = answer.unwrap_or(Err(WebError::TimedOut)).inspect_err(|error| {
            // The others are bounds on what trackers say.
            let limit = error.limit();
            let counts = |limit: &Limit| matches!(limit, Limit::AddressRefused | Limit::Redirects);
            if let Some(limit) = limit.filter(counts) {
                self.shared().limits.hit(limit);
            }
        })?;
        match answer.status {
            200..300 => Ok(answer.body),
            status => Err(WebError::Status(status)),
        }
    }

    /// A snapshot of the session as a whole, exact.
    #[must_use]
    pub fn stats(&self) -> SessionStats {
        SessionStats::of(self.shared())
    }

    /// Changes the limits of the whole session, bytes a second; `None` is no limit.
    pub fn set_limits(&self, up: Option<u64>, down: Option<u64>) {
        self.shared().up.set(up);
        self.shared().down.set(down);
    }

    /// Stops everything: closes connections, tells trackers `stopped` (at most
    /// [`Config::shutdown_timeout`]), joins every task and thread.
    ///
    /// Pieces that are being written are written to the end. What is verified is forced to
    /// the disk and recorded: the next start goes on from there without hashing it again.
    pub async fn shutdown(&self) {
        let shared = self.shared();
        shared.stop();
        shared.tasks.joined().await;
        let workers = shared.clone();
        shared.tasks.blocking("join workers", move || workers.workers.shutdown()).await;
        let limits = shared.limits.counts();
        if limits.hits().next().is_some() {
            tracing::debug!(?limits, "bounds of the session that have bitten");
        }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    #[cfg(test)]
    fn task_names(&self) -> Vec<&'static str> {
        self.shared().tasks.names()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

/// A torrent that is known to the session and has no task yet; taken out when dropped.
struct Entered(Option<(Arc<Shared>, Arc<Face>)>);

impl Drop for Entered {
    fn drop(&mut self) {
        if let Some((shared, face)) = self.0.take() {
            shared.forget(&face);
            face.end();
        }
    }
}

/// Opens the storage of a torrent whose metadata is known.
async fn open(shared: &Shared, torrent: &AddTorrent) -> Result<Option<Opened>, Error> {
    let Source::Metainfo(metainfo) = &torrent.source else { return Ok(None) };
    let (opening, metainfo) = (Opening::new(torrent, shared), metainfo.clone());
    let open = move || opening.open(metainfo);
    shared.tasks.blocking("open", open).await.unwrap_or(Err(Error::Internal)).map(Some)
}
