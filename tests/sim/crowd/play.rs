//! Plays a scenario.

use super::floor::floor;
use super::{Arrivals, Cast, Departures, Incident, Outcome, Scenario};
use crate::sim::content::Content;
use crate::sim::net::Line;
use crate::sim::spec::{Reach, Spec, mbit};
use crate::sim::world::World;
use std::time::Duration;
use swarm_core::types::{BLOCK_SIZE, Bitfield, Moment};

/// The seed is there for so long before the first fetcher.
const HEAD_START: Duration = Duration::from_secs(2);
/// Between two looks at who is done and who leaves.
const LOOK: Duration = Duration::from_millis(100);
/// A crowd that takes so many times its floor, and a minute, is stuck.
const PATIENCE: f64 = 30.0;
/// Cores go through their own books once in so many steps: it takes as long as ten thousand.
const AUDIT_EVERY: u64 = 200_003;

/// One scenario under way. Host 0 is the seed, the fetchers follow in their order.
struct Stage<'a> {
    scenario: &'a Scenario,
    world: World,
    begin: Moment,
    uplinks: Vec<u64>,
    left: Vec<bool>,
    parted: Option<bool>,
}

pub(super) fn play(scenario: &Scenario, seed: u64) -> Outcome {
    let mut stage = Stage::new(scenario, seed);
    let floor = floor(scenario);
    let end = stage.begin + Duration::from_secs_f64(floor * PATIENCE + 60.0);
    while stage.world.now < end && !stage.is_over() {
        stage.come();
        stage.world.run_for(LOOK);
        stage.go();
        stage.happen();
    }
    stage.outcome(floor)
}

impl<'a> Stage<'a> {
    fn new(scenario: &'a Scenario, seed: u64) -> Self {
        let mut world = World::new(seed, Content::new(scenario.content, scenario.piece));
        world.tracker = true;
        world.wire = scenario.wire;
        world.audit_every = AUDIT_EVERY;
        if let Some(racks) = scenario.racks {
            let line = || Line::new(mbit(racks.line));
            world.racks = (0..racks.count).map(|_| [line(), line()]).collect();
        }
        let mut spec = Spec::seed().up(mbit(scenario.seed_up)).down(mbit(scenario.down));
        spec.latency = scenario.one_way / 2;
        spec.rack = scenario.racks.map(|_| 0);
        world.add(spec);
        world.run_for(HEAD_START);
        let uplinks: Vec<u64> = scenario.uplinks().collect();
        let left = vec![false; uplinks.len()];
        Self { begin: world.now, scenario, world, uplinks, left, parted: None }
    }

    fn spec(&self, fetcher: usize) -> Spec {
        let scenario = self.scenario;
        let up = mbit(self.uplinks[fetcher]);
        let mut spec = Spec::leech().up(up).down(mbit(scenario.down));
        spec.latency = scenario.one_way / 2;
        spec.rack = scenario.rack_of(fetcher);
        if let Cast::Some { software, conduct, .. } = scenario.cast
            && scenario.is_odd(fetcher)
        {
            spec.software = software;
            spec.conduct = conduct;
        }
        spec.reach = match scenario.incident {
            Incident::WalledButOne if fetcher > 0 => Reach::Nobody,
            _ => Reach::Everybody,
        };
        spec
    }

    /// Adds the fetchers whose time has come.
    fn come(&mut self) {
        let due = match self.scenario.arrivals {
            Arrivals::AtOnce => self.uplinks.len(),
            Arrivals::Late { every, .. } => {
                let late = self.world.now.since(self.begin).as_micros() / every.as_micros();
                self.scenario.fetchers + usize::try_from(late).expect("a count")
            }
        };
        for fetcher in self.come_so_far()..due.min(self.uplinks.len()) {
            let spec = self.spec(fetcher);
            self.world.add(spec);
        }
    }

    /// Lets those leave who are done, and the seed when it may.
    fn go(&mut self) {
        match self.scenario.departures {
            Departures::Nobody => {}
            Departures::Seed if self.world.hosts[0].alive && self.is_out() => self.world.kill(0),
            Departures::Seed => {}
            Departures::Every(each) => {
                for fetcher in (0..self.come_so_far()).step_by(each) {
                    let done = self.world.hosts[fetcher + 1].done_at.is_some();
                    if done && !std::mem::replace(&mut self.left[fetcher], true) {
                        self.world.leave(fetcher + 1);
                    }
                }
            }
        }
    }

