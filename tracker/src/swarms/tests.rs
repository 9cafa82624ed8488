//! The store against its rules (DISCOVERY 3.1 and 3.2), its bounds, and a naive model.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm_core::types::PeerId;

const HASH: InfoHash = InfoHash::new([7; 20]);
const UDP: Channel = Channel::Udp { host: None };
const HTTP: Channel = Channel::Http { host: IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 9)) };

/// A store, its budget and a clock to turn.
struct World {
    swarms: Swarms,
    ledger: Ledger,
    now: Moment,
    named: Vec<SocketAddr>,
}

impl World {
    fn new() -> Self {
        Self::with(Limits::default())
    }

    fn with(limits: Limits) -> Self {
        let ledger = Ledger::new(limits.swarms_max as u64, limits.peers_max as u64);
        let swarms = Swarms::new(limits, [3, 5], 11);
        Self { swarms, ledger, now: Moment::from_micros(9_000_000_000), named: Vec::new() }
    }

    fn wait(&mut self, secs: u64) {
        self.now += Duration::from_secs(secs);
    }

    /// Announces `peer`, as changed by `edit`, over a channel.
    fn over(&mut self, channel: Channel, peer: &str, edit: impl FnOnce(&mut Announce)) -> Reply {
        let peer: SocketAddr = peer.parse().unwrap();
        let mut announce = Announce::new(HASH, PeerId::new([0; 20]), peer.port());
        edit(&mut announce);
        let visit = Visit { announce: &announce, source: peer.ip(), channel };
        self.swarms.announce(self.now, &visit, &self.ledger, &mut self.named)
    }

    fn udp(&mut self, peer: &str, edit: impl FnOnce(&mut Announce)) -> Reply {
        self.over(UDP, peer, edit)
    }

    /// `count` peers at different addresses; a tenth of them seeds.
    fn crowd(&mut self, count: u16) {
        for n in 0..count {
            let [high, low] = n.to_be_bytes();
            let peer = format!("9.9.{high}.{low}:1000");
            self.udp(&peer, |announce| announce.left = u64::from(!n.is_multiple_of(10)));
        }
    }

    fn counts(&self) -> (u32, u32, u32) {
        let entry = self.swarms.scrape(HASH);
        (entry.complete, entry.incomplete, entry.downloaded)
    }
}

fn event(event: AnnounceEvent) -> impl FnOnce(&mut Announce) {
    move |announce| announce.event = event
}

fn want(count: u32) -> impl FnOnce(&mut Announce) {
    move |announce| announce.numwant = Some(count)
}

fn seed(announce: &mut Announce) {
    announce.left = 0;
}

/// 3.1: numwant -1, 0, 1; stopped; paused; the caller is never named.
#[test]
fn numwant_is_exact_and_the_caller_is_never_named() {
    let mut world = World::new();
    world.crowd(61);
    let me = "9.9.0.1:1000";
    let rows: [(&str, Channel, Option<u32>, AnnounceEvent, usize); 9] = [
        ("numwant -1 over UDP", UDP, None, AnnounceEvent::None, 30),
        ("numwant -1 over HTTP", HTTP, None, AnnounceEvent::None, 50),
        ("numwant 0", UDP, Some(0), AnnounceEvent::None, 0),
        ("numwant 1", UDP, Some(1), AnnounceEvent::None, 1),
        ("numwant huge", HTTP, Some(u32::MAX), AnnounceEvent::None, 50),
        ("paused", UDP, None, AnnounceEvent::Paused, 0),
        ("paused, asking", UDP, Some(5), AnnounceEvent::Paused, 5),
        ("started", UDP, None, AnnounceEvent::Started, 30),
        ("stopped", UDP, Some(50), AnnounceEvent::Stopped, 0),
    ];
    for (row, channel, numwant, event, expected) in rows {
        world.over(channel, me, |announce| {
            announce.numwant = numwant;
            announce.event = event;
        });
        assert_eq!(world.named.len(), expected, "{row}");
        assert!(!world.named.contains(&me.parse().unwrap()), "{row}: self");
        let distinct: BTreeSet<_> = world.named.iter().collect();
        assert_eq!(distinct.len(), expected, "{row}: repeated");
    }
}

