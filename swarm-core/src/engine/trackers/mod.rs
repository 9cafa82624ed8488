//! Asks trackers over HTTP and UDP: one announce in, one answer out, always in bounded time.
//!
//! A tracker that has both an IPv4 and an IPv6 address is told about us over each family we
//! listen on (BEP 7), at the same time, so that a swarm with both kinds of peers finds itself.
//! The first answer does not wait long for the second.
//!
//! Nothing that is shown or logged holds a tracker's secrets: errors never carry its URL, and
//! `metainfo::shown_url` cuts them (LIMITS C16).
//!
//! Not here: when to announce and to whom (`proto::announce`), the codecs (`wire`), where a URL
//! may lead (`web`).

mod error;
mod http;
mod udp;

#[cfg(test)]
mod tests;

pub(crate) use error::AnnounceError;

use super::source::ListenAddrs;
use super::web::{Errand, Trust, Web, WebError, source_for};
use crate::proto::announce::{AnnounceId, AnnounceInput, Announcement};
use crate::types::{InfoHash, PeerId};
use crate::wire::tracker::{Announce, AnnounceEvent, Family, PEERS_PER_REPLY_MAX};
use crate::wire::tracker_http::{AnnounceReply, REPLY_MAX, announce_url};
use crate::wire::tracker_udp::TransactionId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use url::Url;

/// Announces under way at once; more wait (LIMITS C14).
pub(crate) const CONCURRENT_MAX: usize = 50;
/// How long a goodbye may take, waiting included.
pub(crate) const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How long things may take. Tests shorten it.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// A whole HTTP announce, redirects included.
    http_total: Duration,
    /// Until the first UDP retry; every further one takes twice as long (BEP 15).
    udp_first: Duration,
    /// A whole UDP announce.
    udp_total: Duration,
    /// For the other address family, once one has answered.
    family_grace: Duration,
}

const TIMING: Timing = Timing {
    http_total: Duration::from_secs(30),
    udp_first: Duration::from_secs(15),
    udp_total: Duration::from_secs(60),
    family_grace: Duration::from_secs(2),
};

/// The tracker client of a session.
#[derive(Debug)]
pub(crate) struct TrackerClient {
    web: Arc<Web>,
    timing: Timing,
    permits: Semaphore,
    transactions: Mutex<StdRng>,
}

const TIMED_OUT: AnnounceError = AnnounceError::Web(WebError::TimedOut);

/// Who announces: the same for every announce of a torrent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Announcing {
    /// The swarm.
    pub(crate) info_hash: InfoHash,
    /// Our identity.
    pub(crate) peer_id: PeerId,
    /// Random; tells a tracker that our IPv4 and our IPv6 address are one client (BEP 7).
    pub(crate) key: u32,
    /// Where peers reach us.
    pub(crate) listen: ListenAddrs,
}

/// One announce to one tracker.
#[derive(Clone, Debug)]
pub(crate) struct AnnounceRequest {
    /// The tracker, secrets included.
    pub(crate) url: Arc<str>,
    /// What to say; the port is filled in for each family.
    pub(crate) announce: Announce,
    /// Who named the tracker.
    pub(crate) trust: Trust,
    /// What the tracker asked to be sent back.
    pub(crate) tracker_id: Option<Vec<u8>>,
    /// Where peers reach us.
    pub(crate) listen: ListenAddrs,
    /// For the whole, waiting for a free slot included; `None` is the protocol's own limit.
    pub(crate) limit: Option<Duration>,
}

impl AnnounceRequest {
    /// What `proto` asks for, by whom, of whose tracker. A goodbye is limited to [`STOP_LIMIT`].
    pub(crate) fn new(announcement: &Announcement, who: &Announcing, trust: Trust) -> Self {
        let announce = Announce {
            uploaded: announcement.uploaded,
            downloaded: announcement.downloaded,
            left: announcement.left,
            event: announcement.event,
            key: who.key,
            numwant: Some(announcement.numwant),
            ..Announce::new(who.info_hash, who.peer_id, 0)
        };
        Self {
            url: Arc::clone(&announcement.url),
            announce,
            trust,
            tracker_id: announcement.tracker_id.clone(),
            listen: who.listen,
            limit: (announcement.event == AnnounceEvent::Stopped).then_some(STOP_LIMIT),
        }
    }
}

/// What the announcer needs to know of an answer. Its peers are for the candidates.
pub(crate) fn outcome(
    id: AnnounceId,
    result: &Result<AnnounceReply, AnnounceError>,
) -> AnnounceInput {
    match result {
        Ok(reply) => AnnounceInput::Reply {
            id,
            interval: reply.interval,
            min_interval: reply.min_interval,
            tracker_id: reply.tracker_id.clone(),
        },
        Err(error) => AnnounceInput::Failed { id, retry: error.retry() },
    }
}

impl TrackerClient {
    /// A client that draws transaction ids from `seed`, which must not be guessable. Opens
    /// nothing yet.
    pub(crate) fn new(web: Arc<Web>, seed: u64) -> Self {
        Self::with_timing(web, seed, TIMING)
    }

    fn with_timing(web: Arc<Web>, seed: u64, timing: Timing) -> Self {
        Self {
            web,
            timing,
            permits: Semaphore::new(CONCURRENT_MAX),
            transactions: Mutex::new(StdRng::seed_from_u64(seed)),
        }
    }

