//! Every knob of the tracker with its default, its unit and its reason.

use crate::swarms::{AGE_WRAP_SECS, FOREIGN_INTERVAL_MIN};
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use swarm_core::types::InfoHash;

/// The port trackers are known to use.
pub const DEFAULT_PORT: u16 = 6969;
/// The longest interval that can be set. Beyond it, ages would not fit their field.
pub const INTERVAL_MAX: Duration = Duration::from_secs(7200);
/// The shortest interval that can be set.
pub const INTERVAL_MIN: Duration = FOREIGN_INTERVAL_MIN;
/// The most peers per address and swarm that can be set: they are counted one by one.
pub const PEERS_PER_ADDRESS_MAX: usize = 1024;

/// How a tracker behaves. Start from [`TrackerConfig::default`] and change what you need.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TrackerConfig {
    /// Addresses to serve HTTP on; port 0 takes a free one. Empty: accept none, and serve
    /// only connections that are handed over. Default: port 6969 of all IPv4 and IPv6
    /// addresses.
    pub http: Vec<SocketAddr>,
    /// Addresses to serve UDP on. On a machine with several addresses name each one: replies
    /// leave from the address named. Default as for HTTP.
    pub udp: Vec<SocketAddr>,
    /// The swarms to serve; `None` serves any. Default any.
    pub allowed: Option<BTreeSet<InfoHash>>,
    /// Bounds of what is stored, and for how long.
    pub limits: Limits,
    /// Bounds of HTTP connections.
    pub http_limits: HttpLimits,
    /// How long a UDP connection id holds. Default 120 s (BEP 15).
    pub connection_id_lifetime: Duration,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        let all = all_addresses(DEFAULT_PORT);
        Self {
            http: all.clone(),
            udp: all,
            allowed: None,
            limits: Limits::default(),
            http_limits: HttpLimits::default(),
            connection_id_lifetime: Duration::from_secs(120),
        }
    }
}

/// All addresses of both families. They are separate sockets: an IPv4 client is never seen
/// under an IPv6 address.
pub(crate) fn all_addresses(port: u16) -> Vec<SocketAddr> {
    vec![(Ipv4Addr::UNSPECIFIED, port).into(), (Ipv6Addr::UNSPECIFIED, port).into()]
}

/// Bounds of what is stored, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Swarms in all. Default 1,000,000.
    pub swarms_max: usize,
    /// Peers in all. Default 5,000,000.
    pub peers_max: usize,
    /// Peers of one swarm. Default 100,000.
    pub peers_per_swarm_max: usize,
    /// Peers of one IPv4 address, or one IPv6 /64, in one swarm; up to
    /// [`PEERS_PER_ADDRESS_MAX`]. Loopback and private addresses have no such limit.
    /// Default 8.
    pub peers_per_address_max: usize,
    /// Between two announces of a peer in a settled swarm; from [`INTERVAL_MIN`] to
    /// [`INTERVAL_MAX`]. Each one is off by up to a tenth. Default 15 min.
    pub interval: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            swarms_max: 1_000_000,
            peers_max: 5_000_000,
            peers_per_swarm_max: 100_000,
            peers_per_address_max: 8,
            interval: Duration::from_secs(900),
        }
    }
}

impl Limits {
    /// The same limits, each within what it can be.
    pub(crate) fn clamped(self) -> Self {
        Self {
            peers_per_address_max: self.peers_per_address_max.min(PEERS_PER_ADDRESS_MAX),
            interval: self.interval.clamp(INTERVAL_MIN, INTERVAL_MAX),
            ..self
        }
    }

    /// Seconds after which a silent peer is forgotten: two intervals and a fifth.
    pub(crate) fn peer_age_secs_max(&self) -> u32 {
        let secs = u32::try_from(self.interval.as_secs()).unwrap_or(u32::MAX);
        (secs.saturating_mul(2).saturating_add(secs / 5)).min(AGE_WRAP_SECS - AGE_WRAP_SECS / 32)
    }
}

/// Bounds of HTTP connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpLimits {
    /// Connections at a time. Default 4096.
    pub connections_max: usize,
    /// Connections at a time from one IPv4 address or one IPv6 /64. Loopback and private
    /// addresses have no such limit. Default 64.
    pub connections_per_address_max: usize,
    /// For a request's head to arrive whole, and for a reply to be taken. Default 10 s.
    pub head_timeout: Duration,
    /// Between two requests of a connection. Default 60 s.
    pub idle_timeout: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections_max: 4096,
            connections_per_address_max: 64,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_kept_within_what_they_can_be() {
        let wild = Limits {
            interval: Duration::from_secs(1_000_000),
            peers_per_address_max: 1 << 20,
            ..Limits::default()
        };
        assert_eq!(wild.clamped().interval, INTERVAL_MAX);
        assert_eq!(wild.clamped().peers_per_address_max, PEERS_PER_ADDRESS_MAX);
        let hasty = Limits { interval: Duration::ZERO, ..Limits::default() };
        assert_eq!(hasty.clamped().interval, INTERVAL_MIN);
    }

    #[test]
    fn ages_stay_well_below_their_wrap() {
        let longest = Limits { interval: INTERVAL_MAX, ..Limits::default() };
        let sweep_secs = 60;
        assert_eq!(longest.peer_age_secs_max(), 15_840);
        assert!(longest.peer_age_secs_max() + 2 * sweep_secs < AGE_WRAP_SECS);
        assert_eq!(Limits::default().peer_age_secs_max(), 1980);
    }
}
