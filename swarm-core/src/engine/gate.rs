//! Limits on bytes a second that many connections share.
//!
//! Without a limit a gate costs one load of an atomic. With one, whoever wants bytes queues:
//! only the first in the queue may take, it gets at most one [`quantum`], and goes to the end
//! for more. So connections share evenly, and a block at 1 KB/s trickles instead of stalling
//! everybody for 16 s. The rate may change at any time.
//!
//! Not here: the arithmetic of a rate (`proto::limits`), what is counted (`peer`).

use super::clock::Clock;
use crate::proto::limits::TokenBucket;
use crate::types::Moment;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};
use tokio::time::Sleep;

/// Grants a second that a rate is cut into, as long as they stay between the bounds below.
const GRANTS_PER_SECOND: u64 = 16;
/// Smallest grant, bytes: below this, wake-ups would cost more than they move.
const QUANTUM_MIN: u64 = 64;
/// Largest grant, bytes: one full read.
const QUANTUM_MAX: u64 = 256 << 10;

/// A limit shared by connections, or none.
#[derive(Debug)]
pub(crate) struct Gate {
    clock: Clock,
    limited: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    limit: Option<(TokenBucket, u64)>,
    next_ticket: u64,
    /// Who waits. Bounded by the number of connections: each waits at most once a direction.
    queue: VecDeque<(u64, Waker)>,
}

