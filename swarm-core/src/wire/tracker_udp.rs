//! The UDP tracker protocol (BEP 15) with its extensions (BEP 41): packets to values and back.
//!
//! A tracker must live with whatever arrives, so requests are read liberally: longer packets
//! than expected, unknown events and broken extensions are fine. A client must not be fooled,
//! so of a reply only what lies inside the datagram, and only whole entries, count.
//!
//! Not here: connection ids' meaning, retries and time-outs, sockets. IPv4 and IPv6 replies
//! differ only in the length of a peer, which the family of the socket tells.

use super::tracker::{
    Announce, AnnounceEvent, Family, PEERS_PER_REPLY_MAX, ScrapeEntry, pack_peer, unpack_peers,
};
use crate::types::{InfoHash, PeerId};
use std::net::SocketAddr;

/// First field of a connect request.
const PROTOCOL_ID: u64 = 0x0417_2710_1980;
const ACTION_CONNECT: u32 = 0;
const ACTION_ANNOUNCE: u32 = 1;
const ACTION_SCRAPE: u32 = 2;
const ACTION_ERROR: u32 = 3;
const OPTION_END: u8 = 0;
const OPTION_NOP: u8 = 1;
const OPTION_URL_DATA: u8 = 2;

/// Longest datagram that is read, bytes.
pub const DATAGRAM_MAX: usize = 2048;
/// Longest reply that is sent, bytes: no fragments on a common path (LIMITS 5.2).
pub const REPLY_MAX: usize = 1400;
/// Hashes of one scrape that are answered; the rest is ignored (LIMITS I09).
pub const SCRAPE_HASHES_MAX: usize = 70;
/// Bytes of an error reply's text that are kept or sent.
pub const ERROR_TEXT_MAX: usize = 256;

/// Matches a reply to its request. Chosen by the client, at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u32);

/// Proof that the client can receive at the address it sends from. Chosen by the tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What a client sends, as the tracker reads it. Borrows from the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Asks for a connection id.
    Connect {
        /// To be repeated in the reply.
        transaction: TransactionId,
    },
    /// Tells about a peer, asks for others.
    Announce {
        /// The connection id the client claims.
        connection: ConnectionId,
        /// To be repeated in the reply.
        transaction: TransactionId,
        /// What the peer says. The IP address field is ignored: it could be anyone's.
        announce: Announce,
        /// What follows the fixed part (BEP 41).
        options: Options<'a>,
    },
    /// Asks for statistics.
    Scrape {
        /// The connection id the client claims.
        connection: ConnectionId,
        /// To be repeated in the reply.
        transaction: TransactionId,
        /// The swarms asked about.
        hashes: ScrapeHashes<'a>,
    },
}

/// The extension bytes of an announce (BEP 41).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options<'a>(&'a [u8]);

/// The hashes of a scrape, in order, with repetitions, at most [`SCRAPE_HASHES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeHashes<'a>(&'a [u8]);

/// What a tracker sends, as the client reads it. Borrows from the datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// The connection id to use for the next minute.
    Connect(ConnectionId),
    /// Peers and counts.
    Announce {
        /// Seconds until the next announce; a tracker may say anything, even 0.
        interval_secs: u32,
        /// Peers without everything.
        leechers: u32,
        /// Peers with everything.
        seeders: u32,
        /// Others in the swarm.
        peers: PackedPeers<'a>,
    },
    /// Statistics, in the order of the request.
    Scrape(ScrapeEntries<'a>),
    /// The tracker refuses; the text is untrusted and may be no UTF-8.
    Error(&'a [u8]),
}

/// Packed peers of a reply; at most [`PEERS_PER_REPLY_MAX`] come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedPeers<'a> {
    packed: &'a [u8],
    family: Family,
}

/// Entries of a scrape reply, whole ones only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrapeEntries<'a>(&'a [u8]);

/// Bytes that are no reply of a tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The fixed part is not all there.
    #[error("tracker reply of {0} bytes is cut short")]
    Short(usize),
    /// No action a tracker answers with.
    #[error("tracker reply has unknown action {0}")]
    Action(u32),
}

/// Takes big-endian fields off the front of a datagram.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*head)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }
}

impl<'a> Request<'a> {
    /// Reads a datagram. `None` when it is no request: the tracker stays silent.
    ///
    /// An announce needs its 98 bytes, a scrape its 16; longer is fine.
    #[must_use]
    pub fn decode(datagram: &'a [u8]) -> Option<Self> {
        let mut fields = Fields(datagram);
        let connection = ConnectionId(fields.u64()?);
        let action = fields.u32()?;
        let transaction = TransactionId(fields.u32()?);
        match action {
            ACTION_CONNECT if connection.0 == PROTOCOL_ID => Some(Self::Connect { transaction }),
            ACTION_ANNOUNCE => {
                let announce = decode_announce(&mut fields)?;
                let options = Options(fields.0);
                Some(Self::Announce { connection, transaction, announce, options })
            }
            ACTION_SCRAPE => {
                Some(Self::Scrape { connection, transaction, hashes: ScrapeHashes(fields.0) })
            }
            _ => None,
        }
    }
}

