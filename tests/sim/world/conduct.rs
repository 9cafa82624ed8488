//! What hosts of ill will do behind their core's back: to what it says, serves and hears.
//!
//! The core of such a host is an honest one that does not know; what it then experiences is
//! its own affair.

use super::World;
use crate::sim::net::Frame;
use crate::sim::spec::Conduct;
use swarm_core::types::Span;
use swarm_core::wire::Message;

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
            Conduct::Vanisher { every } if self.rng.below(every) == 0 => Some(Frame::Torn { span }),
            Conduct::Mute | Conduct::FreeRider => None,
            _ => Some(Frame::Block { span, good: true }),
        }
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
