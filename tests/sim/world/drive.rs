//! The driver of each core: gives it what happened, does what it says, wakes it in time.

use super::{Happening, PARSING, World};
use crate::sim::disk::RETRIED_AFTER;
use crate::sim::oracle;
use crate::sim::trace::Line;
use swarm_core::proto::announce::AnnounceInput;
use swarm_core::proto::input::Verification;
use swarm_core::proto::{Event, Input, Output};
use swarm_core::types::{Moment, PieceIndex};

/// A core that asks to be woken at the same moment again and again spins.
const WAKES_AT_ONE_MOMENT: u32 = 100;

impl World {
    /// The only place that calls a core (but for a block's arrival).
    pub(super) fn give(&mut self, host: usize, input: Input) {
        if !self.hosts[host].alive {
            return;
        }
        self.trace.note(self.now, host, Line::In(input.clone()));
        self.hosts[host].core.handle(self.now, input);
        self.settle(host);
    }

    /// Takes every output, then sets the alarm and lets the oracle look.
    pub(super) fn settle(&mut self, host: usize) {
        while let Some(output) = self.hosts[host].core.poll() {
            self.trace.note(self.now, host, Line::Out(output.clone()));
            self.obey(host, output);
        }
        self.set_alarm(host);
        let thorough = self.is_thorough();
        if thorough {
            oracle::check_bans(&self.hosts[host], &self.hosts)
                .unwrap_or_else(|broken| panic!("#{host} at {:?}: {broken}", self.now));
        }
        oracle::check(&mut self.hosts[host], &self.content, self.now, thorough)
            .unwrap_or_else(|broken| panic!("#{host} at {:?}: {broken}", self.now));
    }

    /// Sees to it that an event comes no later than the core's deadline. One that comes too
    /// early, because the deadline moved away, is cheaper than one for each time it moves.
    fn set_alarm(&mut self, host: usize) {
        let Some(at) = self.hosts[host].core.deadline().map(|at| at.max(self.now)) else { return };
        let alarm = self.hosts[host].alarm.unwrap_or(Moment::NEVER);
        if at < alarm {
            self.hosts[host].alarm = Some(at);
            self.events.push(at, Happening::Wake { host });
        }
    }

    pub(super) fn wake(&mut self, host: usize) {
        let at = &mut self.hosts[host];
        if at.alarm != Some(self.now) {
            return;
        }
        at.alarm = None;
        if at.core.deadline().is_none_or(|deadline| deadline > self.now) {
            return self.set_alarm(host);
        }
        let times = if at.woken.0 == self.now { at.woken.1 + 1 } else { 0 };
        at.woken = (self.now, times);
        assert!(times < WAKES_AT_ONE_MOMENT, "#{host} spins: its deadline does not move");
        self.hosts[host].wakes += 1;
        self.give(host, Input::Wake);
    }

    fn obey(&mut self, host: usize, output: Output) {
        let verdict = match output {
            Output::Connect { addr } if self.hosts[host].has_banned(addr) => {
                Err(format!("banned-stays: dials {addr}"))
            }
            Output::Connect { addr } => {
                self.dial(host, addr);
                Ok(())
            }
            Output::Send { peer, message } => self.send(host, peer, message),
            Output::Serve { peer, span } => self.serve(host, peer, span),
            Output::Verify { piece, digests } => {
                self.hosts[host].verify(&self.content, self.now, piece).map(|done| {
                    self.events.push(done, Happening::Hashed { host, piece, digests });
                })
            }
            // How blocks are put into messages is beneath what is simulated.
            Output::Runs { .. } => Ok(()),
            Output::Discard { piece } => {
                let open = self.hosts[host].close(&self.content, piece);
                let blocks = open.map_or_else(Vec::new, |open| open.blocks);
                let kept = blocks.iter().flatten().count() as u64;
                self.hosts[host].totals.spoilt += kept;
                Ok(())
            }
            Output::Disconnect { peer, why } => self.disconnect(host, peer, why),
            Output::Metadata { info } => {
                assert_eq!(info, self.content.info, "metadata that does not hash to the name");
                self.learn(host);
                Ok(())
            }
            Output::Emit(event) => self.emitted(host, event),
            other => Err(format!("an output this driver does not know: {other:?}")),
        };
        verdict.unwrap_or_else(|broken| panic!("#{host} at {:?}: {broken}", self.now));
    }

    /// The metadata is known: it is parsed, then what is there is checked.
    pub(super) fn learn(&mut self, host: usize) {
        let metainfo = self.content.metainfo.clone();
        self.push(PARSING, Happening::Give { host, input: Input::Metainfo(metainfo) });
        if let Some(wanted) = self.hosts[host].spec.wanted.clone() {
            self.push(PARSING, Happening::Give { host, input: Input::Wanted(wanted) });
        }
        let have = self.hosts[host].have.clone();
        self.push(PARSING * 2, Happening::Give { host, input: Input::Checked { have } });
        self.hosts[host].knows_metadata = true;
    }

    pub(super) fn hashed(&mut self, host: usize, piece: PieceIndex, digests: bool) {
        if !self.hosts[host].alive {
            return;
        }
        let refused = self.rng.below(1000) < self.hosts[host].spec.faults.writes;
        let at = &mut self.hosts[host];
        let open = at.close(&self.content, piece).expect("closed once, after its hash");
        let outcome = match open.is_good() {
            true if refused => Verification::NotWritten,
            true => Verification::Good,
            false => Verification::Bad,
        };
        match outcome {
            Verification::Good => {
                at.have.insert(piece);
                at.disk.write(self.now, piece);
            }
            Verification::Bad => {
                at.totals.spoilt += open.blocks.len() as u64;
                for liar in open.liars() {
                    *at.spoilt_by.entry(liar).or_default() += 1;
                }
            }
            Verification::NotWritten => {
                self.push(RETRIED_AFTER, Happening::Give { host, input: Input::Resume });
            }
        }
        let at = &mut self.hosts[host];
        let ended = at.done_at.is_none() && at.is_complete();
        if ended {
            at.done_at = Some(self.now);
        }
        let named = digests || outcome == Verification::Bad;
        let digests = if named { open.digests() } else { Vec::new() };
        self.give(host, Input::Verified { piece, outcome, digests });
        if ended {
            self.consult(host, AnnounceInput::Completed);
        }
    }

    fn emitted(&mut self, host: usize, event: Event) -> Result<(), String> {
        match event {
            Event::Phase(phase) => self.hosts[host].phase = Some(phase),
            Event::PeerBanned { addr } => {
                let banned = self.tenant(addr.ip());
                let innocent = banned.is_none_or(|other| !self.hosts[other].spec.conduct.lies());
                if innocent {
                    return Err(format!("honest-not-banned: {addr} is banned"));
                }
                self.hosts[host].banned.push(addr);
            }
            _ => {}
        }
        Ok(())
    }
}