/// 3.1: port 0.
#[test]
fn port_zero_is_answered_but_not_stored() {
    let mut world = World::new();
    world.crowd(5);
    let reply = world.udp("8.8.8.8:0", |_| {});
    assert_eq!(reply.change, Change::NotStored(Unstored::PortZero));
    assert_eq!((world.named.len(), world.ledger.peers()), (5, 5));
}

/// 3.1: stopped, counts still right.
#[test]
fn stopped_removes_the_peer_from_the_counts() {
    let mut world = World::new();
    world.crowd(20);
    let reply = world.udp("9.9.0.0:1000", event(AnnounceEvent::Stopped));
    assert_eq!((reply.counts.complete, reply.counts.incomplete), (1, 18));
    assert_eq!(world.counts(), (1, 18, 0));
    assert_eq!(world.ledger.peers(), 19);
}

/// 3.1 completed twice, completed with left=1; 3.2 rows 11 and 13.
#[test]
fn completions_are_counted_once_and_only_when_real() {
    let done = |downloaded, left| {
        move |announce: &mut Announce| {
            announce.event = AnnounceEvent::Completed;
            announce.downloaded = downloaded;
            announce.left = left;
        }
    };
    let mut world = World::new();
    world.udp("1.1.1.1:1", |_| {});
    world.udp("1.1.1.1:1", done(9, 0));
    world.udp("1.1.1.1:1", done(9, 0));
    assert_eq!(world.counts(), (1, 0, 1), "twice");

    world.udp("2.2.2.2:1", |_| {});
    world.udp("2.2.2.2:1", done(9, 1));
    assert_eq!(world.counts(), (1, 1, 2), "left=1: still a leech, counted");
    world.udp("2.2.2.2:1", seed);
    assert_eq!(world.counts(), (2, 0, 2), "then a seed, not counted again");

    world.udp("3.3.3.3:1", |_| {});
    world.udp("3.3.3.3:1", seed);
    assert_eq!(world.counts(), (3, 0, 3), "the event was lost, the change was seen");

    world.udp("4.4.4.4:1", done(0, 0));
    assert_eq!(world.counts(), (4, 0, 3), "a restarted seed says so too: not counted");
    world.udp("5.5.5.5:1", done(9, 0));
    assert_eq!(world.counts(), (5, 0, 4), "first sight of a real one");
    world.udp("4.4.4.4:1", done(9, 0));
    assert_eq!(world.counts(), (5, 0, 4), "it was a seed already");
}

/// 3.2 row 8: the key is address and port.
#[test]
fn another_peer_id_or_key_is_the_same_peer_and_another_port_is_not() {
    let mut world = World::new();
    world.udp("1.1.1.1:1", |announce| announce.key = 1);
    world.udp("1.1.1.1:1", |announce| {
        announce.key = 2;
        announce.peer_id = PeerId::new([9; 20]);
    });
    assert_eq!(world.counts(), (0, 1, 0));
    world.udp("1.1.1.1:2", |_| {});
    world.udp("1.1.1.2:1", |announce| announce.peer_id = PeerId::new([9; 20]));
    assert_eq!(world.counts(), (0, 3, 0), "nobody can overwrite another by its id");
}

/// 3.2 row 9: families are counted apart.
#[test]
fn a_dual_stack_client_counts_once_per_family() {
    let mut world = World::new();
    world.udp("1.1.1.1:1", |_| {});
    world.udp("[2001:db8::1]:1", |_| {});
    assert_eq!(world.counts(), (0, 2, 0));
}

/// 3.2 row 10: mapped addresses are IPv4.
#[test]
fn a_mapped_source_is_the_ipv4_peer() {
    let mut world = World::new();
    world.udp("1.1.1.1:1", |_| {});
    let reply = world.udp("[::ffff:1.1.1.1]:1", |_| {});
    assert_eq!((reply.change, world.counts()), (Change::Renewed, (0, 1, 0)));
    world.over(HTTP, "2.2.2.2:1", |_| {});
    assert_eq!(world.named, ["1.1.1.1:1".parse().unwrap()]);
}

