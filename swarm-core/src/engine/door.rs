//! How often connections may come in, and how many may wait to say what they are.
//!
//! An address of the internet has a small rate, a place that many machines may share (loopback,
//! a private network, an IPv6 /64) a larger one, and both kinds have a rate in all of their own,
//! so that neither can shut the other out. Only who is let in is remembered, so that the memory
//! is bounded by those rates and cannot be filled by knocking.
//!
//! Who came in and says nothing waits in the [`Lobby`]. When that is full the one that has been
//! silent for longest goes: a peer speaks within a round trip, and thousands that say nothing
//! cannot keep it out.
//!
//! Not here: what a connection says (`accept`).

use crate::proto::candidates::scope::{Scope, site_of};
use crate::proto::limits::EventBucket;
use crate::types::{Limit, Moment};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Connections a second over all addresses of the internet (LIMITS 5.2), and at once.
const ACCEPTS_PER_SECOND: u32 = 200;
/// Connections a second over all local addresses, and at once: a rack that starts together.
const LOCAL_ACCEPTS_PER_SECOND: u32 = 1_000;
/// Connections a second from one address of the internet.
const ACCEPTS_PER_ADDRESS: u32 = 5;
/// Connections at once from one address of the internet.
const ACCEPTS_PER_ADDRESS_BURST: u32 = 20;
/// Connections a second from one place that many machines may share.
const ACCEPTS_PER_SITE: u32 = 100;
/// Connections at once from one such place.
const ACCEPTS_PER_SITE_BURST: u32 = 200;
/// After which both have their bursts again and need not be remembered.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(4);
/// Addresses and places whose rates are remembered: more than are let in in that time.
const REMEMBERED_MAX: usize = 8_192;
/// Connections that have not said yet what they are.
pub(crate) const UNIDENTIFIED_MAX: usize = 256;

/// How often connections may come.
#[derive(Debug)]
pub(crate) struct Door {
    internet: EventBucket,
    local: EventBucket,
    /// With when it last came in.
    known: BTreeMap<Knocker, (EventBucket, Moment)>,
}

/// Whose rate it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Knocker {
    Address(IpAddr),
    Site(IpAddr),
}

impl Door {
    pub(crate) fn new(now: Moment) -> Self {
        let bucket = |rate| EventBucket::new(now, rate, rate);
        Self {
            internet: bucket(ACCEPTS_PER_SECOND),
            local: bucket(LOCAL_ACCEPTS_PER_SECOND),
            known: BTreeMap::new(),
        }
    }

    /// Lets one more connection from this address in.
    ///
    /// # Errors
    /// The limit that forbids it.
    pub(crate) fn admit(&mut self, now: Moment, ip: IpAddr) -> Result<(), Limit> {
        let ip = ip.to_canonical();
        let is_local = Scope::of(ip) != Scope::Global;
        let address = (!is_local).then_some(Knocker::Address(ip));
        let site = (is_local || ip.is_ipv6()).then(|| Knocker::Site(site_of(ip)));
        let knockers = || address.into_iter().chain(site);
        let is_due = |bucket: &EventBucket| bucket.ready_at(now) <= now;
        if knockers().any(|who| self.known.get(&who).is_some_and(|(bucket, _)| !is_due(bucket))) {
            return Err(Limit::AcceptRatePerAddress);
        }
        let all = if is_local { &mut self.local } else { &mut self.internet };
        // Asked last, so that who is refused anyway takes nothing away from others.
        if !all.allow(now) {
            return Err(Limit::AcceptRate);
        }
        self.make_room(now)?;
        for who in knockers() {
            let (bucket, last) = self.known.entry(who).or_insert_with(|| (who.bucket(now), now));
            *last = now;
            let allowed = bucket.allow(now);
            debug_assert!(allowed, "it was asked before");
        }
        Ok(())
    }

    fn make_room(&mut self, now: Moment) -> Result<(), Limit> {
        if self.known.len() + 2 > REMEMBERED_MAX {
            self.known.retain(|_, (_, last)| now.since(*last) < FORGOTTEN_AFTER);
        }
        if self.known.len() + 2 > REMEMBERED_MAX { Err(Limit::AcceptRate) } else { Ok(()) }
    }
}

impl Knocker {
    fn bucket(self, now: Moment) -> EventBucket {
        match self {
            Self::Address(_) => {
                EventBucket::new(now, ACCEPTS_PER_ADDRESS, ACCEPTS_PER_ADDRESS_BURST)
            }
            Self::Site(_) => EventBucket::new(now, ACCEPTS_PER_SITE, ACCEPTS_PER_SITE_BURST),
        }
    }
}

/// Connections that have not said yet what they are, the oldest first.
#[derive(Debug)]
pub(crate) struct Lobby {
    waiting: VecDeque<Arc<Notify>>,
    most: usize,
}

impl Lobby {
    /// For so many.
    pub(crate) const fn new(most: usize) -> Self {
        Self { waiting: VecDeque::new(), most }
    }

