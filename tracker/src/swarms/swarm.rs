//! One swarm: its peers by family and role, and the rules of joining, renewing, completing.
//!
//! A peer is an address and a port, never a peer id, which anyone could claim (DISCOVERY 3.2,
//! row 8). Its role follows from what it says is left; the event only moves the counter.

use super::table::{Placement, Record, Table, is_exempt};
use std::net::{IpAddr, SocketAddr};
use swarm_core::wire::tracker::{Announce, AnnounceEvent, ScrapeEntry};

/// What a peer is to a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// Has everything.
    Seed,
    /// Fetches.
    Leech,
    /// Does not have everything and fetches nothing (BEP 21).
    Paused,
}

impl Role {
    const ALL: [Self; 3] = [Self::Seed, Self::Leech, Self::Paused];

    pub(super) const fn of(announce: &Announce) -> Self {
        match (announce.left, announce.event) {
            (0, _) => Self::Seed,
            (_, AnnounceEvent::Paused) => Self::Paused,
            _ => Self::Leech,
        }
    }

    /// Whom a peer of this role has a use for.
    pub(super) const fn partners(self) -> &'static [Self] {
        match self {
            Self::Leech => &Self::ALL,
            // Who fetches nothing can only serve those who fetch.
            Self::Seed | Self::Paused => &[Self::Leech],
        }
    }
}

/// One peer's announce, as far as a swarm cares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sighting {
    pub(super) peer: SocketAddr,
    pub(super) role: Role,
    pub(super) now_secs: u32,
    /// It says that it has just become complete.
    pub(super) says_completed: bool,
    /// It says that it received something.
    pub(super) has_downloaded: bool,
}

/// What a sighting changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touched {
    /// Seconds since the peer was last seen; `None` when it is new.
    pub(super) gap_secs: Option<u32>,
    /// Its completion was counted just now.
    pub(super) completed: bool,
}

/// The peers of one family.
#[derive(Debug, Default)]
pub(super) struct Group<const N: usize> {
    seeds: Table<N>,
    leeches: Table<N>,
    paused: Table<N>,
}

/// One swarm. Families that nobody uses cost a pointer.
#[derive(Debug)]
pub(super) struct Swarm {
    v4: Option<Box<Group<4>>>,
    v6: Option<Box<Group<16>>>,
    born_secs: u32,
    downloaded: u32,
    /// A peer has come back: this is no flood of random hashes.
    has_returned: bool,
}

impl<const N: usize> Group<N> {
    pub(super) const fn table(&self, role: Role) -> &Table<N> {
        match role {
            Role::Seed => &self.seeds,
            Role::Leech => &self.leeches,
            Role::Paused => &self.paused,
        }
    }

    const fn table_mut(&mut self, role: Role) -> &mut Table<N> {
        match role {
            Role::Seed => &mut self.seeds,
            Role::Leech => &mut self.leeches,
            Role::Paused => &mut self.paused,
        }
    }

    fn len(&self) -> usize {
        Role::ALL.iter().map(|role| self.table(*role).len()).sum()
    }

    fn find(&self, place: Placement, ip: &[u8; N], port: u16) -> Option<(Role, usize)> {
        Role::ALL.into_iter().find_map(|role| Some((role, self.table(role).find(place, ip, port)?)))
    }

    fn site_len(&self, place: Placement, ip: &[u8; N]) -> usize {
        Role::ALL.iter().map(|role| self.table(*role).site_len(place, ip)).sum()
    }

    fn remove(&mut self, place: Placement, ip: &[u8; N], port: u16) -> bool {
        let Some((role, slot)) = self.find(place, ip, port) else { return false };
        self.table_mut(role).remove(place, slot).is_some()
    }