/// 3.2 rows 12, 14, 15: retransmissions change nothing; stops and scrapes create nothing.
#[test]
fn repeating_stopping_and_scraping_create_nothing() {
    let mut world = World::new();
    let stop = event(AnnounceEvent::Stopped);
    assert_eq!(world.udp("1.1.1.1:1", stop).change, Change::Left);
    assert_eq!(world.counts(), (0, 0, 0));
    assert_eq!((world.ledger.swarms(), world.ledger.peers()), (0, 0));

    let start = || event(AnnounceEvent::Started);
    assert_eq!(world.udp("1.1.1.1:1", start()).change, Change::Joined);
    assert_eq!(world.udp("1.1.1.1:1", start()).change, Change::Renewed);
    let reply = world.udp("1.1.1.1:1", start());
    assert_eq!(reply.counts, world.swarms.scrape(HASH), "announce and scrape agree");
    assert_eq!((world.ledger.swarms(), world.ledger.peers()), (1, 1));
}

/// 3.2 row 15: a scrape keeps nobody alive.
#[test]
fn a_scrape_does_not_refresh() {
    let mut world = World::new();
    world.udp("1.1.1.1:1", |_| {});
    for _ in 0..10 {
        world.wait(300);
        world.swarms.scrape(HASH);
    }
    world.swarms.expire(world.now, &world.ledger);
    assert_eq!(world.ledger.peers(), 0);
}

/// 3.2 row 11: a late `started` after `stopped` is a join like any other, and expires.
#[test]
fn a_ghost_of_a_reordered_start_expires() {
    let mut world = World::new();
    world.udp("1.1.1.1:1", event(AnnounceEvent::Stopped));
    world.udp("1.1.1.1:1", event(AnnounceEvent::Started));
    world.wait(1981);
    world.swarms.expire(world.now, &world.ledger);
    assert_eq!((world.ledger.swarms(), world.ledger.peers()), (0, 0));
}

/// 3.2 row 16: no counter goes below zero, whatever changes before the end.
#[test]
fn changing_roles_and_expiring_ends_at_zero() {
    let mut world = World::new();
    for left in [1, 0, 5, 0] {
        world.udp("1.1.1.1:1", |announce| announce.left = left);
        world.udp("2.2.2.2:2", event(AnnounceEvent::Paused));
    }
    assert_eq!(world.counts(), (1, 1, 1));
    world.wait(4000);
    world.swarms.expire(world.now, &world.ledger);
    assert_eq!((world.counts(), world.ledger.swarms()), ((0, 0, 0), 0));
}

/// 3.2 row 22: seeds get leeches only; BEP 21: so do partial seeds.
#[test]
fn who_fetches_nothing_is_told_of_those_who_fetch() {
    let mut world = World::new();
    world.udp("1.1.1.1:1", seed);
    world.udp("2.2.2.2:1", |_| {});
    world.udp("3.3.3.3:1", event(AnnounceEvent::Paused));
    world.udp("4.4.4.4:1", seed);
    assert_eq!(world.named, ["2.2.2.2:1".parse().unwrap()]);
    world.udp("5.5.5.5:1", |announce| {
        announce.event = AnnounceEvent::Paused;
        announce.numwant = Some(9);
    });
    assert_eq!(world.named, ["2.2.2.2:1".parse().unwrap()]);
    world.udp("6.6.6.6:1", |_| {});
    assert_eq!(world.named.len(), 5, "a leech is told of everybody");
    let entry = world.swarms.scrape(HASH);
    assert_eq!((entry.complete, entry.incomplete, entry.downloaders), (2, 4, 2));
}

/// A client that has only a magnet link may announce `left=0`: rqbit 9.1 does.
#[test]
fn where_nobody_fetches_even_a_seed_is_told_of_the_seeds() {
    let mut world = World::new();
    world.udp("1.1.1.1:1", seed);
    world.udp("2.2.2.2:1", seed);
    assert_eq!(world.named, ["1.1.1.1:1".parse().unwrap()]);
    world.over(HTTP, "3.3.3.3:1", seed);
    assert_eq!(world.named.len(), 2);
}

