//! How many connections there are, in all and from one address.

use crate::config::HttpLimits;
use crate::swarms::is_exempt;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of one tracker.
#[derive(Debug)]
pub(crate) struct Connections {
    limits: HttpLimits,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    total: usize,
    by_site: BTreeMap<IpAddr, usize>,
}

/// The right to one connection; dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Seat {
    taken: Arc<Mutex<Taken>>,
    site: IpAddr,
}

impl Connections {
    pub(crate) fn new(limits: HttpLimits) -> Self {
        Self { limits, taken: Arc::default() }
    }

    pub(crate) const fn limits(&self) -> HttpLimits {
        self.limits
    }

    /// Connections open now.
    pub(crate) fn open(&self) -> u64 {
        lock(&self.taken).total as u64
    }

    /// A seat for a connection from this address; `None` when all are taken.
    pub(crate) fn sit(&self, remote: IpAddr) -> Option<Seat> {
        let remote = remote.to_canonical();
        let site = site(remote);
        let mut taken = lock(&self.taken);
        let here = taken.by_site.get(&site).copied().unwrap_or(0);
        let is_crowded = here >= self.limits.connections_per_address_max && !is_exempt(remote);
        if taken.total >= self.limits.connections_max || is_crowded {
            return None;
        }
        taken.total += 1;
        taken.by_site.insert(site, here + 1);
        drop(taken);
        Some(Seat { taken: self.taken.clone(), site })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.total -= 1;
        if let Some(here) = taken.by_site.get_mut(&self.site) {
            *here -= 1;
            if *here == 0 {
                taken.by_site.remove(&self.site);
            }
        }
    }
}

fn lock(taken: &Mutex<Taken>) -> MutexGuard<'_, Taken> {
    taken.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The part of an address its owner cannot vary: all of IPv4, the /64 of IPv6.
fn site(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(connections: &Connections, ip: &str, count: usize) -> Vec<Seat> {
        (0..count).filter_map(|_| connections.sit(ip.parse().unwrap())).collect()
    }

    #[test]
    fn connections_are_bounded_in_all_and_by_address() {
        let connections = Connections::new(HttpLimits {
            connections_max: 100,
            connections_per_address_max: 10,
            ..HttpLimits::default()
        });
        let v4 = seats(&connections, "8.8.8.8", 20);
        let v6 = seats(&connections, "2001:db8::1", 5);
        let same_site = seats(&connections, "2001:db8::2", 20);
        assert_eq!((v4.len(), v6.len(), same_site.len()), (10, 5, 5));
        let local = seats(&connections, "127.0.0.1", 200);
        assert_eq!(local.len(), 80, "exempt by address, bounded in all");
        assert_eq!(connections.open(), 100);
        drop((v4, v6, same_site, local));
        assert_eq!(connections.open(), 0);
        assert!(lock(&connections.taken).by_site.is_empty(), "no address is remembered");
    }
}
