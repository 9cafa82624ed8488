//! Sockets to listen on. IPv6 sockets take IPv6 only: a client has one address, and replies
//! leave from the family they came to.

use crate::Error;
use crate::error::Protocol;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Bytes of datagrams that may wait to be read. The system may give less.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// A socket and the address it is bound to, with the port the system gave.
pub(crate) type Bound = (Socket, SocketAddr);

/// Binds every address for a protocol. All IPv6 addresses are left out on a machine without
/// IPv6, when all IPv4 addresses are asked for beside them.
pub(crate) fn bind_all(protocol: Protocol, addrs: &[SocketAddr]) -> Result<Vec<Bound>, Error> {
    let mut sockets = Vec::with_capacity(addrs.len());
    for addr in addrs {
        match bind(protocol, *addr) {
            Ok(bound) => sockets.push(bound),
            Err(source) if is_spare(*addr, addrs) && is_no_ipv6(&source) => {
                tracing::info!(%addr, "no IPv6 on this machine");
            }
            Err(source) => return Err(Error::Bind { protocol, addr: *addr, source }),
        }
    }
    Ok(sockets)
}

fn is_spare(addr: SocketAddr, addrs: &[SocketAddr]) -> bool {
    addr.ip() == Ipv6Addr::UNSPECIFIED && addrs.iter().any(|a| a.ip() == Ipv4Addr::UNSPECIFIED)
}

fn is_no_ipv6(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied)
}

fn bind(protocol: Protocol, addr: SocketAddr) -> io::Result<Bound> {
    let kind = match protocol {
        Protocol::Http => Type::STREAM,
        Protocol::Udp => Type::DGRAM,
    };
    let socket = Socket::new(Domain::for_address(addr), kind, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    match protocol {
        Protocol::Http => {
            // A restart must not wait for connections of the last run to fade.
            #[cfg(unix)]
            socket.set_reuse_address(true)?;
            socket.bind(&addr.into())?;
            socket.listen(BACKLOG)?;
        }
        Protocol::Udp => {
            // Only a wish: the default also works.
            let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES);
            socket.bind(&addr.into())?;
        }
    }
    let bound = socket.local_addr()?.as_socket().unwrap_or(addr);
    Ok((socket, bound))
}
