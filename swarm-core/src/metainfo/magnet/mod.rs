//! Magnet links (BEP 9), with the file selection of BEP 53.
//!
//! A link is typed, pasted or clicked: what it holds is checked like a torrent's outer
//! keys. Topics of other networks are ignored; a link without a hash we know is refused.
//!
//! Not here: finding peers for the link.

mod addr;
mod read;

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::Warning;
use super::urls::{UrlFilter, UrlUse};
use crate::types::{FileIndex, InfoHashes};

pub use addr::{PeerAddr, PeerAddrError};

/// Longest link that is read, bytes.
pub const MAGNET_MAX_BYTES: usize = 64 << 10;
/// Most peer addresses (`x.pe`) of a link.
pub const PEERS_MAX: usize = 100;

/// What a value may hold unescaped in a link that we write: RFC 3986's unreserved characters.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Multihash prefix of a SHA-256 digest: its code and its length.
const SHA256_MULTIHASH: &str = "1220";

/// A magnet link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    hashes: InfoHashes,
    name: Option<String>,
    trackers: Vec<String>,
    web_seeds: Vec<String>,
    peers: Vec<PeerAddr>,
    selection: Option<Vec<RangeInclusive<u32>>>,
    warnings: Vec<Warning>,
}

/// Why a text is no magnet link that we can use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MagnetError {
    /// Longer than [`MAGNET_MAX_BYTES`].
    #[error("{0} bytes, more than {MAGNET_MAX_BYTES}")]
    TooLong(usize),
    /// It does not begin with `magnet:?`, and is no bare info hash either.
    #[error("neither a magnet link nor an info hash")]
    NotMagnet,
    /// There is no info hash in it.
    #[error("no info hash in the link")]
    NoHash,
    /// An info hash in it is malformed, and there is no other.
    #[error("the info hash in the link is malformed")]
    BadHash,
    /// Two different info hashes of one version are in it.
    #[error("two different info hashes in the link")]
    AmbiguousHash,
}

impl Magnet {
    /// Reads a magnet link, or a bare info hash of 40 or 64 hexadecimal digits.
    ///
    /// # Errors
    /// When it is neither, too long, or holds no hash we know.
    pub fn parse(text: &str) -> Result<Self, MagnetError> {
        let text = text.trim();
        if text.len() > MAGNET_MAX_BYTES {
            return Err(MagnetError::TooLong(text.len()));
        }
        if let Some(hashes) = read::bare_hash(text) {
            return Ok(Self::from_hashes(hashes));
        }
        let (scheme, query) = text.split_once(":?").ok_or(MagnetError::NotMagnet)?;
        if !scheme.eq_ignore_ascii_case("magnet") {
            return Err(MagnetError::NotMagnet);
        }
        read::Reader::default().read(query)
    }

    /// A link that holds nothing but the hashes.
    #[must_use]
    pub const fn from_hashes(hashes: InfoHashes) -> Self {
        Self {
            hashes,
            name: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            selection: None,
            warnings: Vec::new(),
        }
    }

