//! Who connects to us: a peer for one of our torrents, an HTTP client, or nobody we want.
//!
//! The first byte decides, and it is only looked at: an HTTP connection is handed on with
//! nothing taken from it. A peer is told nothing before it has named a torrent of ours
//! (LIMITS B22).
//!
//! Not here: how many may come in, from where and how often (`door`), whether the torrent has
//! room for the peer (`proto`).

use super::dial::{HANDSHAKE_TIMEOUT, set_options};
use super::shared::{Entry, Shared, Slot};
use super::torrent::{Mail, NewPeer};
use crate::proto::input::Direction;
use crate::types::Limit;
use crate::wire::handshake::HANDSHAKE_LEN;
use crate::wire::{Handshake, HandshakeProgress, Reserved};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// How long to leave the listener alone when the system has no more descriptors.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);
/// First byte of a peer's handshake.
const PEER_FIRST: u8 = 0x13;
/// First letters of the HTTP methods.
const HTTP_FIRST: &[u8] = b"GHPODC";

/// Accepts connections on one listener until the session stops.
pub(crate) async fn run(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shared.stopped() => return,
        };
        let (stream, addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                shared.limits.hit(Limit::Descriptors);
                tracing::debug!(%error, "accepting a connection failed");
                tokio::select! {
                    () = tokio::time::sleep(EXHAUSTED_PAUSE) => continue,
                    () = shared.stopped() => return,
                }
            }
        };
        if let Err(limit) = shared.door().admit(shared.clock.now(), addr.ip()) {
            shared.limits.hit(limit);
            continue;
        }
        let shared = shared.clone();
        shared.clone().tasks.spawn("incoming", async move {
            tokio::select! {
                () = receive(&shared, stream, addr) => {}
                () = shared.stopped() => {}
            }
        });
    }
}

/// Has a connection say what it is, in bounded time and in bounded company.
async fn receive(shared: &Shared, stream: TcpStream, addr: SocketAddr) {
    let (place, is_crowded) = shared.lobby().enter();
    if is_crowded {
        shared.limits.hit(Limit::Unidentified);
    }
    tokio::select! {
        // One bound over everything: a peer that trickles gains nothing.
        greeted = timeout(HANDSHAKE_TIMEOUT, greet(shared, stream, addr)) => {
            if greeted.is_err() {
                shared.limits.hit(Limit::HandshakeTime);
            }
        }
        () = place.notified() => {}
    }
    shared.lobby().leave(&place);
}

/// Finds out what a connection is and hands it to whom it belongs; `None` when to nobody.
async fn greet(shared: &Shared, mut stream: TcpStream, addr: SocketAddr) -> Option<()> {
    let mut first = [0];
    stream.peek(&mut first).await.ok().filter(|count| *count > 0)?;
    let [first] = first;
    if HTTP_FIRST.contains(&first) {
        // Nobody takes them, or too slowly: the connection is closed.
        let sent = shared.http.as_ref()?.try_send((stream, addr));
        return sent.map_err(|_| shared.limits.hit(Limit::HttpConnections)).ok();
    }
    if first != PEER_FIRST {
        return None;
    }
    let Ok(slot) = shared.slots.clone().try_acquire_owned() else {
        shared.limits.hit(Limit::Peers);
        return None;
    };
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
