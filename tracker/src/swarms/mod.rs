//! Who is in which swarm: a pure store. `announce(now, visit) -> reply`, `scrape`, `expire`.
//!
//! It reads no clock and no entropy and knows no socket. Everything it holds is bounded: by
//! swarms and peers in all, by peers in a swarm, by peers of one address in a swarm, by age.
//! At a bound the announce is still answered; the peer is only not handed out. When swarms
//! run out, those that a flood of random hashes leaves behind go first: one peer that never
//! came back, oldest first.
//!
//! Not here: locks and shards (`store`), which peers of many (`sampler`), bytes (`wire`).

mod interval;
mod ledger;
mod swarm;
mod table;

#[cfg(test)]
mod graph_tests;
#[cfg(test)]
mod tests;

pub(crate) use interval::{FOREIGN_INTERVAL_MIN, Intervals};
pub(crate) use ledger::Ledger;
pub(crate) use table::{AGE_WRAP_SECS, is_exempt};

use crate::config::Limits;
use crate::sampler;
use interval::{Client, Situation};
use rand::SeedableRng as _;
use rand::rngs::Xoshiro256PlusPlus;
use siphasher::sip::SipHasher13;
#[expect(
    clippy::disallowed_types,
    reason = "up to a million keys; never walked for an answer"
)]
use std::collections::HashMap;
use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use swarm::{Group, Role, Sighting, Swarm, Touched};
use swarm_core::types::{InfoHash, Moment};
use swarm_core::wire::tracker::{Announce, AnnounceEvent, ScrapeEntry};
use table::Placement;

/// What our own clients' peer ids begin with (BEP 20).
const OWN_PEER_ID_PREFIX: &[u8] = b"-SW";
/// An announce sweeps when nobody has swept for this long: ages are told by a clock that comes
/// round, so nobody's may be left unread for long.
const SWEEP_PAUSE_MAX: Duration = Duration::from_secs(120);
/// Swarms looked at for one that may be evicted, before a new one is refused.
const EVICTION_TRIES: usize = 32;

/// One announce and how it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Visit<'a> {
    /// What the peer says.
    pub(crate) announce: &'a Announce,
    /// Where it says it from; IPv4-mapped addresses are made IPv4 by the store.
    pub(crate) source: IpAddr,
    /// Over which protocol.
    pub(crate) channel: Channel,
}

/// Over which protocol an announce came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Channel {
    /// UDP: a reply has room for the family it came over only.
    Udp {
        /// The address the peer reached us at, where the socket is bound to one.
        host: Option<IpAddr>,
    },
    /// HTTP: a reply has room for both families.
    Http {
        /// The address the peer reached us at.
        host: IpAddr,
    },
}

impl Channel {
    /// Peers of a reply when the client leaves the number to us.
    const fn default_want(self) -> usize {
        match self {
            Self::Udp { .. } => 30,
            Self::Http { .. } => 50,
        }
    }

    /// What to call this machine when we speak of it to a peer elsewhere.
    const fn host(self) -> Option<IpAddr> {
        match self {
            Self::Udp { host } => host,
            Self::Http { host } => Some(host),
        }
    }
}

/// The answer to an announce; the peers are in the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) intervals: Intervals,
    /// Of the swarm as it is now, the caller included if it is stored.
    pub(crate) counts: ScrapeEntry,
    pub(crate) change: Change,
}

/// What an announce did to its swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// A new peer.
    Joined,
    /// A peer that was there.
    Renewed,
    /// A peer became complete, for the first time; it may be new as well.
    Completed,
    /// A peer left, or was not there and leaves.
    Left,
    /// Answered, but not stored.
    NotStored(Unstored),
}

/// Why a peer is not handed out to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unstored {
    /// It listens nowhere.
    #[error("port 0 cannot be dialled; other peers will not be told about you")]
    PortZero,
    /// The swarm has its most peers.
    #[error("this swarm is full here; other peers will not be told about you")]
    SwarmFull,
    /// Its address has its most peers in this swarm.
    #[error("too many peers from your address; others will not be told about this one")]
    AddressFull,
    /// The tracker holds all it can.
    #[error("this tracker is full; other peers will not be told about you")]
    TrackerFull,
}

