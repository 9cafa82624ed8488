//! What `fetch` and `inspect` are given: a magnet link, a `.torrent` file, a URL, a hash.
//!
//! Telling them apart needs no network and no disk beyond asking whether a path exists.
//!
//! Not here: reading files and fetching URLs (see `cmd`).

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use swarm_core::metainfo::{Magnet, shown_url};
use swarm_core::types::{InfoHash, InfoHashV2, InfoHashes, Untrusted};

use crate::exit::{Code, Failure};

/// One LINK, understood.
#[derive(Clone, Debug)]
pub(crate) enum Link {
    /// A magnet link or a bare info hash.
    Magnet(Box<Magnet>),
    /// A `.torrent` file.
    File(PathBuf),
    /// A `.torrent` file on a web server.
    Url(String),
}

impl Link {
    pub(crate) fn parse(text: &str) -> Result<Self, Failure> {
        let text = text.trim();
        if starts_with_ignore_case(text, "magnet:") {
            let magnet = Magnet::parse(text);
            // What follows may hold secrets.
            let head = text.split('&').next().unwrap_or_default();
            return magnet.map(|magnet| Self::Magnet(Box::new(magnet))).map_err(|error| {
                Failure::new(Code::BadTorrent, format!("bad link {}: {error}", shown(head)))
            });
        }
        if starts_with_ignore_case(text, "http://") || starts_with_ignore_case(text, "https://") {
            return Ok(Self::Url(text.to_owned()));
        }
        let path = PathBuf::from(text);
        if path.exists() {
            return Ok(Self::File(path));
        }
        if let Some(hashes) = bare_hash(text) {
            return Ok(Self::Magnet(Box::new(Magnet::from_hashes(hashes))));
        }
        if looks_like_path(text) {
            return Ok(Self::File(path));
        }
        let why = "no such file, and neither a magnet link, a URL nor an info hash";
        Err(Failure::new(Code::BadTorrent, format!("bad link {}: {why}", shown(text))))
    }
}

impl Link {
    /// What to call it while nothing else is known. Untrusted.
    pub(crate) fn label(&self) -> String {
        match self {
            Self::Magnet(magnet) => {
                magnet.name().map_or_else(|| magnet.hashes().wire().to_string(), str::to_owned)
            }
            Self::File(path) => path.to_string_lossy().into_owned(),
            Self::Url(url) => shown_url(url),
        }
    }
}

/// What was given, to show or log: as it was, unless a URL in it holds a secret.
pub(crate) fn without_secrets(text: &str) -> String {
    if let Ok(Link::Url(url)) = Link::parse(text) {
        return shown_url(&url);
    }
    let Ok(magnet) = Magnet::parse(text) else { return text.to_owned() };
    let shown = |urls: &[String]| urls.iter().map(|url| shown_url(url)).collect::<Vec<_>>();
    let (trackers, web_seeds) = (shown(magnet.trackers()), shown(magnet.web_seeds()));
    if trackers == magnet.trackers() && web_seeds == magnet.web_seeds() {
        return text.to_owned();
    }
    let clean = Magnet::from_hashes(magnet.hashes());
    let clean = clean.with_name(magnet.name().unwrap_or_default()).with_trackers(trackers);
    let clean = clean.with_web_seeds(web_seeds);
    clean.with_peers(magnet.peers().iter().cloned()).to_string()
}

fn shown(text: &str) -> Untrusted<'_> {
    Untrusted::with_limit(text, 100)
}

fn starts_with_ignore_case(text: &str, start: &str) -> bool {
    text.get(..start.len()).is_some_and(|head| head.eq_ignore_ascii_case(start))
}

fn bare_hash(text: &str) -> Option<InfoHashes> {
    let v1 = || text.parse::<InfoHash>().ok().map(InfoHashes::v1);
    let v2 = || text.parse::<InfoHashV2>().ok().map(InfoHashes::v2);
    v1().or_else(v2)
}

/// A file was clearly meant: say that it is missing, not that the link is odd.
fn looks_like_path(text: &str) -> bool {
    let path = std::path::Path::new(text);
    let torrent = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("torrent"));
    torrent || (!text.contains("://") && text.contains(std::path::MAIN_SEPARATOR))
}

/// `HOST:PORT` where HOST is a name or an address; IPv6 in brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPort {
    host: String,
    port: u16,
}

