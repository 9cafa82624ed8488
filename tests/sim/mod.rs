//! Whole swarms in virtual time.
//!
//! A [`world::World`] holds any number of hosts, each with the real `proto::Torrent` and a
//! driver that obeys its outputs without payload: a block is a token that is right or wrong.
//! Links have rates, latencies and can break; hashing takes time; nothing waits for a clock.
//! One seed decides everything, so a run repeats exactly: the trace's hash proves it, and a
//! failure prints the seed with the last events. `SWARM_SEED=7 cargo test sim` replays one,
//! `SWARM_SEEDS=2000 cargo test sim` runs many.
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