    /// The same link with a name to show until the metadata is there.
    #[must_use]
    pub fn with_name(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned()).filter(|name| !name.is_empty());
        self
    }

    /// The same link with these trackers too. Those that are refused by
    /// [`super::check_url`] are left out, with a warning.
    #[must_use]
    pub fn with_trackers(mut self, urls: impl IntoIterator<Item = String>) -> Self {
        let urls = self.trackers.drain(..).chain(urls).collect::<Vec<_>>();
        self.trackers = filtered(urls, UrlUse::Tracker, &mut self.warnings);
        self
    }

    /// The same link with these web seeds too. Those that are refused by
    /// [`super::check_url`] are left out, with a warning.
    #[must_use]
    pub fn with_web_seeds(mut self, urls: impl IntoIterator<Item = String>) -> Self {
        let urls = self.web_seeds.drain(..).chain(urls).collect::<Vec<_>>();
        self.web_seeds = filtered(urls, UrlUse::WebSeed, &mut self.warnings);
        self
    }

    /// The same link with these peers too, up to [`PEERS_MAX`].
    #[must_use]
    pub fn with_peers(mut self, peers: impl IntoIterator<Item = PeerAddr>) -> Self {
        let room = PEERS_MAX.saturating_sub(self.peers.len());
        self.peers.extend(peers.into_iter().take(room));
        self
    }

    /// The hashes it names.
    #[must_use]
    pub const fn hashes(&self) -> InfoHashes {
        self.hashes
    }

    /// The name it gives (`dn`). Untrusted: show it through `types::Untrusted`.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Trackers (`tr`), each passed by [`super::check_url`].
    #[must_use]
    pub fn trackers(&self) -> &[String] {
        &self.trackers
    }

    /// Web seeds (`ws`), each passed by [`super::check_url`].
    #[must_use]
    pub fn web_seeds(&self) -> &[String] {
        &self.web_seeds
    }

    /// Peers (`x.pe`) to begin with. At most [`PEERS_MAX`].
    #[must_use]
    pub fn peers(&self) -> &[PeerAddr] {
        &self.peers
    }

    /// Which files to fetch (`so`, BEP 53): ascending ranges of their places in the
    /// torrent, apart from each other. `None` when the link does not choose.
    #[must_use]
    pub fn selection(&self) -> Option<&[RangeInclusive<u32>]> {
        self.selection.as_deref()
    }

    /// Whether the link asks for this file; true for every file when it does not choose.
    #[must_use]
    pub fn selects(&self, file: FileIndex) -> bool {
        let Some(ranges) = self.selection() else { return true };
        let at = ranges.partition_point(|range| *range.end() < file.get());
        ranges.get(at).is_some_and(|range| range.contains(&file.get()))
    }

    /// What is odd about the link.
    #[must_use]
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(text: &str) -> Result<Self, MagnetError> {
        Self::parse(text)
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lead = "magnet:?";
        let mut field = |f: &mut fmt::Formatter<'_>, key: &str, value: &dyn fmt::Display| {
            write!(f, "{lead}{key}={value}")?;
            lead = "&";
            Ok(())
        };
        if let Some(v1) = self.hashes.get_v1() {
            field(f, "xt", &format_args!("urn:btih:{v1}"))?;
        }
        if let Some(v2) = self.hashes.get_v2() {
            field(f, "xt", &format_args!("urn:btmh:{SHA256_MULTIHASH}{v2}"))?;
        }
        if let Some(name) = &self.name {
            field(f, "dn", &utf8_percent_encode(name, ESCAPED))?;
        }
        for url in &self.trackers {
            field(f, "tr", &utf8_percent_encode(url, ESCAPED))?;
        }
        for url in &self.web_seeds {
            field(f, "ws", &utf8_percent_encode(url, ESCAPED))?;
        }
        for peer in &self.peers {
            field(f, "x.pe", peer)?;
        }
        if let Some(ranges) = &self.selection {
            field(f, "so", &Ranges(ranges))?;
        }
        Ok(())
    }
}

/// The URLs that may be used; warns of the others.
fn filtered(urls: Vec<String>, purpose: UrlUse, warnings: &mut Vec<Warning>) -> Vec<String> {
    let mut filter = UrlFilter::new(purpose);
    let kept = urls.iter().filter_map(|url| filter.take(url.as_bytes())).collect();
    warnings.extend(filter.into_warnings());
    kept
}

/// Ranges as BEP 53 writes them.
struct Ranges<'a>(&'a [RangeInclusive<u32>]);

impl fmt::Display for Ranges<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, range) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            if range.start() == range.end() {
                write!(f, "{comma}{}", range.start())?;
            } else {
                write!(f, "{comma}{}-{}", range.start(), range.end())?;
            }
        }
        Ok(())
    }
}
