//! Whom to serve.
//!
//! While everybody who is interested fits the slots, everybody is served and no timer runs.
//! Else a round every ten seconds decides who keeps a slot (BEP 3, "choking"):
//!
//! - while fetching, those who send us most (see `leech`), and in turn the others, so that
//!   newcomers can show what they have (see `optimistic`);
//! - while seeding, everybody in turn, each for a quota of time and bytes (see `seed`).
//!
//! Between rounds nobody is choked who wants to be served. A slot that becomes free, and a
//! peer that becomes interested while one is free, are served at once, on the event: to
//! wait for the round costs a crowd up to four times its download time (FLEET table C).
//!
//! A peer that loses interest keeps being unchoked as long as nobody needs the slot: when
//! we get a piece that it lacks, it can ask without another round trip.
//!
//! All this is for strangers. Mates (`wire::mate`) are served whenever they are interested, and
//! whose requests go first, theirs and the strangers', is decided by `lanes`; what a seed
//! hands out first by `first_copy`.
//!
//! Not here: how much is sent (see the limits), what we fetch (see `picker`).

pub(crate) mod first_copy;
pub(crate) mod lanes;
mod leech;
mod optimistic;
mod seed;
#[cfg(test)]
mod tests;
mod width;

pub use first_copy::PATIENCE as ASSIGNMENT_PATIENCE;
pub use lanes::{LANES, STRANGER_TURN};
pub use leech::{EARN_MIN, OPTIMISTIC_SLOTS_PER};
pub use optimistic::{NEWCOMER_FOR, NEWCOMER_LOTS, OPTIMISTIC_TURN};
pub use seed::{SEED_QUOTA_BYTES, SEED_TURN};

use super::PeerKey;
use crate::types::Moment;
use rand::SeedableRng;
use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom;
use std::collections::BTreeMap;
use std::time::Duration;

/// Decides which peers are unchoked. One per torrent.
///
/// Deterministic: equal calls with an equal seed give equal rounds.
#[derive(Debug)]
pub struct Choker {
    slots: usize,
    rng: Xoshiro256PlusPlus,
    /// Who holds a slot.
    turns: BTreeMap<PeerKey, Turn>,
    /// When the connected peers' latest turns began or ended.
    served: BTreeMap<PeerKey, Moment>,
    /// When the present lap of optimistic turns began.
    lap: Moment,
    due: Moment,
}

/// A held slot.
#[derive(Clone, Copy, Debug)]
struct Turn {
    since: Moment,
    kind: Kind,
}

/// Why a slot is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The peer earned it.
    Regular,
    /// It is the peer's turn.
    Optimistic,
}

/// Who is to hold a slot.
type Chosen = Vec<(PeerKey, Kind)>;

/// A decision under way: more peers are interested than there are slots.
struct Contest<'a> {
    choker: &'a mut Choker,
    now: Moment,
    /// In random order.
    interested: &'a [&'a Candidate],
}

