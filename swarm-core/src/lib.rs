//! A BitTorrent engine to embed: get the same bytes onto many machines.
//!
//! The crate is built in two halves. The lower one is pure: [`types`], [`geometry`],
//! [`bencode`], [`metainfo`], [`wire`] and [`proto`] decide what to do without a socket,
//! a clock, a lock or a byte of payload; [`storage`] and [`data`] move the payload with
//! plain threads. The upper half, behind the default feature `engine`, drives the lower
//! one with tokio and is what most programs use: `Session`, `AddTorrent`, `TorrentHandle`.
//!
//! Not here: the command line (`swarm-cli`) and the tracker (`tracker`).

pub mod bencode;
pub mod data;
pub mod geometry;
pub mod metainfo;
pub mod proto;
pub mod storage;
pub mod types;
pub mod wire;

#[cfg(feature = "engine")]
mod engine;
#[cfg(feature = "engine")]
pub mod session;

#[cfg(feature = "engine")]
pub use session::{
    AddTorrent, Config, Error, Event, EventStream, PeerStats, Session, SessionBuilder,
    TorrentHandle, TorrentStats,
};

pub use metainfo::{Magnet, Metainfo};
pub use storage::{FsStorage, MemStorage, Storage, StorageError};
pub use types::{InfoHash, InfoHashes, PeerId};

/// The README's example compiles.
#[cfg(all(doctest, feature = "engine"))]
#[doc = include_str!("../../README.md")]
struct Readme;
