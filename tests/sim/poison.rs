//! Wrong data (LIMITS B08 to B10): who lies is found out and banned, nobody else is, and a swarm
//! of which a fifth lies is not much slower and wastes little.
//!
//! Of several kinds: always, now and then, one block of each piece, late, and all the same lie.
//! That nobody honest is ever banned is the oracle's to see (`honest-not-banned`).
//!
//! Not here: one liar against one host (see `scenarios`).

use super::content::Content;
use super::seeds;
use super::spec::{Conduct, Spec};
use super::world::World;
use std::time::Duration;
use swarm_core::types::BLOCK_SIZE;

const PIECE: u32 = 64 * 1024;
const PIECES: u64 = 160;
/// One of them in five is a liar.
const FETCHERS: usize = 10;
/// Pieces that a liar may spoil at one host: the first may have several givers, which does not
/// tell who lied; the next is taken of one.
const SPOILT_MAX: u32 = 2;
/// Times over the same swarm without liars.
const SLOWER_MAX: f64 = 2.5;
/// Of what is to be fetched.
const WASTE_MAX: f64 = 0.05;

/// A seed, and fetchers of whom two are of that kind; one of these has everything. The honest
/// ones and the others.
fn swarm(seed: u64, liars: Option<Conduct>) -> (World, Vec<usize>, Vec<usize>) {
    let mut world = World::new(seed, Content::new(PIECES * u64::from(PIECE), PIECE));
    world.tracker = true;
    world.audit_every = 101;
    world.add(Spec::seed());
    let mut odd = Vec::new();
    if let Some(conduct) = liars {
        odd.push(world.add(Spec::seed().conduct(conduct)));
        odd.push(world.add(Spec::leech().conduct(conduct)));
    }
    let honest = (0..FETCHERS - 2).map(|_| world.add(Spec::leech())).collect();
    (world, honest, odd)
}

/// How long it took all of them, in seconds.
fn run(world: &mut World, honest: &[usize]) -> f64 {
    world.finish(honest, Duration::from_secs(300));
    let done = |host: &usize| world.hosts[*host].done_at.expect("finished");
    honest.iter().map(done).max().expect("somebody").as_micros() as f64 / 1e6
}

fn is_borne(conduct: Conduct) {
    for seed in seeds(3) {
        let (mut clean, honest, _) = swarm(seed, None);
        let without = run(&mut clean, &honest);
        let (mut world, honest, liars) = swarm(seed, Some(conduct));
        let with = run(&mut world, &honest);
        assert!(with <= without * SLOWER_MAX, "{with:.2} s beside {conduct:?}, {without:.2} alone");
        let waste = waste(&world, &honest);
        assert!(waste <= WASTE_MAX, "{:.1} % wasted beside {conduct:?}", waste * 100.0);
        for victim in &honest {
            are_found_out(&world, *victim, &liars);
        }
        world.run_for(Duration::from_secs(5));
        world.part();
    }
}

/// Share of what the hosts fetched that was of no use.
fn waste(world: &World, hosts: &[usize]) -> f64 {
    let wasted: u64 = hosts
        .iter()
        .map(|host| &world.hosts[*host].totals)
        .map(|totals| totals.dropped + totals.spoilt * u64::from(BLOCK_SIZE))
        .sum();
    wasted as f64 / (hosts.len() as u64 * PIECES * u64::from(PIECE)) as f64
}

/// Nobody spoils more than it takes to prove it, and whose lie is proven is banned.
fn are_found_out(world: &World, victim: usize, liars: &[usize]) {
    let at = &world.hosts[victim];
    for liar in liars {
        let spoilt = at.spoilt_by.get(liar).copied().unwrap_or_default();
        let banned = at.has_banned(world.hosts[*liar].addr);
        assert!(spoilt <= SPOILT_MAX, "#{liar} spoilt {spoilt} pieces of #{victim}");
        assert!(banned || spoilt == 0, "#{liar} spoilt {spoilt} pieces of #{victim}, not banned");
    }
}

#[test]
fn who_always_lies_is_found_out() {
    is_borne(Conduct::Liar { percent: 100 });
}

#[test]
fn who_lies_now_and_then_is_found_out() {
    is_borne(Conduct::Liar { percent: 10 });
}

#[test]
fn who_spoils_one_block_of_each_piece_is_found_out() {
    is_borne(Conduct::Spoiler);
}

#[test]
fn who_lies_late_is_found_out() {
    is_borne(Conduct::Sleeper);
}

#[test]
fn who_tells_the_same_lie_as_others_is_found_out() {
    is_borne(Conduct::Colluder);
}
