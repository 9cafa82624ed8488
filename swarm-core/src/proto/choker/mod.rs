//! Whom to serve.

use super::PeerKey;
use crate::types::Moment;

/// Decides which peers are unchoked. One per torrent.
#[derive(Debug)]
pub struct Choker {
    deadline: Moment,
}

/// Upload slots of a torrent: regular ones and the optimistic one together.
pub const SLOTS_DEFAULT: usize = 8;

/// What the torrent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Fetching: serve those who serve us.
    Leech,
    /// Complete: serve everybody in turn.
    Seed,
}

/// One connected peer, as far as the choice is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who.
    pub peer: PeerKey,
    /// What it is to us as a downloader.
    pub demand: Demand,
    /// Whether we choke it now.
    pub upload: Upload,
    /// Bytes per second it sends us, payload only.
    pub down_rate: u64,
    /// Bytes per second we send it, payload only.
    pub up_rate: u64,
    /// It owes us blocks and has sent nothing for a minute (anti-snubbing, BEP 3).
    pub snubbed: bool,
    /// Payload bytes sent to it since it was last unchoked; 0 when choked.
    pub uploaded_since_unchoke: u64,
    /// When the connection came up.
    pub connected_at: Moment,
}

/// Whether a peer wants anything of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// It sent `interested`.
    Interested,
    /// It did not, or took it back.
    NotInterested,
    /// It only uploads (BEP 21), whatever its interest says.
    UploadOnly,
}

/// Whether we serve a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// No.
    Choked,
    /// Yes.
    Unchoked,
}

/// What changes. A peer is in at most one list; peers in neither stay as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// Serve these.
    pub unchoke: Vec<PeerKey>,
    /// Stop serving these.
    pub choke: Vec<PeerKey>,
}

impl Choker {
    /// A choker with `slots` upload slots, at least 1.
    #[must_use]
    pub fn new(seed: u64, slots: usize) -> Self {
        let _ = (seed, slots);
        Self { deadline: Moment::ZERO }
    }

    /// Decides anew: when [`Self::deadline`] has come, and at once when a peer becomes
    /// interested, loses interest or is gone. `peers` are all connected peers.
    pub fn round(&mut self, now: Moment, mode: Mode, peers: &[Candidate]) -> Round {
        let _ = (now, mode, peers);
        Round::default()
    }

    /// When to call [`Self::round`] if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Moment {
        self.deadline
    }
}
