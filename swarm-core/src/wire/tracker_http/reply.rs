//! What a tracker answers, in bencode.
//!
//! Written strictly: keys sorted, `peers` always there (clients break without it), only known
//! keys. Read tolerantly but within bounds: at most 1 MiB, 200 peers, short texts; addresses
//! only, no host names.

use super::query::PeerForm;
use super::tokens::{Token, Tokens};
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
    /// Not a bencoded dictionary with values of the right kinds.
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
    use std::io::Write as _;
    // Writing to a vector cannot fail.
    let _ = write!(out, "{number}");
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

/// Reads the reply to an announce.
///
/// Both forms of `peers` are read, IPv4-mapped addresses become IPv4, port 0 and host names
/// are left out, and of the rest the first [`PEERS_PER_REPLY_MAX`] are kept.
///
/// # Errors
/// [`ReplyError::Refused`] when the tracker says so, the others when it makes no sense.
pub fn decode_announce_reply(body: &[u8]) -> Result<AnnounceReply, ReplyError> {
    let mut reply = AnnounceReply::default();
    let mut refusal = RefusalKeys::default();
    for_each_key(body, |key, first, tokens| {
        match (key, first) {
            (b"peers", Token::Bytes(packed)) => keep_packed(&mut reply, packed, Family::V4)?,
            (b"peers6", Token::Bytes(packed)) => keep_packed(&mut reply, packed, Family::V6)?,
            (b"peers" | b"peers6", Token::List) => {
                keep_listed(&mut reply, tokens).ok_or(ReplyError::Malformed)?;
                return Ok(());
            }
            (key, Token::Bytes(bytes)) => {
                refusal.note(key, first);
                note_text(&mut reply, key, bytes);
            }
            (key, Token::Int(number)) => {
                refusal.note(key, first);
                note_number(&mut reply, key, number);
            }
            _ => {}
        }
        tokens.finish(first).ok_or(ReplyError::Malformed)
    })?;
    refusal.verdict()?;
    Ok(reply)
}

/// Reads the reply to a scrape: at most 70 swarms, in the order they come.
///
/// # Errors
/// [`ReplyError::Refused`] when the tracker says so, the others when it makes no sense.
pub fn decode_scrape_reply(body: &[u8]) -> Result<Vec<(InfoHash, ScrapeEntry)>, ReplyError> {
    let mut entries = Vec::new();
    let mut refusal = RefusalKeys::default();
    for_each_key(body, |key, first, tokens| {
        if (key, first) == (b"files", Token::Dict) {
            return keep_files(&mut entries, tokens).ok_or(ReplyError::Malformed);
        }
        refusal.note(key, first);
        tokens.finish(first).ok_or(ReplyError::Malformed)
    })?;
    refusal.verdict()?;
    Ok(entries)
}

/// Calls `visit` with each key of the outer dictionary and its value's first token; `visit`
/// reads the rest of the value. Bytes after the dictionary do not matter.
fn for_each_key<'a>(
    body: &'a [u8],
    mut visit: impl FnMut(&'a [u8], Token<'a>, &mut Tokens<'a>) -> Result<(), ReplyError>,
) -> Result<(), ReplyError> {
    if body.len() > REPLY_MAX {
        return Err(ReplyError::TooLong(body.len()));
    }
    let mut tokens = Tokens::new(body);
    if tokens.next() != Some(Token::Dict) {
        return Err(ReplyError::Malformed);
    }
    while let Some(key) = tokens.key().ok_or(ReplyError::Malformed)? {
        let first = tokens.next().ok_or(ReplyError::Malformed)?;
        visit(key, first, &mut tokens)?;
    }
    Ok(())
}

/// The keys of a refusal, which come in any order.
#[derive(Default)]
struct RefusalKeys {
    reason: Option<String>,
    retry: Retry,
}

impl RefusalKeys {
    fn note(&mut self, key: &[u8], value: Token<'_>) {
        match (key, value) {
            (b"failure reason", Token::Bytes(bytes)) => self.reason = Some(text(bytes)),
            (b"retry in", Token::Bytes(b"never")) => self.retry = Retry::Never,
            (b"retry in", Token::Bytes(digits)) => {
                let minutes = std::str::from_utf8(digits).ok().and_then(|text| text.parse().ok());
                self.retry = minutes.map_or(Retry::Unspecified, retry_after);
            }
            (b"retry in", Token::Int(minutes)) => self.retry = retry_after(minutes),
            _ => {}
        }
    }

    fn verdict(self) -> Result<(), ReplyError> {
        match self.reason {
            Some(reason) => Err(ReplyError::Refused(Refusal { reason, retry: self.retry })),
            None => Ok(()),
        }
    }
}

fn retry_after(minutes: i64) -> Retry {
    match u64::try_from(minutes) {
        Ok(minutes @ 1..) => Retry::After(Duration::from_secs(minutes.saturating_mul(60))),
        _ => Retry::Unspecified,
    }
}

