//! Events of one torrent as a stream.

use crate::metainfo::Metainfo;
use crate::types::FileIndex;
use futures::Stream;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

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
    /// The torrent stopped for good on an error of the local machine.
    Failed(super::Error),
    /// The local machine fails the fetch: it has let its peers go, and tries again by itself.
    Suspended {
        /// What is wrong.
        error: super::Error,
        /// Until the next try.
        retry_in: Duration,
    },
    /// What suspended the fetch is over.
    Recovered,
    /// Pieces that peers ask for cannot be read, or are not what they were: others are
    /// served, and these too once they are good again. Told once until one is.
    Unreadable(super::Error),
    /// The reader was too slow: this many events were dropped.
    Lagged {
        /// Events dropped.
        missed: u64,
    },
}

/// Events from the moment of subscribing on. Ends when the torrent is removed.
pub struct EventStream {
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
}

impl EventStream {
    pub(crate) fn new(receiver: Option<Receiver<Event>>) -> Self {
        let events = futures::stream::unfold(receiver, |receiver| async {
            let mut receiver = receiver?;
            let event = match receiver.recv().await {
                Ok(event) => event,
                Err(RecvError::Lagged(missed)) => Event::Lagged { missed },
                Err(RecvError::Closed) => return None,
            };
            Some((event, Some(receiver)))
        });
        Self { events: Box::pin(events) }
    }
}

impl Stream for EventStream {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.events.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").finish_non_exhaustive()
    }
}
