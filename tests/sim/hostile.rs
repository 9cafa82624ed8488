//! Hosts of ill will and strange hosts, each alone against a few of ours.
//!
//! In crowds they have lines in the table (`crowd`); here is what must hold for each of them.

use super::content::Content;
use super::seeds;
use super::spec::{Conduct, Reach, Software, Spec, mbit};
use super::world::World;
use std::time::Duration;
use swarm_core::proto::PeerKey;

const KIB: u32 = 1024;
const PIECE: u32 = 64 * KIB;
/// One of our uplinks, an honest seed's too.
const UP: u64 = mbit(20);

/// A seed, a few of ours, and those others; nobody had a head start.
fn swarm(seed: u64, others: &[Spec]) -> (World, Vec<usize>, Vec<usize>) {
    let mut world = World::new(seed, Content::new(48 * u64::from(PIECE), PIECE));
    world.tracker = true;
    world.audit_every = 7;
    world.add(Spec::seed().up(UP));
    let others = others.iter().map(|spec| world.add(spec.clone())).collect();
    let ours = (0..4).map(|_| world.add(Spec::leech().up(UP))).collect();
    (world, ours, others)
}

/// When the last of ours had everything, in seconds.
fn last(world: &World, ours: &[usize]) -> f64 {
    let done = |host: &usize| world.hosts[*host].done_at.expect("finished");
    ours.iter().map(done).max().expect("somebody").as_micros() as f64 / 1e6
}

/// Two of that kind slow ours down by no more than `factor`; and nobody dies of it.
fn is_borne(conduct: Conduct, factor: f64) {
    for seed in seeds(4) {
        let (mut clean, ours, _) = swarm(seed, &[]);
        clean.finish(&ours, Duration::from_secs(60));
        let without = last(&clean, &ours);
        let bad = Spec::leech().conduct(conduct);
        let (mut world, ours, _) = swarm(seed, &[bad.clone(), bad]);
        world.finish(&ours, Duration::from_secs(120));
        let with = last(&world, &ours);
        assert!(with <= without * factor, "{with:.2} s beside {conduct:?}, {without:.2} without");
        world.run_for(Duration::from_secs(5));
        world.part();
    }
}

/// Two of that kind cost ours no more than so many seconds, by what they do not send.
fn is_waited_for(conduct: Conduct, most: f64) {
    for seed in seeds(4) {
        let (mut clean, ours, _) = swarm(seed, &[]);
        clean.finish(&ours, Duration::from_secs(60));
        let without = last(&clean, &ours);
        let bad = Spec::leech().conduct(conduct);
        let (mut world, ours, _) = swarm(seed, &[bad.clone(), bad]);
        world.finish(&ours, Duration::from_secs(60));
        let with = last(&world, &ours);
        assert!(with - without <= most, "{with:.2} s beside {conduct:?}, {without:.2} without");
        world.part();
    }
}

/// In the end nobody has the full patience with them (LIMITS P25): what they are silent about
/// goes to others as soon as nothing else is left to ask for.
#[test]
fn who_claims_pieces_it_lacks_is_not_waited_for() {
    is_waited_for(Conduct::Braggart, 7.0);
}

#[test]
fn who_answers_no_request_is_not_waited_for() {
    is_waited_for(Conduct::Mute, 7.0);
}

/// LIMITS P26.
#[test]
fn who_answers_with_a_byte_a_second_is_not_waited_for() {
    is_waited_for(Conduct::Dripper, 7.0);
}

/// Blocks that it took on go to others after 20 s, of which it is the only one here: a slow seed
/// that nobody waits for.
#[test]
fn p25_who_takes_requests_and_sends_nothing_costs_a_snub_at_most() {
    for seed in seeds(4) {
        let mute = Spec::seed().conduct(Conduct::Mute);
        let (mut world, ours, _) = swarm(seed, &[mute.clone(), mute]);
        world.finish(&ours, Duration::from_secs(30));
        world.part();
    }
}