/// BEP 15 and BEP 7: UDP names the caller's family, HTTP both, its own first.
#[test]
fn families_are_mixed_over_http_only() {
    let mut world = World::new();
    for n in 1..=40 {
        world.udp(&format!("1.1.1.{n}:1"), |_| {});
        world.udp(&format!("[2001:db8:0:{n}::1]:1"), |_| {});
    }
    world.udp("2.2.2.2:1", want(50));
    assert!(world.named.len() == 40 && world.named.iter().all(SocketAddr::is_ipv4));
    world.udp("[2001:db8::2]:1", want(50));
    assert!(world.named.len() == 40 && world.named.iter().all(SocketAddr::is_ipv6));
    world.over(HTTP, "2.2.2.2:1", want(50));
    assert_eq!(world.named.iter().filter(|peer| peer.is_ipv4()).count(), 40);
    assert_eq!(world.named.len(), 50);
    world.over(HTTP, "[2001:db8::2]:1", want(50));
    assert_eq!(world.named.iter().filter(|peer| peer.is_ipv6()).count(), 40);
    assert_eq!(world.named.len(), 50);
}

/// A peer that announced over loopback is on this machine: useless as 127.0.0.1 elsewhere.
#[test]
fn a_peer_of_this_machine_is_named_by_the_address_the_caller_knows() {
    let mut world = World::new();
    world.udp("127.0.0.1:5", seed);
    world.udp("127.0.0.1:6", |_| {});
    assert_eq!(world.named, ["127.0.0.1:5".parse().unwrap()]);
    world.udp("1.1.1.1:7", |_| {});
    assert_eq!(world.named, [], "over UDP we do not know how we are called");
    world.over(HTTP, "1.1.1.1:7", |_| {});
    world.named.sort();
    assert_eq!(world.named, ["203.0.113.9:5".parse().unwrap(), "203.0.113.9:6".parse().unwrap()]);
    world.over(HTTP, "203.0.113.9:5", |_| {});
    assert!(!world.named.contains(&"203.0.113.9:5".parse().unwrap()), "never the caller");
}

/// 3.2 row 25: a process that has been up for years.
#[test]
fn ages_are_right_after_years() {
    let mut world = World::new();
    for years in [0u64, 1, 2, 130] {
        world.wait(years * 365 * 24 * 3600 + 16_380);
        world.udp("1.1.1.1:1", |_| {});
        world.wait(1980);
        world.swarms.expire(world.now, &world.ledger);
        assert_eq!(world.ledger.peers(), 1, "{years} years, at the limit");
        world.wait(1);
        world.swarms.expire(world.now, &world.ledger);
        assert_eq!(world.ledger.peers(), 0, "{years} years, past it");
    }
}

/// Ages come round after four and a half hours: who was last seen before that is not taken for
/// young, whoever calls first when a stopped tracker goes on.
#[test]
fn nobody_grows_young_again_while_the_tracker_stood_still() {
    for (pause, sweeps) in
        (1980..=70_000).step_by(389).flat_map(|pause| [(pause, true), (pause, false)])
    {
        let mut world = World::new();
        world.udp("1.1.1.1:1", |_| {});
        world.wait(119);
        world.udp("2.2.2.2:2", |_| {});
        world.wait(pause + 1);
        if sweeps {
            world.swarms.expire(world.now, &world.ledger);
        } else {
            world.udp("3.3.3.3:3", event(AnnounceEvent::Stopped));
        }
        assert_eq!(world.ledger.peers(), 0, "after {pause} s, swept: {sweeps}");
    }
}

/// 3.2 row 27: many clients ignore the interval; they are answered all the same.
#[test]
fn who_comes_too_often_is_still_answered() {
    let mut world = World::new();
    world.crowd(5);
    for _ in 0..1000 {
        world.udp("8.8.8.8:8", |_| {});
        assert_eq!(world.named.len(), 5);
    }
    assert_eq!(world.ledger.peers(), 6);
}

#[test]
fn a_full_swarm_answers_but_stores_no_more() {
    let mut world = World::with(Limits { peers_per_swarm_max: 10, ..Limits::default() });
    world.crowd(10);
    let reply = world.udp("8.8.8.8:8", |_| {});
    assert_eq!(reply.change, Change::NotStored(Unstored::SwarmFull));
    assert_eq!((world.named.len(), world.ledger.peers()), (10, 10));
    assert_eq!(world.udp("9.9.0.3:1000", |_| {}).change, Change::Renewed);
}

