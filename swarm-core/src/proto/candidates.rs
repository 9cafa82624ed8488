//! Whom to dial next, and when: the one list of addresses of a torrent.
//!
//! Every address that anyone names comes here, is filtered once, and then is in exactly one
//! state: waiting for its moment, being dialled, connected, or given up. The list and the share
//! of each source are bounded, so that neither a tracker nor a peer can fill it (LIMITS B28,
//! C07, C08). Dials are paced, and few are under way at once.
//!
//! Addresses that peers tell of (BEP 11) are hearsay and come a little later than others.
//!
//! Retries are quick at first, because in a young swarm the peer dialled may be starting this
//! very second, and slow later, so that a wrong address costs nothing. What the user gave is
//! tried for ever; other addresses three times, until their source names them again.
//!
//! Not here: the sockets, how many connections a torrent may have (`room` is an argument), who
//! deserves a ban.

use super::input::{DialError, Source};
use super::limits::EventBucket;
use crate::types::{Limit, LimitCounts, Moment};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

mod bans;
mod policy;
pub(crate) mod scope;
#[cfg(test)]
mod tests;

use bans::Bans;
pub use policy::AddressPolicy;

/// Addresses in the list.
pub const CANDIDATES_MAX: usize = 2_000;
/// Addresses one source other than the user may have in the list: a quarter of it (BEP 11).
pub const CANDIDATES_PER_SOURCE_MAX: usize = CANDIDATES_MAX / 4;
/// Dials under way at once.
pub const HALF_OPEN_MAX: usize = 50;
/// Dials begun a second.
pub const DIALS_PER_SECOND: u32 = 30;
/// Dials that may begin at once.
pub const DIALS_BURST: u32 = 50;
/// Failures in a row after which an address is given up, unless the user gave it.
pub const TRIES_MAX: u32 = 3;
/// Longest wait between two dials of one address.
pub const RETRY_MAX: Duration = Duration::from_secs(600);
/// Shortest time between two dials of one address, however useful it was.
pub const REDIAL_MIN: Duration = Duration::from_secs(1);
/// Addresses of our own that are remembered.
pub const OWN_MAX: usize = 64;

/// Longest wait before an address that a peer named is dialled.
pub const PEX_DELAY: Duration = Duration::from_secs(2);

/// Waits after the first failures in a row; after that the wait doubles from a minute.
const FIRST_RETRIES: [Duration; 3] =
    [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];
const LATER_RETRY: Duration = Duration::from_secs(60);
/// Counts as so many failures that the longest wait is due.
const FAILURES_DONE: u32 = u32::MAX;

/// All addresses of one torrent.
#[derive(Debug)]
pub struct Candidates {
    policy: AddressPolicy,
    entries: BTreeMap<SocketAddr, Entry>,
    /// The waiting entries by the moment they are due. The salt shuffles those due together.
    due: BTreeSet<(Moment, u32, SocketAddr)>,
    bans: Bans,
    own: BTreeSet<SocketAddr>,
    pace: EventBucket,
    dialling: usize,
    rng: StdRng,
    report: DialTotals,
}

/// What became of all dials so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DialTotals {
    /// Addresses in the list now.
    pub known: usize,
    /// Dials begun.
    pub tried: u64,
    /// Dials that became connections.
    pub connected: u64,
    /// Dials that came to nothing, by reason.
    pub failed: BTreeMap<DialError, u64>,
    /// How often each bound of the list has bitten.
    pub limits: LimitCounts,
}

/// How a connection ended, as far as dialling again goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    /// Payload went over it in either direction, and then it was lost: dial again at once.
    Useful,
    /// It came to nothing: counts as a failed dial.
    Useless,
    /// There is nothing left to do with this peer: do not dial until it is named again.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    source: Source,
    state: State,
    /// Failures in a row.
    failures: u32,
    dialled_at: Option<Moment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting { due: Moment, salt: u32 },
    Dialling,
    Connected,
    GivenUp,
}

impl Candidates {
    /// An empty list. Equal seeds and equal calls give equal dials.
    #[must_use]
    pub fn new(seed: u64, policy: AddressPolicy) -> Self {
        Self {
            policy,
            entries: BTreeMap::new(),
            due: BTreeSet::new(),
            bans: Bans::default(),
            own: BTreeSet::new(),
            pace: EventBucket::new(Moment::ZERO, DIALS_PER_SECOND, DIALS_BURST),
            dialling: 0,
            rng: StdRng::seed_from_u64(seed),
            report: DialTotals::default(),
        }
    }

