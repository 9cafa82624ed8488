//! Why a web server gave nothing.
//!
//! Not here: what a tracker's answer lacks (`trackers::error`).

use crate::types::Limit;
use std::error::Error;
use std::io;
use std::net::IpAddr;

/// Why a request came to nothing. No variant holds a URL: it may be told to anyone, though texts
/// in it are a stranger's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebError {
    /// The URL is none, or lacks what its scheme needs.
    #[error("not a usable URL")]
    BadUrl,
    /// The name does not resolve.
    #[error("cannot resolve the name")]
    Resolve,
    /// The name has no address of a family we can use.
    #[error("the name has no address we can use")]
    NoAddress,
    /// It leads to an address that nothing may lead us to.
    #[error("it leads to {0}, which is not allowed")]
    Forbidden(IpAddr),
    /// It leads to this machine or its network, and may not.
    #[error("it leads to {0}, and a torrent may name only announces in a local network")]
    Inwards(IpAddr),
    /// No answer in time.
    #[error("timed out")]
    TimedOut,
    /// The network failed.
    #[error("{}", network(*.0))]
    Network(io::ErrorKind),
    /// TLS or HTTP failed.
    #[error("{0}")]
    Http(String),
    /// It redirected too often, or to where none may lead.
    #[error("the redirect {0}")]
    Redirect(RedirectFault),
    /// The answer is longer than it may be: so many bytes had come.
    #[error("the answer is too long")]
    TooLong(usize),
    /// An answer that is no success.
    #[error("HTTP status {0}")]
    Status(u16),
}

/// What is wrong with a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectFault {
    /// More than five in a row.
    #[error("is one too many")]
    TooMany,
    /// From `https` to `http`.
    #[error("leads from https to http")]
    Downgrade,
    /// No location, or none with a scheme we speak.
    #[error("leads nowhere")]
    Nowhere,
    /// From a wider network into a narrower one.
    #[error("leads into a local network")]
    Inwards,
}

impl WebError {
    /// The bound that has bitten, if one has.
    pub(crate) const fn limit(&self) -> Option<Limit> {
        match self {
            Self::Forbidden(_) | Self::Inwards(_) => Some(Limit::AddressRefused),
            Self::Redirect(_) => Some(Limit::Redirects),
            Self::TimedOut => Some(Limit::TrackerTime),
            Self::TooLong(_) => Some(Limit::TrackerReply),
            _ => None,
        }
    }
}

impl From<io::Error> for WebError {
    fn from(error: io::Error) -> Self {
        error.kind().into()
    }
}

impl From<io::ErrorKind> for WebError {
    fn from(kind: io::ErrorKind) -> Self {
        match kind {
            io::ErrorKind::TimedOut => Self::TimedOut,
            kind => Self::Network(kind),
        }
    }
}

/// The cause at the bottom of a library error, without the URL that the library would show.
pub(super) fn blame(error: reqwest::Error) -> WebError {
    if error.is_timeout() {
        return WebError::TimedOut;
    }
    let error = error.without_url();
    let mut cause: &(dyn Error + 'static) = &error;
    while let Some(source) = cause.source() {
        cause = source;
        if let Some(ours) = cause.downcast_ref::<WebError>() {
            return ours.clone();
        }
    }
    match cause.downcast_ref::<io::Error>() {
        Some(error) if error.kind() != io::ErrorKind::Other => error.kind().into(),
        _ => WebError::Http(cause.to_string()),
    }
}

/// The kinds a user meets, in the user's words.
fn network(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            "connection closed before an answer".to_owned()
        }
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            "unreachable".to_owned()
        }
        kind => kind.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bound_refuses_is_counted_as_its_bite() {
        for (error, limit) in [
            (WebError::Forbidden([0; 4].into()), Some(Limit::AddressRefused)),
            (WebError::Inwards([127, 0, 0, 1].into()), Some(Limit::AddressRefused)),
            (WebError::Redirect(RedirectFault::TooMany), Some(Limit::Redirects)),
            (WebError::TimedOut, Some(Limit::TrackerTime)),
            (WebError::TooLong(1), Some(Limit::TrackerReply)),
            (WebError::Status(500), None),
        ] {
            assert_eq!(error.limit(), limit, "{error}");
        }
    }
}