#[test]
fn one_address_has_eight_peers_in_a_swarm_and_a_private_one_any_number() {
    let mut world = World::new();
    for (address, stored) in [
        ("8.8.8.8", 8),
        ("[2001:db8::1]", 8),
        ("127.0.0.1", 20),
        ("192.168.1.1", 20),
        ("[::1]", 20),
    ] {
        let before = world.ledger.peers();
        for port in 1..=20 {
            world.udp(&format!("{address}:{port}"), |_| {});
        }
        assert_eq!(world.ledger.peers() - before, stored, "{address}");
    }
    let reply = world.udp("[2001:db8::ffff]:9", |_| {});
    assert_eq!(reply.change, Change::NotStored(Unstored::AddressFull), "one /64 is one address");
    assert_eq!(world.udp("8.8.8.8:3", seed).change, Change::Completed, "those stored may change");
}

#[test]
fn a_flood_of_hashes_evicts_itself_and_not_the_living() {
    let mut world = World::with(Limits { swarms_max: 100, ..Limits::default() });
    world.crowd(3);
    let lone = InfoHash::new([8; 20]);
    for _ in 0..2 {
        world.udp("1.1.1.1:1", |announce| announce.info_hash = lone);
    }
    for n in 0..10_000u32 {
        let mut hash = [0; 20];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        world.udp("6.6.6.6:6", |announce| announce.info_hash = InfoHash::new(hash));
        assert!(world.ledger.swarms() <= 100 && world.ledger.peers() <= 104);
    }
    assert_eq!(world.counts(), (1, 2, 0), "a swarm of three stays");
    assert_eq!(world.swarms.scrape(lone).incomplete, 1, "a peer that came back stays");
    assert!(world.swarms.unproven.len() <= 100);
}

#[test]
fn when_nothing_may_be_evicted_a_new_swarm_is_refused() {
    let mut world = World::with(Limits { swarms_max: 2, ..Limits::default() });
    for byte in [1, 2] {
        for _ in 0..2 {
            world.udp("1.1.1.1:1", |announce| announce.info_hash = InfoHash::new([byte; 20]));
        }
    }
    assert_eq!(world.udp("1.1.1.1:1", |_| {}).change, Change::NotStored(Unstored::TrackerFull));
    assert_eq!(world.ledger.swarms(), 2);
}

#[test]
fn peers_in_all_are_bounded() {
    let mut world = World::with(Limits { peers_max: 5, ..Limits::default() });
    world.crowd(20);
    assert_eq!(world.ledger.peers(), 5);
    world.udp("9.9.0.1:1000", event(AnnounceEvent::Stopped));
    assert_eq!(world.udp("9.9.0.9:1000", |_| {}).change, Change::Joined);
    let refused = world.udp("9.9.0.1:1000", |announce| announce.info_hash = InfoHash::new([1; 20]));
    assert_eq!(refused.change, Change::NotStored(Unstored::TrackerFull));
    assert_eq!(world.ledger.swarms(), 1, "no empty swarm stays behind");
}

#[test]
fn churn_leaves_no_names_behind() {
    let mut world = World::with(Limits { swarms_max: 50, ..Limits::default() });
    for n in 0..1000u16 {
        let mut hash = [0; 20];
        hash[..2].copy_from_slice(&n.to_be_bytes());
        for event in [AnnounceEvent::Started, AnnounceEvent::Stopped] {
            world.udp("1.1.1.1:1", |announce| {
                announce.info_hash = InfoHash::new(hash);
                announce.event = event;
            });
        }
    }
    assert!(world.swarms.unproven.len() <= 50);
    world.swarms.expire(world.now, &world.ledger);
    assert_eq!(world.swarms.unproven.len(), 0);
}

#[test]
fn our_clients_meet_within_two_seconds() {
    let own = |announce: &mut Announce| announce.peer_id = PeerId::new(*b"-SW0100-abcdefghijkl");
    let mut world = World::new();
    let first = world.udp("1.1.1.1:1", own);
    assert!(first.intervals.interval <= Duration::from_secs(1));
    world.udp("2.2.2.2:1", own);
    assert_eq!(world.named.len(), 1, "who comes second knows at once");
    world.wait(1);
    world.udp("1.1.1.1:1", own);
    assert_eq!(world.named.len(), 1, "and the first knows a second later");
    let foreign = world.udp("3.3.3.3:1", |_| {});
    assert!(foreign.intervals.interval >= Duration::from_secs(810));
}

