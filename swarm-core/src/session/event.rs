//! Events of one torrent as a stream.

use crate::metainfo::Metainfo;
use crate::types::FileIndex;
use futures::Stream;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Something that happened to a torrent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// What the state machine told: phases, pieces, peers.
    Torrent(crate::proto::Event),
    /// The metadata is known.
    Metadata(Arc<Metainfo>),
    /// Hashing what is on the disk: pieces looked at so far.
    Checking {
        /// Pieces hashed or skipped.
        done: u32,
        /// Pieces in all.
        total: u32,
    },
    /// Every byte of a wanted file is verified and written.
    FileDone {
        /// The file.
        file: FileIndex,
    },
    /// A tracker answered or failed; `url` has its secrets cut.
    Tracker {
        /// Whom we asked.
        url: String,
        /// Peers it gave, or why it failed.
        result: Result<usize, String>,
    },
    /// Everything wanted is here under its final name.
    Completed,
    /// The torrent stopped on an error of the local machine.
    Failed(super::Error),
    /// The reader was too slow: this many events were dropped.
    Lagged {
        /// Events dropped.
        missed: u64,
    },
}

/// Events from the moment of subscribing on. Ends when the torrent is removed.
#[derive(Debug)]
pub struct EventStream {
    _private: (),
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Event>> {
        unimplemented!()
    }
}
