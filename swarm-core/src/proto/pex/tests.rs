//! What one peer is told, and what it is believed.

use super::*;
use crate::wire::ut_pex::PexFlags;
use proptest::prelude::*;

const START: Moment = Moment::ZERO;

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn peer(addr: SocketAddr) -> PexPeer {
    PexPeer { addr, flags: PexFlags::default() }
}

fn peers(addrs: impl IntoIterator<Item = SocketAddr>) -> Vec<PexPeer> {
    let mut peers: Vec<_> = addrs.into_iter().map(peer).collect();
    peers.sort_unstable();
    peers
}

fn far(n: u16) -> SocketAddr {
    let [high, low] = n.to_be_bytes();
    SocketAddr::from(([90, high, low, 1], 6881))
}

/// Public addresses, each in a network of its own.
fn public(count: u16) -> Vec<PexPeer> {
    peers((0..count).map(far))
}

fn adding(added: Vec<PexPeer>) -> PexMessage {
    PexMessage { added, dropped: Vec::new() }
}

fn listener() -> SocketAddr {
    addr("80.1.1.1:6881")
}

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn a_newcomer_hears_of_everybody_once_and_then_of_changes() {
    let mut exchange = Exchange::new(START);
    let mut current = public(3);
    assert_eq!(exchange.news(START, listener(), &current), None, "too early");
    let first = START + FIRST_DELAY;
    assert_eq!(exchange.news(first, listener(), &current), Some(adding(current.clone())));
    let gone = current.remove(1).addr;
    assert_eq!(exchange.news(first + secs(59), listener(), &current), None, "too soon");
    let second = first + SEND_GAP;
    let news = exchange.news(second, listener(), &current).unwrap();
    assert_eq!(news, PexMessage { added: Vec::new(), dropped: vec![gone] });
    assert_eq!(exchange.news(second + SEND_GAP, listener(), &current), None, "no news");
}

#[test]
fn without_news_the_minute_does_not_begin() {
    let mut exchange = Exchange::new(START);
    assert_eq!(exchange.news(START + secs(1), listener(), &[]), None);
    let later = START + secs(1) + RECHECK;
    assert!(exchange.news(later, listener(), &public(1)).is_some());
}

#[test]
fn a_long_list_is_told_a_hundred_and_then_fifty_at_a_time() {
    let mut exchange = Exchange::new(START);
    let current = public(180);
    let mut now = START + FIRST_DELAY;
    let mut counts = Vec::new();
    while let Some(news) = exchange.news(now, listener(), &current) {
        counts.push(news.added.len());
        now += SEND_GAP;
    }
    assert_eq!(counts, [FIRST_MAX, LATER_MAX, 30]);
    now += SEND_GAP;
    let dropped = exchange.news(now, listener(), &[]).unwrap().dropped.len();
    assert_eq!(dropped, LATER_MAX);
}

#[test]
fn nobody_is_told_of_itself_or_of_an_address_that_means_another_machine_to_it() {
    let all = peers(["127.0.0.1:5000", "10.0.0.9:5000", "80.1.1.2:5000"].map(addr));
    let told = |listener: &str| {
        let news = Exchange::new(START).news(START + secs(1), addr(listener), &all);
        news.map_or(0, |news| news.added.len())
    };
    assert_eq!(told("127.0.0.1:9"), 3);
    assert_eq!(told("10.0.0.1:9"), 2);
    assert_eq!(told("80.1.1.1:9"), 1);
    assert_eq!(told("80.1.1.2:5000"), 0, "that is itself");
}

/// LIMITS B28, P30.
#[test]
fn messages_that_come_too_soon_are_not_read_and_many_of_them_are_a_flood() {
    let mut exchange = Exchange::new(START);
    assert_eq!(exchange.take(START, listener(), &adding(public(1))).unwrap().len(), 1);
    for early in 1..=u64::from(EARLY_MAX) {
        let taken = exchange.take(START + secs(early), listener(), &adding(public(1)));
        assert_eq!(taken, Ok(Vec::new()));
    }
    assert_eq!(exchange.take(START + secs(20), listener(), &adding(public(1))), Err(Flood));
}