/// One connection's way through all the gates of one direction.
#[derive(Debug)]
pub(crate) struct Throttle {
    gates: [Arc<Gate>; 2],
    /// The gate to pass next, and what the gates before it let through.
    stage: usize,
    passed: u64,
    ticket: Option<u64>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Gate {
    /// A gate for `rate` bytes a second; `None` lets everything through.
    pub(crate) fn new(clock: Clock, rate: Option<u64>) -> Self {
        let gate = Self { clock, limited: AtomicBool::new(false), state: Mutex::default() };
        gate.set(rate);
        gate
    }

    /// Changes the limit, for those who wait too. A rate of 0 counts as 1 byte a second.
    pub(crate) fn set(&self, rate: Option<u64>) {
        let now = self.clock.now();
        let mut state = self.lock();
        state.limit = rate.map(|rate| {
            let rate = NonZeroU64::new(rate).unwrap_or(NonZeroU64::MIN);
            let quantum = quantum(rate);
            let burst = NonZeroU64::new(quantum).unwrap_or(NonZeroU64::MIN);
            (TokenBucket::new(now, rate, burst), quantum)
        });
        self.limited.store(state.limit.is_some(), Ordering::Relaxed);
        for (_, waker) in &state.queue {
            waker.wake_by_ref();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The bucket and the queue are each whole at every step: a panic cannot tear them.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up to `want` bytes when it is this ticket's turn.
    fn take(&self, cx: &Context<'_>, ticket: &mut Option<u64>, want: u64) -> Taken {
        if !self.limited.load(Ordering::Relaxed) {
            self.leave(ticket);
            return Taken::Bytes(want);
        }
        let now = self.clock.now();
        let mut state = self.lock();
        let first = state.queue.front().map(|(first, _)| *first);
        if first.is_some() && first != *ticket {
            state.wait(ticket, cx.waker());
            return Taken::Wait;
        }
        let Some((bucket, quantum)) = &mut state.limit else { return Taken::Bytes(want) };
        let bytes = bucket.take(now, want.min(*quantum));
        if bytes == 0 {
            let at = bucket.ready_at(now);
            state.wait(ticket, cx.waker());
            return Taken::Sleep(self.clock.instant(at));
        }
        drop(state);
        self.leave(ticket);
        Taken::Bytes(bytes)
    }

    fn give_back(&self, bytes: u64) {
        if let Some((bucket, _)) = &mut self.lock().limit {
            bucket.give_back(bytes);
        }
    }

    /// Leaves the queue; the next in it has its turn.
    fn leave(&self, ticket: &mut Option<u64>) {
        let Some(ticket) = ticket.take() else { return };
        let mut state = self.lock();
        state.queue.retain(|(waiting, _)| *waiting != ticket);
        if let Some((_, waker)) = state.queue.front() {
            waker.wake_by_ref();
        }
    }
}

enum Taken {
    Bytes(u64),
    /// Others are first.
    Wait,
    /// First in the queue; nothing is there until then.
    Sleep(tokio::time::Instant),
}

impl State {
    fn wait(&mut self, ticket: &mut Option<u64>, waker: &Waker) {
        let waiting =
            ticket.and_then(|ticket| self.queue.iter_mut().find(|(waiting, _)| *waiting == ticket));
        if let Some((_, old)) = waiting {
            old.clone_from(waker);
            return;
        }
        self.queue.push_back((self.next_ticket, waker.clone()));
        *ticket = Some(self.next_ticket);
        self.next_ticket += 1;
    }
}

impl Throttle {
    /// A way through a torrent's gate, then the session's.
    pub(crate) fn new(torrent: Arc<Gate>, session: Arc<Gate>) -> Self {
        Self { gates: [torrent, session], stage: 0, passed: 0, ticket: None, sleep: None }
    }

    /// What time it is.
    pub(crate) fn now(&self) -> Moment {
        let [gate, _] = &self.gates;
        gate.clock.now()
    }

    /// Gives how many bytes may move now, at least 1 and at most `want`. What is not used
    /// must come back through [`Self::give_back`].
    pub(crate) fn poll_take(&mut self, cx: &mut Context<'_>, want: usize) -> Poll<usize> {
        let want = u64::try_from(want).unwrap_or(u64::MAX).max(1);
        if self.stage == 0 {
            self.passed = want;
        }
        while let Some(gate) = self.gates.get(self.stage) {
            // What is wanted may have become less while we waited; the rest is not used.
            let bytes = match gate.take(cx, &mut self.ticket, self.passed) {
                Taken::Bytes(bytes) => bytes,
                Taken::Wait => return Poll::Pending,
                Taken::Sleep(until) => {
                    ready!(self.poll_sleep(cx, until));
                    continue;
                }
            };
            for before in self.gates.iter().take(self.stage) {
                before.give_back(self.passed - bytes);
            }
            self.passed = bytes;
            self.stage += 1;
        }
        self.stage = 0;
        let granted = usize::try_from(self.passed).unwrap_or(usize::MAX);
        Poll::Ready(granted)
    }

    /// Returns bytes that were granted and not moved.
    pub(crate) fn give_back(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        for gate in &self.gates {
            if gate.limited.load(Ordering::Relaxed) {
                gate.give_back(bytes as u64);
            }
        }
    }

    fn poll_sleep(&mut self, cx: &mut Context<'_>, until: tokio::time::Instant) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
        if sleep.deadline() != until {
            sleep.as_mut().reset(until);
        }
        sleep.as_mut().poll(cx)
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        if let Some(gate) = self.gates.get(self.stage) {
            gate.leave(&mut self.ticket);
        }
        for before in self.gates.iter().take(self.stage) {
            before.give_back(self.passed);
        }
    }
}

/// Bytes in one grant at this rate.
fn quantum(rate: NonZeroU64) -> u64 {
    (rate.get() / GRANTS_PER_SECOND).clamp(QUANTUM_MIN, QUANTUM_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use std::future::poll_fn;
    use std::time::Duration;

    async fn take(throttle: &mut Throttle, want: usize) -> usize {
        poll_fn(|cx| throttle.poll_take(cx, want)).await
    }

    /// Bytes that each of `peers` connections gets through in `time`.
    async fn run(torrent: Option<u64>, session: Option<u64>, peers: usize, time: u64) -> Vec<u64> {
        let clock = Clock::start();
        let torrent = Arc::new(Gate::new(clock, torrent));
        let session = Arc::new(Gate::new(clock, session));
        let end = clock.instant(clock.now()) + Duration::from_secs(time);
        let peers = (0..peers).map(|_| {
            let mut throttle = Throttle::new(torrent.clone(), session.clone());
            async move {
                let mut moved = 0;
                while let Ok(bytes) =
                    tokio::time::timeout_at(end, take(&mut throttle, 1 << 20)).await
                {
                    moved += bytes as u64;
                }
                moved
            }
        });
        futures::future::join_all(peers).await
    }

    #[tokio::test(start_paused = true)]
    async fn any_rate_is_kept_and_shared_evenly() {
        for rate in [100, 1_000, 50_000, 10_000_000] {
            let moved = run(Some(rate), None, 7, 60).await;
            let sum: u64 = moved.iter().sum();
            let due = rate * 60;
            assert!(sum.abs_diff(due) < due / 10 + 200, "{rate}: {sum} of {due}");
            let (least, most) = (moved.iter().min().unwrap(), moved.iter().max().unwrap());
            let quantum = quantum(NonZeroU64::new(rate).unwrap());
            assert!(most - least <= 2 * quantum, "{rate}: {moved:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_tighter_of_two_limits_holds() {
        for limits in [(Some(1_000), Some(500_000)), (Some(500_000), Some(1_000))] {
            let sum: u64 = run(limits.0, limits.1, 3, 60).await.iter().sum();
            assert!(sum.abs_diff(60_000) < 3_000, "{limits:?}: {sum}");
        }
    }

    #[tokio::test]
    async fn without_a_limit_everything_passes_at_once() {
        let clock = Clock::start();
        let open = || Arc::new(Gate::new(clock, None));
        let mut throttle = Throttle::new(open(), open());
        assert_eq!(take(&mut throttle, 1 << 30).await, 1 << 30);
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_is_lifted_frees_those_who_wait() {
        let clock = Clock::start();
        let (torrent, session) =
            (Arc::new(Gate::new(clock, Some(1))), Arc::new(Gate::new(clock, None)));
        let mut first = Throttle::new(torrent.clone(), session.clone());
        let mut second = Throttle::new(torrent.clone(), session);
        assert_eq!(take(&mut first, 1 << 20).await, 64);
        let before = clock.now();
        let (one, two, ()) = tokio::join!(take(&mut first, 500), take(&mut second, 600), async {
            tokio::task::yield_now().await;
            torrent.set(None);
        });
        assert_eq!((one, two), (500, 600));
        assert!(clock.now().since(before) < Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_ends_while_it_waits_does_not_hold_up_the_others() {
        let clock = Clock::start();
        let torrent = Arc::new(Gate::new(clock, Some(64)));
        let session = Arc::new(Gate::new(clock, None));
        let mut first = Throttle::new(torrent.clone(), session.clone());
        let mut second = Throttle::new(torrent.clone(), session);
        assert_eq!(take(&mut first, 64).await, 64);
        let mut waiting = Box::pin(async move { take(&mut first, 64).await });
        assert!(waiting.as_mut().now_or_never().is_none());
        let mut next = Box::pin(take(&mut second, 64));
        assert!(next.as_mut().now_or_never().is_none());
        drop(waiting);
        assert_eq!(next.await, 64);
    }
}