    /// Takes one in. It has to go when it is notified, and to [`Self::leave`] in any case; true
    /// when another was sent away for it.
    pub(crate) fn enter(&mut self) -> (Arc<Notify>, bool) {
        let is_full = self.waiting.len() >= self.most;
        if is_full && let Some(oldest) = self.waiting.pop_front() {
            oldest.notify_one();
        }
        let place = Arc::new(Notify::new());
        self.waiting.push_back(place.clone());
        (place, is_full)
    }

    /// It has said what it is, or is gone.
    pub(crate) fn leave(&mut self, place: &Arc<Notify>) {
        if let Some(at) = self.waiting.iter().position(|other| Arc::ptr_eq(other, place)) {
            self.waiting.remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    const START: Moment = Moment::ZERO;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Addresses of the internet, one after the other.
    fn global(n: u32) -> IpAddr {
        IpAddr::V4((0x0900_0000 + n).into())
    }

    fn admitted(door: &mut Door, now: Moment, ips: impl Iterator<Item = IpAddr>) -> usize {
        ips.filter(|ip| door.admit(now, *ip).is_ok()).count()
    }

    fn again(ip: IpAddr) -> impl Iterator<Item = IpAddr> {
        std::iter::repeat_n(ip, 5_000)
    }

    #[test]
    fn one_address_has_its_burst_and_then_its_rate() {
        let (mut door, mut now) = (Door::new(START), START);
        assert_eq!(admitted(&mut door, now, again(global(1))), 20);
        now += Duration::from_secs(1);
        assert_eq!(admitted(&mut door, now, again(global(1))), 5);
        assert_eq!(door.admit(now, global(1)), Err(Limit::AcceptRatePerAddress));
        assert_eq!(door.admit(now, global(2)), Ok(()), "another address has its own");
    }

    /// LIMITS 4.5, P34.
    #[test]
    fn a_place_that_many_share_has_a_larger_burst_and_a_bound_all_the_same() {
        for place in ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.1.1", "::1", "fd00::1"] {
            let mut door = Door::new(START);
            assert_eq!(admitted(&mut door, START, again(ip(place))), 200, "{place}");
            let later = START + Duration::from_secs(1);
            assert_eq!(admitted(&mut door, later, again(ip(place))), 100, "{place}");
            assert_eq!(door.admit(later, ip("127.0.0.2")), Ok(()));
            assert_eq!(door.admit(later, global(1)), Ok(()));
        }
    }

    #[test]
    fn an_ipv6_network_of_one_subscriber_is_one_place() {
        let mut door = Door::new(START);
        let ips = (1..5_000u128).map(|n| IpAddr::V6((ip_bits("2001:db8::") + n).into()));
        assert_eq!(admitted(&mut door, START, ips), 200);
        assert_eq!(door.admit(START, ip("2001:db8:0:1::1")), Err(Limit::AcceptRate));
        let later = START + Duration::from_secs(1);
        assert_eq!(door.admit(later, ip("2001:db8:0:1::1")), Ok(()), "another subscriber");
    }

    fn ip_bits(text: &str) -> u128 {
        text.parse::<std::net::Ipv6Addr>().unwrap().to_bits()
    }

    #[test]
    fn the_internet_and_the_local_network_have_rates_of_their_own() {
        let mut door = Door::new(START);
        assert_eq!(admitted(&mut door, START, (0..5_000).map(global)), 200);
        assert_eq!(door.admit(START, global(9_999)), Err(Limit::AcceptRate));
        let local = (0..5_000).map(|n| IpAddr::V4((0x7f00_0001 + n).into()));
        assert_eq!(admitted(&mut door, START, local), 1_000);
    }

    /// However many knock, those who come later find room.
    #[test]
    fn the_memory_of_addresses_is_bounded_and_cannot_be_filled_by_knocking() {
        let (mut door, mut now) = (Door::new(START), START);
        for round in 0..20u32 {
            now += Duration::from_secs(1);
            let (a, b) = (round * 10_000, (round + 1) * 10_000);
            assert_eq!(admitted(&mut door, now, (a..b).map(global)), 200);
            let local = (a..b).map(|n| IpAddr::V4((0x7f00_0001 + n).into()));
            assert_eq!(admitted(&mut door, now, local), 1_000);
            assert!(door.known.len() <= REMEMBERED_MAX);
        }
    }

    #[test]
    fn a_full_lobby_sends_the_one_away_that_has_been_silent_for_longest() {
        let mut lobby = Lobby::new(UNIDENTIFIED_MAX);
        let places: Vec<_> = (0..UNIDENTIFIED_MAX).map(|_| lobby.enter()).collect();
        assert!(places.iter().all(|(_, sent_away)| !sent_away));
        lobby.leave(&places[0].0);
        assert!(!lobby.enter().1, "one had left");
        assert!(lobby.enter().1);
        let is_sent_away = |at: usize| places[at].0.notified().now_or_never().is_some();
        assert_eq!([0, 1, 2].map(is_sent_away), [false, true, false]);
        assert_eq!(lobby.waiting.len(), UNIDENTIFIED_MAX);
    }
}
