//! Which tracker and web seed URLs we are willing to use (LIMITS A23 to A25).
//!
//! A URL in a torrent makes its readers send requests wherever its author likes. Only
//! plain http, https and udp pass; a query must not imitate the arguments of an announce,
//! a host must be ASCII, so that it is what it looks like.
//!
//! Not here: which addresses a name may resolve to, and how requests are sent.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use super::error::Warning;
use super::files::head;

/// Longest URL, bytes.
pub const URL_MAX_BYTES: usize = 2048;
/// Most trackers of a torrent, over all tiers.
pub const TRACKERS_MAX: usize = 100;
/// Most web seeds of a torrent.
pub const WEB_SEEDS_MAX: usize = 50;

/// Refused URLs that get a warning of their own; the rest is counted.
const REFUSALS_TOLD: usize = 8;
/// Bytes of a refused URL that are kept to be shown.
const REFUSED_URL_KEPT_BYTES: usize = 256;

/// Arguments of an announce (BEP 3, 7, 23) that a tracker's URL must not carry itself.
const ANNOUNCE_ARGUMENTS: [&str; 11] = [
    "info_hash",
    "peer_id",
    "port",
    "uploaded",
    "downloaded",
    "left",
    "corrupt",
    "event",
    "compact",
    "numwant",
    "key",
];

/// Why a URL is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlRefusal {
    /// Longer than [`URL_MAX_BYTES`], or empty.
    #[error("its length is not between 1 and {URL_MAX_BYTES} bytes")]
    Length,
    /// Not http or https, nor udp for a tracker.
    #[error("scheme not supported")]
    Scheme,
    /// A control character or a backslash is in it.
    #[error("character not allowed in it")]
    Character,
    /// There is no host, or it is malformed.
    #[error("no valid host")]
    Host,
    /// An international host name, which may look like another.
    #[error("international host name")]
    InternationalHost,
    /// The port is 0, no number, or missing where it is needed (udp).
    #[error("no valid port")]
    Port,
    /// Its query imitates an argument of an announce.
    #[error("its query imitates an announce")]
    Imitation,
}

/// What a URL is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlUse {
    /// Announces over http, https or udp.
    Tracker,
    /// Content over http or https (BEP 19).
    WebSeed,
}

/// Whether a URL from a torrent, a magnet link or the command line may be used.
///
/// # Errors
/// Says why not.
pub fn check_url(url: &str, purpose: UrlUse) -> Result<(), UrlRefusal> {
    if url.is_empty() || url.len() > URL_MAX_BYTES {
        return Err(UrlRefusal::Length);
    }
    if url.contains(|c: char| c.is_control() || c == '\\') {
        return Err(UrlRefusal::Character);
    }
    let (scheme, rest) = url.split_once("://").ok_or(UrlRefusal::Scheme)?;
    let udp = scheme.eq_ignore_ascii_case("udp");
    let http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let usable = http || (udp && purpose == UrlUse::Tracker);
    if !usable {
        return Err(UrlRefusal::Scheme);
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let port = check_authority(authority)?;
    if udp && port.is_none() {
        return Err(UrlRefusal::Port);
    }
    let query = rest.split_once('?').map_or("", |(_, query)| query);
    if purpose == UrlUse::Tracker && imitates_announce(query) {
        return Err(UrlRefusal::Imitation);
    }
    Ok(())
}

/// Checks `user:password@host:port` and gives the port.
fn check_authority(authority: &str) -> Result<Option<u16>, UrlRefusal> {
    let host_port = authority.rsplit_once('@').map_or(authority, |(_, after)| after);
    let port = match host_port.strip_prefix('[') {
        Some(bracketed) => {
            let (host, after) = bracketed.split_once(']').ok_or(UrlRefusal::Host)?;
            host.parse::<Ipv6Addr>().map_err(|_| UrlRefusal::Host)?;
            if after.is_empty() {
                None
            } else {
                Some(after.strip_prefix(':').ok_or(UrlRefusal::Host)?)
            }
        }
        None => {
            let (host, port) = match host_port.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host_port, None),
            };
            check_host_name(host)?;
            port
        }
    };
    let Some(port) = port else { return Ok(None) };
    if !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(UrlRefusal::Port);
    }
    port.parse().ok().filter(|port| *port != 0).map(Some).ok_or(UrlRefusal::Port)
}

