//! What a tracker answers, in bencode.
//!
//! Written strictly: keys sorted, `peers` always there (clients break without it), only known
//! keys. Written by hand into a buffer that is reused: a tracker does little else. Read
//! tolerantly but within bounds: at most 1 MiB, 200 peers, short texts; addresses only, no
//! host names.

use super::query::PeerForm;
use crate::bencode::{self, Dict, Value};
use crate::types::InfoHash;
use crate::wire::tracker::{Family, PEERS_PER_REPLY_MAX, ScrapeEntry, pack_peer, unpack_peers};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// Longest reply that is read, bytes (LIMITS C01).
pub const REPLY_MAX: usize = 1 << 20;
/// Characters of a failure or a warning that are kept (LIMITS C13).
const TEXT_MAX: usize = 256;
/// Bytes of a tracker id that are kept; a longer one is dropped.
const TRACKER_ID_MAX: usize = 256;
/// Swarms of a scrape reply that are kept.
const SCRAPE_ENTRIES_MAX: usize = super::SCRAPE_HASHES_MAX;

/// The answer to an announce.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnounceReply {
    /// Until the next announce, in whole seconds. Not clamped: 0 and years are possible.
    pub interval: Option<Duration>,
    /// Do not announce more often than this, in whole seconds.
    pub min_interval: Option<Duration>,
    /// Peers that have everything.
    pub complete: Option<u32>,
    /// Peers that do not.
    pub incomplete: Option<u32>,
    /// Times a peer became complete.
    pub downloaded: Option<u32>,
    /// The address the tracker saw us at (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// To be sent back with the next announce.
    pub tracker_id: Option<Vec<u8>>,
    /// For the user to read; the announce counted. Untrusted.
    pub warning: Option<String>,
    /// Others in the swarm, of both families.
    pub peers: Vec<SocketAddr>,
}

/// A `failure reason`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For the user to read. Untrusted.
    pub reason: String,
    /// Whether to come again (BEP 31).
    pub retry: Retry,
}

/// Whether a refused client should come again (BEP 31).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Retry {
    /// The tracker did not say.
    #[default]
    Unspecified,
    /// After this long; whole minutes.
    After(Duration),
    /// Never: it is no tracker for us.
    Never,
}

/// A reply without an answer in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// Longer than [`REPLY_MAX`].
    #[error("tracker reply of {0} bytes is too long")]
    TooLong(usize),
    /// Not a bencoded dictionary within [`bencode::Limits::WIRE`].
    #[error("tracker reply is not what a tracker sends")]
    Malformed,
    /// A string of packed peers that does not divide into peers.
    #[error("tracker reply has {length} bytes of packed peers, not a multiple of {peer_len}")]
    PeersLength {
        /// Bytes of the string.
        length: usize,
        /// Bytes of a peer.
        peer_len: usize,
    },
    /// The tracker refuses.
    #[error("tracker refused: {}", crate::types::Untrusted::with_limit(&.0.reason, TEXT_MAX))]
    Refused(Refusal),
}

/// Appends the reply to an announce.
pub fn encode_announce_reply(out: &mut Vec<u8>, reply: &AnnounceReply, form: PeerForm) {
    out.push(b'd');
    put_count(out, b"complete", reply.complete);
    put_count(out, b"downloaded", reply.downloaded);
    match reply.external_ip {
        Some(IpAddr::V4(ip)) => put_pair(out, b"external ip", &ip.octets()),
        Some(IpAddr::V6(ip)) => put_pair(out, b"external ip", &ip.octets()),
        None => {}
    }
    put_count(out, b"incomplete", reply.incomplete);
    put_seconds(out, b"interval", reply.interval);
    put_seconds(out, b"min interval", reply.min_interval);
    match form {
        PeerForm::Compact => put_packed_peers(out, &reply.peers),
        PeerForm::Dictionary => put_peer_list(out, &reply.peers),
    }
    if let Some(id) = &reply.tracker_id {
        put_pair(out, b"tracker id", id);
    }
    if let Some(text) = &reply.warning {
        put_pair(out, b"warning message", text.as_bytes());
    }
    out.push(b'e');
}

