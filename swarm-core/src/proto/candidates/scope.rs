//! How far an address reaches: this machine, its network, or anywhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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
    /// An IPv6 address reaches no farther than the IPv4 address that it leads to, if it does.
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => {
                let is_local = ip.is_unicast_link_local() || ip.is_unique_local() || is_nat(ip);
                let own = match ip.is_loopback() {
                    true => Self::Loopback,
                    false if is_local => Self::Local,
                    false => Self::Global,
                };
                embedded_v4(ip).map_or(own, |inner| own.min(Self::of_v4(inner)))
            }
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        let [first, second, ..] = ip.octets();
        let carrier_nat = first == 100 && (64..128).contains(&second);
        match ip.is_loopback() {
            true => Self::Loopback,
            false if ip.is_private() || ip.is_link_local() || carrier_nat => Self::Local,
            false => Self::Global,
        }
    }
}

/// The IPv4 address that an IPv6 address is translated or tunnelled to: written in front of, or
/// behind, what marks it (RFC 4291, 6052, 8215, 3056, 4380, 5214).
pub(crate) fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let low = |segments: [u16; 2]| {
        Ipv4Addr::from_bits(u32::from(segments[0]) << 16 | u32::from(segments[1]))
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, a @ 0x0100..=0xffff, b]
        | [0x64, 0xff9b, 0, 0, 0, 0, a, b]
        | [0x64, 0xff9b, 1, _, _, _, a, b]
        | [0x2002, a, b, ..]
        | [_, _, _, _, 0 | 0x200, 0x5efe, a, b] => Some(low([a, b])),
        [0x2001, 0, _, _, _, _, a, b] => Some(low([!a, !b])),
        _ => None,
    }
}

/// A network's own translator to IPv4.
fn is_nat(ip: Ipv6Addr) -> bool {
    matches!(ip.segments(), [0x64, 0xff9b, 1, ..])
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
            ("64:ff9b::1.2.3.4", Scope::Global),
            ("64:ff9b::10.1.2.3", Scope::Local),
            ("64:ff9b::127.0.0.1", Scope::Loopback),
            ("64:ff9b:1::1.2.3.4", Scope::Local),
            ("2002:7f00:1::", Scope::Loopback),
            ("2001:0:9:9:9:9:80ff:fffe", Scope::Loopback),
            ("2001:db8::200:5efe:192.168.0.1", Scope::Local),
            ("::192.168.0.1", Scope::Local),
        ] {
            assert_eq!(Scope::of(text.parse().unwrap()), scope, "{text}");
        }
        assert!(Scope::Loopback < Scope::Local && Scope::Local < Scope::Global);
    }
}
