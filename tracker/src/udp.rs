//! UDP announces (BEP 15): one datagram in, at most one out.
//!
//! Who has not proven its address gets nothing but a connection id, which is no longer than
//! the question: a forged sender cannot make us send anybody more than it sends us. Buffers
//! are reused, so that a request allocates nothing; under overload datagrams are dropped by
//! the system before we read them, and replies it does not take are not queued.
//!
//! BEP 41 options are read and mean nothing here: there are no passkeys to check.

use crate::connection_id::ConnectionIds;
use crate::service::Service;
use crate::swarms::{Channel, Visit};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use swarm_core::types::Moment;
use swarm_core::wire::tracker::{Announce, Family};
use swarm_core::wire::tracker_udp::{
    AnnounceCounts, DATAGRAM_MAX, REPLY_MAX, Request, TransactionId, encode_announce_reply,
    encode_connect_reply, encode_error_reply, encode_scrape_reply,
};
use tokio::net::UdpSocket;

/// Datagrams handled before other tasks get their turn.
const BATCH: usize = 64;
/// Pause after an error of the socket, so that a lasting one does not spin.
const ERROR_PAUSE: Duration = Duration::from_millis(10);

/// Answers datagrams until it is dropped.
pub(crate) async fn serve(socket: UdpSocket, service: Arc<Service>) {
    let host = socket.local_addr().ok().map(|addr| addr.ip());
    let mut desk = Desk::new(service, host.filter(|host| !host.is_unspecified()));
    let mut datagram = [0; DATAGRAM_MAX];
    loop {
        let outcome = match socket.readable().await {
            Ok(()) => batch(&socket, &mut desk, &mut datagram),
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            tracing::debug!(%error, "UDP socket");
            tokio::time::sleep_until(desk.service.clock.after(ERROR_PAUSE)).await;
        }
        tokio::task::yield_now().await;
    }
}

fn batch(socket: &UdpSocket, desk: &mut Desk, datagram: &mut [u8]) -> io::Result<()> {
    for _ in 0..BATCH {
        let (length, from) = match socket.try_recv_from(datagram) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        let reply = desk.answer(from, datagram.get(..length).unwrap_or_default());
        if !reply.is_empty() && socket.try_send_to(reply, from).is_err() {
            desk.service.counters.udp_dropped.add_one();
        }
    }
    Ok(())
}

/// Where one request at a time is answered, with the buffers for it.
struct Desk {
    service: Arc<Service>,
    /// The one address that requests come to, if there is one.
    host: Option<IpAddr>,
    reply: Vec<u8>,
    peers: Vec<SocketAddr>,
}

impl Desk {
    fn new(service: Arc<Service>, host: Option<IpAddr>) -> Self {
        Self { service, host, reply: Vec::with_capacity(REPLY_MAX), peers: Vec::new() }
    }

    /// The reply to a datagram; empty when there is none.
    fn answer(&mut self, from: SocketAddr, datagram: &[u8]) -> &[u8] {
        self.reply.clear();
        let service = &self.service;
        let Some(request) = Request::decode(datagram) else {
            service.counters.udp_malformed.add_one();
            return &[];
        };
        let now = service.clock.now();
        if !is_proven(&service.ids, now, from, &request) {
            service.counters.udp_unproven.add_one();
            return &[];
        }
        match request {
            Request::Connect { transaction } => {
                let id = service.ids.issue(now, from.ip());
                encode_connect_reply(&mut self.reply, transaction, id);
                service.counters.udp_connects.add_one();
            }
            Request::Announce { transaction, announce, .. } => {
                self.announce(from, transaction, &announce);
            }
            Request::Scrape { transaction, hashes, .. } => {
                let entries = hashes.iter().map(|hash| service.scrape(hash));
                encode_scrape_reply(&mut self.reply, transaction, entries);
                service.counters.udp_scrapes.add_one();
            }
        }
        &self.reply
    }

    fn announce(&mut self, from: SocketAddr, transaction: TransactionId, announce: &Announce) {
        let service = &self.service;
        let visit =
            Visit { announce, source: from.ip(), channel: Channel::Udp { host: self.host } };
        match service.announce(&visit, &mut self.peers) {
            Ok(reply) => {
                let interval = reply.intervals.interval.as_secs();
                let counts = AnnounceCounts {
                    interval_secs: u32::try_from(interval).unwrap_or(u32::MAX),
                    leechers: reply.counts.incomplete,
                    seeders: reply.counts.complete,
                };
                let family = Family::of(from.ip().to_canonical());
                let (out, peers) = (&mut self.reply, &self.peers);
                encode_announce_reply(out, transaction, counts, family, peers);
                service.counters.udp_announces.add_one();
            }
            Err(refused) => {
                encode_error_reply(&mut self.reply, transaction, &refused.to_string());
                service.counters.udp_errors.add_one();
            }
        }
    }
}

/// Whether the sender has shown that it receives at its address, or only asks to show it.
fn is_proven(ids: &ConnectionIds, now: Moment, from: SocketAddr, request: &Request<'_>) -> bool {
    match request {
        Request::Connect { .. } => true,
        Request::Announce { connection, .. } | Request::Scrape { connection, .. } => {
            ids.holds(now, from.ip(), *connection)
        }
    }
}

#[cfg(test)]
mod tests;
