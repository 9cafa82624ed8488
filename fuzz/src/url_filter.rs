//! URLs of trackers and web seeds, and addresses from strangers: what passes is what it looks
//! like, read by another parser, and never points where it may not (LIMITS A24, A25, 1.G).

use super::script::Script;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use swarm_core::metainfo::{URL_MAX_BYTES, UrlUse, check_url};
use swarm_core::proto::candidates::AddressPolicy;
use swarm_core::proto::input::Source;

/// A kind, then a URL or addresses.
pub fn run(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => check(rest, UrlUse::Tracker),
        1 => check(rest, UrlUse::WebSeed),
        _ => addresses(Script::new(rest)),
    }
}

fn check(bytes: &[u8], purpose: UrlUse) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if check_url(text, purpose).is_err() {
        return;
    }
    assert!(text.len() <= URL_MAX_BYTES && !text.chars().any(char::is_control));
    // What another parser refuses is sent nowhere.
    let Ok(read) = url::Url::parse(text) else { return };
    let web = matches!(read.scheme(), "http" | "https");
    assert!(web || (read.scheme() == "udp" && purpose == UrlUse::Tracker), "{text:?}");
    let host = read.host_str().unwrap_or_default();
    assert!(!host.is_empty() && host.is_ascii(), "{text:?} goes to {host:?}");
    assert!(!host.split('.').any(|label| label.starts_with("xn--")), "{text:?}");
    assert_ne!(read.port(), Some(0), "{text:?}");
    assert!(web || read.port().is_some(), "{text:?}");
    if purpose == UrlUse::Tracker {
        for (key, _) in read.query_pairs() {
            let imitates = matches!(&*key, "info_hash" | "peer_id" | "port" | "event" | "left");
            assert!(!imitates, "{text:?}");
        }
    }
}

fn addresses(mut script: Script<'_>) {
    while !script.is_empty() {
        let ip = match script.byte() % 3 {
            0 => IpAddr::from(octets::<4>(&mut script)),
            1 => IpAddr::from(octets::<16>(&mut script)),
            _ => IpAddr::from(Ipv4Addr::from(octets::<4>(&mut script)).to_ipv6_mapped()),
        };
        let addr = SocketAddr::new(ip, script.short());
        for source in [Source::Tracker, Source::Pex] {
            for policy in [AddressPolicy::Lan, AddressPolicy::Internet] {
                let passes = policy.accepts(source, addr);
                let canonical = SocketAddr::new(addr.ip().to_canonical(), addr.port());
                assert_eq!(passes, policy.accepts(source, canonical), "{addr} is {canonical}");
                assert!(!(passes && is_nobody(canonical)), "{addr}");
                let internet = policy == AddressPolicy::Internet;
                assert!(!(passes && internet && is_near(canonical)), "{addr}");
            }
        }
    }
}

fn octets<const N: usize>(script: &mut Script<'_>) -> [u8; N] {
    std::array::from_fn(|_| script.byte())
}

/// Where nobody can be, and where a cloud keeps its secrets.
fn is_nobody(addr: SocketAddr) -> bool {
    let secret = match addr.ip() {
        IpAddr::V4(ip) => ip == Ipv4Addr::new(169, 254, 169, 254) || ip.is_broadcast(),
        IpAddr::V6(ip) => ip == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    };
    secret || addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast()
}

/// This machine, its network, or a port of some other service.
fn is_near(addr: SocketAddr) -> bool {
    let near = match addr.ip() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    };
    near || addr.port() < 1024
}
