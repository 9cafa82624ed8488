//! HTTP announces (BEP 3), scrapes (BEP 48), and a look inside for this machine.
//!
//! A request line is all a tracker needs of HTTP, so it is read by hand, as bytes: info hashes
//! come with any byte in them. Every request is answered, whatever it is. Connections are kept,
//! requests may come one behind the other, and nobody may hold a connection without using it.
//!
//! Not here: TLS; a proxy in front can do it, but then all clients come from the proxy's
//! address: give each tracker address to its clients directly.

mod connections;
mod head;
mod respond;

#[cfg(test)]
mod tests;

pub(crate) use connections::Connections;

use crate::service::Service;
use crate::tasks::Spawner;
use connections::Seat;
use head::Parsed;
use respond::Desk;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout_at};

/// Pause after a failed accept: out of descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of replies that are collected before they are sent.
const REPLIES_BYTES: usize = 64 * 1024;
/// Room for bytes to arrive in.
const READ_BYTES: usize = 2048;
/// How long, and how much, a client may still send after the last reply. Closing before it
/// stops would discard the reply on its side.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 256 * 1024;

/// Accepts connections until it is dropped.
pub(crate) async fn accept(listener: TcpListener, service: Arc<Service>, spawner: Spawner) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => admit(stream, remote, &service, &spawner),
            Err(error) => {
                tracing::debug!(%error, "accept");
                tokio::time::sleep_until(service.clock.after(ACCEPT_PAUSE)).await;
            }
        }
    }
}

/// Serves a connection if there is a seat for it; else says so and closes it.
pub(crate) fn admit(
    stream: TcpStream,
    remote: SocketAddr,
    service: &Arc<Service>,
    spawner: &Spawner,
) {
    let Some(seat) = service.connections.sit(remote.ip()) else {
        service.counters.http_refused.add_one();
        // Fits an empty send buffer; if not, closing says enough.
        let _ = stream.try_write(&respond::busy());
        return;
    };
    let service = service.clone();
    spawner.spawn(async move { serve(stream, remote, service, seat).await });
}

async fn serve(stream: TcpStream, remote: SocketAddr, service: Arc<Service>, seat: Seat) {
    // Replies are sent whole: there is nothing to wait for.
    let _ = stream.set_nodelay(true);
    // Without a local address we do not know what the client calls this machine.
    let Ok(local) = stream.local_addr() else { return };
    let desk = Desk::new(service.clone(), remote.ip(), local.ip());
    let mut connection =
        Connection { stream, service, desk, input: Vec::new(), output: Vec::new() };
    // Ends in an error when the client is gone or too slow: nobody is left to tell.
    let _ = connection.run().await;
    drop(seat);
}

/// One client, from its first byte to its last.
struct Connection {
    stream: TcpStream,
    service: Arc<Service>,
    desk: Desk,
    input: Vec<u8>,
    output: Vec<u8>,
}

/// What became of the bytes that have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// No request is whole yet.
    Waiting,
    /// Requests were answered; the next is not whole yet.
    Answered,
    /// Requests were answered; there may be more, once these replies are sent.
    Full,
    /// The last reply of this connection is ready.
    Last,
}

/// The client is gone, or takes too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Gone,
    TimedOut,
}

impl Connection {
    async fn run(&mut self) -> Result<(), Ended> {
        let limits = self.service.connections.limits();
        let clock = self.service.clock;
        let mut deadline = clock.after(limits.head_timeout);
        loop {
            match self.answer_all() {
                Progress::Waiting => {}
                Progress::Answered if self.input.is_empty() => {
                    deadline = clock.after(limits.idle_timeout);
                }
                Progress::Answered => deadline = clock.after(limits.head_timeout),
                Progress::Full => {
                    self.send().await?;
                    continue;
                }
                Progress::Last => return self.finish().await,
            }
            self.send().await?;
            let is_first_byte = self.input.is_empty();
            match self.receive(deadline).await {
                Err(Ended::TimedOut) if !self.input.is_empty() => {
                    self.desk.time_out(&mut self.output);
                    return self.finish().await;
                }
                received => received?,
            }
            if is_first_byte {
                deadline = clock.after(limits.head_timeout);
            }
        }
    }

    fn answer_all(&mut self) -> Progress {
        let mut progress = Progress::Waiting;
        while self.output.len() < REPLIES_BYTES {
            let (used, last) = match head::parse(&self.input) {
                Parsed::Partial => return progress,
                Parsed::Bad(problem) => {
                    self.desk.refuse(problem, &mut self.output);
                    return Progress::Last;
                }
                Parsed::Whole { head, length } => {
                    self.desk.answer(&head, &mut self.output);
                    (length, !head.keep_alive)
                }
            };
            self.input.drain(..used);
            if last {
                return Progress::Last;
            }
            progress = Progress::Answered;
        }
        Progress::Full
    }

    /// Waits for more bytes; there is at least one when it returns.
    async fn receive(&mut self, deadline: Instant) -> Result<(), Ended> {
        self.input.reserve(READ_BYTES);
        match timeout_at(deadline, self.stream.read_buf(&mut self.input)).await {
            Ok(Ok(1..)) => Ok(()),
            Ok(Ok(0) | Err(_)) => Err(Ended::Gone),
            Err(_) => Err(Ended::TimedOut),
        }
    }

    async fn send(&mut self) -> Result<(), Ended> {
        if self.output.is_empty() {
            return Ok(());
        }
        let deadline = self.service.clock.after(self.service.connections.limits().head_timeout);
        let sent = timeout_at(deadline, self.stream.write_all(&self.output)).await;
        self.output.clear();
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Ended::Gone),
            Err(_) => Err(Ended::TimedOut),
        }
    }

    /// Sends the last reply, says that it was the last, and lets the client read it.
    async fn finish(&mut self) -> Result<(), Ended> {
        self.send().await?;
        // A client that has closed already needs no farewell.
        self.stream.shutdown().await.map_err(|_| Ended::Gone)?;
        let deadline = self.service.clock.after(LINGER);
        let mut heard = 0;
        while heard < LINGER_BYTES {
            self.input.clear();
            self.receive(deadline).await?;
            heard += self.input.len();
        }
        Ok(())
    }
}
