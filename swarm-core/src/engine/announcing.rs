//! Telling trackers about a torrent, and the torrent about the peers they know.
//!
//! A task of its own per torrent, so that a slow tracker holds up nothing. The torrent tells
//! it the numbers and whether it takes part in the swarm; the task ends when the torrent is
//! gone and every tracker has been told, or when telling them takes too long.
//!
//! Not here: when to announce (`proto::announce`), how (`trackers`).

use super::shared::Shared;
use super::source::ListenAddrs;
use super::torrent::{Face, Inbox, Mail};
use super::trackers::{self, AnnounceError, AnnounceRequest, Announcing};
use super::web::Trust;
use crate::metainfo::shown_url;
use crate::proto::announce::{AnnounceId, AnnounceInput, Announcer, Status, TrackerKey};
use crate::proto::event::Phase;
use crate::proto::input::Source;
use crate::session::{AddTorrent, Event};
use crate::types::{Limit, Moment, Untrusted};
use crate::wire::tracker_http::AnnounceReply;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// The torrent's side: tells the task what it needs to know. Dropping it says goodbye.
#[derive(Debug)]
pub(crate) struct Trackers {
    news: watch::Sender<News>,
}

/// What announces depend on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct News {
    status: Status,
    taking_part: bool,
    completed: bool,
}

impl Trackers {
    /// Starts announcing a torrent to tiers of trackers; `None` when there are none to use.
    pub(crate) fn start(
        shared: &Arc<Shared>,
        face: &Arc<Face>,
        inbox: &Inbox,
        (seed, add): (u64, &AddTorrent),
    ) -> Option<Self> {
        let announcer = Announcer::new(seed, &add.tracker_tiers(), add.tier_order());
        announcer.trackers().next()?;
        for (_, url) in announcer.trackers() {
            face.report_source(&shown_url(url), |_| {});
        }
        let trusted = announcer.trackers().filter(|(_, url)| add.trust(url) == Trust::User);
        let trusted = trusted.map(|(key, _)| key).collect();
        let (news, watch) = watch::channel(News::default());
        let task = Task {
            announcer,
            trusted,
            who: who(shared, face, seed),
            shared: shared.clone(),
            face: face.clone(),
            inbox: inbox.clone(),
            known: News::default(),
            asking: FuturesUnordered::new(),
        };
        shared.tasks.spawn("trackers", task.run(watch));
        Some(Self { news })
    }

    /// Tells how the torrent stands.
    pub(crate) fn report(&self, phase: Phase, status: Status) {
        self.news.send_if_modified(|news| {
            let before = *news;
            let taking_part = match phase {
                Phase::Metadata | Phase::Downloading | Phase::Seeding => true,
                // A magnet link's metadata came and the disk is looked at: no goodbye.
                Phase::Checking => before.taking_part,
                _ => false,
            };
            *news = News { status, taking_part, ..before };
            before != *news
        });
    }

    /// Tells that the last wanted piece has come.
    pub(crate) fn completed(&self) {
        self.news.send_modify(|news| news.completed = true);
    }
}

fn who(shared: &Shared, face: &Face, seed: u64) -> Announcing {
    let addrs = shared.listen.get().map_or(&[][..], Vec::as_slice);
    Announcing {
        info_hash: face.hashes.wire(),
        peer_id: shared.peer_id,
        // The upper half: the announcer's own choices are seeded with all of it.
        key: u32::try_from(seed >> 32).unwrap_or_default(),
        listen: ListenAddrs::of(addrs),
    }
}

type Answer = (AnnounceId, Arc<str>, Result<AnnounceReply, AnnounceError>);

struct Task {
    shared: Arc<Shared>,
    face: Arc<Face>,
    inbox: Inbox,
    announcer: Announcer,
    /// Trackers that the user named.
    trusted: BTreeSet<TrackerKey>,
    who: Announcing,
    known: News,
    /// Bounded by the announcer: one for each tracker, and its goodbye.
    asking: FuturesUnordered<BoxFuture<'static, Answer>>,
}