/// Appends a refusal, the same for announces and scrapes.
pub fn encode_refusal(out: &mut Vec<u8>, reason: &str, retry: Retry) {
    out.push(b'd');
    put_pair(out, b"failure reason", reason.as_bytes());
    match retry {
        Retry::Unspecified => {}
        Retry::After(wait) => {
            put_string(out, b"retry in");
            put_int(out, wait.as_secs().div_ceil(60).max(1));
        }
        Retry::Never => put_pair(out, b"retry in", b"never"),
    }
    out.push(b'e');
}

/// Appends the reply to a scrape; a hash given twice appears once.
pub fn encode_scrape_reply(out: &mut Vec<u8>, entries: &mut Vec<(InfoHash, ScrapeEntry)>) {
    entries.sort_unstable();
    entries.dedup_by_key(|(hash, _)| *hash);
    out.extend_from_slice(b"d5:filesd");
    for (hash, entry) in entries.iter() {
        put_string(out, hash.as_bytes());
        out.push(b'd');
        put_count(out, b"complete", Some(entry.complete));
        put_count(out, b"downloaded", Some(entry.downloaded));
        put_count(out, b"downloaders", Some(entry.downloaders));
        put_count(out, b"incomplete", Some(entry.incomplete));
        out.push(b'e');
    }
    out.extend_from_slice(b"ee");
}

fn put_string(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len());
    out.push(b':');
    out.extend_from_slice(bytes);
}

fn put_number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    out.extend_from_slice(number.to_string().as_bytes());
}

fn put_int(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    out.push(b'i');
    put_number(out, number);
    out.push(b'e');
}

fn put_pair(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    put_string(out, key);
    put_string(out, value);
}

fn put_count(out: &mut Vec<u8>, key: &[u8], count: Option<u32>) {
    if let Some(count) = count {
        put_string(out, key);
        put_int(out, count);
    }
}

fn put_seconds(out: &mut Vec<u8>, key: &[u8], span: Option<Duration>) {
    if let Some(span) = span {
        put_string(out, key);
        put_int(out, span.as_secs());
    }
}

fn put_packed_peers(out: &mut Vec<u8>, peers: &[SocketAddr]) {
    let v6_count = peers.iter().filter(|peer| peer.is_ipv6()).count();
    for (key, family, count) in
        [(&b"peers"[..], Family::V4, peers.len() - v6_count), (b"peers6", Family::V6, v6_count)]
    {
        // A client may break without `peers`; `peers6` it does not expect.
        if count == 0 && family == Family::V6 {
            continue;
        }
        put_string(out, key);
        put_number(out, count * family.peer_len());
        out.push(b':');
        for peer in peers.iter().filter(|peer| Family::of(peer.ip()) == family) {
            pack_peer(out, *peer);
        }
    }
}

fn put_peer_list(out: &mut Vec<u8>, peers: &[SocketAddr]) {
    put_string(out, b"peers");
    out.push(b'l');
    for peer in peers {
        out.push(b'd');
        put_pair(out, b"ip", peer.ip().to_string().as_bytes());
        put_string(out, b"port");
        put_int(out, peer.port());
        out.push(b'e');
    }
    out.push(b'e');
}

/// Reads the reply to an announce. Bytes after the dictionary do not matter.
///
/// Both forms of `peers` are read, IPv4-mapped addresses become IPv4, port 0 and host names
/// are left out, and of the rest the first [`PEERS_PER_REPLY_MAX`] are kept.
///
/// # Errors
/// [`ReplyError::Refused`] when the tracker says so, the others when it makes no sense.
pub fn decode_announce_reply(body: &[u8]) -> Result<AnnounceReply, ReplyError> {
    with_dict(body, |dict| {
        let count = |key| dict.int(key).and_then(|number| u32::try_from(number).ok());
        let span = |key| {
            let secs = dict.int(key).and_then(|number| u64::try_from(number).ok());
            secs.map(Duration::from_secs)
        };
        let id = dict.bytes(b"tracker id").filter(|id| id.len() <= TRACKER_ID_MAX);
        let mut reply = AnnounceReply {
            interval: span(b"interval"),
            min_interval: span(b"min interval"),
            complete: count(b"complete"),
            incomplete: count(b"incomplete"),
            downloaded: count(b"downloaded"),
            external_ip: dict.bytes(b"external ip").and_then(ip_of_octets),
            tracker_id: id.map(<[u8]>::to_vec),
            warning: dict.bytes(b"warning message").map(text),
            peers: Vec::new(),
        };
        for (key, family) in [(&b"peers"[..], Family::V4), (b"peers6", Family::V6)] {
            if let Some(value) = dict.get(key) {
                keep_peers(&mut reply.peers, value, family)?;
            }
        }
        Ok(reply)
    })
}