    /// Takes in an address that `source` named; true when it was not in the list.
    ///
    /// A known address keeps its place, but one that was given up gets another try once its
    /// back-off is over, and the user's word makes an address the user's and new again.
    pub fn add(&mut self, now: Moment, source: Source, addr: SocketAddr) -> bool {
        let addr = canonical(addr);
        if !self.welcome(now, source, addr) {
            return false;
        }
        if let Some(entry) = self.entries.get(&addr).copied() {
            self.add_again(now, source, addr, entry);
            return false;
        }
        if !self.make_room(source) {
            return false;
        }
        let due = match source {
            // The user's addresses come before all that became due since.
            Source::User => Moment::ZERO,
            // Hearsay comes after what others name. Two peers that are told of each other at
            // the same time should not dial each other at the same time.
            Source::Pex => now + PEX_DELAY.mul_f64(self.rng.random_range(0.5..1.0)),
            Source::Tracker | Source::Incoming => now,
        };
        let entry = Entry { source, state: State::GivenUp, failures: 0, dialled_at: None };
        self.entries.insert(addr, entry);
        self.wait(addr, due);
        true
    }

    /// Takes in the address at which a peer that dialled us says it listens, as connected: it
    /// is dialled only once [`Self::disconnected`] says that the connection is gone.
    pub fn add_connected(&mut self, now: Moment, addr: SocketAddr) {
        self.add(now, Source::Incoming, addr);
        self.connected(addr);
    }

    /// The next address to dial, now under way: answer with [`Self::connected`] or
    /// [`Self::dial_failed`]. `room` is how many more connections the torrent may have, dials
    /// under way included.
    pub fn next_dial(&mut self, now: Moment, room: usize) -> Option<SocketAddr> {
        let (due, _, addr) = *self.due.first().filter(|_| room > 0)?;
        if due > now {
            return None;
        }
        if self.dialling >= HALF_OPEN_MAX {
            self.report.limits.hit(Limit::HalfOpen);
            return None;
        }
        if !self.pace.allow(now) {
            self.report.limits.hit(Limit::DialRate);
            return None;
        }
        self.set_state(addr, State::Dialling);
        if let Some(entry) = self.entries.get_mut(&addr) {
            entry.dialled_at = Some(now);
        }
        self.report.tried += 1;
        Some(addr)
    }

    /// When [`Self::next_dial`] gives an address, if `room` allows one at all.
    #[must_use]
    pub fn deadline(&self, room: usize) -> Option<Moment> {
        if room == 0 || self.dialling >= HALF_OPEN_MAX {
            return None;
        }
        let (due, _, _) = self.due.first()?;
        Some(self.pace.ready_at(*due))
    }

    /// A connection with this address stands. Whether it is of use shows when it ends.
    pub fn connected(&mut self, addr: SocketAddr) {
        let addr = canonical(addr);
        let Some(entry) = self.entries.get(&addr) else { return };
        if entry.state == State::Dialling {
            self.report.connected += 1;
        }
        self.set_state(addr, State::Connected);
    }

    /// The connection with this address is gone.
    pub fn disconnected(&mut self, now: Moment, addr: SocketAddr, parting: Parting) {
        let addr = canonical(addr);
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        if entry.state != State::Connected {
            return;
        }
        match parting {
            Parting::Useful => {
                entry.failures = 0;
                let soonest = entry.dialled_at.map_or(now, |at| at + REDIAL_MIN);
                self.wait(addr, soonest.max(now));
            }
            Parting::Useless => self.back_off(now, addr),
            Parting::Done => {
                entry.failures = FAILURES_DONE;
                // Whoever names it again, it is left alone for the longest wait.
                entry.dialled_at = Some(now);
                self.give_up(addr);
            }
        }
    }

    /// A dial that [`Self::next_dial`] asked for came to nothing.
    pub fn dial_failed(&mut self, now: Moment, addr: SocketAddr, why: DialError) {
        let addr = canonical(addr);
        if self.entries.get(&addr).is_none_or(|entry| entry.state != State::Dialling) {
            return;
        }
        *self.report.failed.entry(why).or_default() += 1;
        match why {
            DialError::Ourselves => self.mark_self(addr),
            _ => self.back_off(now, addr),
        }
    }

    /// Forgets every address with this IP and takes none of them for a day.
    ///
    /// A connection that stands is for the caller to close.
    pub fn ban(&mut self, now: Moment, ip: IpAddr) {
        let ip = ip.to_canonical();
        if self.bans.insert(now, ip) {
            self.report.limits.hit(Limit::Bans);
        }
        let banned: Vec<SocketAddr> =
            self.entries.keys().filter(|addr| addr.ip() == ip).copied().collect();
        for addr in banned {
            self.remove(addr);
        }
    }

    /// Whether this IP is banned: also asked before a connection from it is accepted.
    #[must_use]
    pub fn is_banned(&self, now: Moment, ip: IpAddr) -> bool {
        self.bans.contains(now, ip.to_canonical())
    }

    /// This address is our own: it is never dialled again.
    pub fn mark_self(&mut self, addr: SocketAddr) {
        let addr = canonical(addr);
        if self.own.len() < OWN_MAX {
            self.own.insert(addr);
        }
        self.remove(addr);
    }

