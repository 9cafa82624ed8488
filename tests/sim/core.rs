//! What a host runs, ours or a stranger's, behind one face.

use super::foreign::Foreign;
use swarm_core::proto::output::Disposition;
use swarm_core::proto::torrent::{Snapshot, Torrent};
use swarm_core::proto::{Input, Output, PeerKey};
use swarm_core::types::{Moment, Span};

/// A state machine that obeys `Input` and speaks `Output`.
#[derive(Debug)]
pub(super) enum Core {
    Ours(Box<Torrent>),
    Foreign(Box<Foreign>),
}

impl Core {
    pub(super) fn handle(&mut self, now: Moment, input: Input) {
        match self {
            Self::Ours(core) => core.handle(now, input),
            Self::Foreign(core) => core.handle(now, input),
        }
    }

    pub(super) fn receive(&mut self, now: Moment, peer: PeerKey, span: Span) -> Disposition {
        match self {
            Self::Ours(core) => core.receive(now, peer, span),
            Self::Foreign(core) => core.receive(now, peer, span),
        }
    }

    pub(super) fn poll(&mut self) -> Option<Output> {
        match self {
            Self::Ours(core) => core.poll(),
            Self::Foreign(core) => core.poll(),
        }
    }

    pub(super) fn deadline(&self) -> Option<Moment> {
        match self {
            Self::Ours(core) => core.deadline(),
            Self::Foreign(core) => core.deadline(),
        }
    }

    pub(super) fn audit(&self) -> Result<(), String> {
        match self {
            Self::Ours(core) => core.audit(),
            Self::Foreign(_) => Ok(()),
        }
    }

    /// Payload bytes received and sent, as it counts them.
    pub(super) fn moved(&self, now: Moment) -> (u64, u64) {
        match self {
            Self::Ours(core) => {
                let seen = core.snapshot(now);
                (seen.downloaded, seen.uploaded)
            }
            Self::Foreign(core) => core.moved(),
        }
    }

    /// Only ours can be looked into.
    pub(super) fn snapshot(&self, now: Moment) -> Snapshot {
        match self {
            Self::Ours(core) => core.snapshot(now),
            Self::Foreign(_) => panic!("a stranger's core has no snapshot"),
        }
    }
}
