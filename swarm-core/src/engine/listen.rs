//! Listening sockets.
//!
//! IPv6 sockets take IPv6 only, so that one port can serve both families; addresses with
//! port 0 share one free port when there is one.
//!
//! Not here: who connects (`accept`).

use crate::session::Error;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;

/// Connections the system holds for us before it refuses (LIMITS 5.2).
const BACKLOG: i32 = 128;
/// Ports tried to find one that is free on every address.
const SHARED_PORT_TRIES: usize = 16;

/// Listens on every address.
///
/// # Errors
/// [`Error::Bind`] for the first address that cannot be had.
pub(crate) fn bind_all(addrs: &[SocketAddr]) -> Result<Vec<TcpListener>, Error> {
    let sockets = bind_sharing_a_port(addrs)?;
    sockets
        .into_iter()
        .map(|(addr, socket)| {
            TcpListener::from_std(socket.into()).map_err(|source| refused(addr, source))
        })
        .collect()
}

type Bound = (SocketAddr, Socket);

fn bind_sharing_a_port(addrs: &[SocketAddr]) -> Result<Vec<Bound>, Error> {
    if addrs.iter().filter(|addr| addr.port() == 0).count() > 1 {
        for _ in 0..SHARED_PORT_TRIES {
            let Ok(bound) = bind_each(addrs, true) else { continue };
            return Ok(bound);
        }
    }
    bind_each(addrs, false)
}

/// Binds in order; with `share` the first port that the system chose is asked for again.
fn bind_each(addrs: &[SocketAddr], share: bool) -> Result<Vec<Bound>, Error> {
    let mut bound = Vec::with_capacity(addrs.len());
    let mut port = 0;
    for addr in addrs {
        let mut wanted = *addr;
        if share && wanted.port() == 0 {
            wanted.set_port(port);
        }
        match bind(wanted) {
            Ok(socket) => {
                let local = socket.local_addr().ok().and_then(|local| local.as_socket());
                if port == 0 && addr.port() == 0 {
                    port = local.map_or(0, |local| local.port());
                }
                bound.push((*addr, socket));
            }
            Err(error) if is_absent_family(*addr, &error) => {
                tracing::info!(%addr, "this machine has no such address family");
            }
            Err(error) => return Err(refused(*addr, error)),
        }
    }
    Ok(bound)
}

fn bind(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A restarted seed must get its port back while old connections fade out.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

/// Whether `[::]` was asked for on a machine without IPv6, or the reverse: then the other
/// family alone has to do.
fn is_absent_family(addr: SocketAddr, error: &io::Error) -> bool {
    /// `EAFNOSUPPORT` of Linux: the standard library has no name for it.
    const NO_FAMILY: i32 = 97;
    addr.ip().is_unspecified()
        && (error.raw_os_error() == Some(NO_FAMILY)
            || matches!(error.kind(), ErrorKind::AddrNotAvailable | ErrorKind::Unsupported))
}

fn refused(addr: SocketAddr, source: io::Error) -> Error {
    Error::Bind { addr, source: Arc::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn ports(listeners: &[TcpListener]) -> Vec<u16> {
        listeners.iter().map(|listener| listener.local_addr().unwrap().port()).collect()
    }

    #[tokio::test]
    async fn several_addresses_share_one_free_port() {
        let listeners = bind_all(&addrs(&["127.0.0.1:0", "127.0.0.2:0", "[::1]:0"])).unwrap();
        let ports = ports(&listeners);
        assert!(ports.iter().all(|port| *port != 0 && *port == ports[0]), "{ports:?}");
    }

    #[tokio::test]
    async fn a_port_in_use_is_an_error_that_names_the_address() {
        let first = bind_all(&addrs(&["127.0.0.1:0"])).unwrap();
        let taken = first[0].local_addr().unwrap();
        let error = bind_all(&[taken]).unwrap_err();
        assert!(matches!(error, Error::Bind { addr, .. } if addr == taken), "{error}");
    }
}
