//! Addresses in links and torrents: a host, which may be a name, and a port.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

/// Where a peer or a DHT node may be: a host, by name or by number, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerAddr {
    /// A name or an address; an IPv6 address without brackets.
    pub host: String,
    /// The port, never 0.
    pub port: u16,
}

impl PeerAddr {
    /// `None` when the port is 0, or the host no name and no address.
    #[must_use]
    pub fn new(host: &str, port: u16) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        let named = host.len() <= 253 && !host.is_empty() && host.bytes().all(plain);
        let valid = port != 0 && (named || host.parse::<Ipv6Addr>().is_ok());
        valid.then(|| Self { host: host.to_owned(), port })
    }
}

/// The text is no `HOST:PORT` or `[IPV6]:PORT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an address of the form HOST:PORT")]
#[non_exhaustive]
pub struct PeerAddrError;

impl FromStr for PeerAddr {
    type Err = PeerAddrError;

    fn from_str(text: &str) -> Result<Self, PeerAddrError> {
        let (host, port) = text.rsplit_once(':').ok_or(PeerAddrError)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = bracketed.unwrap_or(host);
        // An IPv6 address, and nothing else, has brackets: they show where the port begins.
        let plain = bracketed.is_some() == host.contains(':');
        let digits = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| plain && digits).ok_or(PeerAddrError)?;
        Self::new(host, port).ok_or(PeerAddrError)
    }
}

impl fmt::Display for PeerAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
