//! Why a tracker cannot start.

use std::io;
use std::net::SocketAddr;

/// Why a tracker cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be listened on.
    #[error("cannot listen on {addr} for {protocol}: {source}")]
    Bind {
        /// For which protocol.
        protocol: Protocol,
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system has no random bytes to make secrets of.
    #[error("no random bytes from the system: {0}")]
    Entropy(#[source] io::Error),
}

/// What an address is listened on for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP announces, over TCP.
    Http,
    /// UDP announces (BEP 15).
    Udp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Udp => "UDP",
        })
    }
}
