//! Measures announces per CPU-second of a tracker that runs in another process.
//!
//! `load PID udp://127.0.0.1:6969 [SECONDS [SWARMS]]`, or the same with `http://`.
//!
//! A fixed number of clients keep a fixed number of announces under way, so that the tracker
//! is busy and nothing is lost. What it costs is read from /proc, so only the tracker's own
//! time counts, not ours. Linux only; compare figures of one machine and one hour only.

#![expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
#![expect(clippy::print_stdout, reason = "a program that prints its result")]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};
use swarm_core::types::{InfoHash, PeerId};
use swarm_core::wire::tracker::{Announce, Family};
use swarm_core::wire::tracker_http::announce_url;
use swarm_core::wire::tracker_udp::{
    ConnectionId, Reply, TransactionId, encode_announce, encode_connect,
};

/// Clients, each with its own socket.
const CLIENTS: usize = 8;
/// Announces of one client under way over UDP.
const WINDOW: usize = 16;
/// Swarms announced to, unless told otherwise.
const SWARMS: u64 = 10_000;
/// Clock ticks of /proc a second, as Linux has them everywhere.
const TICKS_PER_SEC: f64 = 100.0;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Announces sent so far; each is a different peer of one of the swarms.
struct Peers {
    sent: u64,
    swarms: u64,
}

impl Peers {
    fn next(&mut self) -> Announce {
        self.sent = self.sent.wrapping_add(1);
        // Spreads consecutive numbers over swarms and ports without repeating soon.
        let mixed = self.sent.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut hash = [0; 20];
        for (to, from) in hash.iter_mut().zip((mixed % self.swarms).to_be_bytes()) {
            *to = from;
        }
        let port = u16::try_from(1 + (mixed >> 48) % 200).unwrap_or(1);
        let mut announce =
            Announce::new(InfoHash::new(hash), PeerId::new(*b"-XX0000-abcdefghijkl"), port);
        announce.left = (mixed >> 40) % 4;
        announce
    }
}

fn main() -> Outcome<()> {
    let mut args = std::env::args().skip(1);
    let (pid, url) = (args.next().ok_or("PID")?, args.next().ok_or("URL")?);
    let span = Duration::from_secs(args.next().map_or(Ok(5), |secs| secs.parse())?);
    let swarms = args.next().map_or(Ok(SWARMS), |count| count.parse())?;
    let peers = Peers { sent: 0, swarms };
    let (scheme, addr) = url.split_once("://").ok_or("udp://ADDR or http://ADDR")?;
    let addr: SocketAddr = addr.parse()?;
    let (start, before) = (Instant::now(), cpu_seconds(&pid)?);
    let announces = match scheme {
        "udp" => udp(addr, start + span, peers)?,
        "http" => http(addr, start + span, peers)?,
        other => return Err(format!("unknown scheme {other}").into()),
    };
    let (elapsed, cpu) = (start.elapsed().as_secs_f64(), cpu_seconds(&pid)? - before);
    let count = f64::from(u32::try_from(announces)?);
    println!(
        "{scheme}: {announces} announces, {:.0}/s, {:.0} per CPU-second of the tracker",
        count / elapsed,
        count / cpu
    );
    Ok(())
}

/// User and system time of a process.
fn cpu_seconds(pid: &str) -> Outcome<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no process name")?;
    let ticks: Vec<u32> =
        fields.split_whitespace().skip(11).take(2).map(str::parse).collect::<Result<_, _>>()?;
    Ok(f64::from(ticks.iter().sum::<u32>()) / TICKS_PER_SEC)
}

fn udp(addr: SocketAddr, end: Instant, mut peers: Peers) -> Outcome<u64> {
    let mut clients = Vec::new();
    let (mut out, mut reply) = (Vec::new(), [0; 2048]);
    for _ in 0..CLIENTS {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(addr)?;
        socket.set_read_timeout(Some(Duration::from_secs(1)))?;
        out.clear();
        encode_connect(&mut out, TransactionId(0));
        socket.send(&out)?;
        let length = socket.recv(&mut reply)?;
        let bytes = reply.get(..length).unwrap_or_default();
        let (_, Reply::Connect(id)) = Reply::decode(bytes, Family::V4)? else {
            return Err("no connection id".into());
        };
        clients.push((socket, id));
    }
    let mut answered = 0;
    while Instant::now() < end {
        for (socket, id) in &clients {
            for _ in 0..WINDOW {
                send_udp(socket, *id, &peers.next(), &mut out)?;
            }
        }
        for (socket, _) in &clients {
            for _ in 0..WINDOW {
                socket.recv(&mut reply)?;
                answered += 1;
            }
        }
    }
    Ok(answered)
}

fn send_udp(
    socket: &UdpSocket,
    id: ConnectionId,
    announce: &Announce,
    out: &mut Vec<u8>,
) -> io::Result<()> {
    out.clear();
    encode_announce(out, id, TransactionId(7), announce, b"");
    socket.send(out).map(drop)
}

fn http(addr: SocketAddr, end: Instant, mut peers: Peers) -> Outcome<u64> {
    let mut clients = Vec::new();
    for _ in 0..CLIENTS * WINDOW {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        clients.push(stream);
    }
    let (mut answered, mut reply) = (0, [0; 8192]);
    while Instant::now() < end {
        for stream in &mut clients {
            let url = announce_url("/announce", &peers.next(), None);
            stream.write_all(format!("GET {url} HTTP/1.1\r\nHost: load\r\n\r\n").as_bytes())?;
        }
        for stream in &mut clients {
            // Our tracker sends a reply whole, and it is shorter than the buffer.
            let length = stream.read(&mut reply)?;
            if !reply.get(..length).unwrap_or_default().starts_with(b"HTTP/1.1 200 OK\r\n") {
                return Err("no reply".into());
            }
            answered += 1;
        }
    }
    Ok(answered)
}
