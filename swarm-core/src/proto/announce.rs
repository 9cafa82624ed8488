//! When to announce to which tracker, and what to say.
//!
//! Trackers come in tiers (BEP 12). Inside a tier they are shuffled once, the first that works
//! is used and moves to the front, and one that fails is left alone for a while that grows. A
//! private torrent takes its tiers strictly in turn. For a public one every tier is used at
//! the same time: BEP 12 would ask the second tier only when the first is dead, but trackers
//! in different tiers know different peers, and waiting for a dead one costs a minute before
//! the first peer is found.
//!
//! A tracker is announced to as often as it asks, between a minute and a day. Only while we
//! fetch and know few peers, a shorter interval that the tracker itself gave is honoured: a
//! tracker of a young swarm says so in order to bring its first peers together.
//!
//! The contract is that of every state machine here: [`Announcer::handle`], then
//! [`Announcer::poll`] until `None`, then wait until [`Announcer::deadline`].
//!
//! Not here: HTTP and UDP, time-outs, the peers in a reply.

use crate::metainfo::{TRACKERS_MAX, UrlUse, check_url};
use crate::types::Moment;
use crate::wire::tracker::{Announce, AnnounceEvent};
use crate::wire::tracker_http::Retry;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// Shortest time between two announces, unless [`PEERS_FEW`] says otherwise.
pub const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// Longest time between two announces.
pub const INTERVAL_MAX: Duration = Duration::from_secs(24 * 3600);
/// Shortest interval that is honoured while fetching with few peers.
pub const INTERVAL_HUNGRY_MIN: Duration = Duration::from_secs(1);
/// With fewer connected peers than this, a leech takes the tracker's shortest interval: so many
/// it looks for (see [`super::neighbours`]).
pub const PEERS_FEW: usize = super::neighbours::MATES_SOUGHT;
/// Shortest time between two `started` that a tracker accepted. `completed` and `stopped`
/// follow a `started` at most once, so they are bounded by it.
pub const STARTED_GAP: Duration = Duration::from_secs(10);
/// Wait after a tracker's first failure; each further one makes it 2.5 times as long.
pub const BACKOFF_FIRST: Duration = Duration::from_secs(5);
/// Longest wait after a failure, before jitter.
pub const BACKOFF_MAX: Duration = Duration::from_secs(1_800);
/// Peers a leech with few peers asks for.
pub const NUMWANT_FEW: u32 = 200;
/// Peers anyone else asks for.
pub const NUMWANT: u32 = 50;

const BACKOFF_FACTOR: f64 = 2.5;
/// For a tracker that gives no interval.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1_800);

/// One tracker of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackerKey(usize);

/// One announce, so that its answer is not taken for that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnnounceId(u64);

/// How the tiers of a torrent relate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TierOrder {
    /// Every tier at the same time: public torrents.
    Parallel,
    /// A tier only when all before it fail: private torrents, where each tracker counts.
    Strict,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnnounceInput {
    /// The deadline passed.
    Wake,
    /// The torrent joins its swarm, or joins again after [`Self::Stop`].
    Start,
    /// The last wanted piece is there. Not for a torrent that was complete when it started.
    Completed,
    /// The torrent leaves its swarm.
    Stop,
    /// Numbers that announces carry; they also decide how often to announce.
    Status(Status),
    /// The tracker answered; times are as it gave them.
    Reply {
        /// To which announce.
        id: AnnounceId,
        /// When to come again.
        interval: Option<Duration>,
        /// How often to come at most.
        min_interval: Option<Duration>,
        /// To be sent back next time.
        tracker_id: Option<Vec<u8>>,
    },
    /// The announce failed, or the tracker refused it.
    Failed {
        /// Which announce.
        id: AnnounceId,
        /// What a refusal says about coming again (BEP 31).
        retry: Retry,
    },
}

/// Numbers of the torrent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Payload sent, bytes.
    pub uploaded: u64,
    /// Payload received, bytes.
    pub downloaded: u64,
    /// Bytes still to come; `None` before the metadata.
    pub left: Option<u64>,
    /// Connected peers.
    pub peers: usize,
}

