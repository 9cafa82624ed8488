//! Announces of a few peers to a few swarms, and time: the tracker's store agrees with a naive one
//! while there is room, and is within its bounds and names nobody it was not told of when there is
//! not.

use super::script::Script;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use swarm_core::types::{InfoHash, Moment, PeerId};
use swarm_core::wire::tracker::{Announce, AnnounceEvent};
use swarm_tracker::config::Limits;
use swarm_tracker::model::Model;

const STEPS_MAX: usize = 2048;
/// A peer that has not come back for so long may be gone: two intervals and a fifth.
const AGE_MAX: Duration = Duration::from_secs(1980);
/// Without a sweep for so long, an announce sweeps.
const SWEEP_PAUSE_MAX: Duration = Duration::from_secs(120);

/// Who was told of where: whether it is a seed, and when it was here last.
type Told = BTreeMap<(u8, SocketAddr), (bool, Moment)>;

struct Scene {
    model: Model,
    told: Told,
    now: Moment,
    swept: Moment,
    /// Nothing is ever refused or evicted.
    roomy: bool,
    limits: Limits,
}

/// Limits, a seed, then steps of a few bytes.
pub fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let roomy = script.byte().is_multiple_of(2);
    let mut limits = Limits::default();
    if !roomy {
        limits.swarms_max = 4;
        limits.peers_max = 24;
        limits.peers_per_swarm_max = 10;
        limits.peers_per_address_max = 3;
    }
    let model = Model::with(limits, script.long());
    let now = Moment::ZERO + Duration::from_secs(9000);
    let mut scene = Scene { model, told: Told::new(), now, swept: Moment::ZERO, roomy, limits };
    for _ in 0..STEPS_MAX {
        if script.is_empty() {
            break;
        }
        scene.step(&mut script);
        scene.check();
    }
}

impl Scene {
    fn step(&mut self, script: &mut Script<'_>) {
        match script.byte() % 16 {
            0 => self.now += Duration::from_secs(u64::from(script.short()) % 2000),
            1 => {
                self.model.expire(self.now);
                self.sweep();
            }
            _ => self.announce(script),
        }
    }

    fn sweep(&mut self) {
        let now = self.now;
        self.swept = now;
        self.told.retain(|_, (_, seen)| now.since(*seen) <= AGE_MAX);
    }

    fn announce(&mut self, script: &mut Script<'_>) {
        let (swarm, host) = (script.byte() % 6, script.byte());
        // Few enough of one address, unless that is what is looked at.
        let ports = if self.roomy { 4 } else { 8 };
        let port = 1 + u16::from(host >> 5) % ports;
        let ip = match host % 2 {
            0 => IpAddr::from([9, 9, 9, host % 16]),
            _ => IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, host.into(), 0, 0, 0, 1)),
        };
        let announce = announce_of(swarm, port, script.byte());
        let caller = SocketAddr::new(ip, port);
        if self.now.since(self.swept) >= SWEEP_PAUSE_MAX {
            self.sweep();
        }
        let advice = self.model.announce(self.now, ip, &announce);
        if announce.event == AnnounceEvent::Stopped {
            self.told.remove(&(swarm, caller));
        } else {
            self.told.insert((swarm, caller), (announce.left == 0, self.now));
        }
        let distinct: BTreeSet<&SocketAddr> = advice.peers.iter().collect();
        assert_eq!(distinct.len(), advice.peers.len(), "a peer is named twice");
        assert!(advice.peers.len() <= announce.numwant.unwrap_or(50).min(50) as usize);
        for peer in &advice.peers {
            assert_ne!(*peer, caller, "it is told of itself");
            assert!(self.told.contains_key(&(swarm, *peer)), "{peer} was never here, or left");
        }
        assert!(advice.min_interval <= advice.interval);
    }

    fn check(&self) {
        let (mut swarms, mut peers) = (0, 0);
        for swarm in 0..6 {
            let counts = self.model.scrape(InfoHash::new([swarm; 20]));
            let here = u64::from(counts.complete) + u64::from(counts.incomplete);
            let told: Vec<bool> = self
                .told
                .iter()
                .filter(|((other, _), _)| *other == swarm)
                .map(|(_, (is_seed, _))| *is_seed)
                .collect();
            if self.roomy {
                let seeds = told.iter().filter(|is_seed| **is_seed).count();
                assert_eq!((counts.complete as usize, here as usize), (seeds, told.len()));
            }
            assert!(here <= (told.len() as u64).min(self.limits.peers_per_swarm_max as u64));
            swarms += u64::from(here > 0);
            peers += here;
        }
        assert_eq!(self.model.held(), (swarms, peers), "what is counted is what is there");
        assert!(peers <= self.limits.peers_max as u64 && swarms <= self.limits.swarms_max as u64);
    }
}

fn announce_of(swarm: u8, port: u16, flags: u8) -> Announce {
    let mut announce = Announce::new(InfoHash::new([swarm; 20]), PeerId::new([0; 20]), port);
    announce.left = u64::from(flags & 1);
    announce.numwant = (flags & 2 != 0).then_some(u32::from(flags >> 5) * 10);
    announce.event = match flags >> 2 & 7 {
        0 => AnnounceEvent::Stopped,
        1 => AnnounceEvent::Started,
        2 => AnnounceEvent::Completed,
        3 => AnnounceEvent::Paused,
        _ => AnnounceEvent::None,
    };
    announce
}