/// It is there, asked and silent: its side of the connection has died without a word.
#[test]
fn p38_a_peer_that_vanishes_without_a_word_is_let_go_after_two_minutes() {
    for seed in seeds(4) {
        let (mut world, ours, others) = swarm(seed, &[Spec::leech()]);
        world.run_for(Duration::from_millis(500));
        world.silence(others[0]);
        let to_it = |world: &World, host: usize| {
            let peers = world.hosts[host].peers.iter();
            peers.filter(|(_, peer)| peer.remote == others[0]).map(|(key, _)| key).collect()
        };
        let dead: Vec<Vec<PeerKey>> = ours.iter().map(|host| to_it(&world, *host)).collect();
        assert!(dead.iter().any(|keys| !keys.is_empty()), "nobody was connected to it");
        world.finish(&ours, Duration::from_secs(60));
        world.run_for(Duration::from_secs(121));
        // They may have met again, over connections that work.
        for (host, dead) in ours.iter().zip(dead) {
            let now = to_it(&world, *host);
            assert!(dead.iter().all(|key| !now.contains(key)), "#{host} holds on to the dead");
        }
    }
}

#[test]
fn who_takes_back_all_its_requests_slows_nobody_down() {
    is_borne(Conduct::Canceller, 1.5);
}

#[test]
fn who_vanishes_in_mid_block_costs_little() {
    is_borne(Conduct::Vanisher { every: 5 }, 1.6);
}

#[test]
fn who_never_gives_slows_nobody_down_much() {
    is_borne(Conduct::FreeRider, 2.0);
}

#[test]
fn a_stranger_gets_everything_from_ours_and_gives_in_turn() {
    for seed in seeds(4) {
        let mut stranger = Spec::leech();
        stranger.software = Software::Foreign;
        let (mut world, ours, others) = swarm(seed, &[stranger.clone(), stranger]);
        world.finish(&ours, Duration::from_secs(60));
        world.finish(&others, Duration::from_secs(60));
        for host in others {
            assert!(world.hosts[host].totals.uploaded > 0, "#{host} was not asked for anything");
        }
        world.part();
    }
}

#[test]
fn ours_get_everything_from_a_strange_seed_and_a_strange_crowd_from_ours() {
    for seed in seeds(4) {
        let mut world = World::new(seed, Content::new(32 * u64::from(PIECE), PIECE));
        world.tracker = true;
        let mut spec = Spec::seed();
        spec.software = Software::Foreign;
        world.add(spec);
        let ours = world.add(Spec::leech());
        world.finish(&[ours], Duration::from_secs(30));
        world.kill(0);
        let strangers: Vec<usize> = (0..10)
            .map(|_| {
                let mut spec = Spec::leech();
                spec.software = Software::Foreign;
                world.add(spec)
            })
            .collect();
        world.finish(&strangers, Duration::from_secs(120));
    }
}

#[test]
fn those_whom_nobody_can_dial_get_everything_through_those_who_can_be() {
    for seed in seeds(4) {
        let mut walled = Spec::leech();
        walled.reach = Reach::Nobody;
        let (mut world, ours, others) = swarm(seed, &vec![walled; 6]);
        world.finish(&ours, Duration::from_secs(60));
        world.finish(&others, Duration::from_secs(60));
        world.part();
    }
}

#[test]
fn two_parts_of_a_network_finish_soon_after_they_are_one_again() {
    for seed in seeds(4) {
        let (mut world, ours, _) = swarm(seed, &[]);
        world.run_for(Duration::from_millis(600));
        world.divide(|host| u8::from(host > 2));
        world.run_for(Duration::from_secs(15));
        assert!(ours.iter().any(|host| !world.hosts[*host].is_complete()), "nobody was cut off");
        world.heal();
        world.finish(&ours, Duration::from_secs(30));
        world.run_for(Duration::from_secs(5));
        world.part();
    }
}
