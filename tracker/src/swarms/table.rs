//! Peers of one swarm, one family and one role, packed in a single allocation.
//!
//! A record is the address, the port and two bytes: 8 bytes for IPv4, 20 for IPv6. The records
//! are an open-addressed hash table with linear probing, filled to four fifths, so that a peer
//! is found in a few steps and a random slot is a peer more often than not: that is all a
//! random sample needs. An empty slot has port 0, which no peer has.
//!
//! Records are placed by address alone, except where an address may hold any number of peers.
//! So all peers of one address lie in one run, and counting them costs no table of its own.
//!
//! Not here: what a role means, when a peer is too old.

use std::net::{IpAddr, SocketAddr};

/// Seconds after which an age begins to look young again. No peer is kept nearly that long.
pub(crate) const AGE_WRAP_SECS: u32 = 1 << 14;

const STAMP_MASK: u16 = 0x3FFF;
const COUNTED: u16 = 0x8000;

/// One peer. The role is told by the table it lies in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record<const N: usize> {
    ip: [u8; N],
    port: u16,
    /// Low 14 bits: the second it was last seen in. High bit: its completion was counted.
    meta: u16,
}

impl<const N: usize> Record<N> {
    const EMPTY: Self = Self { ip: [0; N], port: 0, meta: 0 };

    pub(super) fn new(ip: [u8; N], port: u16) -> Self {
        Self { ip, port, meta: 0 }
    }

    fn is_empty(&self) -> bool {
        self.port == 0
    }

    fn is_at(&self, ip: &[u8; N], port: u16) -> bool {
        self.port == port && self.ip == *ip
    }

    /// Seconds since the peer was last seen.
    pub(super) fn age_secs(&self, now_secs: u32) -> u32 {
        now_secs.wrapping_sub(u32::from(self.meta & STAMP_MASK)) & u32::from(STAMP_MASK)
    }

    pub(super) fn seen_at(&mut self, now_secs: u32) {
        // Masked to 14 bits: always fits.
        let stamp = u16::try_from(now_secs & u32::from(STAMP_MASK)).unwrap_or(0);
        self.meta = (self.meta & !STAMP_MASK) | stamp;
    }

    /// Its completion has been counted.
    pub(super) fn is_counted(&self) -> bool {
        self.meta & COUNTED != 0
    }

    pub(super) fn set_counted(&mut self) {
        self.meta |= COUNTED;
    }

    pub(super) fn addr(&self) -> SocketAddr {
        SocketAddr::new(ip_of(&self.ip), self.port)
    }
}

fn ip_of(octets: &[u8]) -> IpAddr {
    <[u8; 4]>::try_from(octets).map(IpAddr::from).unwrap_or_else(|_| {
        // A record has 4 or 16 octets.
        IpAddr::from(<[u8; 16]>::try_from(octets).unwrap_or_default())
    })
}

/// Where records belong. Keyed, so that nobody can aim many peers at one place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placement {
    key: [u64; 2],
}

impl Placement {
    pub(super) const fn new(key: [u64; 2]) -> Self {
        Self { key }
    }

    /// A 32-bit hash: of the site, which all capped peers of one owner share, or of address
    /// and port where there is no cap.
    fn hash<const N: usize>(&self, ip: &[u8; N], port: u16) -> u32 {
        let [key0, key1] = self.key;
        let mut state = key0;
        for chunk in site(ip).chunks(8) {
            let mut word = [0; 8];
            for (to, from) in word.iter_mut().zip(chunk) {
                *to = *from;
            }
            state = fold(state ^ u64::from_le_bytes(word), key1);
        }
        if is_exempt(ip_of(ip)) {
            let rest = if N == 16 { tail(ip) } else { 0 };
            state = fold(state ^ rest ^ u64::from(port), key1);
        }
        // The folded product's upper half; a shift of 32 leaves 32 bits.
        u32::try_from(state >> 32).unwrap_or(0)
    }
}

/// Multiplies and folds the halves of the product into each other: every input bit reaches
/// every output bit.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b | 1);
    let [high, low] = [product >> 64, product & u128::from(u64::MAX)];
    u64::try_from(high ^ low).unwrap_or(0)
}

/// The part of an address its owner cannot vary: all of IPv4, the /64 of IPv6.
fn site(ip: &[u8]) -> &[u8] {
    if ip.len() == 16 { ip.get(..8).unwrap_or(ip) } else { ip }
}