fn check_host_name(host: &str) -> Result<(), UrlRefusal> {
    let is_international =
        |label: &str| label.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("xn--"));
    if !host.is_ascii() || host.split('.').any(is_international) {
        return Err(UrlRefusal::InternationalHost);
    }
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let has_name = host.bytes().any(|byte| byte != b'.');
    if has_name && host.bytes().all(plain) { Ok(()) } else { Err(UrlRefusal::Host) }
}

fn imitates_announce(query: &str) -> bool {
    let query = query.split('#').next().unwrap_or_default();
    query.split(['&', ';']).any(|pair| {
        let key = pair.split('=').next().unwrap_or_default();
        let key = percent_encoding::percent_decode_str(key).decode_utf8_lossy();
        ANNOUNCE_ARGUMENTS.iter().any(|argument| key.trim().eq_ignore_ascii_case(argument))
    })
}

/// A URL to show or log: without user name, password, query and fragment, and with only those
/// parts of the path that hold no secret. Passkeys are often there. Untrusted text.
#[must_use]
pub fn shown_url(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "(not a URL)".to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = rest.split(['?', '#']).next().unwrap_or_default();
    let parts = path.split('/').filter(|part| !part.is_empty());
    let path: String =
        parts.flat_map(|part| ["/", if is_public(part) { part } else { "…" }]).collect();
    format!("{scheme}://{host}{path}")
}

/// What a part of a path is called when it is nobody's secret.
fn is_public(part: &str) -> bool {
    let is_torrent = part.len() > 8 && part.to_ascii_lowercase().ends_with(".torrent");
    is_torrent || matches!(part, "announce" | "announce.php" | "announce.pl")
}

/// Takes URLs one by one: refuses bad ones, drops repeated ones, stops at the limit, and
/// remembers what to warn of.
#[derive(Debug)]
pub(super) struct UrlFilter {
    purpose: UrlUse,
    seen: BTreeSet<String>,
    warnings: Vec<Warning>,
    ignored: usize,
}

impl UrlFilter {
    pub(super) const fn new(purpose: UrlUse) -> Self {
        Self { purpose, seen: BTreeSet::new(), warnings: Vec::new(), ignored: 0 }
    }

