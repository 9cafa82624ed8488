//! The schedule of one address, the bounds of the list, and random use against plain rules.

use super::*;
use proptest::prelude::*;
use std::net::Ipv4Addr;

const START: Moment = Moment::from_micros(1_000_000_000);
const ROOM: usize = 1_000;

fn list() -> Candidates {
    Candidates::new(7, AddressPolicy::Lan)
}

fn addr(n: usize) -> SocketAddr {
    let ip = Ipv4Addr::from_bits(0x0a00_0000 + u32::try_from(n).unwrap());
    SocketAddr::new(ip.into(), 6881)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Fails the dial of one address until it is given up: the waits between its dials.
fn waits(list: &mut Candidates, addr: SocketAddr, tries: usize) -> Vec<Duration> {
    let (mut now, mut waits) = (START, Vec::new());
    for _ in 0..tries {
        let Some(due) = list.deadline(ROOM) else { break };
        waits.push(due.since(now));
        now = now.max(due);
        assert_eq!(list.next_dial(now, ROOM), Some(addr));
        list.dial_failed(now, addr, DialError::Refused);
    }
    waits
}

fn hits(list: &Candidates, limit: Limit) -> u64 {
    list.report().limits.get(limit)
}

#[test]
fn a_tracker_address_is_tried_three_times_quickly_and_then_given_up() {
    let mut list = list();
    assert!(list.add(START, Source::Tracker, addr(1)));
    let waits = waits(&mut list, addr(1), 10);
    assert_eq!(waits.len(), 3);
    assert!(waits[1] >= secs(1) && waits[1] < Duration::from_millis(1250), "{waits:?}");
    assert!(waits[2] >= secs(5) && waits[2] < Duration::from_millis(6250), "{waits:?}");
    assert_eq!(list.report().failed[&DialError::Refused], 3);
    assert_eq!(hits(&list, Limit::Tries), 1);
}

#[test]
fn an_address_given_up_is_tried_again_when_it_is_named_again_later() {
    let mut list = list();
    list.add(START, Source::Tracker, addr(1));
    waits(&mut list, addr(1), 3);
    list.add(START + secs(10), Source::Tracker, addr(1));
    assert_eq!(list.deadline(ROOM), None, "its back-off is not over");
    list.add(START + secs(60), Source::Tracker, addr(1));
    assert_eq!(list.deadline(ROOM), Some(START + secs(60)));
}

#[test]
fn what_the_user_gave_is_tried_for_ever_and_at_least_every_ten_minutes() {
    let mut list = list();
    list.add(START, Source::User, addr(1));
    let waits = waits(&mut list, addr(1), 50);
    assert_eq!(waits.len(), 50);
    for (wait, due) in waits[1..].iter().zip([1, 5, 30, 60, 120, 240, 480, 600, 600]) {
        assert!(*wait >= secs(due) && *wait <= secs(due).mul_f64(1.25), "{wait:?} for {due} s");
    }
    assert!(waits.iter().all(|wait| *wait <= RETRY_MAX.mul_f64(1.25)));
}

#[test]
fn the_users_addresses_are_dialled_first() {
    let mut list = list();
    for n in 0..20 {
        list.add(START, Source::Tracker, addr(n));
    }
    list.add(START + secs(1), Source::User, addr(99));
    list.add(START + secs(1), Source::User, addr(3));
    let now = START + secs(1);
    assert_eq!(list.next_dial(now, ROOM), Some(addr(99)));
}

#[test]
fn a_useful_connection_that_is_lost_is_dialled_again_at_once() {
    let mut list = list();
    list.add(START, Source::Tracker, addr(1));
    let dial = |list: &mut Candidates, now| {
        assert_eq!(list.next_dial(now, ROOM), Some(addr(1)));
    };
    dial(&mut list, START);
    list.connected(addr(1));
    assert_eq!(list.deadline(ROOM), None);
    let lost = START + secs(100);
    list.disconnected(lost, addr(1), Parting::Useful);
    assert_eq!(list.deadline(ROOM), Some(lost));
    dial(&mut list, lost);
    list.dial_failed(lost, addr(1), DialError::TimedOut);
    assert!(list.deadline(ROOM).unwrap() >= lost + secs(1), "then it backs off");
    let again = lost + secs(2);
    dial(&mut list, again);
    list.connected(addr(1));
    list.disconnected(again, addr(1), Parting::Useful);
    assert_eq!(list.deadline(ROOM), Some(again + REDIAL_MIN), "never in a tight loop");
}

#[test]
fn a_useless_connection_counts_as_a_failure_and_a_finished_one_ends_it() {
    let mut list = list();
    for (n, parting) in [(1, Parting::Useless), (2, Parting::Done)] {
        list.add(START, Source::User, addr(n));
        assert_eq!(list.next_dial(START, ROOM), Some(addr(n)));
        list.connected(addr(n));
        list.disconnected(START, addr(n), parting);
    }
    let due = list.deadline(ROOM).unwrap();
    assert!(due >= START + secs(1));
    assert_eq!(list.next_dial(START + secs(9), ROOM), Some(addr(1)));
    assert_eq!(list.deadline(ROOM), None);
}

#[test]
fn a_finished_address_named_again_waits_unless_the_user_names_it() {
    let mut list = list();
    list.add(START, Source::Tracker, addr(1));
    assert_eq!(list.next_dial(START, ROOM), Some(addr(1)));
    list.connected(addr(1));
    list.disconnected(START, addr(1), Parting::Done);
    list.add(START + secs(60), Source::Tracker, addr(1));
    assert_eq!(list.deadline(ROOM), None);
    list.add(START, Source::User, addr(1));
    assert_eq!(list.deadline(ROOM), Some(START + REDIAL_MIN));
}

#[test]
fn a_peer_that_dialled_us_is_dialled_only_when_it_is_gone() {
    let mut list = list();
    list.add_connected(START, addr(1));
    assert_eq!(list.deadline(ROOM), None);
    list.disconnected(START, addr(1), Parting::Useful);
    assert_eq!(list.next_dial(START, ROOM), Some(addr(1)));
    assert_eq!(list.report().connected, 0, "that connection was no dial of ours");
}

#[test]
fn a_ban_removes_every_port_of_the_ip_for_a_day_whatever_its_spelling() {
    let mut list = list();
    let mapped: SocketAddr = "[::ffff:10.0.0.1]:7000".parse().unwrap();
    list.add(START, Source::User, addr(1));
    list.add(START, Source::Tracker, mapped);
    assert_eq!(list.report().known, 2);
    list.ban(START, mapped.ip());
    assert_eq!((list.report().known, list.deadline(ROOM)), (0, None));
    assert!(list.is_banned(START, addr(1).ip()) && list.is_banned(START, mapped.ip()));
    assert!(!list.add(START, Source::User, addr(1)));
    assert!(list.add(START + secs(86_400), Source::User, addr(1)));
}

#[test]
fn we_never_dial_ourselves_twice() {
    let mut list = list();
    list.add(START, Source::User, addr(1));
    assert_eq!(list.next_dial(START, ROOM), Some(addr(1)));
    list.dial_failed(START, addr(1), DialError::Ourselves);
    assert!(!list.add(START, Source::Tracker, addr(1)));
    assert_eq!((list.report().known, list.dialling()), (0, 0));
    for n in 0..2 * OWN_MAX {
        list.mark_self(addr(n));
    }
    assert_eq!(list.own.len(), OWN_MAX);
}

#[test]
fn one_source_fills_no_more_than_its_share() {
    let mut list = list();
    for n in 0..CANDIDATES_MAX {
        list.add(START, Source::Tracker, addr(n));
    }
    assert_eq!(list.report().known, CANDIDATES_PER_SOURCE_MAX);
    let first = list.next_dial(START, ROOM).unwrap();
    list.dial_failed(START, first, DialError::TimedOut);
    assert_eq!(hits(&list, Limit::CandidatesPerSource), 1_500);
    assert!(list.add(START, Source::Tracker, addr(9_000)), "it takes the place of a failed one");
    assert!(!list.add(START, Source::Tracker, addr(9_001)));
    assert_eq!(list.report().known, CANDIDATES_PER_SOURCE_MAX);
}

#[test]
fn the_users_addresses_push_others_out_of_a_full_list_but_never_each_other() {
    let mut list = list();
    list.add(START, Source::Tracker, addr(1));
    for n in 10_000..10_000 + CANDIDATES_MAX {
        assert!(list.add(START, Source::User, addr(n)));
    }
    assert_eq!(list.report().known, CANDIDATES_MAX);
    assert!(!list.entries.contains_key(&addr(1)));
    assert!(!list.add(START, Source::User, addr(2)));
    assert!(!list.add(START, Source::Tracker, addr(2)));
    assert_eq!(hits(&list, Limit::Candidates), 3);
}

#[test]
fn dials_are_paced_and_few_are_under_way() {
    let mut list = list();
    for n in 0..200 {
        list.add(START, Source::User, addr(n));
    }
    let burst: Vec<_> = std::iter::from_fn(|| list.next_dial(START, ROOM)).collect();
    assert_eq!((burst.len(), list.dialling()), (HALF_OPEN_MAX, HALF_OPEN_MAX));
    assert_eq!(list.deadline(ROOM), None, "nothing to wake up for");
    assert_eq!((hits(&list, Limit::HalfOpen), hits(&list, Limit::DialRate)), (1, 0));
    for addr in burst {
        list.dial_failed(START, addr, DialError::Refused);
    }
    assert_eq!(list.next_dial(START, ROOM), None, "the burst is spent");
    assert_eq!(hits(&list, Limit::DialRate), 1);
    let mut dialled = 0;
    for millis in 0..3_000 {
        let now = START + Duration::from_millis(millis);
        while let Some(addr) = list.next_dial(now, ROOM) {
            list.connected(addr);
            dialled += 1;
        }
    }
    assert!((88..=90).contains(&dialled), "{dialled} dials in 3 s");
}

#[test]
fn without_room_nobody_is_dialled_and_nobody_is_woken() {
    let mut list = list();
    list.add(START, Source::User, addr(1));
    assert_eq!((list.next_dial(START, 0), list.deadline(0)), (None, None));
}

#[derive(Clone, Debug)]
enum Op {
    Add(Source, usize),
    AddConnected(usize),
    Dial,
    Connected(usize),
    Failed(usize, DialError),
    Disconnected(usize, Parting),
    Ban(usize),
    MarkSelf(usize),
    Pass(u64),
}

fn any_op() -> impl Strategy<Value = Op> {
    let who = || 0usize..12;
    let source = prop_oneof![Just(Source::User), Just(Source::Tracker), Just(Source::Incoming)];
    let why = prop_oneof![
        3 => Just(DialError::Refused),
        1 => Just(DialError::Ourselves),
        1 => Just(DialError::OtherTorrent),
    ];
    let parting = prop_oneof![Just(Parting::Useful), Just(Parting::Useless), Just(Parting::Done)];
    prop_oneof![
        4 => (source, who()).prop_map(|(source, n)| Op::Add(source, n)),
        1 => who().prop_map(Op::AddConnected),
        6 => Just(Op::Dial),
        3 => who().prop_map(Op::Connected),
        3 => (who(), why).prop_map(|(n, why)| Op::Failed(n, why)),
        3 => (who(), parting).prop_map(|(n, parting)| Op::Disconnected(n, parting)),
        1 => who().prop_map(Op::Ban),
        1 => who().prop_map(Op::MarkSelf),
        4 => (0u64..20_000).prop_map(Op::Pass),
    ]
}

/// What must hold between any two calls, told from outside.
#[derive(Default)]
struct Model {
    dialling: BTreeSet<SocketAddr>,
    connected: BTreeSet<SocketAddr>,
    never: BTreeSet<SocketAddr>,
    named: BTreeSet<SocketAddr>,
    last_dial: BTreeMap<SocketAddr, Moment>,
}

impl Model {
    fn dialled(&mut self, now: Moment, addr: SocketAddr) {
        assert!(self.named.contains(&addr), "nobody named {addr}");
        assert!(!self.never.contains(&addr), "{addr} is banned or ourselves");
        assert!(!self.connected.contains(&addr), "{addr} is connected");
        assert!(self.dialling.insert(addr), "{addr} is being dialled");
        if let Some(before) = self.last_dial.insert(addr, now) {
            assert!(now.since(before) >= REDIAL_MIN, "{addr} was dialled a moment ago");
        }
    }

    fn forget(&mut self, addr: SocketAddr) {
        self.never.insert(addr);
        self.dialling.remove(&addr);
        self.connected.remove(&addr);
    }

    fn apply(&mut self, list: &mut Candidates, now: Moment, op: &Op) {
        match *op {
            Op::Add(source, n) => {
                let new = list.add(now, source, addr(n));
                assert!(!new || !self.never.contains(&addr(n)));
                self.named.insert(addr(n));
            }
            Op::AddConnected(n) => {
                list.add_connected(now, addr(n));
                self.dialling.remove(&addr(n));
                if !self.never.contains(&addr(n)) {
                    self.named.insert(addr(n));
                    self.connected.insert(addr(n));
                }
            }
            Op::Dial => {
                let due = list.deadline(ROOM).is_some_and(|due| due <= now);
                let dial = list.next_dial(now, ROOM);
                assert_eq!(dial.is_some(), due, "deadline and next_dial disagree");
                if let Some(addr) = dial {
                    self.dialled(now, addr);
                }
            }
            Op::Connected(n) if self.dialling.remove(&addr(n)) => {
                list.connected(addr(n));
                self.connected.insert(addr(n));
            }
            Op::Failed(n, why) if self.dialling.remove(&addr(n)) => {
                list.dial_failed(now, addr(n), why);
                if why == DialError::Ourselves {
                    self.forget(addr(n));
                }
            }
            Op::Disconnected(n, parting) if self.connected.remove(&addr(n)) => {
                list.disconnected(now, addr(n), parting);
            }
            Op::Ban(n) => {
                list.ban(now, addr(n).ip());
                self.forget(addr(n));
            }
            Op::MarkSelf(n) => {
                list.mark_self(addr(n));
                self.forget(addr(n));
            }
            Op::Connected(_) | Op::Failed(..) | Op::Disconnected(..) | Op::Pass(_) => {}
        }
    }

    fn check(&self, list: &Candidates) {
        assert_eq!(list.dialling(), self.dialling.len());
        let waiting = |entry: &&Entry| matches!(entry.state, State::Waiting { .. });
        assert_eq!(list.due.len(), list.entries.values().filter(waiting).count());
        let in_state = |state| {
            let entries = list.entries.iter().filter(move |(_, entry)| entry.state == state);
            entries.map(|(addr, _)| *addr).collect::<BTreeSet<_>>()
        };
        assert_eq!(in_state(State::Dialling), self.dialling);
        assert_eq!(in_state(State::Connected), self.connected);
    }
}

proptest! {
    #[test]
    fn random_use_obeys_the_rules_and_equal_use_gives_equal_dials(
        ops in prop::collection::vec(any_op(), 1..300),
        seed: u64,
    ) {
        let (mut list, mut twin) =
            (Candidates::new(seed, AddressPolicy::Lan), Candidates::new(seed, AddressPolicy::Lan));
        let (mut model, mut twin_model, mut now) = (Model::default(), Model::default(), START);
        for op in &ops {
            if let Op::Pass(millis) = op {
                now += Duration::from_millis(*millis);
            }
            model.apply(&mut list, now, op);
            twin_model.apply(&mut twin, now, op);
            model.check(&list);
            prop_assert_eq!(&model.dialling, &twin_model.dialling);
            prop_assert_eq!(list.deadline(ROOM), twin.deadline(ROOM));
        }
    }
}