    fn happen(&mut self) {
        let Incident::Parted { from, until } = self.scenario.incident else { return };
        let parted = (from..until).contains(&self.world.now.since(self.begin));
        match self.parted.replace(parted) {
            Some(before) if before == parted => {}
            _ if parted => self.world.divide(|host| u8::from(host % 2 == 1)),
            _ => self.world.heal(),
        }
    }

    /// Whether the fetchers have one copy between them.
    fn is_out(&self) -> bool {
        let count = self.world.content.geometry().piece_count();
        let mut all = Bitfield::none(count);
        for host in self.world.hosts.iter().skip(1).filter(|host| host.alive) {
            host.have.iter().for_each(|piece| {
                all.insert(piece);
            });
        }
        all.is_all()
    }

    fn is_over(&self) -> bool {
        self.come_so_far() == self.uplinks.len()
            && (0..self.uplinks.len())
                .filter(|fetcher| !self.scenario.is_odd(*fetcher))
                .all(|fetcher| self.world.hosts[fetcher + 1].done_at.is_some())
    }

    fn come_so_far(&self) -> usize {
        self.world.hosts.len() - 1
    }

    /// What came of it, when the last honest host is done or all patience is gone.
    fn outcome(mut self, floor: f64) -> Outcome {
        let (honest, odd): (Vec<usize>, Vec<usize>) =
            (0..self.uplinks.len()).partition(|fetcher| !self.scenario.is_odd(*fetcher));
        let content = self.scenario.content as f64;
        let sum = |of: fn(&crate::sim::host::Totals) -> u64| -> f64 {
            honest.iter().map(|at| of(&self.world.hosts[at + 1].totals)).sum::<u64>() as f64
        };
        let blocks = honest.len() as f64 * content / f64::from(BLOCK_SIZE.min(self.scenario.piece));
        let wasted = sum(|totals| totals.dropped + totals.spoilt * u64::from(BLOCK_SIZE));
        let wasted = wasted / content / honest.len() as f64;
        let asked_again = sum(|totals| totals.asked) / blocks - 1.0;
        let idle = self.idle(&honest);
        let seed_sent = self.world.hosts[0].totals.uploaded as f64 / content;
        let times = self.times(&honest, floor);
        let at = |share: usize| {
            let index = (honest.len() * share).div_ceil(100).saturating_sub(1);
            times.get(index).copied().unwrap_or(f64::NAN)
        };
        let outcome = Outcome {
            finished: times.len(),
            of: honest.len(),
            t50: at(50),
            t95: at(95),
            last: at(100),
            mean: times.iter().sum::<f64>() / times.len() as f64,
            others: None,
            seed_sent,
            wasted,
            asked_again,
            idle,
            floor,
            events: self.world.trace().events(),
        };
        Outcome { others: self.others(&odd, floor), ..outcome }
    }

    /// Half of the odd ones are done by then, if they ever are.
    fn others(&mut self, odd: &[usize], floor: f64) -> Option<f64> {
        if odd.is_empty() {
            return None;
        }
        let half = odd.len().div_ceil(2);
        let end = self.world.now + Duration::from_secs_f64(floor * PATIENCE / 4.0 + 60.0);
        while self.world.now < end && self.times(odd, floor).len() < half {
            self.world.run_for(LOOK * 10);
        }
        Some(self.times(odd, floor).get(half - 1).copied().unwrap_or(f64::INFINITY))
    }

    /// When each had everything after it came, over the floor, in order.
    fn times(&self, fetchers: &[usize], floor: f64) -> Vec<f64> {
        let mut times: Vec<f64> = fetchers
            .iter()
            .filter_map(|fetcher| self.world.hosts.get(fetcher + 1))
            .filter_map(|host| Some(host.done_at?.since(host.born_at).as_secs_f64() / floor))
            .collect();
        times.sort_by(f64::total_cmp);
        times
    }

    /// Share of what the uplinks could have sent and did not, until the last was done.
    fn idle(&self, honest: &[usize]) -> f64 {
        let (mut could, mut did) = (0.0, 0.0);
        for fetcher in honest.iter().filter(|at| **at < self.come_so_far()) {
            let host = &self.world.hosts[fetcher + 1];
            let until = if host.alive { self.world.now } else { host.done_at.unwrap_or_default() };
            could += until.since(host.born_at).as_secs_f64() * host.spec.up as f64;
            did += host.totals.sent as f64;
        }
        1.0 - did / could
    }
}