impl Task {
    async fn run(mut self, mut news: watch::Receiver<News>) {
        loop {
            self.ask();
            let deadline = self.announcer.deadline().unwrap_or(Moment::NEVER);
            let deadline = self.shared.clock.instant(deadline);
            tokio::select! {
                changed = news.changed() => match changed {
                    Ok(()) => {
                        let latest = *news.borrow_and_update();
                        self.learn(latest).await;
                    }
                    Err(_) => break,
                },
                Some(answer) = self.asking.next() => self.on_answer(answer, true).await,
                () = tokio::time::sleep_until(deadline) => self.tell(AnnounceInput::Wake),
            }
        }
        let limit = self.shared.config.shutdown_timeout;
        // Trackers that cannot be told in time forget us by themselves.
        let _ = tokio::time::timeout(limit, self.say_goodbye()).await;
    }

    async fn learn(&mut self, news: News) {
        let before = std::mem::replace(&mut self.known, news);
        self.tell(AnnounceInput::Status(news.status));
        if !before.taking_part && news.taking_part {
            self.tell(AnnounceInput::Start);
        }
        // Before any goodbye: a fetch that ends at once has both to tell.
        if news.completed && !before.completed {
            self.tell(AnnounceInput::Completed);
        }
        if before.taking_part && !news.taking_part {
            self.leave().await;
        }
    }

    /// Stops, after what is on its way: a `completed` that arrives after `stopped` would
    /// bring us back. Trackers that do not answer have a third of the time.
    async fn leave(&mut self) {
        let patience = self.shared.config.shutdown_timeout / 3;
        let _ = tokio::time::timeout(patience, self.settle()).await;
        self.tell(AnnounceInput::Stop);
    }

    fn tell(&mut self, input: AnnounceInput) {
        self.announcer.handle(self.shared.clock.now(), input);
    }

    /// Makes the announces that are due.
    fn ask(&mut self) {
        while let Some(announcement) = self.announcer.poll() {
            let is_trusted = self.trusted.contains(&announcement.tracker);
            let trust = if is_trusted { Trust::User } else { Trust::Torrent };
            let request = AnnounceRequest::new(&announcement, &self.who, trust);
            let (id, url) = (announcement.id, announcement.url);
            let shared = self.shared.clone();
            self.asking.push(Box::pin(async move {
                if shared.trackers.is_busy() {
                    shared.limits.hit(Limit::Announces);
                }
                (id, url, shared.trackers.announce(request).await)
            }));
        }
    }

    async fn on_answer(&mut self, (id, url, result): Answer, wants_peers: bool) {
        self.tell(trackers::outcome(id, &result));
        let name = shown_url(&url);
        let result = match result {
            Ok(reply) => {
                let count = reply.peers.len();
                if wants_peers && count > 0 {
                    let mail = Mail::Candidates { source: Source::Tracker, addrs: reply.peers };
                    // When the torrent is gone there is nobody left to tell.
                    let _ = self.inbox.send(mail).await;
                }
                Ok(count)
            }
            Err(error) => {
                if let Some(limit) = error.limit() {
                    self.shared.limits.hit(limit);
                }
                let text = error.to_string();
                Err(Untrusted::with_limit(&text, Untrusted::FAILURE_MAX).to_string())
            }
        };
        self.face.report_source(&name, |report| {
            report.answered |= result.is_ok();
            report.peers += *result.as_ref().unwrap_or(&0);
            report.error = result.as_ref().err().cloned();
        });
        self.face.tell(Event::Tracker { url: name, result });
    }

    /// Waits for every answer that is due, and makes the announces that wait for one.
    async fn settle(&mut self) {
        self.ask();
        while let Some(answer) = self.asking.next().await {
            self.on_answer(answer, false).await;
            self.ask();
        }
    }

    async fn say_goodbye(&mut self) {
        if self.known.taking_part {
            self.leave().await;
        }
        self.ask();
        while !self.announcer.is_idle() {
            let Some(answer) = self.asking.next().await else { return };
            self.on_answer(answer, false).await;
        }
    }
}