fn tail(ip: &[u8]) -> u64 {
    ip.last_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Addresses that may hold any number of peers: loopback, private, shared (carrier NAT) and
/// link-local ones. Test farms and networks behind a NAT look like this, strangers do not.
pub(crate) fn is_exempt(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            ip.is_loopback() || ip.is_private() || ip.is_link_local() || is_shared
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

/// The peers of one role.
#[derive(Debug, Default)]
pub(super) struct Table<const N: usize> {
    slots: Box<[Record<N>]>,
    len: u32,
}

impl<const N: usize> Table<N> {
    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    /// Slots, empty ones included.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// The peer in a slot.
    pub(super) fn at(&self, slot: usize) -> Option<&Record<N>> {
        self.slots.get(slot).filter(|record| !record.is_empty())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Record<N>> {
        self.slots.iter().filter(|record| !record.is_empty())
    }

    /// The slot of a peer.
    pub(super) fn find(&self, place: Placement, ip: &[u8; N], port: u16) -> Option<usize> {
        self.run(place, ip, port)
            .find(|slot| self.slots.get(*slot).is_some_and(|record| record.is_at(ip, port)))
    }

    /// Peers of the same site. Only meaningful for addresses that are not exempt.
    pub(super) fn site_len(&self, place: Placement, ip: &[u8; N]) -> usize {
        self.run(place, ip, 0)
            .filter(|slot| self.at(*slot).is_some_and(|record| site(&record.ip) == site(ip)))
            .count()
    }

    /// Adds a peer that is not there yet.
    pub(super) fn insert(&mut self, place: Placement, record: Record<N>) {
        debug_assert!(self.find(place, &record.ip, record.port).is_none());
        if fitting(self.len() + 1) > self.slots.len() {
            // A quarter more than now: few moves, little air.
            self.rebuild(place, fitting((self.len() + 1) * 5 / 4), |_| true);
        }
        self.put(place, record);
    }

    /// Takes a peer out and closes the gap, so that no run is broken.
    pub(super) fn remove(&mut self, place: Placement, slot: usize) -> Option<Record<N>> {
        let removed = *self.at(slot)?;
        let count = self.slots.len();
        let (mut gap, mut slot) = (slot, slot);
        loop {
            slot = (slot + 1) % count;
            let Some(record) = self.at(slot).copied() else { break };
            let way_from_home = distance(self.home(place, &record.ip, record.port), slot, count);
            if way_from_home >= distance(gap, slot, count) {
                self.set(gap, record);
                gap = slot;
            }
        }
        self.set(gap, Record::EMPTY);
        self.len -= 1;
        Some(removed)
    }

    /// Keeps the peers that `keep` says; returns how many went. Gives memory back.
    pub(super) fn retain(&mut self, place: Placement, keep: impl Fn(&Record<N>) -> bool) -> usize {
        let before = self.len();
        let kept = self.iter().filter(|record| keep(record)).count();
        if kept != before {
            self.rebuild(place, fitting(kept), keep);
        }
        before - kept
    }

    pub(super) fn record_mut(&mut self, slot: usize) -> Option<&mut Record<N>> {
        self.slots.get_mut(slot)
    }

    fn rebuild(&mut self, place: Placement, capacity: usize, keep: impl Fn(&Record<N>) -> bool) {
        let empty = vec![Record::EMPTY; capacity].into_boxed_slice();
        let old = std::mem::replace(self, Self { slots: empty, len: 0 });
        for record in old.iter().filter(|record| keep(record)) {
            self.put(place, *record);
        }
    }

    fn put(&mut self, place: Placement, record: Record<N>) {
        let count = self.slots.len();
        let home = self.home(place, &record.ip, record.port);
        let free =
            (0..count).map(|step| (home + step) % count).find(|slot| self.at(*slot).is_none());
        if let Some(slot) = free {
            self.set(slot, record);
            self.len += 1;
        }
    }

    /// The slots from where a peer belongs to the first empty one.
    fn run(&self, place: Placement, ip: &[u8; N], port: u16) -> impl Iterator<Item = usize> {
        let count = self.slots.len();
        let home = self.home(place, ip, port);
        (0..count)
            .map(move |step| (home + step) % count)
            .take_while(|slot| self.at(*slot).is_some())
    }

    fn home(&self, place: Placement, ip: &[u8; N], port: u16) -> usize {
        // Scales the hash to the table: less than its length, so it fits.
        let scaled = (u64::from(place.hash(ip, port)) * self.slots.len() as u64) >> 32;
        usize::try_from(scaled).unwrap_or(0)
    }

    fn set(&mut self, slot: usize, record: Record<N>) {
        if let Some(place) = self.slots.get_mut(slot) {
            *place = record;
        }
    }
}

/// Slots for this many peers: a fifth stays empty, and never less than one.
fn fitting(len: usize) -> usize {
    if len == 0 { 0 } else { len + len / 4 + 1 }
}

/// Steps from one slot forward to another.
fn distance(from: usize, to: usize, count: usize) -> usize {
    (to + count - from) % count
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const PLACE: Placement = Placement::new([0x1234_5678_9ABC_DEF0, 0x0FED_CBA9_8765_4321]);

    fn filled(count: u16) -> Table<4> {
        let mut table = Table::default();
        for n in 0..count {
            let [high, low] = n.to_be_bytes();
            table.insert(PLACE, Record::new([1, 2, high, low], 7));
        }
        table
    }

    #[test]
    fn a_record_takes_eight_or_twenty_bytes_and_a_table_few_more() {
        assert_eq!(size_of::<Record<4>>(), 8);
        assert_eq!(size_of::<Record<16>>(), 20);
        for count in [1000, 5000, 60_000] {
            let table = filled(count);
            let bytes_per_peer = table.slots() * 8 / table.len();
            assert!(bytes_per_peer <= 12, "{bytes_per_peer} at {count}");
        }
    }

    #[test]
    fn age_survives_the_wrap_of_its_clock() {
        let mut record = Record::new([1, 2, 3, 4], 5);
        record.set_counted();
        for seen in [0, 1, AGE_WRAP_SECS - 1, AGE_WRAP_SECS, 70_000 * 60, u32::MAX - 10] {
            record.seen_at(seen);
            assert_eq!(record.age_secs(seen), 0);
            assert_eq!(record.age_secs(seen.wrapping_add(2000)), 2000);
            assert!(record.is_counted(), "the flag stays");
        }
    }

    #[test]
    fn peers_of_one_site_are_counted() {
        let mut table = filled(500);
        for port in 10..15 {
            table.insert(PLACE, Record::new([9, 9, 9, 9], port));
        }
        assert_eq!(table.site_len(PLACE, &[9, 9, 9, 9]), 5);
        assert_eq!(table.site_len(PLACE, &[9, 9, 9, 8]), 0);

        let mut table = Table::<16>::default();
        let mut ip = [0x20; 16];
        for last in 0..6 {
            ip[15] = last;
            table.insert(PLACE, Record::new(ip, 1));
        }
        assert_eq!(table.site_len(PLACE, &ip), 6, "one /64 is one site");
        ip[7] = 0;
        assert_eq!(table.site_len(PLACE, &ip), 0);
    }

    #[test]
    fn a_crowd_on_one_exempt_address_is_spread_over_the_table() {
        let mut table = Table::<4>::default();
        for port in 1..=10_000 {
            table.insert(PLACE, Record::new([127, 0, 0, 1], port));
        }
        let longest = (1..=10_000).map(|port| table.run(PLACE, &[127, 0, 0, 1], port).count());
        assert!(longest.max().unwrap() < 400);
    }

    #[test]
    fn private_addresses_are_exempt() {
        for ip in [
            "127.0.0.9",
            "10.1.1.1",
            "192.168.0.1",
            "172.16.0.1",
            "100.64.0.1",
            "::1",
            "fd00::1",
            "fe80::1",
            "169.254.1.1",
        ] {
            assert!(is_exempt(ip.parse().unwrap()), "{ip}");
        }
        for ip in ["1.1.1.1", "100.128.0.1", "2001:db8::1", "172.32.0.1"] {
            assert!(!is_exempt(ip.parse().unwrap()), "{ip}");
        }
    }

    proptest! {
        #[test]
        fn a_table_is_a_map(operations in prop::collection::vec((0u8..4, 0u8..12, 1u16..6), 0..300)) {
            let mut table = Table::<4>::default();
            let mut model = BTreeMap::new();
            for (kind, host, port) in operations {
                let ip = [if host < 4 { 10 } else { 200 }, 0, 0, host];
                let found = table.find(PLACE, &ip, port);
                prop_assert_eq!(found.is_some(), model.contains_key(&(ip, port)));
                match (kind, found) {
                    (0 | 1, None) => {
                        table.insert(PLACE, Record::new(ip, port));
                        model.insert((ip, port), ());
                    }
                    (2, Some(slot)) => {
                        prop_assert_eq!(table.remove(PLACE, slot), Some(Record::new(ip, port)));
                        model.remove(&(ip, port));
                    }
                    (3, _) if port == 5 => {
                        let gone = table.retain(PLACE, |record| record.ip != ip);
                        let before = model.len();
                        model.retain(|(other, _), ()| *other != ip);
                        prop_assert_eq!(gone, before - model.len());
                    }
                    _ => {}
                }
                prop_assert_eq!(table.len(), model.len());
                prop_assert_eq!(table.iter().count(), model.len());
                let site = model.keys().filter(|(other, _)| *other == ip).count();
                if host >= 4 { prop_assert_eq!(table.site_len(PLACE, &ip), site); }
            }
            for (ip, port) in model.keys() {
                prop_assert!(table.find(PLACE, ip, *port).is_some());
            }
        }
    }
}
