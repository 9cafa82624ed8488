//! Names and literals to addresses that may be connected to (LIMITS 1.G).
//!
//! Whoever connects does so to these addresses and looks nothing up a second time.

use super::WebError;
use crate::proto::candidates::AddressPolicy;
use crate::proto::candidates::scope::Scope;
use crate::proto::input::Source;
use crate::wire::tracker::Family;
use std::net::{IpAddr, SocketAddr};
use url::{Host, Url};

/// Addresses of one name that are kept.
const ADDRESSES_MAX: usize = 8;

/// Which addresses will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reach {
    /// Of this family; `None` of any.
    pub(crate) family: Option<Family>,
    /// As far away as this, or farther.
    pub(crate) floor: Scope,
}

impl Reach {
    /// The same, less what lies nearer than `scope`.
    pub(crate) fn no_nearer_than(self, scope: Scope) -> Self {
        Self { floor: self.floor.max(scope), ..self }
    }

    /// # Errors
    /// Why this address will not do.
    pub(crate) fn check(self, ip: IpAddr) -> Result<(), WebError> {
        if self.family.is_some_and(|family| Family::of(ip) != family) {
            return Err(WebError::NoAddress);
        }
        // Not an address that nobody has, nor a cloud's metadata service. Any port will do.
        if !AddressPolicy::Lan.accepts(Source::Tracker, SocketAddr::new(ip, 1)) {
            return Err(WebError::Forbidden(ip));
        }
        if Scope::of(ip) < self.floor { Err(WebError::Inwards(ip)) } else { Ok(()) }
    }
}

/// The addresses of a host name or literal. The port, never 0, is given to each.
pub(crate) async fn lookup(
    host: &str,
    port: u16,
    reach: Reach,
) -> Result<Vec<SocketAddr>, WebError> {
    let all = tokio::net::lookup_host((host, port)).await.map_err(|_| WebError::Resolve)?;
    judge(all, reach)
}

/// Those of the addresses that will do.
fn judge(all: impl Iterator<Item = SocketAddr>, reach: Reach) -> Result<Vec<SocketAddr>, WebError> {
    let (mut allowed, mut refused) = (Vec::new(), WebError::NoAddress);
    for addr in all.map(|addr| SocketAddr::new(addr.ip().to_canonical(), addr.port())) {
        match reach.check(addr.ip()) {
            Ok(()) if allowed.len() < ADDRESSES_MAX => allowed.push(addr),
            Ok(()) | Err(WebError::NoAddress) => {}
            Err(why) => refused = why,
        }
    }
    if allowed.is_empty() { Err(refused) } else { Ok(allowed) }
}

/// Whether a URL whose host is a literal address may be connected to. A name is judged when it
/// is looked up.
pub(super) fn check_literal(url: &Url, reach: Reach) -> Result<(), WebError> {
    match url.host().ok_or(WebError::BadUrl)? {
        Host::Domain(_) => Ok(()),
        Host::Ipv4(ip) => reach.check(IpAddr::V4(ip)),
        Host::Ipv6(ip) => reach.check(IpAddr::V6(ip).to_canonical()),
    }
}