    /// The URL as it will be used, if it will.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Option<String> {
        let Ok(url) = std::str::from_utf8(bytes) else {
            self.ignore();
            return None;
        };
        let url = url.trim_ascii();
        if url.is_empty() || self.seen.contains(url) {
            return None;
        }
        if let Err(reason) = check_url(url, self.purpose) {
            self.refuse(url, reason);
            return None;
        }
        if self.seen.len() >= self.limit() {
            self.ignore();
            return None;
        }
        self.seen.insert(url.to_owned());
        Some(url.to_owned())
    }

    /// Counts what is no URL at all.
    pub(super) const fn ignore(&mut self) {
        self.ignored += 1;
    }

    pub(super) fn into_warnings(self) -> Vec<Warning> {
        let mut warnings = self.warnings;
        if self.ignored > 0 {
            warnings.push(match self.purpose {
                UrlUse::Tracker => Warning::TrackersIgnored(self.ignored),
                UrlUse::WebSeed => Warning::WebSeedsIgnored(self.ignored),
            });
        }
        warnings
    }

    fn refuse(&mut self, url: &str, reason: UrlRefusal) {
        if self.warnings.len() >= REFUSALS_TOLD {
            self.ignore();
            return;
        }
        let url = if url.contains("://") { shown_url(url) } else { url.to_owned() };
        let url = head(&url, REFUSED_URL_KEPT_BYTES).to_owned();
        self.warnings.push(match self.purpose {
            UrlUse::Tracker => Warning::TrackerRefused { url, reason },
            UrlUse::WebSeed => Warning::WebSeedRefused { url, reason },
        });
    }

    const fn limit(&self) -> usize {
        match self.purpose {
            UrlUse::Tracker => TRACKERS_MAX,
            UrlUse::WebSeed => WEB_SEEDS_MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tracker(url: &str) -> Result<(), UrlRefusal> {
        check_url(url, UrlUse::Tracker)
    }

    #[test]
    fn honest_trackers_pass() {
        for url in [
            "http://tracker.example/announce",
            "HTTPS://tracker.example:443/x/announce.php?passkey=0123",
            "udp://127.0.0.1:6969",
            "udp://[::1]:6969/announce",
            "http://user:secret@host.example/announce",
            "http://localhost:1",
        ] {
            assert_eq!(tracker(url), Ok(()), "{url}");
        }
        assert_eq!(check_url("https://a.example/My File?key=1", UrlUse::WebSeed), Ok(()));
    }

    #[test]
    fn everything_else_is_refused() {
        for (url, why) in [
            ("", UrlRefusal::Length),
            ("tracker.example/announce", UrlRefusal::Scheme),
            ("javascript://x", UrlRefusal::Scheme),
            ("file:///etc/passwd", UrlRefusal::Scheme),
            ("ws://tracker.example", UrlRefusal::Scheme),
            ("http://a\\@b/", UrlRefusal::Character),
            ("http://a\u{1b}[2J/", UrlRefusal::Character),
            ("http:///announce", UrlRefusal::Host),
            ("http://user@/announce", UrlRefusal::Host),
            ("http://a b/", UrlRefusal::Host),
            ("http://[::1/", UrlRefusal::Host),
            ("http://[::1]x/", UrlRefusal::Host),
            ("http://[fe80::1%eth0]/", UrlRefusal::Host),
            ("http://.../", UrlRefusal::Host),
            ("http://trаcker.example/", UrlRefusal::InternationalHost),
            ("http://www.XN--e1a.example/", UrlRefusal::InternationalHost),
            ("udp://tracker.example", UrlRefusal::Port),
            ("http://tracker.example:0/", UrlRefusal::Port),
            ("http://tracker.example:65536/", UrlRefusal::Port),
            ("http://tracker.example:+80/", UrlRefusal::Port),
            ("http://tracker.example:/", UrlRefusal::Port),
        ] {
            assert_eq!(tracker(url), Err(why), "{url}");
        }
        assert_eq!(check_url("udp://a:1", UrlUse::WebSeed), Err(UrlRefusal::Scheme));
    }

    #[test]
    fn a_query_that_imitates_an_announce_is_refused_in_any_spelling() {
        for query in ["info_hash=1", "x=1&EVENT=stopped", "%69nfo%5Fhash=1", "a;left=0", "port"] {
            let url = format!("http://t.example/announce?{query}");
            assert_eq!(tracker(&url), Err(UrlRefusal::Imitation), "{url}");
        }
        assert_eq!(tracker("http://t.example/announce?my_port=1&eventful"), Ok(()));
    }

    #[test]
    fn the_length_of_a_url_is_bounded() {
        let url = |length: usize| format!("{:a<length$}", "http://t.example/");
        assert_eq!(tracker(&url(URL_MAX_BYTES)), Ok(()));
        assert_eq!(tracker(&url(URL_MAX_BYTES + 1)), Err(UrlRefusal::Length));
    }

    /// LIMITS C16.
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
            (
                "http://t.example/get/secret/name.torrent?k=secret",
                "http://t.example/…/…/name.torrent",
            ),
            ("http://t.example/secret/.torrent", "http://t.example/…/…"),
            ("udp://[::1]:6969/announce", "udp://[::1]:6969/announce"),
            ("udp://user:secret@t.example:80", "udp://t.example:80"),
            ("http://a@secret@t.example?secret", "http://t.example"),
            ("secret", "(not a URL)"),
        ] {
            assert_eq!(shown_url(url), due);
        }
        let mut filter = UrlFilter::new(UrlUse::Tracker);
        filter.take(b"http://me:secret@t.example/x?event=secret");
        let warning = filter.into_warnings().remove(0).to_string();
        assert!(!warning.contains("secret"), "{warning}");
    }

    #[test]
    fn warnings_about_urls_are_bounded() {
        let mut filter = UrlFilter::new(UrlUse::Tracker);
        for at in 0..1000 {
            let url = format!("gopher://{at}/{}", "x".repeat(5000));
            assert_eq!(filter.take(url.as_bytes()), None);
        }
        assert_eq!(filter.take(b"http://\xff/"), None);
        let warnings = filter.into_warnings();
        assert_eq!(warnings.len(), REFUSALS_TOLD + 1);
        assert_eq!(warnings.last(), Some(&Warning::TrackersIgnored(1001 - REFUSALS_TOLD)));
        assert!(warnings.iter().all(|warning| warning.to_string().len() < 400));
    }
}
