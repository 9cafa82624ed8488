//! Tiers, events, intervals and back-off, each against a clock that the test moves.

use super::*;
use crate::metainfo::URL_MAX_BYTES;
use proptest::prelude::*;

const START: Moment = Moment::from_micros(1_000_000_000);

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn tiers(names: &[&[&str]]) -> Vec<Vec<String>> {
    let url = |name: &&str| format!("http://{name}/announce");
    names.iter().map(|tier| tier.iter().map(url).collect()).collect()
}

/// An announcer and the clock it lives by.
struct World {
    announcer: Announcer,
    now: Moment,
}

impl World {
    fn new(names: &[&[&str]], order: TierOrder) -> Self {
        Self { announcer: Announcer::new(1, &tiers(names), order), now: START }
    }

    fn one() -> Self {
        Self::new(&[&["a"]], TierOrder::Parallel)
    }

    fn input(&mut self, input: AnnounceInput) {
        self.announcer.handle(self.now, input);
    }

    fn status(&mut self, left: u64, peers: usize) {
        self.input(AnnounceInput::Status(Status { left: Some(left), peers, ..Status::default() }));
    }

    fn polled(&mut self) -> Vec<Announcement> {
        std::iter::from_fn(|| self.announcer.poll()).collect()
    }

    /// The only announce that is to be made now.
    fn only(&mut self) -> Announcement {
        let mut all = self.polled();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn reply(&mut self, id: AnnounceId, interval: u64, min_interval: Option<u64>) {
        let interval = Some(secs(interval));
        let min_interval = min_interval.map(secs);
        self.input(AnnounceInput::Reply { id, interval, min_interval, tracker_id: None });
    }

    fn fail(&mut self, id: AnnounceId) {
        self.input(AnnounceInput::Failed { id, retry: Retry::Unspecified });
    }

    /// Goes to the deadline; how long that took.
    fn wait(&mut self) -> Duration {
        let due = self.announcer.deadline().expect("something is due");
        let passed = due.since(self.now);
        self.now = self.now.max(due);
        self.input(AnnounceInput::Wake);
        passed
    }

    /// Starts, and lets the only tracker answer.
    fn started(interval: u64, min_interval: Option<u64>, left: u64, peers: usize) -> Self {
        let mut world = Self::one();
        world.status(left, peers);
        world.input(AnnounceInput::Start);
        let started = world.only();
        assert_eq!(started.event, AnnounceEvent::Started);
        world.reply(started.id, interval, min_interval);
        world
    }
}

fn host(announcement: &Announcement) -> &str {
    announcement.url.trim_start_matches("http://").trim_end_matches("/announce")
}

#[test]
fn a_session_says_started_then_nothing_then_completed_then_stopped() {
    let mut world = World::one();
    assert_eq!((world.polled(), world.announcer.deadline()), (vec![], None));
    world.input(AnnounceInput::Start);
    let first = world.only();
    assert_eq!((first.event, first.left), (AnnounceEvent::Started, Announce::LEFT_UNKNOWN));
    assert_eq!(first.numwant, NUMWANT_FEW);
    world.reply(first.id, 1800, None);
    assert_eq!(world.wait(), secs(1800));
    let second = world.only();
    assert_eq!(second.event, AnnounceEvent::None);
    world.reply(second.id, 1800, None);
    world.status(0, 3);
    world.input(AnnounceInput::Completed);
    let third = world.only();
    assert_eq!((third.event, third.left), (AnnounceEvent::Completed, 0));
    world.reply(third.id, 1800, None);
    assert_eq!(world.polled(), []);
    world.input(AnnounceInput::Stop);
    let last = world.only();
    assert_eq!((last.event, last.numwant), (AnnounceEvent::Stopped, 0));
    assert!(!world.announcer.is_idle());
    world.reply(last.id, 1800, None);
    assert!(world.announcer.is_idle());
    assert_eq!(world.announcer.deadline(), None);
}

#[test]
fn completion_during_an_announce_is_told_right_after_it() {
    let mut world = World::one();
    world.input(AnnounceInput::Start);
    let started = world.only();
    world.input(AnnounceInput::Completed);
    assert_eq!(world.polled(), []);
    world.reply(started.id, 1800, None);
    let completed = world.only();
    assert_eq!(completed.event, AnnounceEvent::Completed);
    world.fail(completed.id);
    world.wait();
    let again = world.only();
    assert_eq!(again.event, AnnounceEvent::Completed, "it is told until it is heard");
    world.reply(again.id, 1800, None);
    world.wait();
    assert_eq!(world.only().event, AnnounceEvent::None);
}

#[test]
fn a_tracker_that_never_counted_us_is_not_told_that_we_leave() {
    let mut world = World::one();
    world.input(AnnounceInput::Start);
    let started = world.only();
    world.fail(started.id);
    world.input(AnnounceInput::Stop);
    assert_eq!(world.polled(), []);
    assert!(world.announcer.is_idle());
}

#[test]
fn leaving_while_joining_tells_the_tracker_and_ignores_its_late_answer() {
    let mut world = World::one();
    world.input(AnnounceInput::Start);
    let started = world.only();
    world.input(AnnounceInput::Stop);
    let stopped = world.only();
    assert_eq!(stopped.event, AnnounceEvent::Stopped);
    world.reply(started.id, 1800, None);
    assert!(!world.announcer.is_idle(), "the goodbye is not answered yet");
    world.fail(stopped.id);
    assert!(world.announcer.is_idle());
    assert_eq!((world.polled(), world.announcer.deadline()), (vec![], None));
}

#[test]
fn an_announce_that_was_never_sent_needs_no_goodbye() {
    let mut world = World::one();
    world.input(AnnounceInput::Start);
    world.input(AnnounceInput::Stop);
    assert_eq!(world.polled(), []);
    assert!(world.announcer.is_idle());
}

#[test]
fn joining_again_waits_for_the_goodbye_and_at_least_ten_seconds() {
    let mut world = World::started(1800, None, 1, 0);
    world.now += secs(2);
    world.input(AnnounceInput::Stop);
    let stopped = world.only();
    world.input(AnnounceInput::Start);
    assert_eq!((world.polled(), world.announcer.deadline()), (vec![], None));
    world.reply(stopped.id, 1800, None);
    assert_eq!(world.polled(), []);
    assert_eq!(world.wait(), STARTED_GAP - secs(2));
    assert_eq!(world.only().event, AnnounceEvent::Started);
}

#[test]
fn every_tier_of_a_public_torrent_is_asked_at_once_and_one_tracker_of_each() {
    let mut world = World::new(&[&["a", "b"], &["c"]], TierOrder::Parallel);
    world.input(AnnounceInput::Start);
    let all = world.polled();
    assert_eq!(all.len(), 2);
    assert!(["a", "b"].contains(&host(&all[0])));
    assert_eq!(host(&all[1]), "c");
}

#[test]
fn a_private_torrent_asks_a_tier_only_when_all_before_it_fail() {
    let mut world = World::new(&[&["a", "b"], &["c"]], TierOrder::Strict);
    world.input(AnnounceInput::Start);
    let mut asked = Vec::new();
    for _ in 0..3 {
        let announcement = world.only();
        asked.push(host(&announcement).to_owned());
        world.fail(announcement.id);
    }
    assert_eq!(asked.split_off(2), ["c"]);
    asked.sort();
    assert_eq!(asked, ["a", "b"]);
    assert_eq!(world.polled(), [], "all of them back off");
    assert!(world.wait() >= BACKOFF_FIRST);
    assert!(["a", "b"].contains(&host(&world.only())), "the first tier comes first again");
}

#[test]
fn a_tracker_that_works_is_the_first_of_its_tier_from_then_on() {
    let mut world = World::new(&[&["a", "b", "c"]], TierOrder::Parallel);
    world.input(AnnounceInput::Start);
    let (first, second) = {
        let first = world.only();
        world.fail(first.id);
        let second = world.only();
        world.fail(second.id);
        (host(&first).to_owned(), host(&second).to_owned())
    };
    let third = world.only();
    world.reply(third.id, 1800, None);
    for _ in 0..3 {
        world.wait();
        let next = world.only();
        assert_eq!(next.url, third.url);
        world.reply(next.id, 1800, None);
    }
    let order: Vec<&str> = world.announcer.groups[0].tiers[0]
        .iter()
        .map(|key| &*world.announcer.trackers[key.0].url)
        .map(|url| url.trim_start_matches("http://").trim_end_matches("/announce"))
        .collect();
    assert_eq!(order, [host(&third), &first, &second]);
}

#[test]
fn trackers_of_a_tier_are_shuffled() {
    let names: Vec<String> = (0..8).map(|n| format!("http://{n}/announce")).collect();
    let first = |seed| {
        let mut announcer = Announcer::new(seed, std::slice::from_ref(&names), TierOrder::Strict);
        announcer.handle(START, AnnounceInput::Start);
        announcer.poll().unwrap().url
    };
    let firsts: BTreeSet<_> = (0..50).map(first).collect();
    assert!(firsts.len() > 4, "{firsts:?}");
}

#[test]
fn failures_back_off_to_half_an_hour_with_jitter() {
    let mut world = World::one();
    world.input(AnnounceInput::Start);
    for due in [5.0, 12.5, 31.25, 78.1, 195.3, 488.2, 1220.7, 1800.0, 1800.0] {
        let announcement = world.only();
        assert_eq!(announcement.event, AnnounceEvent::Started);
        world.fail(announcement.id);
        let waited = world.wait().as_secs_f64();
        assert!(waited >= due * 0.999 && waited <= due * 1.2501, "{waited} s where {due} are due");
    }
    let announcement = world.only();
    world.reply(announcement.id, 1800, None);
    world.wait();
    let announcement = world.only();
    world.fail(announcement.id);
    assert!(world.wait() < secs(7), "a success starts the back-off anew");
}

#[test]
fn a_refusal_that_says_when_to_come_again_is_obeyed() {
    let mut world = World::one();
    world.input(AnnounceInput::Start);
    let id = world.only().id;
    world.input(AnnounceInput::Failed { id, retry: Retry::After(secs(300)) });
    let waited = world.wait();
    assert!(waited >= secs(300) && waited <= secs(375), "{waited:?}");
    let id = world.only().id;
    world.input(AnnounceInput::Failed { id, retry: Retry::Never });
    assert_eq!(world.announcer.deadline(), None);
}

#[test]
fn a_short_interval_is_honoured_only_by_a_leech_with_few_peers() {
    let waits = |interval, min_interval, left, peers| {
        World::started(interval, min_interval, left, peers).wait().as_secs()
    };
    assert_eq!(waits(1, None, 100, 0), 1);
    assert_eq!(waits(7, Some(3), 100, PEERS_FEW - 1), 3);
    assert_eq!(waits(1800, Some(300), 100, 0), 300);
    assert_eq!(waits(1, None, 100, PEERS_FEW), 60);
    assert_eq!(waits(1, None, 0, 0), 60);
    assert_eq!(waits(1800, Some(300), 0, 0), 1800);
    assert_eq!(waits(1800, Some(3600), 0, 0), 3600);
}

#[test]
fn nonsense_intervals_are_clamped() {
    let waits = |interval, min_interval, left| {
        World::started(interval, min_interval, left, 0).wait().as_secs()
    };
    for left in [0, 100] {
        assert_eq!(waits(0, None, left), 60);
        assert_eq!(waits(u64::MAX, None, left), 86_400);
        assert_eq!(waits(u64::from(u32::MAX), Some(u64::MAX), left), 86_400);
    }
    assert_eq!(waits(1800, Some(u64::MAX), 0), 86_400);
    assert_eq!(waits(1800, Some(0), 100), 1800);
}

#[test]
fn losing_peers_brings_the_next_announce_forward() {
    let mut world = World::started(1800, Some(60), 100, PEERS_FEW);
    assert_eq!(world.announcer.deadline(), Some(START + secs(1800)));
    world.now += secs(600);
    world.status(100, 2);
    assert_eq!(world.only().event, AnnounceEvent::None);
}

#[test]
fn what_the_tracker_asked_to_be_sent_back_is_sent_back() {
    let mut world = World::one();
    world.input(AnnounceInput::Start);
    let id = world.only().id;
    let tracker_id = Some(b"id".to_vec());
    let interval = Some(secs(100));
    world.input(AnnounceInput::Reply { id, interval, min_interval: None, tracker_id });
    for _ in 0..2 {
        world.wait();
        let next = world.only();
        assert_eq!(next.tracker_id.as_deref(), Some(&b"id"[..]));
        world.reply(next.id, 100, None);
    }
}

#[test]
fn urls_that_cannot_be_used_are_left_out_and_the_rest_is_bounded() {
    let long = format!("http://a/{}", "x".repeat(URL_MAX_BYTES));
    let odd = ["wss://a/announce", "file:///etc/passwd", "a/announce", "", &long];
    let mut urls: Vec<String> = odd.into_iter().map(str::to_owned).collect();
    urls.extend(["UDP://a:1", "udp://b:1", "udp://b:1", "https://c/announce"].map(str::to_owned));
    let announcer = Announcer::new(1, &[urls, vec!["udp://b:1".to_owned()]], TierOrder::Parallel);
    let known: Vec<&str> = announcer.trackers().map(|(_, url)| &**url).collect();
    assert_eq!(known, ["UDP://a:1", "udp://b:1", "https://c/announce"]);
    assert_eq!(announcer.groups.len(), 1, "a tier that is empty is none");
    let many = vec![(0..2 * TRACKERS_MAX).map(|n| format!("udp://{n}:1")).collect()];
    assert_eq!(Announcer::new(1, &many, TierOrder::Parallel).trackers().count(), TRACKERS_MAX);
}

#[derive(Clone, Debug)]
enum Op {
    Input(AnnounceInput),
    Reply(usize, u64, Option<u64>),
    Fail(usize, Retry),
    Pass(u64),
}

fn any_op() -> impl Strategy<Value = Op> {
    let retry = prop_oneof![
        4 => Just(Retry::Unspecified),
        1 => (0u64..600).prop_map(|n| Retry::After(secs(n))),
        1 => Just(Retry::Never),
    ];
    let status = (prop::option::of(0u64..3), 0usize..60).prop_map(|(left, peers)| {
        AnnounceInput::Status(Status { left, peers, ..Status::default() })
    });
    let input = prop_oneof![
        4 => Just(AnnounceInput::Start),
        1 => Just(AnnounceInput::Completed),
        2 => Just(AnnounceInput::Stop),
        2 => status,
    ];
    prop_oneof![
        3 => input.prop_map(Op::Input),
        4 => (any::<usize>(), 0u64..4000, prop::option::of(0u64..4000))
            .prop_map(|(n, interval, min)| Op::Reply(n, interval, min)),
        3 => (any::<usize>(), retry).prop_map(|(n, retry)| Op::Fail(n, retry)),
        5 => (0u64..2000).prop_map(Op::Pass),
    ]
}

proptest! {
    #[test]
    fn random_use_obeys_the_rules(ops in prop::collection::vec(any_op(), 1..200), strict: bool, seed: u64) {
        let order = if strict { TierOrder::Strict } else { TierOrder::Parallel };
        let names = tiers(&[&["a", "b"], &["c", "d", "e"], &["f"]]);
        let mut announcer = Announcer::new(seed, &names, order);
        let (mut now, mut running) = (START, false);
        let mut open: Vec<Announcement> = Vec::new();
        let mut goodbyes: BTreeSet<AnnounceId> = BTreeSet::new();
        for op in ops {
            let input = match op {
                Op::Input(input) => input,
                Op::Pass(n) => {
                    now += secs(n);
                    AnnounceInput::Wake
                }
                Op::Reply(n, interval, min) if !open.is_empty() => {
                    let id = open.remove(n % open.len()).id;
                    let (interval, min_interval) = (Some(secs(interval)), min.map(secs));
                    AnnounceInput::Reply { id, interval, min_interval, tracker_id: None }
                }
                Op::Fail(n, retry) if !open.is_empty() => {
                    AnnounceInput::Failed { id: open.remove(n % open.len()).id, retry }
                }
                Op::Reply(..) | Op::Fail(..) => continue,
            };
            running = (running || input == AnnounceInput::Start) && input != AnnounceInput::Stop;
            announcer.handle(now, input);
            while let Some(announcement) = announcer.poll() {
                let goodbye = announcement.event == AnnounceEvent::Stopped;
                prop_assert!(running != goodbye, "{announcement:?}");
                let tracker = &announcer.trackers[announcement.tracker.0];
                prop_assert_eq!(tracker.in_flight, Some((announcement.id, announcement.event)));
                if goodbye {
                    goodbyes.insert(announcement.id);
                }
                open.push(announcement);
            }
            prop_assert!(running || announcer.deadline().is_none());
            prop_assert!(announcer.deadline().is_none_or(|due| due > now), "something is due");
            for group in &announcer.groups {
                let busy = announcer.members(group).filter_map(|(_, tracker)| tracker.in_flight);
                let news = busy.filter(|(id, _)| !goodbyes.contains(id)).count();
                prop_assert!(news <= 1, "one tracker of a group at a time");
            }
        }
    }
}
