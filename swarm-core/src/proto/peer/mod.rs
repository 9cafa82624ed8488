//! One conversation: what the peer has, who chokes whom, what either side wants.
//!
//! A peer holds state and answers questions about it; `torrent` decides and applies.
//!
//! Not here: which block (see `picker`), whom to serve (see `choker`).

pub(crate) mod metadata;
pub(crate) mod meter;
pub(crate) mod pipeline;
pub(crate) mod serving;

use super::PeerKey;
use super::input::{Direction, Reserved};
use super::limits::{self, EventBucket};
use super::pex::Exchange;
use super::picker::PeerHave;
use crate::types::{Bitfield, Moment, PeerId, PieceIndex};
use crate::wire::extended::ExtensionIds;
use bytes::Bytes;
use metadata::MetadataServing;
use meter::Meter;
use pipeline::Pipeline;
use serving::Serving;
use std::net::SocketAddr;
use std::time::Duration;

/// Nothing at all came for this long: the peer is gone.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(120);
/// Neither side wanted anything for this long: the connection is useless.
pub(crate) const USELESS_TIMEOUT: Duration = Duration::from_secs(600);
/// We sent nothing for this long: say that we are alive.
pub(crate) const KEEP_ALIVE: Duration = Duration::from_secs(100);
/// A peer that takes nothing of what is under way to it for this long keeps no lane from others.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(5);
/// And for this long no connection, if others wait for the memory that it holds.
pub(crate) const STUCK_MAX: Duration = Duration::from_secs(10);
/// Messages of unknown kind before the connection is closed.
pub(crate) const UNKNOWN_MAX: u32 = 64;
/// Blocks nobody asked for before the connection is closed.
pub(crate) const UNREQUESTED_MAX: u32 = 32;
/// Pieces a peer may grant or suggest to us that we remember.
pub(crate) const HINTS_MAX: usize = 16;
/// Requests tolerated from a peer that cannot know yet that we choked it.
pub(crate) const CHOKE_GRACE: Duration = Duration::from_secs(2);

/// One connected peer.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) key: PeerKey,
    pub(crate) addr: SocketAddr,
    pub(crate) id: PeerId,
    pub(crate) direction: Direction,
    /// Where it takes connections, when it dialled us and said so.
    pub(crate) listens_at: Option<SocketAddr>,
    pub(crate) wire: Dialect,
    pub(crate) have: Holdings,
    pub(crate) upload: Upload,
    pub(crate) download: Download,
    pub(crate) times: Times,
    pub(crate) floods: Floods,
    /// What we tell each other of third peers.
    pub(crate) pex: Exchange,
    pub(crate) greeting: Greeting,
    /// Whether it said what it has: a whole set may only be said first.
    pub(crate) announced: bool,
}

/// What the peer has been told of us. A bitfield has to be the first message, so that
/// everything waits while the disk is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// Nothing.
    Due,
    /// Everything but the metadata and what we have of it: we had none then.
    Nameless,
    /// Everything.
    Done,
}

/// What was negotiated.
#[derive(Debug, Default)]
pub(crate) struct Dialect {
    pub(crate) reserved: Reserved,
    /// The ids it gave to extensions.
    pub(crate) ids: ExtensionIds,
    /// Size of the metadata it offers, bytes.
    pub(crate) metadata_size: Option<u32>,
    /// Client name it gave. Untrusted text.
    pub(crate) client: Option<String>,
    /// It will never request (BEP 21).
    pub(crate) upload_only: bool,
}

/// What the peer has.
#[derive(Debug)]
pub(crate) enum Holdings {
    /// The number of pieces is not known yet: what it said is kept as it came.
    Early(EarlyHave),
    /// Counted in the picker's availability.
    Known(PeerHave),
}

/// What a peer said it has before we know the metadata.
#[derive(Debug, Default)]
pub(crate) struct EarlyHave {
    pub(crate) set: Option<EarlySet>,
    pub(crate) haves: Vec<PieceIndex>,
}

/// First message of a peer, before we know the metadata.
#[derive(Debug)]
pub(crate) enum EarlySet {
    All,
    None,
    Bits(Bytes),
}

/// `have` messages remembered before the metadata is known.
pub(crate) const EARLY_HAVES_MAX: usize = 4096;

/// Our side of serving the peer.
#[derive(Debug)]
pub(crate) struct Upload {
    pub(crate) interested: bool,
    pub(crate) slot: Slot,
    pub(crate) serving: Serving,
    /// When anything left to it last, or the first of what is under way was handed out.
    pub(crate) moved: Moment,
    pub(crate) standing: Standing,
    /// Payload bytes handed out to it less those it gave us while we fetched.
    pub(crate) debt: i64,
    /// What it may ask for, when it is a mate.
    pub(crate) grant: Grant,
    /// The pieces it knows that we have, where that is not all (BEP 16).
    pub(crate) veil: Option<Bitfield>,
    /// Pieces that we have and it lacks.
    pub(crate) useful: u32,
    /// When it last had no use for a turn.
    pub(crate) passed: Option<Moment>,
    pub(crate) metadata: MetadataServing,
    pub(crate) meter: Meter,
    /// Pieces it may request while choked.
    pub(crate) allowed: Vec<PieceIndex>,
    /// Blocks served of those while choked.
    pub(crate) allowed_served: u32,
}

/// By which rules the peer is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has to win a slot of the choker.
    Stranger,
    /// Served when it is its turn.
    Mate,
}

/// What we let a mate ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Anything, when it is its turn.
    OnTurn,
    /// Anything at any time.
    Free,
    /// What we assign to it.
    Led,
}