#[test]
fn equal_seeds_and_equal_calls_give_equal_answers() {
    let run = || {
        let mut world = World::new();
        world.crowd(200);
        let reply = world.udp("9.9.0.1:1000", |_| {});
        (reply, world.named)
    };
    assert_eq!(run(), run());
}

/// Announces of a few peers to a few swarms, and time.
#[derive(Clone, Debug)]
enum Step {
    Announce { hash: u8, host: u8, v6: bool, left: u64, event: AnnounceEvent },
    Wait(u64),
    Expire,
}

fn any_step() -> impl Strategy<Value = Step> {
    let event = prop::sample::select(vec![
        AnnounceEvent::None,
        AnnounceEvent::Started,
        AnnounceEvent::Stopped,
        AnnounceEvent::Completed,
        AnnounceEvent::Paused,
    ]);
    prop_oneof![
        8 => (0u8..3, 1u8..20, any::<bool>(), 0u64..2, event)
            .prop_map(|(hash, host, v6, left, event)| Step::Announce { hash, host, v6, left, event }),
        1 => (0u64..1500).prop_map(Step::Wait),
        1 => Just(Step::Expire),
    ]
}

proptest! {
    #[test]
    fn the_store_agrees_with_a_naive_one(steps in prop::collection::vec(any_step(), 0..200)) {
        let mut world = World::new();
        // (hash, peer) -> (is seed, is paused, last seen)
        let mut model: BTreeMap<(u8, SocketAddr), (bool, bool, Moment)> = BTreeMap::new();
        let mut swept = Moment::ZERO;
        for step in steps {
            let now = world.now;
            let is_due = now.since(swept) >= SWEEP_PAUSE_MAX;
            if matches!(step, Step::Expire) || is_due && matches!(step, Step::Announce { .. }) {
                swept = now;
                model.retain(|_, (_, _, seen)| now.since(*seen) <= Duration::from_secs(1980));
            }
            match step {
                Step::Wait(secs) => world.wait(secs),
                Step::Expire => world.swarms.expire(now, &world.ledger),
                Step::Announce { hash, host, v6, left, event } => {
                    let peer = if v6 { format!("[2001:db8:{host}::1]:9") } else { format!("5.5.5.{host}:9") };
                    let reply = world.over(HTTP, &peer, |announce| {
                        announce.info_hash = InfoHash::new([hash; 20]);
                        announce.left = left;
                        announce.event = event;
                        announce.numwant = Some(50);
                    });
                    let peer: SocketAddr = peer.parse().unwrap();
                    let is_paused = left > 0 && event == AnnounceEvent::Paused;
                    if event == AnnounceEvent::Stopped {
                        model.remove(&(hash, peer));
                    } else {
                        model.insert((hash, peer), (left == 0, is_paused, world.now));
                    }
                    let here = || model.iter().filter(|((other, _), _)| *other == hash);
                    let seeds = here().filter(|(_, (is_seed, ..))| *is_seed).count();
                    prop_assert_eq!(reply.counts.complete as usize, seeds);
                    prop_assert_eq!(reply.counts.incomplete as usize, here().count() - seeds);
                    let fetches_nothing = left == 0 || is_paused;
                    let told = |of_all: bool| -> BTreeSet<SocketAddr> {
                        here()
                            .filter(|(_, (is_seed, paused, _))| of_all || !(*is_seed || *paused))
                            .map(|((_, other), _)| *other)
                            .filter(|other| *other != peer && event != AnnounceEvent::Stopped)
                            .collect()
                    };
                    let useful = told(!fetches_nothing);
                    let expected = if useful.is_empty() { told(true) } else { useful };
                    let named: BTreeSet<SocketAddr> = world.named.iter().copied().collect();
                    prop_assert_eq!(named, expected);
                }
            }
            prop_assert_eq!(world.ledger.peers(), model.len() as u64);
            let hashes: BTreeSet<u8> = model.keys().map(|(hash, _)| *hash).collect();
            prop_assert_eq!(world.ledger.swarms(), hashes.len() as u64);
        }
    }
}
