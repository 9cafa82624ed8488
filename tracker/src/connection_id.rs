//! Connection ids (BEP 15): proof that a UDP sender receives what is sent to its address.
//!
//! Nothing is kept per client. An id is the second it was made in and a keyed hash of that
//! second and the address, so that only its receiver can know it, and only for two minutes.
//! The port is no part of it: a NAT may change it between two packets (DISCOVERY 3.1).
//!
//! Guessing an id blindly takes about 2^31 packets for each second it could be from.

use siphasher::sip::SipHasher24;
use std::hash::Hasher as _;
use std::net::IpAddr;
use std::time::Duration;
use swarm_core::types::Moment;
use swarm_core::wire::tracker_udp::ConnectionId;

/// How far in the future an id may be: workers read the clock one after the other.
const SKEW_SECS: u32 = 10;

/// Makes and checks connection ids.
#[derive(Clone, Copy)]
pub(crate) struct ConnectionIds {
    key: [u64; 2],
    lifetime_secs: u32,
}

impl std::fmt::Debug for ConnectionIds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The key is a secret.
        f.debug_struct("ConnectionIds").field("lifetime_secs", &self.lifetime_secs).finish()
    }
}

impl ConnectionIds {
    pub(crate) fn new(key: [u64; 2], lifetime: Duration) -> Self {
        Self { key, lifetime_secs: u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX) }
    }

    /// An id for the client at `ip`.
    pub(crate) fn issue(&self, now: Moment, ip: IpAddr) -> ConnectionId {
        let made = seconds(now);
        ConnectionId(u64::from(made) << 32 | u64::from(self.tag(made, ip)))
    }

    /// Whether we gave this id to the client at `ip` not too long ago.
    pub(crate) fn holds(&self, now: Moment, ip: IpAddr, id: ConnectionId) -> bool {
        let [made, tag] = halves(id);
        // Wraps after 136 years, as the field does.
        let age = seconds(now).wrapping_sub(made);
        let in_time = age <= self.lifetime_secs || age.wrapping_neg() <= SKEW_SECS;
        // One comparison of one machine word takes the same time wherever the bits differ.
        let is_ours = (self.tag(made, ip) ^ tag) == 0;
        in_time & is_ours
    }

    fn tag(&self, made: u32, ip: IpAddr) -> u32 {
        let [key0, key1] = self.key;
        let mut hasher = SipHasher24::new_with_keys(key0, key1);
        hasher.write(&made.to_be_bytes());
        match ip.to_canonical() {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        let [_, tag] = halves(ConnectionId(hasher.finish()));
        tag
    }
}

fn halves(id: ConnectionId) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = id.0.to_be_bytes();
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
}

fn seconds(now: Moment) -> u32 {
    // Masked to 32 bits: always fits.
    u32::try_from((now.as_micros() / 1_000_000) & u64::from(u32::MAX)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(120);

    fn at(secs: u64) -> Moment {
        Moment::ZERO + Duration::from_secs(secs)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_id_lives_for_its_lifetime_and_a_little_before() {
        let ids = ConnectionIds::new([1, 2], LIFETIME);
        let id = ids.issue(at(1000), ip("1.2.3.4"));
        let cases =
            [(989, false), (990, true), (1000, true), (1120, true), (1121, false), (1150, false)];
        for (secs, expected) in cases {
            assert_eq!(ids.holds(at(secs), ip("1.2.3.4"), id), expected, "{secs}");
        }
    }

    #[test]
    fn an_id_is_for_one_address_under_one_key() {
        let ids = ConnectionIds::new([1, 2], LIFETIME);
        let id = ids.issue(at(9), ip("1.2.3.4"));
        assert!(ids.holds(at(9), ip("::ffff:1.2.3.4"), id), "mapped is the same address");
        assert!(!ids.holds(at(9), ip("1.2.3.5"), id));
        assert!(!ids.holds(at(9), ip("2001:db8::1"), id));
        assert!(!ConnectionIds::new([1, 3], LIFETIME).holds(at(9), ip("1.2.3.4"), id));
    }

    #[test]
    fn no_bit_of_an_id_can_be_changed() {
        let ids = ConnectionIds::new([7, 8], LIFETIME);
        let id = ids.issue(at(500), ip("2001:db8::1"));
        for bit in 0..64 {
            let changed = ConnectionId(id.0 ^ (1 << bit));
            assert!(!ids.holds(at(500), ip("2001:db8::1"), changed), "{bit}");
        }
    }

    #[test]
    fn ids_outlive_the_wrap_of_their_clock() {
        let ids = ConnectionIds::new([1, 2], LIFETIME);
        let wrap = u64::from(u32::MAX) + 1;
        let id = ids.issue(at(wrap - 5), ip("1.2.3.4"));
        assert!(ids.holds(at(wrap + 5), ip("1.2.3.4"), id));
        assert!(!ids.holds(at(wrap + 200), ip("1.2.3.4"), id));
    }

    #[test]
    fn the_key_is_not_shown() {
        let shown = format!("{:?}", ConnectionIds::new([0xDEAD, 0xBEEF], LIFETIME));
        assert_eq!(shown, "ConnectionIds { lifetime_secs: 120 }");
    }
}
