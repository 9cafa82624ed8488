//! A running tracker: its sockets, its tasks, its end.

use crate::config::TrackerConfig;
use crate::error::{Error, Protocol};
use crate::event::TrackerEvents;
use crate::service::Service;
use crate::stats::TrackerStats;
use crate::tasks::Tasks;
use crate::{http, net, udp};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use swarm_core::types::InfoHash;
use swarm_core::wire::tracker::ScrapeEntry;
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// Every shard of the store is swept once in this time (LIMITS 5.2).
const SWEEP: Duration = Duration::from_secs(60);

/// A running tracker. Cheap to clone; every clone is the same tracker.
///
/// It runs until [`Tracker::shutdown`]; dropping the last clone ends its tasks as well, but
/// does not wait for them.
#[derive(Clone, Debug)]
pub struct Tracker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    service: Arc<Service>,
    tasks: Tasks,
    http_addrs: Vec<SocketAddr>,
    udp_addrs: Vec<SocketAddr>,
}

impl Tracker {
    /// Binds all addresses and starts to answer. Needs a tokio runtime with I/O and time.
    ///
    /// # Errors
    /// When an address cannot be bound, or the system has no random bytes.
    pub async fn start(config: TrackerConfig) -> Result<Self, Error> {
        let service = Arc::new(Service::new(&config)?);
        let listeners = net::bind_all(Protocol::Http, &config.http)?;
        let sockets = net::bind_all(Protocol::Udp, &config.udp)?;
        let tasks = Tasks::new();
        let spawner = tasks.spawner();
        let addrs = |bound: &[net::Bound]| bound.iter().map(|(_, addr)| *addr).collect();
        let (http_addrs, udp_addrs) = (addrs(&listeners), addrs(&sockets));
        for (socket, addr) in listeners {
            let listener = TcpListener::from_std(socket.into()).map_err(|source| Error::Bind {
                protocol: Protocol::Http,
                addr,
                source,
            })?;
            spawner.spawn(http::accept(listener, service.clone(), spawner.clone()));
        }
        for (socket, addr) in sockets {
            let socket = UdpSocket::from_std(socket.into()).map_err(|source| Error::Bind {
                protocol: Protocol::Udp,
                addr,
                source,
            })?;
            spawner.spawn(udp::serve(socket, service.clone()));
        }
        spawner.spawn(sweep(service.clone()));
        let inner = Inner { service, tasks, http_addrs, udp_addrs };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Serves a connection somebody else has accepted: one whose first bytes are an HTTP
    /// request, none of them read yet. Returns at once. It counts against the limits like
    /// any other, and is closed when they are reached.
    pub fn serve_http_connection(&self, stream: TcpStream, remote: SocketAddr) {
        http::admit(stream, remote, &self.inner.service, &self.inner.tasks.spawner());
    }

    /// Addresses HTTP is served on, with the ports the system gave.
    #[must_use]
    pub fn http_addrs(&self) -> &[SocketAddr] {
        &self.inner.http_addrs
    }

    /// Addresses UDP is served on, with the ports the system gave.
    #[must_use]
    pub fn udp_addrs(&self) -> &[SocketAddr] {
        &self.inner.udp_addrs
    }

    /// Replaces the allow-list; `None` serves any swarm. Peers of swarms that are no longer
    /// served are not handed out any more, and expire.
    pub fn set_allowed(&self, allowed: Option<BTreeSet<InfoHash>>) {
        self.inner.service.set_allowed(allowed);
    }

    /// What it has done and holds.
    #[must_use]
    pub fn stats(&self) -> TrackerStats {
        self.inner.service.stats()
    }

    /// The counts of one swarm; zeros when nobody is in it. They count from when the first of
    /// its present peers joined: an empty swarm is forgotten.
    #[must_use]
    pub fn scrape(&self, info_hash: InfoHash) -> ScrapeEntry {
        self.inner.service.scrape(info_hash)
    }

    /// Its events from now on.
    #[must_use]
    pub fn events(&self) -> TrackerEvents {
        TrackerEvents::new(self.inner.service.subscribe())
    }

    /// Closes every socket and connection and waits until all tasks have ended.
    pub async fn shutdown(&self) {
        self.inner.tasks.stop().await;
        self.inner.service.close_events();
    }
}

/// Forgets who has not come back, one shard after the other, for ever.
async fn sweep(service: Arc<Service>) {
    let shards = service.store().shards();
    let pause = SWEEP / u32::try_from(shards).unwrap_or(u32::MAX);
    loop {
        for shard in 0..shards {
            tokio::time::sleep_until(service.clock.after(pause)).await;
            service.store().expire(service.clock.now(), shard);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::TrackerEvent;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    fn local() -> TrackerConfig {
        let addrs = vec![SocketAddr::from(([127, 0, 0, 1], 0))];
        TrackerConfig { http: addrs.clone(), udp: addrs, ..TrackerConfig::default() }
    }

    async fn announce(tracker: &Tracker, event: &str) {
        let mut stream = TcpStream::connect(tracker.http_addrs()[0]).await.unwrap();
        let request = format!(
            "GET /announce?info_hash=aaaaaaaaaaaaaaaaaaaa&port=7&left=1&event={event} HTTP/1.0\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.read_to_end(&mut Vec::new()).await.unwrap();
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let first = Tracker::start(local()).await.unwrap();
        for (http, udp, expected) in [
            (first.http_addrs().to_vec(), vec![], "HTTP"),
            (vec![], first.udp_addrs().to_vec(), "UDP"),
        ] {
            let taken = *http.iter().chain(&udp).next().unwrap();
            let config = TrackerConfig { http, udp, ..local() };
            let error = Tracker::start(config).await.unwrap_err().to_string();
            assert!(error.contains(&format!("{taken} for {expected}: ")), "{error}");
        }
        first.shutdown().await;
    }

    #[tokio::test]
    async fn events_tell_who_comes_and_goes_and_end_with_the_tracker() {
        let tracker = Tracker::start(local()).await.unwrap();
        let mut events = tracker.events();
        for event in ["started", "", "completed", "stopped"] {
            announce(&tracker, event).await;
        }
        let (info_hash, peer) = (InfoHash::new([b'a'; 20]), ([127, 0, 0, 1], 7).into());
        let joined = TrackerEvent::Joined { info_hash, peer, complete: false };
        assert_eq!(events.next().await, Some(joined));
        assert_eq!(events.next().await, Some(TrackerEvent::Completed { info_hash, peer }));
        assert_eq!(events.next().await, Some(TrackerEvent::Left { info_hash, peer }));
        tracker.shutdown().await;
        assert_eq!((events.next().await, events.take_missed()), (None, 0));
        assert_eq!(tracker.events().next().await, None, "late listeners learn it too");
    }

    #[tokio::test]
    async fn after_shutdown_nothing_is_open() {
        let tracker = Tracker::start(local()).await.unwrap();
        let mut open = TcpStream::connect(tracker.http_addrs()[0]).await.unwrap();
        open.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        open.read_u8().await.unwrap();
        tracker.shutdown().await;
        assert_eq!(tracker.stats().http_connections, 0);
        open.read_to_end(&mut Vec::new()).await.unwrap();
        let again = TrackerConfig {
            http: tracker.http_addrs().to_vec(),
            udp: tracker.udp_addrs().to_vec(),
            ..local()
        };
        Tracker::start(again).await.unwrap().shutdown().await;
    }

    #[tokio::test]
    async fn dropping_the_last_clone_ends_its_tasks() {
        let tracker = Tracker::start(local()).await.unwrap();
        let service = Arc::downgrade(&tracker.inner.service);
        drop(tracker);
        while service.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn the_allow_list_can_change() {
        let tracker = Tracker::start(local()).await.unwrap();
        tracker.set_allowed(Some(BTreeSet::new()));
        announce(&tracker, "").await;
        assert_eq!(tracker.stats().peers, 0);
        let hash = InfoHash::new([b'a'; 20]);
        tracker.set_allowed(Some([hash].into()));
        announce(&tracker, "").await;
        assert_eq!((tracker.stats().peers, tracker.scrape(hash).incomplete), (1, 1));
        tracker.shutdown().await;
    }
}