fn decode_announce(fields: &mut Fields<'_>) -> Option<Announce> {
    let info_hash = InfoHash::new(fields.take()?);
    let peer_id = PeerId::new(fields.take()?);
    let downloaded = fields.u64()?;
    let left = fields.u64()?;
    let uploaded = fields.u64()?;
    let event = match fields.u32()? {
        1 => AnnounceEvent::Completed,
        2 => AnnounceEvent::Started,
        3 => AnnounceEvent::Stopped,
        4 => AnnounceEvent::Paused,
        _ => AnnounceEvent::None,
    };
    let _ip = fields.u32()?;
    let key = fields.u32()?;
    // Signed on the wire: any negative number means "you choose".
    let numwant = i32::from_be_bytes(fields.take()?);
    let port = fields.u16()?;
    Some(Announce {
        info_hash,
        peer_id,
        port,
        uploaded,
        downloaded,
        left,
        event,
        key,
        numwant: u32::try_from(numwant).ok(),
    })
}

impl Options<'_> {
    /// Appends the URL's path and query, as far as the options are well-formed (BEP 41).
    pub fn url_data(&self, out: &mut Vec<u8>) {
        let mut rest = self.0;
        while let Some((kind, tail)) = rest.split_first() {
            rest = match *kind {
                OPTION_END => return,
                OPTION_NOP => tail,
                kind => {
                    let Some((value, tail)) = split_option(tail) else { return };
                    if kind == OPTION_URL_DATA {
                        out.extend_from_slice(value);
                    }
                    tail
                }
            };
        }
    }
}

/// Splits a length byte and that many bytes off; `None` when they are not all there.
fn split_option(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first()?;
    rest.split_at_checked(usize::from(*length))
}

impl ScrapeHashes<'_> {
    /// The hashes in the order of the request. A ragged tail is no hash.
    pub fn iter(&self) -> impl Iterator<Item = InfoHash> + '_ {
        self.0
            .chunks_exact(InfoHash::LEN)
            .filter_map(|chunk| InfoHash::try_from(chunk).ok())
            .take(SCRAPE_HASHES_MAX)
    }
}

/// Appends a connect request, 16 bytes.
pub fn encode_connect(out: &mut Vec<u8>, transaction: TransactionId) {
    encode_head(out, ConnectionId(PROTOCOL_ID), ACTION_CONNECT, transaction);
}

/// Appends an announce, 98 bytes and the options that carry `path_and_query` (BEP 41; empty
/// for a URL that has none).
pub fn encode_announce(
    out: &mut Vec<u8>,
    connection: ConnectionId,
    transaction: TransactionId,
    announce: &Announce,
    path_and_query: &[u8],
) {
    encode_head(out, connection, ACTION_ANNOUNCE, transaction);
    out.extend_from_slice(announce.info_hash.as_bytes());
    out.extend_from_slice(announce.peer_id.as_bytes());
    for amount in [announce.downloaded, announce.left, announce.uploaded] {
        out.extend_from_slice(&amount.to_be_bytes());
    }
    let event: u32 = match announce.event {
        AnnounceEvent::None => 0,
        AnnounceEvent::Completed => 1,
        AnnounceEvent::Started => 2,
        AnnounceEvent::Stopped => 3,
        AnnounceEvent::Paused => 4,
    };
    let address_of_the_sender = 0u32;
    let numwant = announce.numwant.map_or(-1, |n| i32::try_from(n).unwrap_or(i32::MAX));
    out.extend_from_slice(&event.to_be_bytes());
    out.extend_from_slice(&address_of_the_sender.to_be_bytes());
    out.extend_from_slice(&announce.key.to_be_bytes());
    out.extend_from_slice(&numwant.to_be_bytes());
    out.extend_from_slice(&announce.port.to_be_bytes());
    for part in path_and_query.chunks(usize::from(u8::MAX)) {
        let length = u8::try_from(part.len()).unwrap_or(u8::MAX);
        out.extend_from_slice(&[OPTION_URL_DATA, length]);
        out.extend_from_slice(part);
    }
}

/// Appends a scrape of the first [`SCRAPE_HASHES_MAX`] of `hashes`.
pub fn encode_scrape(
    out: &mut Vec<u8>,
    connection: ConnectionId,
    transaction: TransactionId,
    hashes: &[InfoHash],
) {
    encode_head(out, connection, ACTION_SCRAPE, transaction);
    for hash in hashes.iter().take(SCRAPE_HASHES_MAX) {
        out.extend_from_slice(hash.as_bytes());
    }
}

fn encode_head(
    out: &mut Vec<u8>,
    connection: ConnectionId,
    action: u32,
    transaction: TransactionId,
) {
    out.extend_from_slice(&connection.0.to_be_bytes());
    out.extend_from_slice(&action.to_be_bytes());
    out.extend_from_slice(&transaction.0.to_be_bytes());
}