#[test]
fn a_peer_that_keeps_to_its_minute_is_never_a_flood() {
    let mut exchange = Exchange::new(START);
    for minute in 0..100 {
        assert!(exchange.take(START + secs(60 * minute), listener(), &adding(public(1))).is_ok());
    }
}

/// LIMITS B28: 100 in the first message, 50 in a later one, and one source has its share.
#[test]
fn one_peer_names_a_bounded_number_of_addresses() {
    let mut exchange = Exchange::new(START);
    let counts: Vec<usize> = (0..6)
        .map(|n| exchange.take(START + TAKE_GAP * n, listener(), &adding(public(200))))
        .map(|taken| taken.unwrap().len())
        .collect();
    assert_eq!(counts, [FIRST_MAX, LATER_MAX, LATER_MAX, LATER_MAX, 0, 0]);
    assert_eq!(counts.iter().sum::<usize>(), NAMED_MAX);
}

/// LIMITS B29, P30.
#[test]
fn a_peer_cannot_aim_us_at_a_low_port_our_own_network_or_one_victim() {
    let taken = |teller: &str, named: Vec<PexPeer>| {
        Exchange::new(START).take(START, addr(teller), &adding(named)).unwrap().len()
    };
    let far = "80.1.1.1:9";
    assert_eq!(taken(far, peers(["90.0.0.1:25", "90.0.0.1:1023"].map(addr))), 0);
    assert_eq!(taken(far, peers(["127.0.0.1:6881", "10.0.0.1:6881"].map(addr))), 0);
    assert_eq!(taken("10.0.0.2:9", peers(["127.0.0.1:6881", "10.0.0.1:6881"].map(addr))), 1);
    let ports = (2000..2100).map(|port| SocketAddr::from(([90, 1, 1, 1], port)));
    assert_eq!(taken(far, peers(ports)), 1, "one port of one machine");
    let net = (0..100).map(|host| SocketAddr::from(([90, 1, 1, host], 6881)));
    assert_eq!(taken(far, peers(net)), NAMED_PER_NET_MAX.into(), "few of one network");
    let farm = (2000..2060).map(|port| SocketAddr::from(([10, 1, 1, 1], port)));
    assert_eq!(taken("10.0.0.2:9", peers(farm)), 60, "a test farm is no victim");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// BEP 11: what is dropped was added before, nothing is added twice or added and dropped
    /// at once, no two messages come within a minute, no later one names more than fifty.
    #[test]
    fn whatever_comes_and_goes_the_messages_are_in_order(
        steps in prop::collection::vec((prop::collection::btree_set(0u16..200, 0..200), 0u64..90), 1..40)
    ) {
        let mut exchange = Exchange::new(START);
        let mut told = BTreeSet::new();
        let (mut now, mut last) = (START, None);
        for (present, pause) in steps {
            now += secs(pause);
            let current = peers(present.iter().copied().map(far));
            let Some(news) = exchange.news(now, listener(), &current) else { continue };
            if let Some(last) = last.replace(now) {
                prop_assert!(now.since(last) >= SEND_GAP);
                prop_assert!(news.added.len() <= LATER_MAX);
            }
            prop_assert!(!news.added.is_empty() || !news.dropped.is_empty());
            for gone in &news.dropped {
                prop_assert!(told.remove(gone), "{} was never added", gone);
            }
            for new in &news.added {
                prop_assert!(!news.dropped.contains(&new.addr));
                prop_assert!(told.insert(new.addr), "{} was added twice", new.addr);
            }
            prop_assert_eq!(exchange.told.iter().copied().collect::<BTreeSet<_>>(), told.clone());
        }
    }
}