impl HostPort {
    /// The address, when the host is one and not a name.
    pub(crate) fn literal(&self) -> Option<SocketAddr> {
        self.host.parse().ok().map(|ip| SocketAddr::new(ip, self.port))
    }

    /// Every address the host has, IPv4 and IPv6.
    pub(crate) async fn resolve(&self) -> Result<Vec<SocketAddr>, Failure> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let failed = |why: &str| Failure::new(Code::Network, format!("peer {self}: {why}"));
        match found {
            Ok(addrs) => match addrs.collect::<Vec<_>>() {
                addrs if addrs.is_empty() => Err(failed("the name has no address")),
                addrs => Ok(addrs),
            },
            Err(error) => Err(failed(&crate::exit::plain(&error))),
        }
    }
}

impl FromStr for HostPort {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = "expected HOST:PORT, with an IPv6 address in brackets";
        let (host, port) = text.rsplit_once(':').ok_or(expected)?;
        let port = port.parse::<u16>().ok().filter(|port| *port != 0);
        let port = port.ok_or("the port must be between 1 and 65535")?;
        let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let clean = bracketed.unwrap_or(host);
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c) || !c.is_ascii();
        let valid = match bracketed {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !clean.is_empty() && clean.chars().all(is_name),
        };
        if !valid {
            return Err(expected.to_owned());
        }
        Ok(Self { host: clean.to_owned(), port })
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn each_kind_of_link_is_told_from_the_others() {
        let magnet = format!("magnet:?xt=urn:btih:{HASH}");
        for text in [magnet.as_str(), HASH, &HASH.to_uppercase(), &"ab".repeat(32)] {
            assert!(matches!(Link::parse(text), Ok(Link::Magnet(_))), "{text}");
        }
        for text in ["http://a/b.torrent", "HTTPS://a/b"] {
            assert!(matches!(Link::parse(text), Ok(Link::Url(_))), "{text}");
        }
        for text in ["/missing", "missing.torrent", "./a/b", "Cargo.toml"] {
            assert!(matches!(Link::parse(text), Ok(Link::File(_))), "{text}");
        }
    }

    #[test]
    fn what_is_no_link_says_so_and_is_escaped() {
        for text in ["", "nonsense", "ftp://host/file", "magnet:?dn=x", &HASH[1..]] {
            let error = Link::parse(text).unwrap_err();
            assert_eq!(error.code(), Code::BadTorrent, "{text}");
        }
        let error = Link::parse("\u{1b}[2Jboo").unwrap_err();
        assert!(!error.message().contains('\u{1b}'));
    }

    #[test]
    fn a_link_is_shown_without_the_secrets_of_its_urls() {
        let magnet =
            format!("magnet:?xt=urn:btih:{HASH}&dn=n&tr=http%3A%2F%2F10.0.0.1%3A1%2Fannounce");
        for plain in [HASH, "file.torrent", "nonsense", &magnet] {
            assert_eq!(without_secrets(plain), plain);
        }
        let secret =
            format!("{magnet}&tr=udp://a:1/secret/announce&ws=http://me:secret@b/x&x.pe=c:1");
        let shown = without_secrets(&secret);
        assert!(!shown.contains("secret") && shown.contains("10.0.0.1"), "{shown}");
        assert!(Magnet::parse(&shown).unwrap().peers().len() == 1, "{shown}");
        let url = "https://me:secret@a/secret/b.torrent?key=secret";
        assert_eq!(without_secrets(url), "https://a/…/b.torrent");
        let label = Link::parse(url).unwrap().label();
        assert_eq!(label, "https://a/…/b.torrent");
        let error = Link::parse("magnet:?xt=urn:btih:1&tr=http://secret").unwrap_err();
        assert!(!error.message().contains("secret"), "{}", error.message());
    }

    #[test]
    fn peers_are_names_or_addresses_with_a_port() {
        for text in ["host:1", "10.0.0.1:65535", "[::1]:6881", "my-host.lan:80"] {
            assert_eq!(text.parse::<HostPort>().unwrap().to_string(), text);
        }
        for text in ["host", "host:0", "host:70000", ":1", "::1:80", "[host]:1", "a b:1", "a/b:1"] {
            assert!(text.parse::<HostPort>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_needs_no_look_up() {
        let literal = |text: &str| text.parse::<HostPort>().unwrap().literal();
        assert_eq!(literal("[::1]:6881"), Some("[::1]:6881".parse().unwrap()));
        assert_eq!(literal("host:6881"), None);
    }
}