/// What a peer lets us ask for.
#[derive(Debug)]
pub(crate) enum Terms {
    /// Anything at any time, as long as it does not choke us.
    Anything,
    /// Anything, when it says that it is our turn.
    OnTurn,
    /// These pieces.
    Assigned(Vec<PieceIndex>),
}

/// Whether we serve the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Choked { since: Moment },
    Unchoked { total_before: u64 },
}

/// The peer's side of serving us.
#[derive(Debug)]
pub(crate) struct Download {
    /// Whether we told it that we are interested.
    pub(crate) interested: bool,
    pub(crate) choked: bool,
    pub(crate) pipeline: Pipeline,
    pub(crate) meter: Meter,
    /// Pieces it lets us request while choked.
    pub(crate) allowed: Vec<PieceIndex>,
    /// Pieces it suggests.
    pub(crate) suggested: Vec<PieceIndex>,
    pub(crate) terms: Terms,
    /// Since when it has nothing that we want, though we told it otherwise.
    pub(crate) idle_since: Option<Moment>,
}

/// When what last happened.
#[derive(Debug)]
pub(crate) struct Times {
    pub(crate) connected: Moment,
    pub(crate) heard: Moment,
    pub(crate) spoke: Moment,
    /// Last time either side was interested.
    pub(crate) useful: Moment,
}

/// Bounds on messages that cost us work and the peer nothing (LIMITS 5.2).
#[derive(Debug)]
pub(crate) struct Floods {
    /// choke, unchoke, interested, not interested.
    pub(crate) toggles: EventBucket,
    /// `have` for a piece it has said it has.
    pub(crate) haves: EventBucket,
    /// Everything else that is neither a request nor payload.
    pub(crate) chatter: EventBucket,
    pub(crate) unknown: u32,
    unrequested: u32,
    pardons: u32,
}

impl Floods {
    fn new(now: Moment) -> Self {
        Self {
            toggles: EventBucket::new(now, limits::TOGGLES_PER_SECOND, limits::TOGGLES_BURST),
            haves: EventBucket::new(now, limits::HAVES_PER_SECOND, limits::HAVES_BURST),
            chatter: EventBucket::new(now, limits::HAVES_PER_SECOND, limits::HAVES_BURST),
            unknown: 0,
            unrequested: 0,
            pardons: 0,
        }
    }

    /// So many blocks may still come although we took the request back.
    pub(crate) fn pardon(&mut self, blocks: u32) {
        self.pardons = self.pardons.saturating_add(blocks);
    }

    /// A block came that is not owed: how many of those had no pardon, so far.
    pub(crate) fn unrequested(&mut self) -> u32 {
        match self.pardons.checked_sub(1) {
            Some(left) => self.pardons = left,
            None => self.unrequested += 1,
        }
        self.unrequested
    }
}

/// Who is at the other end of a new connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) key: PeerKey,
    pub(crate) addr: SocketAddr,
    pub(crate) direction: Direction,
    pub(crate) id: PeerId,
    pub(crate) reserved: Reserved,
}

impl Peer {
    pub(crate) fn new(now: Moment, who: Identity, have: Holdings) -> Self {
        Self {
            key: who.key,
            addr: who.addr,
            id: who.id,
            direction: who.direction,
            listens_at: None,
            wire: Dialect { reserved: who.reserved, ..Dialect::default() },
            have,
            upload: Upload {
                interested: false,
                slot: Slot::Choked { since: now },
                serving: Serving::default(),
                moved: now,
                standing: Standing::Stranger,
                debt: 0,
                grant: Grant::OnTurn,
                veil: None,
                useful: 0,
                passed: None,
                metadata: MetadataServing::default(),
                meter: Meter::new(now),
                allowed: Vec::new(),
                allowed_served: 0,
            },
            download: Download {
                interested: false,
                choked: true,
                pipeline: Pipeline::new(now),
                meter: Meter::new(now),
                allowed: Vec::new(),
                suggested: Vec::new(),
                terms: Terms::Anything,
                idle_since: None,
            },
            times: Times { connected: now, heard: now, spoke: now, useful: now },
            floods: Floods::new(now),
            pex: Exchange::new(now),
            greeting: Greeting::Due,
            announced: false,
        }
    }

    /// The pieces it has, once the metadata is known.
    pub(crate) fn known(&self) -> Option<&PeerHave> {
        match &self.have {
            Holdings::Known(have) => Some(have),
            Holdings::Early(_) => None,
        }
    }

    /// Whether it is served whenever it wants to be.
    pub(crate) fn is_mate(&self) -> bool {
        self.upload.standing == Standing::Mate
    }

    pub(crate) fn is_unchoked(&self) -> bool {
        matches!(self.upload.slot, Slot::Unchoked { .. })
    }

    /// For how long it has taken nothing of what is under way to it.
    pub(crate) fn stuck_for(&self, now: Moment) -> Duration {
        if self.upload.serving.sending() == 0 { Duration::ZERO } else { now - self.upload.moved }
    }

    /// Whether it takes nothing: it may be dead, or only hold on to what others wait for.
    pub(crate) fn is_stuck(&self, now: Moment) -> bool {
        self.stuck_for(now) >= STUCK_AFTER
    }

    /// Whether blocks are on their way in either direction.
    pub(crate) fn is_busy(&self) -> bool {
        self.download.pipeline.owed() > 0
            || self.upload.serving.sending() > 0
            || self.upload.serving.is_waiting()
    }

    /// When nothing else happens, the moment at which this peer needs a look.
    pub(crate) fn deadline(&self) -> Moment {
        let keep_alive = self.times.spoke + KEEP_ALIVE;
        let idle = self.times.heard + IDLE_TIMEOUT;
        let snub = self.download.pipeline.snub_at().unwrap_or(Moment::NEVER);
        keep_alive.min(idle).min(snub)
    }
}
