//! Whole swarms in virtual time.
//!
//! A [`world::World`] holds any number of hosts, each with the real `proto::Torrent` and a
//! driver that obeys its outputs without payload: a block is a token that is right or wrong.
//! Links have rates, latencies and can break; hashing takes time; nothing waits for a clock.
//! One seed decides everything, so a run repeats exactly: the trace's hash proves it, and a
//! failure prints the seed with the last events. `SWARM_SEED=7 cargo test sim` replays one,
//! `SWARM_SEEDS=2000 cargo test sim` runs many, and `SWARM_TRACE=100000` has that many events
//! printed before a failure.
//!
//! After every step the [`oracle`] holds the core to what it must never break: see there for
//! the list.
//!
//! Whole crowds with their figures are in [`crowd`]; the lines of a table in the tree are theirs.
//!
//! Not here: sockets, disks and the engine (see `e2e`).

mod content;
mod core;
mod crowd;
mod disk;
mod faults;
mod foreign;
mod host;
mod hostile;
mod ledger;
mod net;
mod oracle;
mod pipe;
mod poison;
mod random;
mod scenarios;
mod spec;
mod table;
mod trace;
mod world;

/// The seeds a test runs with: `SWARM_SEED` alone when it is set, else the first `SWARM_SEEDS`,
/// which a night run sets, else the first `count`.
fn seeds(count: u64) -> Vec<u64> {
    let given = |name| std::env::var(name).ok().map(|text| text.parse().expect("a number"));
    match given("SWARM_SEED") {
        Some(seed) => vec![seed],
        None => (0..given("SWARM_SEEDS").unwrap_or(count)).collect(),
    }
}

/// Runs a world for each of [`seeds`]. Those that fail print their story; in the end they are
/// named together, so that a night's run finds more than its first failure.
fn each_seed(count: u64, run: impl Fn(u64)) {
    let all = seeds(count);
    let fails =
        |seed: &u64| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(*seed))).is_err();
    let failed: Vec<u64> = all.iter().copied().filter(fails).take(FAILURES_MAX).collect();
    assert!(failed.is_empty(), "of {} seeds these fail: {failed:?}", all.len());
}

/// After so many failures a long run is given up.
const FAILURES_MAX: usize = 20;