    /// Announces over every family that both sides have, and joins the answers.
    ///
    /// # Errors
    /// When no family brought an answer: why the first of them failed.
    pub(crate) async fn announce(
        &self,
        request: AnnounceRequest,
    ) -> Result<AnnounceReply, AnnounceError> {
        let whole = async {
            let _permit = self.permits.acquire().await;
            self.announce_now(&request).await
        };
        match request.limit {
            None => whole.await,
            Some(limit) => timeout(limit, whole).await.unwrap_or(Err(TIMED_OUT)),
        }
    }

    /// Whether the next announce has to wait for another to end.
    pub(crate) fn is_busy(&self) -> bool {
        self.permits.available_permits() == 0
    }

    async fn announce_now(
        &self,
        request: &AnnounceRequest,
    ) -> Result<AnnounceReply, AnnounceError> {
        let url = Url::parse(&request.url).map_err(|_| WebError::BadUrl)?;
        // On the heap, so that whoever announces does not carry two HTTP exchanges around.
        let over = |family, listen| Box::pin(self.announce_over(request, &url, family, listen));
        let result = match (request.listen.v4, request.listen.v6) {
            (v4 @ Some(_), v6 @ Some(_)) => {
                let (v4, v6) = (over(Family::V4, v4), over(Family::V6, v6));
                return first_and_soon(v4, v6, self.timing.family_grace).await;
            }
            (None, v6 @ Some(_)) => over(Family::V6, v6).await,
            (v4, None) => over(Family::V4, v4).await,
        };
        if !matches!(result, Err(AnnounceError::Web(WebError::NoAddress))) {
            return result;
        }
        // The tracker is only where we do not listen: nobody can dial us, but we can dial.
        let other = if request.listen.v4.is_none() && request.listen.v6.is_some() {
            Family::V4
        } else {
            Family::V6
        };
        over(other, None).await
    }

    async fn announce_over(
        &self,
        request: &AnnounceRequest,
        url: &Url,
        family: Family,
        listen: Option<SocketAddr>,
    ) -> Result<AnnounceReply, AnnounceError> {
        let port = listen.map_or(0, |addr| addr.port());
        let announce = Announce { port, ..request.announce };
        let result = match url.scheme() {
            "http" | "https" => {
                let url = announce_url(url.as_str(), &announce, request.tracker_id.as_deref());
                let errand = Errand {
                    url: &url,
                    trust: request.trust,
                    family: Some(family),
                    listen,
                    longest: REPLY_MAX,
                };
                timeout(self.timing.http_total, http::announce(&self.web, errand)).await
            }
            "udp" => {
                let transaction = || self.transaction();
                let first_wait = self.timing.udp_first;
                let source = source_for(listen, url);
                let reach = self.web.reach(url, request.trust, Some(family));
                let route = udp::Route { family, reach, source, first_wait };
                let announce = udp::announce(url, &announce, route, &transaction);
                timeout(self.timing.udp_total, announce).await
            }
            _ => return Err(WebError::BadUrl.into()),
        };
        result.unwrap_or(Err(TIMED_OUT))
    }

    fn transaction(&self) -> TransactionId {
        // The generator is whole between two calls: a panic elsewhere cannot break it.
        let mut rng = self.transactions.lock().unwrap_or_else(PoisonError::into_inner);
        TransactionId(rng.random())
    }
}

/// Runs both; once one has succeeded, the other has `grace` left. Answers are joined.
async fn first_and_soon(
    v4: impl Future<Output = Result<AnnounceReply, AnnounceError>>,
    v6: impl Future<Output = Result<AnnounceReply, AnnounceError>>,
    grace: Duration,
) -> Result<AnnounceReply, AnnounceError> {
    let (mut v4, mut v6) = (pin!(v4), pin!(v6));
    let (v4, v6) = tokio::select! {
        first = &mut v4 => {
            let second = if first.is_ok() { timeout(grace, v6).await.ok() } else { Some(v6.await) };
            (Some(first), second)
        }
        first = &mut v6 => {
            let second = if first.is_ok() { timeout(grace, v4).await.ok() } else { Some(v4.await) };
            (second, Some(first))
        }
    };
    join(v4.unwrap_or(Err(TIMED_OUT)), v6.unwrap_or(Err(TIMED_OUT)))
}

/// One answer of two; the IPv4 error when both failed, unless there was no IPv4.
fn join(
    v4: Result<AnnounceReply, AnnounceError>,
    v6: Result<AnnounceReply, AnnounceError>,
) -> Result<AnnounceReply, AnnounceError> {
    match (v4, v6) {
        (Ok(mut reply), Ok(other)) => {
            let known: BTreeSet<_> = reply.peers.iter().copied().collect();
            let new = other.peers.into_iter().filter(|peer| !known.contains(peer));
            reply.peers.extend(new.take(PEERS_PER_REPLY_MAX));
            Ok(reply)
        }
        (Ok(reply), Err(_)) | (Err(_), Ok(reply)) => Ok(reply),
        (Err(AnnounceError::Web(WebError::NoAddress)), Err(error)) | (Err(error), Err(_)) => {
            Err(error)
        }
    }
}