/// Hashes info hashes under a key of its own.
#[derive(Clone, Debug)]
struct Keyed([u64; 2]);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        let Self([key0, key1]) = self;
        SipHasher13::new_with_keys(*key0, *key1)
    }
}

#[expect(clippy::disallowed_types, reason = "up to a million keys; never walked for an answer")]
type Map = HashMap<InfoHash, Swarm, Keyed>;

/// A shard of the tracker's swarms.
#[derive(Debug)]
pub(crate) struct Swarms {
    map: Map,
    /// Swarms in the order of their birth that were unproven when they were put here.
    unproven: VecDeque<InfoHash>,
    place: Placement,
    rng: Xoshiro256PlusPlus,
    limits: Limits,
    swept: Moment,
}

impl Swarms {
    /// An empty shard. The key places peers, the seed draws samples.
    pub(crate) fn new(limits: Limits, key: [u64; 2], seed: u64) -> Self {
        Self {
            map: Map::with_hasher(Keyed(key)),
            unproven: VecDeque::new(),
            place: Placement::new(key),
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            limits,
            swept: Moment::ZERO,
        }
    }

    /// Answers an announce; the peers to name are put into `peers`, which is cleared first.
    pub(crate) fn announce(
        &mut self,
        now: Moment,
        visit: &Visit<'_>,
        ledger: &Ledger,
        peers: &mut Vec<SocketAddr>,
    ) -> Reply {
        peers.clear();
        if now.since(self.swept) >= SWEEP_PAUSE_MAX {
            self.expire(now, ledger);
        }
        let source = visit.source.to_canonical();
        let caller = SocketAddr::new(source, visit.announce.port);
        let hash = visit.announce.info_hash;
        let (change, gap_secs) = if visit.announce.event == AnnounceEvent::Stopped {
            self.leave(hash, caller, ledger);
            (Change::Left, None)
        } else {
            match self.store(now, visit.announce, caller, ledger) {
                Ok(touched) => (change(touched), touched.gap_secs),
                Err(why) => (Change::NotStored(why), None),
            }
        };
        let counts = self.map.get(&hash).map(Swarm::counts).unwrap_or_default();
        let situation = self.situation(now, visit.announce, gap_secs);
        let intervals = interval::choose(&mut self.rng, self.limits.interval, &situation);
        self.pick(visit, caller, peers);
        Reply { intervals, counts, change }
    }

    /// The counts of a swarm; zeros when we do not know it. Changes nothing.
    pub(crate) fn scrape(&self, hash: InfoHash) -> ScrapeEntry {
        self.map.get(&hash).map(Swarm::counts).unwrap_or_default()
    }

    /// Forgets peers that have not come back, and swarms nobody is left in. After a pause in
    /// which an age may have come round (a process that was stopped for hours), everybody.
    pub(crate) fn expire(&mut self, now: Moment, ledger: &Ledger) {
        let (now_secs, place) = (seconds(now), self.place);
        let age_max = self.limits.peer_age_secs_max();
        let pause = now.since(std::mem::replace(&mut self.swept, now)).as_secs();
        let can_tell = pause + u64::from(age_max) < u64::from(AGE_WRAP_SECS);
        self.map.retain(|_, swarm| {
            let gone = if can_tell { swarm.expire(place, now_secs, age_max) } else { swarm.len() };
            ledger.release_peers(gone);
            let stays = can_tell && swarm.len() > 0;
            if !stays {
                ledger.release_swarm();
            }
            stays
        });
        let map = &self.map;
        self.unproven.retain(|hash| map.get(hash).is_some_and(Swarm::is_unproven));
        if self.map.capacity() > 4 * self.map.len() {
            self.map.shrink_to_fit();
            self.unproven.shrink_to_fit();
        }
    }

