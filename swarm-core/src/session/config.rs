//! Each knob with its default, its unit and its reason.

use crate::proto::candidates::AddressPolicy;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How a session behaves. Build it from [`Config::default`] and change what you need.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Addresses to listen on for peers. Port 0 takes a free port; several addresses with
    /// port 0 share one port where that is free on all. Empty: do not listen.
    /// Default `0.0.0.0:0` and `[::]:0`.
    pub listen: Vec<SocketAddr>,
    /// Connections over all torrents. Fewer where the process may not open as many files: see
    /// [`SessionStats`](super::SessionStats). Default 500.
    pub peers_max: usize,
    /// Connections of one torrent. Default 100.
    pub peers_per_torrent_max: usize,
    /// Torrents at once. Default 10,000.
    pub torrents_max: usize,
    /// Which networks what a torrent, a tracker or a peer names may lead to. Default
    /// [`AddressPolicy::Lan`]: a tracker on one's own network is the common case. Under either
    /// nothing is led to a cloud's metadata service.
    pub addresses: AddressPolicy,
    /// Whether peers tell each other of peers (BEP 11); never in private torrents. Default true.
    pub peer_exchange: bool,
    /// Upload limit of the session, bytes a second. Default none.
    pub up_limit: Option<u64>,
    /// Download limit of the session, bytes a second. Default none.
    pub down_limit: Option<u64>,
    /// Memory for pieces being fetched and verified, bytes. Default 48 MiB. Two pieces of
    /// a torrent can always be open, whatever their length.
    pub receive_budget: u64,
    /// Memory for blocks on their way out, bytes. Default 16 MiB.
    pub send_budget: u64,
    /// Worker threads for hashing and disk work; 0 takes one per core. Default 0.
    pub workers: usize,
    /// Client name and version in the extension handshake and the HTTP user agent.
    pub client: String,
    /// Two-letter client code and version of the peer id (BEP 20). Default `-SW0100-`.
    pub peer_id_prefix: [u8; 8],
    /// Folder in which to record what finished and served content was verified to be, so that
    /// it is not hashed at every start; made when missing, at most 64 MiB. Content that was
    /// touched since is hashed. Default none: such content is hashed whenever it is added.
    /// What is being fetched is recorded beside the content, with or without this.
    pub state_folder: Option<PathBuf>,
    /// How long `shutdown` waits for trackers. Default 1 s.
    pub shutdown_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([0u8; 4], 0)), SocketAddr::from(([0u16; 8], 0))],
            peers_max: 500,
            peers_per_torrent_max: 100,
            torrents_max: 10_000,
            addresses: AddressPolicy::default(),
            peer_exchange: true,
            up_limit: None,
            down_limit: None,
            receive_budget: 48 << 20,
            send_budget: 16 << 20,
            workers: 0,
            client: concat!("swarm ", env!("CARGO_PKG_VERSION")).to_owned(),
            peer_id_prefix: *b"-SW0100-",
            state_folder: None,
            shutdown_timeout: Duration::from_secs(1),
        }
    }
}
