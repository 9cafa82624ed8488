//! One attempt to reach a peer: connect, shake hands, hand the connection to the torrent.
//!
//! Not here: whom to dial and when again (`proto::candidates`).

use super::shared::Shared;
use super::source::ListenAddrs;
use super::torrent::{Face, Inbox, Mail, NewPeer};
use crate::proto::input::{DialError, Direction};
use crate::types::{InfoHash, Limit};
use crate::wire::handshake::HANDSHAKE_LEN;
use crate::wire::{Handshake, HandshakeProgress, Reserved};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long to wait for the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the handshake may take, in all (LIMITS B18).
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// A peer that takes nothing of what is sent to it for this long is gone, or only holds on to
/// buffers of ours. The kernel closes it (LIMITS P20, P38): nobody else knows what of a write has
/// arrived.
const STALL_TIMEOUT: Duration = Duration::from_secs(120);
/// How long to wait for a place among the session's connections.
const SLOT_TIMEOUT: Duration = Duration::from_secs(10);

/// Dials `addr` for a torrent and tells it what came of it.
pub(crate) async fn run(shared: Arc<Shared>, face: Arc<Face>, inbox: Inbox, addr: SocketAddr) {
    let mail = tokio::select! {
        dialled = dial(&shared, face.hashes.wire(), addr) => match dialled {
            Ok(new) => Mail::Connected(Box::new(new)),
            Err(why) => Mail::DialFailed { addr, why },
        },
        () = face.ended() => return,
    };
    // When the torrent is gone there is nobody left to tell.
    let _ = inbox.send(mail).await;
}

async fn dial(shared: &Shared, hash: InfoHash, addr: SocketAddr) -> Result<NewPeer, DialError> {
    if shared.half_open.available_permits() == 0 {
        shared.limits.hit(Limit::HalfOpen);
    }
    let _half_open = shared.half_open.acquire().await.map_err(|_| DialError::Other)?;
    let slot = timeout(SLOT_TIMEOUT, shared.slots.clone().acquire_owned()).await;
    let slot = slot
        .inspect_err(|_| shared.limits.hit(Limit::Peers))
        .map_err(|_| DialError::Other)?
        .map_err(|_| DialError::Other)?;
    shared.dial_turn().await;
    let mut stream = timeout(CONNECT_TIMEOUT, connect(source_for(shared, addr), addr))
        .await
        .map_err(|_| DialError::TimedOut)?
        .map_err(|error| why_not(error.kind()))?;
    set_options(&stream);
    let ours = Handshake { reserved: Reserved::OURS, info_hash: hash, peer_id: shared.peer_id };
    let theirs = timeout(HANDSHAKE_TIMEOUT, exchange(&mut stream, &ours))
        .await
        .map_err(|_| DialError::TimedOut)??;
    if theirs.info_hash != hash {
        return Err(DialError::OtherTorrent);
    }
    if theirs.peer_id == shared.peer_id {
        return Err(DialError::Ourselves);
    }
    Ok(NewPeer {
        stream,
        addr,
        direction: Direction::Outgoing,
        id: theirs.peer_id,
        reserved: theirs.reserved,
        slot,
    })
}

fn source_for(shared: &Shared, addr: SocketAddr) -> Option<IpAddr> {
    let listen = ListenAddrs::of(shared.listen.get().map_or(&[][..], Vec::as_slice));
    listen.source_for(addr.ip())
}

/// Connects from the address we listen on, which the peer will tell others of.
async fn connect(source: Option<IpAddr>, addr: SocketAddr) -> io::Result<TcpStream> {
    let Some(source) = source else { return TcpStream::connect(addr).await };
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind((source, 0).into())?;
    socket.connect(addr).await
}

/// Sets what every peer's socket needs, dialled or accepted.
///
/// The sizes of its buffers are left to the kernel, which grows them with the path. One set by
/// hand stays as it is and may not pass `net.core.{r,w}mem_max`, as shipped a twentieth of what
/// the kernel goes to by itself. Measured over 100 ms (`tests/bench/far.py`): with the 4 MiB that
/// `net.ipv4.tcp_wmem` allows by default one connection carries 27 MB/s, and `sendfile` alone
/// 26; with 64 MiB 97, and 92. So who has such a path raises `tcp_wmem` and `tcp_rmem`.
pub(crate) fn set_options(stream: &TcpStream) {
    // Without it small messages wait for acknowledgements; a socket that refuses still works.
    let _ = stream.set_nodelay(true);
    set_stall_timeout(stream);
}

/// A system without the option keeps a peer that takes nothing until it says nothing either.
#[cfg(target_os = "linux")]
fn set_stall_timeout(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).set_tcp_user_timeout(Some(STALL_TIMEOUT));
}

#[cfg(not(target_os = "linux"))]
fn set_stall_timeout(_stream: &TcpStream) {}

async fn exchange(stream: &mut TcpStream, ours: &Handshake) -> Result<Handshake, DialError> {
    stream.write_all(&ours.encode()).await.map_err(|_| DialError::Handshake)?;
    let mut bytes = [0; HANDSHAKE_LEN];
    let mut count = 0;
    loop {
        let rest = bytes.get_mut(count..).unwrap_or_default();
        count += match stream.read(rest).await {
            Ok(0) | Err(_) => return Err(DialError::Handshake),
            Ok(read) => read,
        };
        let so_far = bytes.get(..count).unwrap_or_default();
        match Handshake::parse(so_far).map_err(|_| DialError::Handshake)? {
            HandshakeProgress::Whole(theirs) => return Ok(theirs),
            HandshakeProgress::Opening { info_hash, .. } if info_hash != ours.info_hash => {
                return Err(DialError::OtherTorrent);
            }
            HandshakeProgress::Partial | HandshakeProgress::Opening { .. } => {}
        }
    }
}

fn why_not(kind: ErrorKind) -> DialError {
    match kind {
        ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset => DialError::Refused,
        ErrorKind::TimedOut => DialError::TimedOut,
        ErrorKind::NetworkUnreachable
        | ErrorKind::HostUnreachable
        | ErrorKind::AddrNotAvailable
        | ErrorKind::NetworkDown
        | ErrorKind::Unsupported => DialError::Unreachable,
        _ => DialError::Other,
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn who_takes_nothing_for_two_minutes_is_closed_by_the_kernel() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        set_options(&stream);
        let timeout = socket2::SockRef::from(&stream).tcp_user_timeout().unwrap();
        assert_eq!(timeout, Some(STALL_TIMEOUT));
    }
}