/// An announce to make; answer with [`AnnounceInput::Reply`] or [`AnnounceInput::Failed`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Announcement {
    /// To be repeated in the answer.
    pub id: AnnounceId,
    /// Whom.
    pub tracker: TrackerKey,
    /// Its URL, secrets included: not for showing.
    pub url: Arc<str>,
    /// Why.
    pub event: AnnounceEvent,
    /// Peers to ask for.
    pub numwant: u32,
    /// Payload sent, bytes.
    pub uploaded: u64,
    /// Payload received, bytes.
    pub downloaded: u64,
    /// Bytes still to come, or [`Announce::LEFT_UNKNOWN`].
    pub left: u64,
    /// What this tracker asked to be sent back.
    pub tracker_id: Option<Vec<u8>>,
}

/// The announces of one torrent.
#[derive(Debug)]
pub struct Announcer {
    trackers: Vec<Tracker>,
    groups: Vec<Group>,
    running: bool,
    status: Status,
    next_id: u64,
    outbox: VecDeque<Announcement>,
    rng: StdRng,
}

#[derive(Debug)]
struct Tracker {
    url: Arc<str>,
    group: usize,
    in_flight: Option<(AnnounceId, AnnounceEvent)>,
    /// It accepted `started` and no `stopped` since: it counts us.
    counts_us: bool,
    /// When it last accepted a `started`.
    started_at: Option<Moment>,
    failures: u32,
    /// Not before then; `NEVER` when it told us to stay away.
    not_before: Moment,
    tracker_id: Option<Vec<u8>>,
}

/// Trackers of which one is used at a time: one tier, or all tiers of a private torrent.
#[derive(Debug, Default)]
struct Group {
    tiers: Vec<Vec<TrackerKey>>,
    last: Option<Answer>,
    completed_due: bool,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    at: Moment,
    interval: Option<Duration>,
    min_interval: Option<Duration>,
}

impl Announcer {
    /// For these tiers of URLs. What [`check_url`] refuses, was named before, or is beyond
    /// [`TRACKERS_MAX`] is left out. Nothing is announced before
    /// [`AnnounceInput::Start`].
    #[must_use]
    pub fn new(seed: u64, tiers: &[Vec<String>], order: TierOrder) -> Self {
        let mut announcer = Self {
            trackers: Vec::new(),
            groups: Vec::new(),
            running: false,
            status: Status::default(),
            next_id: 0,
            outbox: VecDeque::new(),
            rng: StdRng::seed_from_u64(seed),
        };
        let mut known = BTreeSet::new();
        for tier in tiers {
            let is_usable = |url: &&String| check_url(url, UrlUse::Tracker).is_ok();
            let mut urls: Vec<&String> = tier.iter().filter(is_usable).collect();
            urls.retain(|url| known.len() < TRACKERS_MAX && known.insert(url.as_str()));
            announcer.add_tier(&urls, order);
        }
        announcer
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Moment, input: AnnounceInput) {
        match input {
            AnnounceInput::Wake => {}
            AnnounceInput::Start => self.start(),
            AnnounceInput::Completed => {
                for group in &mut self.groups {
                    group.completed_due = self.running;
                }
            }
            AnnounceInput::Stop => self.stop(),
            AnnounceInput::Status(status) => self.status = status,
            AnnounceInput::Reply { id, interval, min_interval, tracker_id } => {
                self.on_reply(id, Answer { at: now, interval, min_interval }, tracker_id);
            }
            AnnounceInput::Failed { id, retry } => self.on_failed(now, id, retry),
        }
        self.announce_due(now);
    }

    /// The next announce to make.
    #[must_use]
    pub fn poll(&mut self) -> Option<Announcement> {
        self.outbox.pop_front()
    }