impl<'a> Reply<'a> {
    /// Reads a datagram that came over a socket of the given family. The caller compares the
    /// transaction id with its own and drops the reply when they differ.
    ///
    /// # Errors
    /// When the datagram is too short for its kind, or of no kind a tracker answers with.
    pub fn decode(datagram: &'a [u8], family: Family) -> Result<(TransactionId, Self), ReplyError> {
        let short = ReplyError::Short(datagram.len());
        let mut fields = Fields(datagram);
        let action = fields.u32().ok_or(short)?;
        let transaction = TransactionId(fields.u32().ok_or(short)?);
        let reply = match action {
            ACTION_CONNECT => Self::Connect(ConnectionId(fields.u64().ok_or(short)?)),
            ACTION_ANNOUNCE => Self::Announce {
                interval_secs: fields.u32().ok_or(short)?,
                leechers: fields.u32().ok_or(short)?,
                seeders: fields.u32().ok_or(short)?,
                peers: PackedPeers { packed: fields.0, family },
            },
            ACTION_SCRAPE => Self::Scrape(ScrapeEntries(fields.0)),
            ACTION_ERROR => Self::Error(fields.0.get(..ERROR_TEXT_MAX).unwrap_or(fields.0)),
            other => return Err(ReplyError::Action(other)),
        };
        Ok((transaction, reply))
    }
}

impl PackedPeers<'_> {
    /// The peers; whole entries only, at most [`PEERS_PER_REPLY_MAX`], never port 0.
    pub fn iter(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        unpack_peers(self.packed, self.family).take(PEERS_PER_REPLY_MAX)
    }
}

impl ScrapeEntries<'_> {
    /// The entries, by position in the request.
    pub fn iter(&self) -> impl Iterator<Item = ScrapeEntry> + '_ {
        self.0.chunks_exact(12).filter_map(|chunk| {
            let mut fields = Fields(chunk);
            let (complete, downloaded) = (fields.u32()?, fields.u32()?);
            let incomplete = fields.u32()?;
            Some(ScrapeEntry { complete, downloaded, incomplete, downloaders: incomplete })
        })
    }
}

/// Appends the reply to a connect request: 16 bytes, as many as the request had.
pub fn encode_connect_reply(
    out: &mut Vec<u8>,
    transaction: TransactionId,
    connection: ConnectionId,
) {
    out.extend_from_slice(&ACTION_CONNECT.to_be_bytes());
    out.extend_from_slice(&transaction.0.to_be_bytes());
    out.extend_from_slice(&connection.0.to_be_bytes());
}

/// Numbers at the head of an announce reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceCounts {
    /// Seconds until the next announce. The field is signed on the wire: larger numbers are
    /// cut to `i32::MAX`.
    pub interval_secs: u32,
    /// Peers without everything.
    pub leechers: u32,
    /// Peers with everything.
    pub seeders: u32,
}

/// Appends the reply to an announce. Peers of the other family, and peers that would carry
/// the reply over [`REPLY_MAX`], are left out.
pub fn encode_announce_reply(
    out: &mut Vec<u8>,
    transaction: TransactionId,
    counts: AnnounceCounts,
    family: Family,
    peers: &[SocketAddr],
) {
    const HEAD: usize = 20;
    let interval = i32::try_from(counts.interval_secs).unwrap_or(i32::MAX);
    out.extend_from_slice(&ACTION_ANNOUNCE.to_be_bytes());
    out.extend_from_slice(&transaction.0.to_be_bytes());
    out.extend_from_slice(&interval.to_be_bytes());
    out.extend_from_slice(&counts.leechers.to_be_bytes());
    out.extend_from_slice(&counts.seeders.to_be_bytes());
    let room = (REPLY_MAX - HEAD) / family.peer_len();
    for peer in peers.iter().filter(|peer| Family::of(peer.ip()) == family).take(room) {
        pack_peer(out, *peer);
    }
}

/// Appends the reply to a scrape: 8 bytes and 12 an entry.
pub fn encode_scrape_reply(
    out: &mut Vec<u8>,
    transaction: TransactionId,
    entries: impl IntoIterator<Item = ScrapeEntry>,
) {
    out.extend_from_slice(&ACTION_SCRAPE.to_be_bytes());
    out.extend_from_slice(&transaction.0.to_be_bytes());
    for entry in entries.into_iter().take(SCRAPE_HASHES_MAX) {
        for count in [entry.complete, entry.downloaded, entry.incomplete] {
            out.extend_from_slice(&count.to_be_bytes());
        }
    }
}

/// Appends an error reply; the text is cut to [`ERROR_TEXT_MAX`] bytes.
pub fn encode_error_reply(out: &mut Vec<u8>, transaction: TransactionId, text: &str) {
    out.extend_from_slice(&ACTION_ERROR.to_be_bytes());
    out.extend_from_slice(&transaction.0.to_be_bytes());
    out.extend(text.bytes().take(ERROR_TEXT_MAX));
}

#[cfg(test)]
mod tests;
