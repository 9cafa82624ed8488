//! The tracker, and the announces of each host: the real rules on both sides.
//!
//! A host's `Announcer` says when and what, the tracker's `Model` answers. An announce takes
//! the time of a connection over HTTP, and none of it ever fails.

use super::{Happening, World};
use swarm_core::proto::Input;
use swarm_core::proto::announce::{AnnounceInput, Announcement, Announcer, Status, TierOrder};
use swarm_core::proto::input::Source;
use swarm_core::types::PieceIndex;
use swarm_core::wire::tracker::{Announce, AnnounceEvent};

/// Its name; nobody looks it up.
const URL: &str = "http://tracker/announce";
/// Connection, request, answer: so many times the way to a host, the tracker being as far.
const WAYS: u32 = 4;

impl World {
    /// The host joins the swarm at the tracker's.
    pub(super) fn join(&mut self, host: usize) {
        let tiers = [vec![URL.to_owned()]];
        let announcer = Announcer::new(self.rng.next(), &tiers, TierOrder::Parallel);
        self.hosts[host].announcer = Some(announcer);
        self.consult(host, AnnounceInput::Start);
    }

    /// Tells a host's announcer how things stand and what happened, and does what it says.
    pub(super) fn consult(&mut self, host: usize, input: AnnounceInput) {
        if !self.tracker {
            return;
        }
        let status = self.status(host);
        let at = &mut self.hosts[host];
        let (true, Some(announcer)) = (at.alive, &mut at.announcer) else { return };
        announcer.handle(self.now, AnnounceInput::Status(status));
        announcer.handle(self.now, input);
        let mut due = Vec::new();
        while let Some(announcement) = announcer.poll() {
            due.push(announcement);
        }
        let deadline = announcer.deadline().map(|deadline| deadline.max(self.now));
        let way = at.spec.latency * WAYS;
        for announcement in due {
            self.push(way / 2, Happening::Announce { host, announcement: Box::new(announcement) });
        }
        let alarm = self.hosts[host].announces_at.filter(|alarm| *alarm > self.now);
        if let Some(at) = deadline.filter(|at| alarm.is_none_or(|alarm| *at < alarm)) {
            self.hosts[host].announces_at = Some(at);
            self.events.push(at, Happening::AnnounceWake { host });
        }
    }

    pub(super) fn announce_wake(&mut self, host: usize) {
        if self.hosts[host].announces_at == Some(self.now) {
            self.hosts[host].announces_at = None;
            self.consult(host, AnnounceInput::Wake);
        }
    }

    /// An announce is at the tracker's.
    pub(super) fn announce(&mut self, host: usize, said: &Announcement) {
        let at = &self.hosts[host];
        let mut announce = Announce::new(self.content.info_hash, at.id, at.addr.port());
        announce.uploaded = said.uploaded;
        announce.downloaded = said.downloaded;
        announce.left = said.left;
        announce.event = said.event;
        announce.numwant = Some(said.numwant);
        let way = at.spec.latency * WAYS;
        let advice = self.registry.announce(self.now, at.addr.ip(), &announce);
        if said.event == AnnounceEvent::Stopped || !at.alive {
            return;
        }
        let addrs = advice.peers;
        if !addrs.is_empty() {
            let input = Input::Candidates { source: Source::Tracker, addrs };
            self.push(way / 2, Happening::Give { host, input });
        }
        let reply = AnnounceInput::Reply {
            id: said.id,
            interval: Some(advice.interval),
            min_interval: Some(advice.min_interval),
            tracker_id: None,
        };
        self.push(way / 2, Happening::Answer { host, reply: Box::new(reply) });
    }

    fn status(&self, host: usize) -> Status {
        let at = &self.hosts[host];
        let geometry = self.content.geometry();
        let size = |piece: PieceIndex| u64::from(geometry.piece_size(piece));
        let left = match at.is_complete() {
            true => 0,
            // The last piece may be shorter: nobody looks at more than whether it is 0.
            false => u64::from(at.have.len() - at.have.count()) * size(PieceIndex::new(0)),
        };
        Status {
            uploaded: at.totals.uploaded,
            downloaded: at.totals.downloaded,
            left: at.knows_metadata.then_some(left),
            peers: at.peers.len(),
        }
    }
}
