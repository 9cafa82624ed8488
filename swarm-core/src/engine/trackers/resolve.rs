//! Names and literals to addresses of one family that may be connected to (LIMITS 1.G).
//!
//! Whoever connects does so to these addresses and looks nothing up a second time.

use super::AnnounceError;
use crate::proto::candidates::AddressPolicy;
use crate::proto::input::Source;
use crate::wire::tracker::Family;
use std::net::{IpAddr, SocketAddr};
use url::{Host, Url};

/// Addresses of one name that are kept.
const ADDRESSES_MAX: usize = 8;

/// The addresses of a host name or literal. The port, never 0, is given to each.
pub(super) async fn lookup(
    host: &str,
    port: u16,
    family: Family,
) -> Result<Vec<SocketAddr>, AnnounceError> {
    let all = tokio::net::lookup_host((host, port)).await.map_err(|_| AnnounceError::Resolve)?;
    let canonical = all.map(|addr| SocketAddr::new(addr.ip().to_canonical(), addr.port()));
    let (mut allowed, mut refused) = (Vec::new(), None);
    for addr in canonical.filter(|addr| Family::of(addr.ip()) == family) {
        if !is_allowed(addr.ip()) {
            refused = Some(addr.ip());
        } else if allowed.len() < ADDRESSES_MAX {
            allowed.push(addr);
        }
    }
    match (allowed.is_empty(), refused) {
        (false, _) => Ok(allowed),
        (true, Some(ip)) => Err(AnnounceError::Forbidden(ip)),
        (true, None) => Err(AnnounceError::NoAddress),
    }
}

/// Whether a URL whose host is a literal address may be connected to over this family. A name
/// is judged when it is looked up.
pub(super) fn check_literal(url: &Url, family: Family) -> Result<(), AnnounceError> {
    let ip = match url.host().ok_or(AnnounceError::BadUrl)? {
        Host::Domain(_) => return Ok(()),
        Host::Ipv4(ip) => IpAddr::V4(ip),
        Host::Ipv6(ip) => IpAddr::V6(ip).to_canonical(),
    };
    if Family::of(ip) != family {
        return Err(AnnounceError::NoAddress);
    }
    if is_allowed(ip) { Ok(()) } else { Err(AnnounceError::Forbidden(ip)) }
}

/// The host for [`lookup`]: without the brackets that a URL puts around IPv6.
pub(super) fn host_of(url: &Url) -> Result<String, AnnounceError> {
    Ok(match url.host().ok_or(AnnounceError::BadUrl)? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(ip) => ip.to_string(),
        Host::Ipv6(ip) => ip.to_string(),
    })
}

/// Not an address that nobody has, nor a cloud's metadata service. Any port will do.
fn is_allowed(ip: IpAddr) -> bool {
    AddressPolicy::Lan.accepts(Source::Tracker, SocketAddr::new(ip, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn addresses_of_the_other_family_do_not_count() {
        assert_eq!(
            lookup("127.0.0.1", 7, Family::V4).await,
            Ok(vec!["127.0.0.1:7".parse().unwrap()])
        );
        assert_eq!(lookup("127.0.0.1", 7, Family::V6).await, Err(AnnounceError::NoAddress));
        assert_eq!(lookup("::1", 7, Family::V6).await, Ok(vec!["[::1]:7".parse().unwrap()]));
        assert_eq!(
            lookup("::ffff:127.0.0.1", 7, Family::V4).await,
            Ok(vec!["127.0.0.1:7".parse().unwrap()])
        );
    }

    #[tokio::test]
    async fn a_metadata_service_is_never_reached() {
        let forbidden: IpAddr = "169.254.169.254".parse().unwrap();
        for host in ["169.254.169.254", "::ffff:169.254.169.254"] {
            assert_eq!(
                lookup(host, 80, Family::V4).await,
                Err(AnnounceError::Forbidden(forbidden))
            );
        }
        for url in ["http://169.254.169.254/", "http://[::ffff:a9fe:a9fe]/", "http://2852039166/"] {
            let url = Url::parse(url).unwrap();
            assert_eq!(check_literal(&url, Family::V4), Err(AnnounceError::Forbidden(forbidden)));
        }
    }
}