    fn leave(&mut self, hash: InfoHash, peer: SocketAddr, ledger: &Ledger) {
        let Some(swarm) = self.map.get_mut(&hash) else { return };
        if !swarm.remove(self.place, peer) {
            return;
        }
        ledger.release_peers(1);
        if swarm.len() == 0 {
            self.map.remove(&hash);
            ledger.release_swarm();
        }
    }

    fn store(
        &mut self,
        now: Moment,
        announce: &Announce,
        peer: SocketAddr,
        ledger: &Ledger,
    ) -> Result<Touched, Unstored> {
        if peer.port() == 0 {
            return Err(Unstored::PortZero);
        }
        let sighting = Sighting {
            peer,
            role: Role::of(announce),
            now_secs: seconds(now),
            says_completed: announce.event == AnnounceEvent::Completed,
            has_downloaded: announce.downloaded > 0,
        };
        if !ledger.has_room_for_a_peer() {
            self.evict(ledger);
        }
        if !self.map.contains_key(&announce.info_hash) {
            self.create(announce.info_hash, sighting.now_secs, ledger)?;
        }
        let limits = self.limits;
        // It was there, or has just been created.
        let swarm = self.map.get_mut(&announce.info_hash).ok_or(Unstored::TrackerFull)?;
        let is_full = swarm.len() >= limits.peers_per_swarm_max;
        let stored = swarm.touch(self.place, &sighting, |at_site| match () {
            () if is_full => Err(Unstored::SwarmFull),
            () if at_site >= limits.peers_per_address_max => Err(Unstored::AddressFull),
            () if !ledger.claim_peer() => Err(Unstored::TrackerFull),
            () => Ok(()),
        });
        if swarm.len() == 0 {
            self.map.remove(&announce.info_hash);
            ledger.release_swarm();
        }
        stored
    }

    fn create(&mut self, hash: InfoHash, now_secs: u32, ledger: &Ledger) -> Result<(), Unstored> {
        let has_room = ledger.claim_swarm() || (self.evict(ledger) && ledger.claim_swarm());
        if !has_room {
            return Err(Unstored::TrackerFull);
        }
        self.map.insert(hash, Swarm::new(now_secs));
        // Swarms that come and go leave their names here: no more names than swarms.
        if self.unproven.len() >= self.limits.swarms_max {
            self.unproven.pop_front();
        }
        self.unproven.push_back(hash);
        Ok(())
    }

    /// Forgets the oldest swarm whose single peer never came back, if one is soon found.
    fn evict(&mut self, ledger: &Ledger) -> bool {
        for _ in 0..EVICTION_TRIES {
            let Some(hash) = self.unproven.pop_front() else { return false };
            let Some(swarm) = self.map.get(&hash) else { continue };
            if swarm.is_unproven() {
                ledger.release_peers(swarm.len());
                ledger.release_swarm();
                self.map.remove(&hash);
                return true;
            }
        }
        false
    }

    fn situation(&self, now: Moment, announce: &Announce, gap_secs: Option<u32>) -> Situation {
        let swarm = self.map.get(&announce.info_hash);
        let counts = swarm.map(Swarm::counts).unwrap_or_default();
        let is_own = announce.peer_id.as_bytes().starts_with(OWN_PEER_ID_PREFIX);
        let uptime = now.since(Moment::ZERO);
        let was_here = announce.event == AnnounceEvent::None && gap_secs.is_none();
        Situation {
            client: if is_own { Client::Own } else { Client::Foreign },
            gap_secs,
            is_starved: Role::of(announce) == Role::Leech && counts.complete == 0,
            seeds: counts.complete,
            leeches: counts.downloaders,
            others: counts.complete.saturating_add(counts.incomplete).saturating_sub(1),
            swarm_age_secs: swarm.map_or(0, |swarm| swarm.age_secs(seconds(now))),
            is_returning_after_restart: was_here && uptime < self.limits.interval,
        }
    }