    /// What became of the dials so far.
    #[must_use]
    pub fn report(&self) -> DialTotals {
        DialTotals { known: self.entries.len(), ..self.report.clone() }
    }

    /// Dials under way.
    #[must_use]
    pub const fn dialling(&self) -> usize {
        self.dialling
    }

    fn welcome(&self, now: Moment, source: Source, addr: SocketAddr) -> bool {
        self.policy.accepts(source, addr)
            && !self.own.contains(&addr)
            && !self.bans.contains(now, addr.ip())
    }

    fn add_again(&mut self, now: Moment, source: Source, addr: SocketAddr, known: Entry) {
        let mut failures = known.failures;
        if source == Source::User
            && let Some(entry) = self.entries.get_mut(&addr)
        {
            entry.source = Source::User;
            entry.failures = 0;
            failures = 0;
        }
        let delay = retry_delay(failures).max(REDIAL_MIN);
        let due = known.dialled_at.map_or(now, |at| at + delay);
        if known.state == State::GivenUp && (due <= now || source == Source::User) {
            self.wait(addr, due.max(now));
        }
    }

    /// Makes room for one more address of `source`; false when there is none to be made.
    fn make_room(&mut self, source: Source) -> bool {
        if source != Source::User && self.count_of(source) >= CANDIDATES_PER_SOURCE_MAX {
            self.report.limits.hit(Limit::CandidatesPerSource);
            return self.evict(|entry| entry.source == source && entry.failures > 0);
        }
        if self.entries.len() < CANDIDATES_MAX {
            return true;
        }
        self.report.limits.hit(Limit::Candidates);
        self.evict(|entry| entry.source != Source::User)
    }

    fn count_of(&self, source: Source) -> usize {
        self.entries.values().filter(|entry| entry.source == source).count()
    }

    /// Drops the most hopeless address that is not in use and may be dropped.
    fn evict(&mut self, may_go: impl Fn(&Entry) -> bool) -> bool {
        let idle = |entry: &Entry| matches!(entry.state, State::Waiting { .. } | State::GivenUp);
        let worst = self
            .entries
            .iter()
            .filter(|(_, entry)| idle(entry) && may_go(entry))
            .max_by_key(|(_, entry)| (entry.state == State::GivenUp, entry.failures))
            .map(|(addr, _)| *addr);
        worst.inspect(|addr| self.remove(*addr)).is_some()
    }

    fn back_off(&mut self, now: Moment, addr: SocketAddr) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        entry.failures = entry.failures.saturating_add(1);
        if entry.failures >= TRIES_MAX && entry.source != Source::User {
            self.report.limits.hit(Limit::Tries);
            self.give_up(addr);
            return;
        }
        let delay = retry_delay(entry.failures);
        // Up to a quarter more, so that a swarm cut in two does not dial in step.
        let jitter = delay.mul_f64(self.rng.random_range(0.0..0.25));
        self.wait(addr, now + delay + jitter);
    }

    fn wait(&mut self, addr: SocketAddr, due: Moment) {
        let salt = self.rng.random();
        self.set_state(addr, State::Waiting { due, salt });
    }

    fn give_up(&mut self, addr: SocketAddr) {
        self.set_state(addr, State::GivenUp);
    }

    fn remove(&mut self, addr: SocketAddr) {
        self.give_up(addr);
        self.entries.remove(&addr);
    }

    /// The only place that changes a state, so that `due` and `dialling` agree with it.
    fn set_state(&mut self, addr: SocketAddr, state: State) {
        let Some(entry) = self.entries.get_mut(&addr) else { return };
        match std::mem::replace(&mut entry.state, state) {
            State::Waiting { due, salt } => {
                self.due.remove(&(due, salt, addr));
            }
            State::Dialling => self.dialling -= 1,
            State::Connected | State::GivenUp => {}
        }
        match state {
            State::Waiting { due, salt } => {
                self.due.insert((due, salt, addr));
            }
            State::Dialling => self.dialling += 1,
            State::Connected | State::GivenUp => {}
        }
    }
}

/// The wait after this many failures in a row, before jitter.
fn retry_delay(failures: u32) -> Duration {
    let Some(past) = usize::try_from(failures).unwrap_or(usize::MAX).checked_sub(1) else {
        return Duration::ZERO;
    };
    FIRST_RETRIES.get(past).copied().unwrap_or_else(|| {
        let doublings = u32::try_from(past - FIRST_RETRIES.len()).unwrap_or(u32::MAX);
        let factor = 1u32.checked_shl(doublings).unwrap_or(u32::MAX);
        LATER_RETRY.saturating_mul(factor).min(RETRY_MAX)
    })
}

/// One spelling per address: an IPv4 address is never written as IPv6.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        IpAddr::V6(_) => addr,
    }
}
