//! Why an announce failed, and a tracker's URL without its secrets.
//!
//! Not here: what follows from a failure (`proto::announce`).

use crate::wire::tracker_http::{self, Refusal, Retry};
use std::io;
use std::net::IpAddr;
use url::Url;

/// Why an announce came to nothing. No variant holds a URL: it may be told to anyone, though
/// texts in it are a stranger's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AnnounceError {
    /// The URL is none, or lacks what its scheme needs.
    #[error("not a usable tracker URL")]
    BadUrl,
    /// The name does not resolve.
    #[error("cannot resolve the tracker's name")]
    Resolve,
    /// The name has no address of a family we can use.
    #[error("the tracker has no address we can use")]
    NoAddress,
    /// The name leads to an address that nothing may lead us to.
    #[error("the tracker's name leads to {0}, which is not allowed")]
    Forbidden(IpAddr),
    /// No answer in time.
    #[error("timed out")]
    TimedOut,
    /// The network failed.
    #[error("{}", network(*.0))]
    Network(io::ErrorKind),
    /// TLS or HTTP failed.
    #[error("{0}")]
    Http(String),
    /// The tracker redirected too often, from `https` to `http`, or to nowhere.
    #[error("the tracker's redirect {0}")]
    Redirect(RedirectFault),
    /// An answer that is no success and no refusal.
    #[error("the tracker answered with HTTP status {0}")]
    Status(u16),
    /// An answer that is none, or a refusal.
    #[error(transparent)]
    Reply(#[from] tracker_http::ReplyError),
}

/// What is wrong with a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RedirectFault {
    /// More than [`super::http::REDIRECTS_MAX`] in a row.
    #[error("is one too many")]
    TooMany,
    /// From `https` to `http`.
    #[error("leads from https to http")]
    Downgrade,
    /// No location, or none with a scheme we speak.
    #[error("leads nowhere")]
    Nowhere,
}

impl AnnounceError {
    /// What the tracker said about coming again.
    pub(crate) const fn retry(&self) -> Retry {
        match self {
            Self::Reply(tracker_http::ReplyError::Refused(Refusal { retry, .. })) => *retry,
            _ => Retry::Unspecified,
        }
    }
}

impl From<io::Error> for AnnounceError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::TimedOut => Self::TimedOut,
            kind => Self::Network(kind),
        }
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

/// A tracker's URL to show or log: without user name, password, query and fragment, and with
/// only those parts of the path that begin with `announce`, since passkeys are often there.
pub(crate) fn shown(url: &str) -> String {
    let Ok(url) = Url::parse(url) else { return "(not a URL)".to_owned() };
    let host = url.host().map(|host| host.to_string()).unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path: String = url
        .path_segments()
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
        .map(|part| if is_public(part) { format!("/{part}") } else { "/…".to_owned() })
        .collect();
    format!("{}://{host}{port}{path}", url.scheme())
}

fn is_public(part: &str) -> bool {
    matches!(part, "announce" | "announce.php" | "announce.pl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for (url, due) in [
            ("http://t.example/announce", "http://t.example/announce"),
            (
                "https://me:secret@t.example:8443/announce?passkey=secret#secret",
                "https://t.example:8443/announce",
            ),
            ("http://t.example/secret/announce.php?secret", "http://t.example/…/announce.php"),
            ("http://t.example/announce/secret", "http://t.example/announce/…"),
            ("http://t.example/announcesecret", "http://t.example/…"),
            ("udp://[::1]:6969/announce", "udp://[::1]:6969/announce"),
            ("udp://user:secret@t.example:80", "udp://t.example:80"),
            ("secret", "(not a URL)"),
        ] {
            assert_eq!(shown(url), due);
        }
    }
}
