//! Which of our addresses to speak from.
//!
//! A tracker lists the address that an announce comes from, and a peer tells others of the one
//! that a connection comes from. Who listens on one address of several therefore speaks from
//! that one: on another nobody would answer.
//!
//! Not here: binding the sockets.

use crate::wire::tracker::Family;
use std::net::{IpAddr, SocketAddr};

/// The addresses we listen on, by family; `None` where we do not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListenAddrs {
    /// Over IPv4.
    pub(crate) v4: Option<SocketAddr>,
    /// Over IPv6.
    pub(crate) v6: Option<SocketAddr>,
}

impl ListenAddrs {
    /// Of all the addresses we listen on. Of several of one family the first counts that is
    /// known beyond this machine.
    pub(crate) fn of(addrs: &[SocketAddr]) -> Self {
        let best = |family: Family| {
            let of_family = || addrs.iter().filter(|addr| Family::of(addr.ip()) == family);
            let far = of_family().find(|addr| !addr.ip().is_loopback());
            far.or_else(|| of_family().next()).copied()
        };
        Self { v4: best(Family::V4), v6: best(Family::V6) }
    }

    /// The address to speak to `target` from; see [`source_for`].
    pub(crate) fn source_for(&self, target: IpAddr) -> Option<IpAddr> {
        let listen = if target.is_ipv4() { self.v4 } else { self.v6 };
        source_for(listen, target.is_loopback())
    }
}

/// The address to speak from where we listen on `listen`; `None` when any will do, or when
/// that one cannot reach the other side.
pub(crate) fn source_for(listen: Option<SocketAddr>, is_target_loopback: bool) -> Option<IpAddr> {
    let ip = listen?.ip();
    // A link-local address is none without the name of its link.
    let is_usable = match ip {
        IpAddr::V4(ip) => !ip.is_unspecified(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_unicast_link_local(),
    };
    (is_usable && (!ip.is_loopback() || is_target_loopback)).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(listen: &[&str], target: &str) -> Option<String> {
        let addrs: Vec<SocketAddr> = listen.iter().map(|text| text.parse().unwrap()).collect();
        let source = ListenAddrs::of(&addrs).source_for(target.parse().unwrap());
        source.map(|ip| ip.to_string())
    }

    #[test]
    fn who_listens_on_one_address_speaks_from_it() {
        assert_eq!(source(&["10.0.0.1:5"], "10.9.9.9").as_deref(), Some("10.0.0.1"));
        assert_eq!(source(&["10.0.0.1:5"], "127.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(source(&["127.0.0.2:5"], "127.0.0.1").as_deref(), Some("127.0.0.2"));
        assert_eq!(source(&["[2001:db8::1]:5"], "2001:db8::9").as_deref(), Some("2001:db8::1"));
    }

    #[test]
    fn who_listens_on_all_or_cannot_get_out_from_there_leaves_it_to_the_system() {
        assert_eq!(source(&["0.0.0.0:5", "[::]:5"], "10.9.9.9"), None);
        assert_eq!(source(&["127.0.0.2:5"], "10.9.9.9"), None);
        assert_eq!(source(&["[fe80::1]:5"], "fe80::9"), None);
        assert_eq!(source(&["10.0.0.1:5"], "2001:db8::9"), None, "another family");
        assert_eq!(source(&[], "10.9.9.9"), None);
    }

    #[test]
    fn of_several_addresses_the_first_counts_that_others_can_reach() {
        let listen = ["127.0.0.1:5", "10.0.0.1:6", "10.0.0.2:7"];
        assert_eq!(source(&listen, "10.9.9.9").as_deref(), Some("10.0.0.1"));
    }
}