/// The host for [`lookup`]: without the brackets that a URL puts around IPv6.
pub(crate) fn host_of(url: &Url) -> Result<String, WebError> {
    Ok(match url.host().ok_or(WebError::BadUrl)? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANY: Reach = Reach { family: None, floor: Scope::Loopback };
    const V4: Reach = Reach { family: Some(Family::V4), ..ANY };
    const V6: Reach = Reach { family: Some(Family::V6), ..ANY };

    #[tokio::test]
    async fn addresses_of_the_other_family_do_not_count() {
        let addrs = |text: &str| Ok(vec![text.parse().unwrap()]);
        assert_eq!(lookup("127.0.0.1", 7, V4).await, addrs("127.0.0.1:7"));
        assert_eq!(lookup("127.0.0.1", 7, V6).await, Err(WebError::NoAddress));
        assert_eq!(lookup("::1", 7, V6).await, addrs("[::1]:7"));
        assert_eq!(lookup("::1", 7, ANY).await, addrs("[::1]:7"));
        assert_eq!(lookup("::ffff:127.0.0.1", 7, V4).await, addrs("127.0.0.1:7"));
    }

    /// In every spelling, whoever named it and however it is asked for.
    #[tokio::test]
    async fn a_metadata_service_is_never_reached() {
        for host in [
            "169.254.169.254",
            "2852039166",
            "0xa9fea9fe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "169.254.170.2",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "[::ffff:169.254.169.254]",
            "[::169.254.169.254]",
            "[64:ff9b::169.254.169.254]",
            "[64:ff9b:1::169.254.169.254]",
            "[2002:a9fe:a9fe::1]",
            "[fe80::5efe:169.254.169.254]",
            "[fd00:ec2::254]",
            "[fd20:ce::254]",
            "0.0.0.0",
            "255.255.255.255",
            "[::]",
            "[ff02::1]",
            "[64:ff9b::0.0.0.0]",
        ] {
            let url = Url::parse(&format!("http://{host}/announce")).unwrap();
            let literal = check_literal(&url, ANY);
            assert!(matches!(literal, Err(WebError::Forbidden(_))), "{host}: {literal:?}");
            // A UDP URL leaves the spelling to the system.
            let url = Url::parse(&format!("udp://{host}:80")).unwrap();
            let found = lookup(&host_of(&url).unwrap(), 80, ANY).await;
            let refused = matches!(found, Err(WebError::Forbidden(_) | WebError::Resolve));
            assert!(refused, "{host}: {found:?}");
        }
    }

    #[test]
    fn an_address_nearer_than_the_floor_is_refused_in_any_disguise() {
        let outside = Reach { floor: Scope::Global, ..ANY };
        for text in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.5.5",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.1.1",
            "::1",
            "fd12::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b::7f00:1",
            "2002:c0a8:101::1",
            "2001:0:1:2:3:4:f5ff:fffe",
            "2001:db8::5efe:10.0.0.1",
        ] {
            let ip: IpAddr = text.parse::<IpAddr>().unwrap().to_canonical();
            assert_eq!(outside.check(ip), Err(WebError::Inwards(ip)), "{text}");
        }
        for text in ["1.2.3.4", "2606:4700::1", "64:ff9b::1.2.3.4", "2002:102:304::1"] {
            assert_eq!(outside.check(text.parse().unwrap()), Ok(()), "{text}");
        }
    }

    /// LIMITS C03: what a server of the internet says cannot lead to our neighbours, and what a
    /// neighbour says cannot lead to us.
    #[test]
    fn no_redirect_leads_from_a_wider_network_into_a_narrower_one() {
        let [us, neighbour, far] =
            ["127.0.0.1", "10.0.0.1", "1.2.3.4"].map(|ip| ip.parse().unwrap());
        for (from, allowed) in
            [(us, [true; 3]), (neighbour, [false, true, true]), (far, [false, false, true])]
        {
            let reach = ANY.no_nearer_than(Scope::of(from));
            assert_eq!([us, neighbour, far].map(|ip| reach.check(ip).is_ok()), allowed, "{from}");
        }
    }

    #[test]
    fn of_several_addresses_only_those_that_will_do_are_kept_and_few() {
        let outside = Reach { floor: Scope::Global, ..ANY };
        let addrs = |texts: &[&str]| {
            texts.iter().map(|text| SocketAddr::new(text.parse().unwrap(), 1)).collect::<Vec<_>>()
        };
        let mixed = addrs(&["127.0.0.1", "1.2.3.4", "169.254.169.254"]);
        assert_eq!(judge(mixed.into_iter(), outside), Ok(addrs(&["1.2.3.4"])));
        let many = (0..100u8).map(|n| SocketAddr::from(([1, 2, 3, n], 1)));
        assert_eq!(judge(many, ANY).unwrap().len(), ADDRESSES_MAX);
    }

    proptest! {
        /// Whatever a name server answers: only what the reach allows is connected to.
        #[test]
        fn nothing_out_of_reach_is_ever_connected_to(
            v4 in prop::collection::vec(any::<u32>(), 0..6),
            near in prop::collection::vec((0usize..6, any::<u16>()), 0..6),
            v6 in prop::collection::vec(any::<u128>(), 0..6),
            floor in 0usize..3,
        ) {
            let floor = [Scope::Loopback, Scope::Local, Scope::Global][floor];
            let nets = [0x7f00_0000, 0x0a00_0000, 0xc0a8_0000, 0xa9fe_0000, 0x6440_0000, 0];
            let disguised = near.iter().map(|(net, low)| nets[*net] + u32::from(*low)).chain(v4);
            let all = disguised.flat_map(|bits| {
                let nat64 = (0x0064_ff9b_u128 << 96) + u128::from(bits);
                let mapped = (0xffff_u128 << 32) + u128::from(bits);
                [IpAddr::V4(bits.into()), IpAddr::V6(nat64.into()), IpAddr::V6(mapped.into())]
            });
            let all: Vec<IpAddr> = all.chain(v6.into_iter().map(|bits| IpAddr::V6(bits.into()))).collect();
            let reach = Reach { family: None, floor };
            let found = judge(all.iter().map(|ip| SocketAddr::new(*ip, 1)), reach);
            for addr in found.unwrap_or_default() {
                let v4 = match addr.ip() {
                    IpAddr::V4(ip) => Some(ip),
                    // The low half of what is translated is where it ends up.
                    IpAddr::V6(ip) if ip.to_bits() >> 96 == 0x0064_ff9b => {
                        Some(u32::try_from(ip.to_bits() & 0xffff_ffff).unwrap().into())
                    }
                    IpAddr::V6(_) => None,
                };
                let is_near = v4.is_some_and(|ip| ip.is_loopback());
                prop_assert!(!(is_near && floor > Scope::Loopback), "{addr}");
                let is_local = v4.is_some_and(|ip| ip.is_private() || ip.is_link_local());
                prop_assert!(!(is_local && floor > Scope::Local), "{addr}");
                prop_assert!(v4.is_none_or(|ip| ip.octets()[..3] != [169, 254, 169]), "{addr}");
            }
        }
    }
}