    /// Chooses the peers to name: those the caller has a use for, of its own family first.
    ///
    /// Who says it fetches nothing is told of everybody when nobody fetches: clients that have
    /// only a magnet link announce `left=0` before they know how much there is to fetch.
    fn pick(&mut self, visit: &Visit<'_>, caller: SocketAddr, peers: &mut Vec<SocketAddr>) {
        let before = peers.len();
        let partners = Role::of(visit.announce).partners();
        self.pick_of(visit, Party { caller, host: visit.channel.host(), partners }, peers);
        if peers.len() == before {
            let partners = Role::Leech.partners();
            self.pick_of(visit, Party { caller, host: visit.channel.host(), partners }, peers);
        }
    }

    fn pick_of(&mut self, visit: &Visit<'_>, party: Party, peers: &mut Vec<SocketAddr>) {
        let (want, caller) = (wanted(visit), party.caller);
        let Some(swarm) = self.map.get(&visit.announce.info_hash) else { return };
        let rng = &mut self.rng;
        let both = matches!(visit.channel, Channel::Http { .. });
        if caller.is_ipv4() {
            party.pick(rng, swarm.v4(), want, peers);
        }
        if caller.is_ipv6() || both {
            party.pick(rng, swarm.v6(), want, peers);
        }
        if caller.is_ipv6() && both {
            party.pick(rng, swarm.v4(), want, peers);
        }
    }
}

/// How many peers to name.
fn wanted(visit: &Visit<'_>) -> usize {
    let announce = visit.announce;
    match (announce.event, announce.numwant) {
        (AnnounceEvent::Stopped, _) | (AnnounceEvent::Paused, None) => 0,
        (_, None) => visit.channel.default_want(),
        (_, Some(count)) => usize::try_from(count).unwrap_or(usize::MAX).min(sampler::WANT_MAX),
    }
}

/// Who asks, and whom it may be told of.
struct Party {
    caller: SocketAddr,
    host: Option<IpAddr>,
    partners: &'static [Role],
}

impl Party {
    /// Tops `peers` up to `want` with peers of one family.
    fn pick<const N: usize>(
        &self,
        rng: &mut Xoshiro256PlusPlus,
        group: Option<&Group<N>>,
        want: usize,
        peers: &mut Vec<SocketAddr>,
    ) {
        let Some(group) = group else { return };
        let slots = self.partners.iter().map(|role| group.table(*role).slots()).sum();
        let peer_at = |mut slot: usize| {
            for role in self.partners {
                let table = group.table(*role);
                match slot.checked_sub(table.slots()) {
                    Some(beyond) => slot = beyond,
                    None => return self.as_told(table.at(slot)?.addr()),
                }
            }
            None
        };
        let room = want.saturating_sub(peers.len());
        sampler::sample(rng, slots, room, peer_at, peers);
    }

    /// The address to name for a peer, if it is of any use to the caller.
    ///
    /// A peer that announced over loopback lives on this machine. To a caller elsewhere it is
    /// known by the address at which the caller reached us.
    fn as_told(&self, peer: SocketAddr) -> Option<SocketAddr> {
        let is_far = !self.caller.ip().is_loopback();
        let told = if peer.ip().is_loopback() && is_far {
            SocketAddr::new(self.host.filter(|host| !host.is_loopback())?, peer.port())
        } else {
            peer
        };
        (told != self.caller).then_some(told)
    }
}

const fn change(touched: Touched) -> Change {
    match (touched.completed, touched.gap_secs) {
        (true, _) => Change::Completed,
        (false, None) => Change::Joined,
        (false, Some(_)) => Change::Renewed,
    }
}

/// Whole seconds, wrapping after 136 years.
fn seconds(now: Moment) -> u32 {
    // Masked to 32 bits: always fits.
    u32::try_from((now.as_micros() / 1_000_000) & u64::from(u32::MAX)).unwrap_or(0)
}