/// Upload slots of a torrent: regular ones and the optimistic one together. Few full-rate
/// uploads beat many thin ones (a piece can be passed on only when it is whole), but a
/// handful of peers must not be enough to fill an uplink of unknown size, nor to be alone
/// with it: 8, as most clients.
pub const SLOTS_DEFAULT: usize = 8;
/// Time between two decisions about who keeps a slot (BEP 3: ten seconds).
pub const ROUND: Duration = Duration::from_secs(10);

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
    /// Bytes per second we send it, payload only. A peer that takes nothing loses its slot
    /// to one that waits.
    pub up_rate: u64,
    /// It owes us blocks and has sent nothing for a minute (anti-snubbing, BEP 3): it earns
    /// no slot, whatever its rate was.
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
    /// A choker with `slots` upload slots, at least 2: one to earn, one in turn.
    #[must_use]
    pub fn new(seed: u64, slots: usize) -> Self {
        Self {
            slots: slots.max(2),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            turns: BTreeMap::new(),
            served: BTreeMap::new(),
            lap: Moment::ZERO,
            due: Moment::NEVER,
        }
    }

    /// Decides anew: when [`Self::deadline`] has come, and at once when a peer becomes
    /// interested, loses interest, is choked for another reason or is gone. `peers` are all
    /// connected peers, each once.
    pub fn round(&mut self, now: Moment, mode: Mode, peers: &[Candidate]) -> Round {
        let mut interested: Vec<_> =
            peers.iter().filter(|peer| peer.demand == Demand::Interested).collect();
        // Equals are drawn by lot: every choice below is stable.
        interested.shuffle(&mut self.rng);
        self.forget(now, peers, &interested);
        let chosen = self.choose(now, mode, &interested);
        self.grant(now, &chosen);
        self.difference(peers)
    }

    /// When to call [`Self::round`] if nothing else happens; [`Moment::NEVER`] while there
    /// is nothing to decide.
    #[must_use]
    pub const fn deadline(&self) -> Moment {
        self.due
    }

    fn choose(&mut self, now: Moment, mode: Mode, interested: &[&Candidate]) -> Chosen {
        if interested.len() <= self.slots {
            self.due = Moment::NEVER;
            return interested.iter().map(|peer| (peer.peer, self.kind_of(peer.peer))).collect();
        }
        let due = now >= self.due;
        if due || self.due == Moment::NEVER {
            self.due = now + ROUND;
        }
        let contest = Contest { choker: self, now, interested };
        match (mode, due) {
            (Mode::Leech, true) => contest.rank(),
            (Mode::Leech, false) => contest.fill_by_merit(),
            (Mode::Seed, true) => contest.rotate(),
            (Mode::Seed, false) => contest.fill_in_turn(),
        }
    }

    /// Ends the turns of peers that are gone, choked or no longer interested.
    fn forget(&mut self, now: Moment, peers: &[Candidate], interested: &[&Candidate]) {
        let held = std::mem::take(&mut self.turns);
        for peer in interested.iter().filter(|peer| peer.upload == Upload::Unchoked) {
            if let Some(turn) = held.get(&peer.peer) {
                self.turns.insert(peer.peer, *turn);
            }
        }
        let mut served = std::mem::take(&mut self.served);
        for peer in peers.iter().map(|peer| peer.peer) {
            let ended = held.contains_key(&peer) && !self.turns.contains_key(&peer);
            let latest = if ended { Some(now) } else { served.remove(&peer) };
            if let Some(latest) = latest {
                self.served.insert(peer, latest);
            }
        }
    }

    /// Begins the turns of the chosen and ends all others.
    fn grant(&mut self, now: Moment, chosen: &Chosen) {
        let held = std::mem::take(&mut self.turns);
        for (peer, kind) in chosen {
            let since = held.get(peer).map_or(now, |turn| turn.since);
            self.turns.insert(*peer, Turn { since, kind: *kind });
        }
        let changed = |peer: &&PeerKey| held.contains_key(*peer) != self.turns.contains_key(*peer);
        for peer in held.keys().chain(self.turns.keys()).filter(changed) {
            self.served.insert(*peer, now);
        }
    }

    /// What leads from the present state to the turns just granted.
    fn difference(&self, peers: &[Candidate]) -> Round {
        let mut round = Round::default();
        let mut spare = self.slots.saturating_sub(self.turns.len());
        for peer in peers {
            let chosen = self.turns.contains_key(&peer.peer);
            match (peer.upload, peer.demand) {
                (Upload::Choked, _) if chosen => round.unchoke.push(peer.peer),
                (Upload::Unchoked, Demand::NotInterested) if spare > 0 => spare -= 1,
                (Upload::Unchoked, _) if !chosen => round.choke.push(peer.peer),
                (Upload::Choked | Upload::Unchoked, _) => {}
            }
        }
        round
    }

    fn kind_of(&self, peer: PeerKey) -> Kind {
        self.turns.get(&peer).map_or(Kind::Optimistic, |turn| turn.kind)
    }
}

impl<'a> Contest<'a> {
    /// The peers that hold slots now, as they are.
    fn incumbents(&self) -> Chosen {
        let turns = &self.choker.turns;
        turns.iter().take(self.choker.slots).map(|(peer, turn)| (*peer, turn.kind)).collect()
    }

    /// For how long a peer has held its slot; `None` when it holds none.
    fn held(&self, peer: PeerKey) -> Option<Duration> {
        self.choker.turns.get(&peer).map(|turn| self.now.since(turn.since))
    }

    /// Interested peers that are not chosen, in random order.
    fn others(&self, chosen: &Chosen) -> Vec<&'a Candidate> {
        let is_chosen = |peer: PeerKey| chosen.iter().any(|(other, _)| *other == peer);
        self.interested.iter().copied().filter(|peer| !is_chosen(peer.peer)).collect()
    }

    /// Gives the free slots to the first of a queue.
    fn seat(&self, chosen: &mut Chosen, queue: &[&Candidate], kind: Kind) {
        let free = self.choker.slots.saturating_sub(chosen.len());
        chosen.extend(queue.iter().take(free).map(|peer| (peer.peer, kind)));
    }

    /// Whether a peer has held its slot for a round and takes nothing.
    fn is_idle(&self, peer: &Candidate) -> bool {
        peer.up_rate == 0 && self.held(peer.peer).is_some_and(|held| held >= ROUND)
    }
}
