//! Where others can reach us: the addresses that go into a magnet link.
//!
//! A wildcard address is replaced by those of the machine's interfaces, the most useful
//! first. Loopback is left out where anything else exists, link-local addresses always
//! where they need a scope: they mean nothing on another machine.
//!
//! Not here: addresses as the world sees them behind a router.

use std::net::{IpAddr, SocketAddr};

/// An address of this machine, and how useful it is to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    pub(crate) ip: IpAddr,
    pub(crate) kind: Kind,
}

/// The better first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A network card, by all signs.
    Physical,
    /// A bridge to containers or virtual machines on this host.
    Virtual,
    /// 169.254.0.0/16: only when there is nothing else.
    LinkLocal,
    Loopback,
}

/// Interfaces that lead to guests of this machine, by the start of their names.
const VIRTUAL: [&str; 9] =
    ["docker", "br-", "veth", "virbr", "vmnet", "vboxnet", "lxc", "cni", "podman"];

/// The addresses of this machine's interfaces; none when the system does not tell.
pub(crate) fn local() -> Vec<Local> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let up =
        interfaces.iter().filter(|interface| interface.is_oper_up() || interface.is_loopback());
    up.filter_map(|interface| classify(&interface.name, interface.ip())).collect()
}

/// `None` for IPv6 link-local addresses.
fn classify(name: &str, ip: IpAddr) -> Option<Local> {
    let kind = match ip {
        _ if ip.is_loopback() => Kind::Loopback,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => return None,
        IpAddr::V4(v4) if v4.is_link_local() => Kind::LinkLocal,
        _ if VIRTUAL.iter().any(|start| name.starts_with(start)) => Kind::Virtual,
        _ => Kind::Physical,
    };
    Some(Local { ip, kind })
}

/// What to tell others, for what we listen on. Never empty where `listen` is not.
pub(crate) fn reachable(listen: &[SocketAddr], local: &[Local]) -> Vec<SocketAddr> {
    let mut ranked: Vec<(Kind, bool, SocketAddr)> = Vec::new();
    for addr in listen {
        if !addr.ip().is_unspecified() {
            let kind = if addr.ip().is_loopback() { Kind::Loopback } else { Kind::Physical };
            ranked.push((kind, addr.is_ipv6(), *addr));
            continue;
        }
        let same_family = local.iter().filter(|local| local.ip.is_ipv4() == addr.is_ipv4());
        ranked.extend(
            same_family.map(|local| {
                (local.kind, local.ip.is_ipv6(), SocketAddr::new(local.ip, addr.port()))
            }),
        );
    }
    ranked.sort_by_key(|(kind, v6, _)| (*kind, *v6));
    let best = ranked.first().map(|(kind, ..)| *kind);
    let explicit = |addr: &SocketAddr| listen.contains(addr);
    let useful = |kind: &Kind| match kind {
        Kind::Physical | Kind::Virtual => true,
        Kind::LinkLocal | Kind::Loopback => best == Some(*kind),
    };
    let mut out: Vec<SocketAddr> = Vec::new();
    for (kind, _, addr) in ranked {
        if (useful(&kind) || explicit(&addr)) && !out.contains(&addr) {
            out.push(addr);
        }
    }
    if out.is_empty() { listen.to_vec() } else { out }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(addrs: &[(&str, &str)]) -> Vec<Local> {
        addrs.iter().filter_map(|(name, ip)| classify(name, ip.parse().unwrap())).collect()
    }

    fn told(listen: &[&str], local: &[Local]) -> Vec<String> {
        let listen: Vec<SocketAddr> = listen.iter().map(|addr| addr.parse().unwrap()).collect();
        reachable(&listen, local).iter().map(ToString::to_string).collect()
    }

    const WILD: [&str; 2] = ["0.0.0.0:7", "[::]:7"];

    #[test]
    fn the_network_card_comes_first_and_loopback_is_left_out() {
        let local = machine(&[
            ("lo", "127.0.0.1"),
            ("lo", "::1"),
            ("docker0", "172.17.0.1"),
            ("eth0", "2001:db8::5"),
            ("eth0", "fe80::1"),
            ("eth0", "192.168.1.5"),
        ]);
        assert_eq!(told(&WILD, &local), ["192.168.1.5:7", "[2001:db8::5]:7", "172.17.0.1:7"]);
    }

    #[test]
    fn loopback_is_used_where_there_is_nothing_else() {
        let local = machine(&[("lo", "127.0.0.1"), ("lo", "::1"), ("eth0", "fe80::1")]);
        assert_eq!(told(&WILD, &local), ["127.0.0.1:7", "[::1]:7"]);
        let local = machine(&[("lo", "127.0.0.1"), ("eth0", "169.254.3.4")]);
        assert_eq!(told(&WILD, &local), ["169.254.3.4:7"]);
    }

    #[test]
    fn addresses_named_by_the_user_are_told_as_they_are() {
        let local = machine(&[("eth0", "192.168.1.5")]);
        assert_eq!(told(&["127.0.0.2:9", "10.0.0.1:9"], &local), ["10.0.0.1:9", "127.0.0.2:9"]);
    }

    #[test]
    fn a_machine_that_tells_nothing_leaves_what_was_bound() {
        assert_eq!(told(&WILD, &[]), WILD);
    }
}
