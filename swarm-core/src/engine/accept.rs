//! Who connects to us: a peer for one of our torrents, an HTTP client, or nobody we want.
//!
//! The first byte decides, and it is only looked at: an HTTP connection is handed on with
//! nothing taken from it. A peer is told nothing before it has named a torrent of ours
//! (LIMITS B22). How many may knock, from where and how often, is bounded here.
//!
//! Not here: whether the torrent has room for the peer (`proto`).

use super::dial::{HANDSHAKE_TIMEOUT, set_options};
use super::shared::{Entry, Shared, Slot};
use super::torrent::{Mail, NewPeer};
use crate::proto::input::Direction;
use crate::proto::limits::EventBucket;
use crate::types::Moment;
use crate::wire::handshake::HANDSHAKE_LEN;
use crate::wire::{Handshake, HandshakeProgress, Reserved};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Connections a second over all addresses (LIMITS 5.2).
const ACCEPTS_PER_SECOND: u32 = 200;
/// Connections a second from one address.
const ACCEPTS_PER_IP: u32 = 5;
/// Connections at once from one address.
const ACCEPTS_PER_IP_BURST: u32 = 20;
/// After which an address has its burst again and need not be remembered.
const IP_FORGOTTEN: Duration = Duration::from_secs(4);
/// Addresses whose rate is remembered.
const IPS_MAX: usize = 1024;
/// Connections that have not said yet what they are: more than one address can open, at its
/// rate, before the first of them time out.
const UNKNOWN_MAX: usize = 256;
/// How long to leave the listener alone when the system has no more descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// First byte of a peer's handshake.
const PEER_FIRST: u8 = 0x13;
/// First letters of the HTTP methods.
const HTTP_FIRST: &[u8] = b"GHPODC";

/// Accepts connections on one listener until the session stops.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    let unknown = Arc::new(Semaphore::new(UNKNOWN_MAX));
    let mut door = Door::new(shared.clock.now());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stopped() => return,
        };
        let (stream, addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "accepting a connection failed");
                tokio::select! {
                    () = tokio::time::sleep(EXHAUSTED_PAUSE) => continue,
                    () = shared.stopped() => return,
                }
            }
        };
        if !door.admits(shared.clock.now(), addr.ip()) {
            continue;
        }
        let Ok(permit) = unknown.clone().try_acquire_owned() else { continue };
        let shared = shared.clone();
        shared.clone().tasks.spawn("incoming", async move {
            tokio::select! {
                // One bound over everything: a peer that trickles gains nothing.
                _ = timeout(HANDSHAKE_TIMEOUT, greet(&shared, stream, addr)) => {}
                () = shared.stopped() => {}
            }
            drop(permit);
        });
    }
}

/// Finds out what a connection is and hands it to whom it belongs; `None` when to nobody.
async fn greet(shared: &Shared, mut stream: TcpStream, addr: SocketAddr) -> Option<()> {
    let mut first = [0];
    stream.peek(&mut first).await.ok().filter(|count| *count > 0)?;
    let [first] = first;
    if HTTP_FIRST.contains(&first) {
        // Nobody takes them, or too slowly: the connection is closed.
        return shared.http.as_ref()?.try_send((stream, addr)).ok();
    }
    if first != PEER_FIRST {
        return None;
    }
    let slot = shared.slots.clone().try_acquire_owned().ok()?;
    set_options(&stream);
    let (entry, theirs) = shake_hands(shared, &mut stream).await?;
    let new = new_peer(stream, addr, theirs, slot);
    entry.inbox.send(Mail::Connected(Box::new(new))).await.ok()
}

fn new_peer(stream: TcpStream, addr: SocketAddr, theirs: Handshake, slot: Slot) -> NewPeer {
    let Handshake { reserved, peer_id, .. } = theirs;
    NewPeer { stream, addr, direction: Direction::Incoming, id: peer_id, reserved, slot }
}

/// Reads their handshake; answers as soon as it names a torrent of ours.
async fn shake_hands(shared: &Shared, stream: &mut TcpStream) -> Option<(Entry, Handshake)> {
    let mut bytes = [0; HANDSHAKE_LEN];
    let mut count = 0;
    let mut entry: Option<Entry> = None;
    loop {
        let rest = bytes.get_mut(count..).unwrap_or_default();
        count += stream.read(rest).await.ok().filter(|read| *read > 0)?;
        let progress = Handshake::parse(bytes.get(..count).unwrap_or_default()).ok()?;
        let info_hash = match progress {
            HandshakeProgress::Partial => continue,
            HandshakeProgress::Opening { info_hash, .. } => info_hash,
            HandshakeProgress::Whole(Handshake { info_hash, .. }) => info_hash,
        };
        if entry.is_none() {
            entry = Some(shared.torrent(&info_hash)?);
            let peer_id = shared.peer_id;
            let ours = Handshake { reserved: Reserved::OURS, info_hash, peer_id };
            stream.write_all(&ours.encode()).await.ok()?;
        }
        if let (HandshakeProgress::Whole(theirs), Some(entry)) = (progress, entry.take()) {
            return Some((entry, theirs));
        }
        entry = shared.torrent(&info_hash);
    }
}

/// How often connections may come.
#[derive(Debug)]
struct Door {
    all: EventBucket,
    /// With when it last knocked.
    ips: BTreeMap<IpAddr, (EventBucket, Moment)>,
}

impl Door {
    fn new(now: Moment) -> Self {
        let all = EventBucket::new(now, ACCEPTS_PER_SECOND, ACCEPTS_PER_SECOND);
        Self { all, ips: BTreeMap::new() }
    }

    /// Whether one more connection from this address may come in. Loopback always may.
    fn admits(&mut self, now: Moment, ip: IpAddr) -> bool {
        if ip.to_canonical().is_loopback() {
            return true;
        }
        if self.ips.len() >= IPS_MAX && !self.ips.contains_key(&ip) {
            // Whoever was quiet for long enough has its whole burst again.
            self.ips.retain(|_, (_, last)| now.since(*last) < IP_FORGOTTEN);
            if self.ips.len() >= IPS_MAX {
                return false;
            }
        }
        let new = || (EventBucket::new(now, ACCEPTS_PER_IP, ACCEPTS_PER_IP_BURST), now);
        let (bucket, last) = self.ips.entry(ip).or_insert_with(new);
        *last = now;
        bucket.allow(now) && self.all.allow(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn one_address_has_its_burst_and_then_its_rate() {
        let mut now = Moment::ZERO;
        let mut door = Door::new(now);
        let admitted = (0..100).filter(|_| door.admits(now, ip(1))).count();
        assert_eq!(admitted, 20);
        now += Duration::from_secs(1);
        let admitted = (0..100).filter(|_| door.admits(now, ip(1))).count();
        assert_eq!(admitted, 5);
        assert!(door.admits(now, ip(2)), "another address has its own");
    }

    #[test]
    fn all_addresses_together_have_a_rate_and_the_memory_of_them_a_bound() {
        let now = Moment::ZERO;
        let mut door = Door::new(now);
        let admitted = (0..5000).filter(|n| door.admits(now, ip(*n))).count();
        assert_eq!(admitted, 200);
        assert!(door.ips.len() <= IPS_MAX);
        let later = now + Duration::from_secs(60);
        assert!(door.admits(later, ip(9999)), "those who were quiet make room");
    }
}