/// Reads the reply to a scrape: at most 70 swarms, in the order they come.
///
/// # Errors
/// [`ReplyError::Refused`] when the tracker says so, the others when it makes no sense.
pub fn decode_scrape_reply(body: &[u8]) -> Result<Vec<(InfoHash, ScrapeEntry)>, ReplyError> {
    with_dict(body, |dict| {
        let files = dict.dict(b"files").into_iter().flatten();
        let entry = |(hash, value): (&[u8], Value<'_>)| {
            Some((InfoHash::try_from(hash).ok()?, scrape_entry(value.as_dict()?)))
        };
        Ok(files.filter_map(entry).take(SCRAPE_ENTRIES_MAX).collect())
    })
}

/// Reads the outer dictionary of a reply that is no refusal.
fn with_dict<T>(
    body: &[u8],
    read: impl FnOnce(Dict<'_>) -> Result<T, ReplyError>,
) -> Result<T, ReplyError> {
    if body.len() > REPLY_MAX {
        return Err(ReplyError::TooLong(body.len()));
    }
    let (document, _) =
        bencode::parse_prefix(body, &bencode::Limits::WIRE).map_err(|_| ReplyError::Malformed)?;
    let dict = document.root().as_dict().ok_or(ReplyError::Malformed)?;
    match dict.bytes(b"failure reason") {
        Some(reason) => {
            Err(ReplyError::Refused(Refusal { reason: text(reason), retry: retry(dict) }))
        }
        None => read(dict),
    }
}

/// Minutes as a number or as digits, or `never`.
fn retry(dict: Dict<'_>) -> Retry {
    let Some(value) = dict.get(b"retry in") else { return Retry::Unspecified };
    if value.as_bytes() == Some(b"never") {
        return Retry::Never;
    }
    let digits = || value.as_str().and_then(|digits| digits.parse().ok());
    match value.as_int().or_else(digits).map(u64::try_from) {
        Some(Ok(minutes @ 1..)) => Retry::After(Duration::from_secs(minutes.saturating_mul(60))),
        _ => Retry::Unspecified,
    }
}

fn text(bytes: &[u8]) -> String {
    // Four bytes a character at most: the rest of a megabyte is never looked at.
    let start = bytes.get(..TEXT_MAX * 4).unwrap_or(bytes);
    String::from_utf8_lossy(start).chars().take(TEXT_MAX).collect()
}

fn ip_of_octets(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
    v4.or_else(v6).map(|ip| ip.to_canonical())
}

fn keep_peers(
    peers: &mut Vec<SocketAddr>,
    value: Value<'_>,
    family: Family,
) -> Result<(), ReplyError> {
    let room = PEERS_PER_REPLY_MAX.saturating_sub(peers.len());
    let canonical = |peer: SocketAddr| SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if let Some(packed) = value.as_bytes() {
        let peer_len = family.peer_len();
        if !packed.len().is_multiple_of(peer_len) {
            return Err(ReplyError::PeersLength { length: packed.len(), peer_len });
        }
        peers.extend(unpack_peers(packed, family).map(canonical).take(room));
    } else if let Some(list) = value.as_list() {
        peers.extend(list.iter().filter_map(listed_peer).map(canonical).take(room));
    }
    Ok(())
}

fn listed_peer(value: Value<'_>) -> Option<SocketAddr> {
    let dict = value.as_dict()?;
    let ip: IpAddr = dict.str(b"ip")?.parse().ok()?;
    let port = u16::try_from(dict.int(b"port")?).ok()?;
    (port != 0).then(|| SocketAddr::new(ip, port))
}

fn scrape_entry(dict: Dict<'_>) -> ScrapeEntry {
    let count = |key| dict.int(key).map(|number| u32::try_from(number.max(0)).unwrap_or(u32::MAX));
    let incomplete = count(b"incomplete").unwrap_or(0);
    ScrapeEntry {
        complete: count(b"complete").unwrap_or(0),
        downloaded: count(b"downloaded").unwrap_or(0),
        incomplete,
        downloaders: count(b"downloaders").unwrap_or(incomplete),
    }
}

#[cfg(test)]
mod tests;