    /// When to call `handle` with [`AnnounceInput::Wake`] if nothing else happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        self.groups.iter().filter_map(|group| self.due(group)).min()
    }

    /// Whether no announce is under way: after [`AnnounceInput::Stop`], that every tracker
    /// which counted us has been told, or could not be.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.trackers.iter().all(|tracker| tracker.in_flight.is_none())
    }

    /// All trackers with their URLs, secrets included.
    pub fn trackers(&self) -> impl Iterator<Item = (TrackerKey, &Arc<str>)> {
        self.trackers.iter().enumerate().map(|(at, tracker)| (TrackerKey(at), &tracker.url))
    }

    fn add_tier(&mut self, urls: &[&String], order: TierOrder) {
        if urls.is_empty() {
            return;
        }
        if self.groups.is_empty() || order == TierOrder::Parallel {
            self.groups.push(Group::default());
        }
        let group = self.groups.len() - 1;
        let first = self.trackers.len();
        self.trackers.extend(urls.iter().map(|url| Tracker {
            url: Arc::from(url.as_str()),
            group,
            in_flight: None,
            counts_us: false,
            started_at: None,
            failures: 0,
            not_before: Moment::ZERO,
            tracker_id: None,
        }));
        let mut tier: Vec<TrackerKey> = (first..self.trackers.len()).map(TrackerKey).collect();
        tier.shuffle(&mut self.rng);
        if let Some(group) = self.groups.last_mut() {
            group.tiers.push(tier);
        }
    }

    fn start(&mut self) {
        if self.running {
            return;
        }
        self.running = true;
        for group in &mut self.groups {
            group.last = None;
            group.completed_due = false;
        }
        for tracker in &mut self.trackers {
            tracker.counts_us = false;
        }
    }

    /// Says goodbye to every tracker that counts us, and to those that may: an announce to
    /// them is under way. Its late answer no longer matters.
    fn stop(&mut self) {
        if !std::mem::replace(&mut self.running, false) {
            return;
        }
        // Announces that were not even taken from the outbox need no goodbye.
        for unsent in std::mem::take(&mut self.outbox) {
            if let Some(tracker) = self.trackers.get_mut(unsent.tracker.0) {
                tracker.in_flight = None;
            }
        }
        for at in 0..self.trackers.len() {
            let Some(tracker) = self.trackers.get(at) else { return };
            if tracker.counts_us || tracker.in_flight.is_some() {
                self.announce(TrackerKey(at), AnnounceEvent::Stopped);
            }
        }
    }

    fn on_reply(&mut self, id: AnnounceId, answer: Answer, tracker_id: Option<Vec<u8>>) {
        let Some((key, event)) = self.take_in_flight(id) else { return };
        let Some(tracker) = self.trackers.get_mut(key.0) else { return };
        tracker.failures = 0;
        tracker.not_before = Moment::ZERO;
        tracker.tracker_id = tracker_id.or_else(|| tracker.tracker_id.take());
        tracker.counts_us = event != AnnounceEvent::Stopped;
        if event == AnnounceEvent::Stopped {
            return;
        }
        if event == AnnounceEvent::Started {
            tracker.started_at = Some(answer.at);
        }
        let Some(group) = self.groups.get_mut(tracker.group) else { return };
        group.last = Some(answer);
        group.completed_due &= event != AnnounceEvent::Completed;
        group.promote(key);
    }

    fn on_failed(&mut self, now: Moment, id: AnnounceId, retry: Retry) {
        let Some((key, event)) = self.take_in_flight(id) else { return };
        let jitter = self.rng.random_range(1.0..1.25);
        let Some(tracker) = self.trackers.get_mut(key.0) else { return };
        if event == AnnounceEvent::Stopped {
            tracker.counts_us = false;
            return;
        }
        tracker.failures = tracker.failures.saturating_add(1);
        tracker.not_before = match retry {
            Retry::Unspecified => now + backoff(tracker.failures).mul_f64(jitter),
            Retry::After(wait) => now + wait.clamp(INTERVAL_MIN, INTERVAL_MAX).mul_f64(jitter),
            Retry::Never => Moment::NEVER,
        };
    }

    fn take_in_flight(&mut self, id: AnnounceId) -> Option<(TrackerKey, AnnounceEvent)> {
        self.trackers.iter_mut().enumerate().find_map(|(at, tracker)| {
            let (_, event) = tracker.in_flight.take_if(|(other, _)| *other == id)?;
            Some((TrackerKey(at), event))
        })
    }

    fn announce_due(&mut self, now: Moment) {
        for at in 0..self.groups.len() {
            let Some(group) = self.groups.get(at) else { return };
            if self.due(group).is_none_or(|due| due > now) {
                continue;
            }
            let completed_due = group.completed_due;
            let mut in_order = self.members(group);
            let Some((key, tracker)) = in_order.find(|(_, tracker)| tracker.ready_at() <= now)
            else {
                continue;
            };
            let event = match (tracker.counts_us, completed_due) {
                (false, _) => AnnounceEvent::Started,
                (true, true) => AnnounceEvent::Completed,
                (true, false) => AnnounceEvent::None,
            };
            drop(in_order);
            self.announce(key, event);
        }
    }

    /// When a group is to announce: once its interval is over or it has news, and one of its
    /// trackers is not backing off; never while an announce is under way.
    fn due(&self, group: &Group) -> Option<Moment> {
        let busy = self.members(group).any(|(_, tracker)| tracker.in_flight.is_some());
        if !self.running || busy {
            return None;
        }
        let due = match group.last {
            Some(answer) if !group.completed_due => answer.at + self.interval(answer),
            _ => Moment::ZERO,
        };
        let ready = self.members(group).map(|(_, tracker)| tracker.ready_at()).min()?;
        (ready != Moment::NEVER).then(|| due.max(ready))
    }

    /// How long after an answer the next announce is due, as things stand now.
    fn interval(&self, answer: Answer) -> Duration {
        let interval = answer.interval.unwrap_or(INTERVAL_DEFAULT);
        let shortest = answer.min_interval.map_or(interval, |min| min.min(interval));
        if self.is_hungry() && shortest >= INTERVAL_HUNGRY_MIN {
            return shortest.min(INTERVAL_MAX);
        }
        interval.max(answer.min_interval.unwrap_or_default()).clamp(INTERVAL_MIN, INTERVAL_MAX)
    }

    fn is_hungry(&self) -> bool {
        self.status.left != Some(0) && self.status.peers < PEERS_FEW
    }

    fn announce(&mut self, key: TrackerKey, event: AnnounceEvent) {
        let id = AnnounceId(self.next_id);
        self.next_id += 1;
        let numwant = match event {
            AnnounceEvent::Stopped => 0,
            _ if self.is_hungry() => NUMWANT_FEW,
            _ => NUMWANT,
        };
        let Some(tracker) = self.trackers.get_mut(key.0) else { return };
        tracker.in_flight = Some((id, event));
        self.outbox.push_back(Announcement {
            id,
            tracker: key,
            url: Arc::clone(&tracker.url),
            event,
            numwant,
            uploaded: self.status.uploaded,
            downloaded: self.status.downloaded,
            left: self.status.left.unwrap_or(Announce::LEFT_UNKNOWN),
            tracker_id: tracker.tracker_id.clone(),
        });
    }

    /// The trackers of a group in the order in which they are tried.
    fn members<'a>(
        &'a self,
        group: &'a Group,
    ) -> impl Iterator<Item = (TrackerKey, &'a Tracker)> + 'a {
        let keys = group.tiers.iter().flatten();
        keys.filter_map(|key| Some((*key, self.trackers.get(key.0)?)))
    }
}

impl Group {
    /// Moves a tracker that works to the front of its tier (BEP 12).
    fn promote(&mut self, key: TrackerKey) {
        for tier in &mut self.tiers {
            if let Some(front) = tier.iter().position(|other| *other == key).map(|at| at + 1)
                && let Some(until) = tier.get_mut(..front)
            {
                until.rotate_right(1);
            }
        }
    }
}

impl Tracker {
    /// When it may be announced to.
    fn ready_at(&self) -> Moment {
        match self.started_at {
            Some(at) if !self.counts_us => self.not_before.max(at + STARTED_GAP),
            _ => self.not_before,
        }
    }
}

/// The wait after so many failures in a row, before jitter.
fn backoff(failures: u32) -> Duration {
    let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
    let seconds = BACKOFF_FIRST.as_secs_f64() * BACKOFF_FACTOR.powi(exponent);
    Duration::try_from_secs_f64(seconds).unwrap_or(BACKOFF_MAX).min(BACKOFF_MAX)
}
