//! What a tracker tells whoever listens.

use std::net::SocketAddr;
use swarm_core::types::InfoHash;
use tokio::sync::broadcast;

/// Events kept for a listener that is slow; it loses the oldest beyond that.
pub(crate) const EVENT_QUEUE: usize = 1024;

/// Something that happened to a swarm. Renewals and scrapes are counted, not told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackerEvent {
    /// A peer was seen for the first time.
    Joined {
        /// The swarm.
        info_hash: InfoHash,
        /// Where the peer listens.
        peer: SocketAddr,
        /// It has everything.
        complete: bool,
    },
    /// A peer became complete.
    Completed {
        /// The swarm.
        info_hash: InfoHash,
        /// Where the peer listens.
        peer: SocketAddr,
    },
    /// A peer said goodbye.
    Left {
        /// The swarm.
        info_hash: InfoHash,
        /// Where the peer listened.
        peer: SocketAddr,
    },
}

/// The events of a tracker from the moment of asking.
#[derive(Debug)]
pub struct TrackerEvents {
    receiver: broadcast::Receiver<TrackerEvent>,
    missed: u64,
}

impl TrackerEvents {
    pub(crate) const fn new(receiver: broadcast::Receiver<TrackerEvent>) -> Self {
        Self { receiver, missed: 0 }
    }

    /// The next event; `None` when the tracker has shut down. Safe to cancel.
    pub async fn next(&mut self) -> Option<TrackerEvent> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    self.missed = self.missed.saturating_add(count);
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Events lost since the last call because they were not taken fast enough.
    pub const fn take_missed(&mut self) -> u64 {
        std::mem::replace(&mut self.missed, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_listener_loses_the_oldest_and_learns_how_many() {
        let (sender, receiver) = broadcast::channel(EVENT_QUEUE);
        let mut events = TrackerEvents::new(receiver);
        let event = |port| {
            let (info_hash, peer) = (InfoHash::new([1; 20]), ([10, 0, 0, 1], port).into());
            TrackerEvent::Left { info_hash, peer }
        };
        let queue = u16::try_from(EVENT_QUEUE).unwrap();
        for port in 0..queue + 10 {
            sender.send(event(port)).unwrap();
        }
        assert_eq!(events.next().await, Some(event(10)));
        assert_eq!((events.take_missed(), events.take_missed()), (10, 0));
        drop(sender);
        for _ in 1..queue {
            assert!(events.next().await.is_some());
        }
        assert_eq!(events.next().await, None);
    }
}
