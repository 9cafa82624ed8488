//! What hosts of ill will do behind their core's back: to what it says, serves and hears.
//!
//! The core of such a host is an honest one that does not know; what it then experiences is
//! its own affair.

use super::{Happening, World};
use crate::sim::net::Frame;
use crate::sim::spec::Conduct;
use std::time::Duration;
use swarm_core::proto::{Input, PeerKey};
use swarm_core::types::{BLOCK_SIZE, Span};
use swarm_core::wire::Message;

/// Between two bytes of a block that never ends.
const DRIP_EVERY: Duration = Duration::from_secs(1);

impl World {
    /// What goes out for a message of the core's.
    pub(super) fn says(
        &self,
        host: usize,
        message: Message,
    ) -> impl Iterator<Item = Message> + use<> {
        let (said, more) = match (self.hosts[host].spec.conduct, message) {
            (Conduct::FreeRider, Message::Unchoke) => (None, None),
            (Conduct::Braggart, Message::HaveNone | Message::Bitfield(_)) => {
                (Some(Message::HaveAll), None)
            }
            (Conduct::Canceller, Message::Request(span)) => {
                (Some(Message::Request(span)), Some(Message::Cancel(span)))
            }
            (_, message) => (Some(message), None),
        };
        said.into_iter().chain(more)
    }

    /// What goes out for a block that the core wants served.
    pub(super) fn gives(&mut self, host: usize, span: Span) -> Option<Frame> {
        match self.hosts[host].spec.conduct {
            Conduct::Liar { percent } => {
                Some(Frame::Block { span, good: self.rng.below(100) >= percent })
            }
            Conduct::Spoiler => {
                let blocks = self.content.geometry().block_count(span.piece);
                let spoilt = span.piece.get() % blocks * BLOCK_SIZE;
                Some(Frame::Block { span, good: span.begin != spoilt })
            }
            Conduct::Sleeper => {
                let count = self.content.geometry().piece_count();
                Some(Frame::Block { span, good: span.piece.get() < count - count / 4 })
            }
            Conduct::Colluder => Some(Frame::Block { span, good: false }),
            Conduct::Vanisher { every } if self.rng.below(every) == 0 => Some(Frame::Torn { span }),
            Conduct::Mute | Conduct::FreeRider | Conduct::Dripper => None,
            _ => Some(Frame::Block { span, good: true }),
        }
    }

    /// The digest of a block that a host gave: no two liars' are the same, unless they agreed.
    pub(super) fn digest(&self, from: usize, good: bool) -> u64 {
        match self.hosts[from].spec.conduct {
            _ if good => 0,
            Conduct::Colluder => 1,
            _ => 2 + from as u64,
        }
    }

    /// From now on a byte a second comes over this connection.
    pub(super) fn begin_to_drip(&mut self, host: usize, key: PeerKey) {
        let Some(peer) = self.hosts[host].peers.get(key) else { return };
        let (conn, side) = (peer.conn, peer.side);
        if !std::mem::replace(&mut self.conns[conn].dripping, true) {
            let (to, key) = self.conns[conn].ends[1 - side];
            self.push(DRIP_EVERY, Happening::Drip { host: to, peer: key });
        }
    }

    pub(super) fn drip(&mut self, host: usize, peer: PeerKey) {
        if self.hosts[host].peers.get(peer).is_none() {
            return;
        }
        self.hosts[host].totals.downloaded += 1;
        self.hosts[host].totals.dropped += 1;
        self.give(host, Input::Progress { peer, bytes: 1 });
        self.push(DRIP_EVERY, Happening::Drip { host, peer });
    }

    /// Whether the host does not even look at what came.
    pub(super) fn ignores(&self, host: usize, frame: &Frame) -> bool {
        let at = &self.hosts[host];
        match (at.spec.conduct, frame) {
            (Conduct::Braggart, Frame::Message(Message::Request(span))) => {
                !at.have.contains(span.piece)
            }
            _ => false,
        }
    }
}
