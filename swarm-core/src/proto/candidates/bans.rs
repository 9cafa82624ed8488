//! Addresses that were proven to send wrong data, for a day.
//!
//! Not here: the proof.

use crate::types::Moment;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// Bans kept; the oldest goes first.
pub(super) const BANS_MAX: usize = 16_384;
/// How long a ban lasts.
pub(super) const BAN_TIME: Duration = Duration::from_secs(24 * 3600);

/// A bounded set of IPs, each with the moment it was banned.
#[derive(Debug, Default)]
pub(super) struct Bans {
    since: BTreeMap<IpAddr, Moment>,
    by_age: BTreeSet<(Moment, IpAddr)>,
}

impl Bans {
    /// Bans an IP from now on. When the table is full its oldest ban is lifted: then true.
    pub(super) fn insert(&mut self, now: Moment, ip: IpAddr) -> bool {
        if let Some(before) = self.since.insert(ip, now) {
            self.by_age.remove(&(before, ip));
        }
        self.by_age.insert((now, ip));
        let is_full = self.since.len() > BANS_MAX;
        if is_full && let Some((_, oldest)) = self.by_age.pop_first() {
            self.since.remove(&oldest);
        }
        is_full
    }

    pub(super) fn contains(&self, now: Moment, ip: IpAddr) -> bool {
        self.since.get(&ip).is_some_and(|since| now.since(*since) < BAN_TIME)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn ip(n: usize) -> IpAddr {
        Ipv4Addr::from_bits(u32::try_from(n).unwrap()).into()
    }

    fn at(n: usize) -> Moment {
        Moment::from_micros(u64::try_from(n).unwrap())
    }

    #[test]
    fn a_ban_ends_after_a_day() {
        let mut bans = Bans::default();
        bans.insert(Moment::ZERO, ip(1));
        let end = Moment::ZERO + BAN_TIME;
        assert!(bans.contains(Moment::from_micros(end.as_micros() - 1), ip(1)));
        assert!(!bans.contains(end, ip(1)));
        bans.insert(end, ip(1));
        assert!(bans.contains(end, ip(1)));
        assert_eq!(bans.by_age.len(), 1);
    }

    #[test]
    fn a_full_table_lifts_its_oldest_ban() {
        let mut bans = Bans::default();
        for n in 0..BANS_MAX {
            bans.insert(at(n), ip(n));
        }
        bans.insert(at(BANS_MAX), ip(0));
        assert!(bans.insert(at(BANS_MAX), ip(BANS_MAX)));
        let now = at(BANS_MAX);
        assert_eq!((bans.since.len(), bans.by_age.len()), (BANS_MAX, BANS_MAX));
        assert!(bans.contains(now, ip(0)), "banned again, so it is not the oldest");
        assert!(!bans.contains(now, ip(1)));
        assert!(bans.contains(now, ip(BANS_MAX)));
    }
}
