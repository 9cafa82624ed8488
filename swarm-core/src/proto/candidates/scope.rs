//! How far an address reaches: this machine, its network, or anywhere.

use std::net::{IpAddr, Ipv6Addr};

/// Where an address means the same machine. Ordered: a wider scope is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scope {
    /// On this machine.
    Loopback,
    /// In this network: private, link-local, or behind a carrier's NAT.
    Local,
    /// Anywhere.
    Global,
}

impl Scope {
    pub(crate) fn of(ip: IpAddr) -> Self {
        let (is_loopback, is_local) = match ip.to_canonical() {
            IpAddr::V4(ip) => {
                let [first, second, ..] = ip.octets();
                let carrier_nat = first == 100 && (64..128).contains(&second);
                (ip.is_loopback(), ip.is_private() || ip.is_link_local() || carrier_nat)
            }
            IpAddr::V6(ip) => {
                (ip.is_loopback(), ip.is_unicast_link_local() || ip.is_unique_local())
            }
        };
        match (is_loopback, is_local) {
            (true, _) => Self::Loopback,
            (false, true) => Self::Local,
            (false, false) => Self::Global,
        }
    }
}

/// What one subscriber, or one machine, has of the address space: any address of an IPv6 /64 is
/// as good as another, inside a local network as outside. IPv4 addresses stand for themselves.
pub(crate) fn site_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => IpAddr::V4(ip),
        IpAddr::V6(ip) if Scope::of(IpAddr::V6(ip)) == Scope::Global => {
            IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)))
        }
        // One machine of many on one link.
        IpAddr::V6(ip) => IpAddr::V6(ip),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_address_has_its_scope() {
        for (text, scope) in [
            ("127.0.0.1", Scope::Loopback),
            ("::1", Scope::Loopback),
            ("::ffff:127.0.0.1", Scope::Loopback),
            ("10.1.2.3", Scope::Local),
            ("172.31.0.1", Scope::Local),
            ("192.168.0.1", Scope::Local),
            ("169.254.0.1", Scope::Local),
            ("100.64.0.1", Scope::Local),
            ("fe80::1", Scope::Local),
            ("fd00::1", Scope::Local),
            ("100.128.0.1", Scope::Global),
            ("172.32.0.1", Scope::Global),
            ("2001:db8::1", Scope::Global),
        ] {
            assert_eq!(Scope::of(text.parse().unwrap()), scope, "{text}");
        }
        assert!(Scope::Loopback < Scope::Local && Scope::Local < Scope::Global);
    }
}