    fn touch<E>(
        &mut self,
        place: Placement,
        ip: &[u8; N],
        sighting: &Sighting,
        admit: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<Touched, E> {
        let port = sighting.peer.port();
        let Some((was, slot)) = self.find(place, ip, port) else {
            let at_site = if is_exempt(sighting.peer.ip()) { 0 } else { self.site_len(place, ip) };
            admit(at_site)?;
            return Ok(self.add(place, Record::new(*ip, port), sighting));
        };
        Ok(self.renew(place, (was, slot), sighting))
    }

    fn add(&mut self, place: Placement, mut record: Record<N>, sighting: &Sighting) -> Touched {
        // A seed that was restarted says `completed` too, but it received nothing.
        let completed = sighting.says_completed && sighting.has_downloaded;
        if completed {
            record.set_counted();
        }
        record.seen_at(sighting.now_secs);
        self.table_mut(sighting.role).insert(place, record);
        Touched { gap_secs: None, completed }
    }

    fn renew(
        &mut self,
        place: Placement,
        (was, slot): (Role, usize),
        sighting: &Sighting,
    ) -> Touched {
        let becomes_complete = sighting.role == Role::Seed || sighting.says_completed;
        let mut touched = Touched { gap_secs: None, completed: false };
        let Some(record) = self.table_mut(was).record_mut(slot) else { return touched };
        touched.gap_secs = Some(record.age_secs(sighting.now_secs));
        touched.completed = was != Role::Seed && becomes_complete && !record.is_counted();
        if touched.completed {
            record.set_counted();
        }
        record.seen_at(sighting.now_secs);
        if was != sighting.role
            && let Some(record) = self.table_mut(was).remove(place, slot)
        {
            self.table_mut(sighting.role).insert(place, record);
        }
        touched
    }

    fn expire(&mut self, place: Placement, now_secs: u32, age_max_secs: u32) -> usize {
        Role::ALL
            .into_iter()
            .map(|role| {
                let is_fresh = |record: &Record<N>| record.age_secs(now_secs) <= age_max_secs;
                self.table_mut(role).retain(place, is_fresh)
            })
            .sum()
    }
}

impl Swarm {
    pub(super) const fn new(now_secs: u32) -> Self {
        Self { v4: None, v6: None, born_secs: now_secs, downloaded: 0, has_returned: false }
    }

    /// Notes that a peer was seen. `admit` is asked before a new peer is stored; it is told
    /// how many its site has already.
    pub(super) fn touch<E>(
        &mut self,
        place: Placement,
        sighting: &Sighting,
        admit: impl FnOnce(usize) -> Result<(), E>,
    ) -> Result<Touched, E> {
        let touched = match sighting.peer.ip() {
            IpAddr::V4(ip) => {
                let group = self.v4.get_or_insert_default();
                group.touch(place, &ip.octets(), sighting, admit)
            }
            IpAddr::V6(ip) => {
                let group = self.v6.get_or_insert_default();
                group.touch(place, &ip.octets(), sighting, admit)
            }
        }?;
        self.has_returned |= touched.gap_secs.is_some();
        self.downloaded = self.downloaded.saturating_add(touched.completed.into());
        Ok(touched)
    }

    /// Removes a peer; says whether it was there.
    pub(super) fn remove(&mut self, place: Placement, peer: SocketAddr) -> bool {
        match peer.ip() {
            IpAddr::V4(ip) => {
                self.v4.as_mut().is_some_and(|group| group.remove(place, &ip.octets(), peer.port()))
            }
            IpAddr::V6(ip) => {
                self.v6.as_mut().is_some_and(|group| group.remove(place, &ip.octets(), peer.port()))
            }
        }
    }

    /// Removes peers that have not been seen for longer than this; returns how many.
    pub(super) fn expire(&mut self, place: Placement, now_secs: u32, age_max_secs: u32) -> usize {
        let v4 = self.v4.as_mut().map_or(0, |group| group.expire(place, now_secs, age_max_secs));
        let v6 = self.v6.as_mut().map_or(0, |group| group.expire(place, now_secs, age_max_secs));
        v4 + v6
    }

    pub(super) fn v4(&self) -> Option<&Group<4>> {
        self.v4.as_deref()
    }

    pub(super) fn v6(&self) -> Option<&Group<16>> {
        self.v6.as_deref()
    }

    pub(super) fn len(&self) -> usize {
        self.v4().map_or(0, Group::len) + self.v6().map_or(0, Group::len)
    }

    /// A single peer that never came back: what a flood of random hashes leaves behind.
    pub(super) fn is_unproven(&self) -> bool {
        !self.has_returned && self.len() <= 1
    }

    pub(super) const fn age_secs(&self, now_secs: u32) -> u32 {
        now_secs.wrapping_sub(self.born_secs)
    }

    pub(super) fn counts(&self) -> ScrapeEntry {
        let count = |role| {
            let v4 = self.v4().map_or(0, |group| group.table(role).len());
            let v6 = self.v6().map_or(0, |group| group.table(role).len());
            u32::try_from(v4 + v6).unwrap_or(u32::MAX)
        };
        let downloaders = count(Role::Leech);
        ScrapeEntry {
            complete: count(Role::Seed),
            downloaded: self.downloaded,
            incomplete: downloaders.saturating_add(count(Role::Paused)),
            downloaders,
        }
    }
}
