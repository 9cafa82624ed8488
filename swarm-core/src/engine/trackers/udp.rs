//! One UDP announce over one address family (BEP 15, BEP 41).
//!
//! A round is a connect and an announce over one connected socket, each with a transaction id
//! nobody else knows; what does not match is ignored (LIMITS C10). A round that brings nothing
//! is repeated, with twice the patience. A connection id is never kept for the next announce:
//! that comes a minute later, when the id has expired, and from another port, which some
//! trackers make part of the id.
//!
//! Not here: the codec (`wire::tracker_udp`), the limit on the whole.

use super::AnnounceError;
use crate::engine::web::WebError;
use crate::engine::web::resolve::{self, Reach};
use crate::wire::tracker::{Announce, Family};
use crate::wire::tracker_http::{AnnounceReply, Refusal, ReplyError, Retry};
use crate::wire::tracker_udp::{
    ConnectionId, DATAGRAM_MAX, Reply, TransactionId, encode_announce, encode_connect,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::timeout;
use url::Url;

/// Intervals beyond this are negative numbers on the wire.
const INTERVAL_MAX: u32 = 0x7fff_ffff;

/// How an announce goes out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Route {
    /// To an address of this family.
    pub(super) family: Family,
    /// Which may be these.
    pub(super) reach: Reach,
    /// From this address; `None` from whichever the system chooses.
    pub(super) source: Option<IpAddr>,
    /// How long the first round may take.
    pub(super) first_wait: Duration,
}

/// Announces until there is an answer; the caller ends it when there is none.
pub(super) async fn announce(
    url: &Url,
    announce: &Announce,
    Route { family, reach, source, first_wait }: Route,
    transaction: &(dyn Fn() -> TransactionId + Sync),
) -> Result<AnnounceReply, AnnounceError> {
    let port = url.port().filter(|port| *port != 0).ok_or(WebError::BadUrl)?;
    let addrs = resolve::lookup(&resolve::host_of(url)?, port, reach).await?;
    let url_data = url_data(url);
    let mut last = AnnounceError::Web(WebError::NoAddress);
    for addr in addrs {
        let socket = connected(source, addr).await?;
        let round = Round { socket: &socket, announce, family, url_data: &url_data };
        match round.repeat(first_wait, transaction).await {
            // The host says that nobody listens there: its other address may be better.
            Err(error @ AnnounceError::Web(WebError::Network(_))) => last = error,
            result => return result,
        }
    }
    Err(last)
}

/// A socket that takes datagrams of this address only.
async fn connected(source: Option<IpAddr>, addr: SocketAddr) -> Result<UdpSocket, AnnounceError> {
    let source = source.unwrap_or_else(|| match addr {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    });
    let socket = UdpSocket::bind((source, 0)).await?;
    socket.connect(addr).await?;
    Ok(socket)
}

struct Round<'a> {
    socket: &'a UdpSocket,
    announce: &'a Announce,
    family: Family,
    url_data: &'a [u8],
}

impl Round<'_> {
    async fn repeat(
        &self,
        first_wait: Duration,
        transaction: &(dyn Fn() -> TransactionId + Sync),
    ) -> Result<AnnounceReply, AnnounceError> {
        let mut wait = first_wait;
        loop {
            if let Ok(result) = timeout(wait, self.once(transaction)).await {
                return result;
            }
            wait *= 2;
        }
    }

    async fn once(
        &self,
        transaction: &(dyn Fn() -> TransactionId + Sync),
    ) -> Result<AnnounceReply, AnnounceError> {
        let (mut packet, first) = (Vec::new(), transaction());
        encode_connect(&mut packet, first);
        self.socket.send(&packet).await?;
        let connection = self.connection_id(first).await?;

        let second = transaction();
        packet.clear();
        encode_announce(&mut packet, connection, second, self.announce, self.url_data);
        self.socket.send(&packet).await?;
        self.answer(second).await
    }

    async fn connection_id(&self, due: TransactionId) -> Result<ConnectionId, AnnounceError> {
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            match self.receive(&mut buffer, due).await? {
                Some(Reply::Connect(id)) => return Ok(id),
                Some(Reply::Error(text)) => return Err(refused(text)),
                _ => {}
            }
        }
    }

    async fn answer(&self, due: TransactionId) -> Result<AnnounceReply, AnnounceError> {
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            match self.receive(&mut buffer, due).await? {
                Some(Reply::Announce { interval_secs, leechers, seeders, peers }) => {
                    let interval = Some(interval_secs).filter(|secs| *secs <= INTERVAL_MAX);
                    return Ok(AnnounceReply {
                        interval: interval.map(|secs| Duration::from_secs(secs.into())),
                        complete: Some(seeders),
                        incomplete: Some(leechers),
                        peers: peers.iter().collect(),
                        ..AnnounceReply::default()
                    });
                }
                Some(Reply::Error(text)) => return Err(refused(text)),
                _ => {}
            }
        }
    }

    /// The next datagram; `None` when it is not the answer to this transaction.
    async fn receive<'a>(
        &self,
        buffer: &'a mut [u8],
        due: TransactionId,
    ) -> Result<Option<Reply<'a>>, AnnounceError> {
        let length = self.socket.recv(buffer).await?;
        let datagram = buffer.get(..length).unwrap_or_default();
        Ok(match Reply::decode(datagram, self.family) {
            Ok((found, reply)) if found == due => Some(reply),
            _ => None,
        })
    }
}

fn refused(text: &[u8]) -> AnnounceError {
    let reason = String::from_utf8_lossy(text).into_owned();
    ReplyError::Refused(Refusal { reason, retry: Retry::Unspecified }).into()
}

/// Path and query, which a UDP tracker cannot see otherwise (BEP 41); a bare `/` says nothing.
fn url_data(url: &Url) -> Vec<u8> {
    let mut data = url.path().as_bytes().to_vec();
    if let Some(query) = url.query() {
        data.push(b'?');
        data.extend_from_slice(query.as_bytes());
    }
    if data == b"/" { Vec::new() } else { data }
}
