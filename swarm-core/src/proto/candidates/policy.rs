//! Which addresses may be dialled at all (LIMITS B29, C09, 1.G).
//!
//! Not here: which of them are known to be bad.

use super::scope::{Scope, embedded_v4};
use crate::proto::input::Source;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The network a torrent's peers are expected in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressPolicy {
    /// Local networks and fleets: private, loopback and link-local addresses are fine, and so
    /// are low ports. The default: a tracker of one's own on one's own network is the common
    /// case of this client.
    #[default]
    Lan,
    /// Public swarms: what a tracker or a peer says may not point at this machine, its network, or at
    /// a port below 1024, where some other service listens.
    Internet,
}

impl AddressPolicy {
    /// Whether an address that `source` named may be dialled.
    ///
    /// No source may name port 0, an address nobody can have, or a cloud's metadata service.
    /// What the user typed, and where a peer has come from, is else always fine.
    #[must_use]
    pub fn accepts(self, source: Source, addr: SocketAddr) -> bool {
        let ip = addr.ip().to_canonical();
        if addr.port() == 0 || is_nobody(ip) {
            return false;
        }
        match (self, source) {
            (Self::Lan, _) | (Self::Internet, Source::User | Source::Incoming) => true,
            (Self::Internet, Source::Tracker | Source::Pex) => {
                addr.port() >= 1024 && Scope::of(ip) == Scope::Global
            }
        }
    }
}

/// Unspecified, multicast, broadcast, reserved, or a metadata service of a cloud, whichever way
/// an IPv6 address leads there.
fn is_nobody(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, ..] = ip.octets();
            first == 0 || first >= 224 || is_metadata_v4(ip)
        }
        IpAddr::V6(ip) => {
            ip.is_unspecified()
                || ip.is_multicast()
                || matches!(ip.segments(), [0xfd00, 0xec2, ..] | [0xfd20, 0xce, ..])
                || embedded_v4(ip).is_some_and(|inner| is_nobody(IpAddr::V4(inner)))
        }
    }
}

/// Where clouds answer whoever asks with the keys of the machine he asks from.
fn is_metadata_v4(ip: Ipv4Addr) -> bool {
    matches!(
        ip.octets(),
        [169, 254, 169 | 170, _] | [100, 100, 100, 200] | [168, 63, 129, 16] | [192, 0, 0, 192]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [Source; 4] = [Source::User, Source::Tracker, Source::Incoming, Source::Pex];

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn nobody_may_name_an_address_that_nobody_has() {
        for text in [
            "1.2.3.4:0",
            "0.0.0.0:6881",
            "0.1.2.3:6881",
            "224.0.0.1:6881",
            "240.0.0.1:6881",
            "255.255.255.255:6881",
            "169.254.169.254:6881",
            "[::]:6881",
            "[ff02::1]:6881",
            "[fd00:ec2::254]:6881",
            "[::ffff:224.0.0.1]:6881",
            "[::ffff:169.254.169.254]:6881",
            "[64:ff9b::169.254.169.254]:6881",
            "100.100.100.200:6881",
        ] {
            for source in SOURCES {
                assert!(!AddressPolicy::Lan.accepts(source, addr(text)), "{text} from {source:?}");
            }
        }
    }

    #[test]
    fn on_the_internet_a_tracker_may_not_point_at_us_or_our_network() {
        for text in [
            "127.0.0.1:6881",
            "10.1.2.3:6881",
            "172.16.0.1:6881",
            "192.168.0.1:6881",
            "169.254.0.1:6881",
            "100.64.0.1:6881",
            "[::1]:6881",
            "[fe80::1]:6881",
            "[fd00::1]:6881",
            "[::ffff:127.0.0.1]:6881",
            "1.2.3.4:80",
        ] {
            assert!(!AddressPolicy::Internet.accepts(Source::Tracker, addr(text)), "{text}");
            assert!(!AddressPolicy::Internet.accepts(Source::Pex, addr(text)), "{text}");
            assert!(AddressPolicy::Internet.accepts(Source::User, addr(text)), "{text}");
            for source in SOURCES {
                assert!(AddressPolicy::Lan.accepts(source, addr(text)), "{text}");
            }
        }
        assert!(AddressPolicy::Internet.accepts(Source::Tracker, addr("1.2.3.4:6881")));
        assert!(AddressPolicy::Internet.accepts(Source::Tracker, addr("[2001:db8::1]:1024")));
    }
}