fn text(bytes: &[u8]) -> String {
    // Four bytes a character at most: the rest of a megabyte is never looked at.
    let start = bytes.get(..TEXT_MAX * 4).unwrap_or(bytes);
    String::from_utf8_lossy(start).chars().take(TEXT_MAX).collect()
}

fn note_text(reply: &mut AnnounceReply, key: &[u8], bytes: &[u8]) {
    match key {
        b"warning message" => reply.warning = Some(text(bytes)),
        b"tracker id" if bytes.len() <= TRACKER_ID_MAX => reply.tracker_id = Some(bytes.to_vec()),
        b"external ip" => reply.external_ip = ip_of_octets(bytes),
        _ => {}
    }
}

fn note_number(reply: &mut AnnounceReply, key: &[u8], number: i64) {
    let seconds = || u64::try_from(number).ok().map(Duration::from_secs);
    let count = || u32::try_from(number).ok();
    match key {
        b"interval" => reply.interval = seconds(),
        b"min interval" => reply.min_interval = seconds(),
        b"complete" => reply.complete = count(),
        b"incomplete" => reply.incomplete = count(),
        b"downloaded" => reply.downloaded = count(),
        _ => {}
    }
}

fn ip_of_octets(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).ok().map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    let v6 = || <[u8; 16]>::try_from(bytes).ok().map(|octets| IpAddr::V6(Ipv6Addr::from(octets)));
    v4.or_else(v6).map(|ip| ip.to_canonical())
}

fn keep(reply: &mut AnnounceReply, peer: SocketAddr) {
    if reply.peers.len() < PEERS_PER_REPLY_MAX && peer.port() != 0 {
        reply.peers.push(SocketAddr::new(peer.ip().to_canonical(), peer.port()));
    }
}

fn keep_packed(reply: &mut AnnounceReply, packed: &[u8], family: Family) -> Result<(), ReplyError> {
    let peer_len = family.peer_len();
    if !packed.len().is_multiple_of(peer_len) {
        return Err(ReplyError::PeersLength { length: packed.len(), peer_len });
    }
    for peer in unpack_peers(packed, family).take(PEERS_PER_REPLY_MAX) {
        keep(reply, peer);
    }
    Ok(())
}

/// Reads a list whose opening token is gone, of dictionaries; other elements are passed over.
fn keep_listed(reply: &mut AnnounceReply, tokens: &mut Tokens<'_>) -> Option<()> {
    loop {
        match tokens.next()? {
            Token::End => return Some(()),
            Token::Dict => {
                if let Some(peer) = listed_peer(tokens)? {
                    keep(reply, peer);
                }
            }
            other => tokens.finish(other)?,
        }
    }
}

fn listed_peer(tokens: &mut Tokens<'_>) -> Option<Option<SocketAddr>> {
    let (mut ip, mut port) = (None, None);
    while let Some(key) = tokens.key()? {
        let value = tokens.next()?;
        match (key, value) {
            (b"ip", Token::Bytes(text)) => {
                ip = std::str::from_utf8(text).ok().and_then(|text| text.parse::<IpAddr>().ok());
            }
            (b"port", Token::Int(number)) => port = u16::try_from(number).ok(),
            _ => {}
        }
        tokens.finish(value)?;
    }
    Some(ip.zip(port).map(SocketAddr::from))
}

/// Reads a dictionary whose opening token is gone: hash to counts.
fn keep_files(entries: &mut Vec<(InfoHash, ScrapeEntry)>, tokens: &mut Tokens<'_>) -> Option<()> {
    while let Some(key) = tokens.key()? {
        let first = tokens.next()?;
        let hash = InfoHash::try_from(key).ok();
        match hash {
            Some(hash) if first == Token::Dict && entries.len() < SCRAPE_ENTRIES_MAX => {
                entries.push((hash, scrape_entry(tokens)?));
            }
            _ => tokens.finish(first)?,
        }
    }
    Some(())
}

fn scrape_entry(tokens: &mut Tokens<'_>) -> Option<ScrapeEntry> {
    let mut entry = ScrapeEntry::default();
    let mut downloaders = None;
    while let Some(key) = tokens.key()? {
        let value = tokens.next()?;
        if let Token::Int(number) = value {
            let count = u32::try_from(number.max(0)).unwrap_or(u32::MAX);
            match key {
                b"complete" => entry.complete = count,
                b"incomplete" => entry.incomplete = count,
                b"downloaded" => entry.downloaded = count,
                b"downloaders" => downloaders = Some(count),
                _ => {}
            }
        }
        tokens.finish(value)?;
    }
    entry.downloaders = downloaders.unwrap_or(entry.incomplete);
    Some(entry)
}

#[cfg(test)]
mod tests;
