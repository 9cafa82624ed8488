//! Stories of peers that go too far, one a bound.

use super::super::connect::BARRED_MAX;
use super::*;

#[test]
fn impossible_requests_are_rejected_and_too_many_of_them_end_the_connection() {
    let mut story = Story::leech();
    story.meet(1, FAST, Direction::Incoming);
    let absurd = Span { piece: piece(u32::MAX), begin: u32::MAX, length: u32::MAX };
    for _ in 0..300 {
        let out = story.say(1, Message::Request(absurd));
        assert_eq!((closed(&out, 1), sent(&out, 1)), (None, vec![Message::Reject(absurd)]));
    }
    let out = story.say(1, Message::Request(absurd));
    assert_eq!(closed(&out, 1), Some(CloseReason::Misbehaved));
    assert_eq!(story.hits(Limit::InvalidRequests), 1);
}

#[test]
fn blocks_nobody_asked_for_are_dropped_and_then_end_the_connection() {
    let mut story = Story::leech();
    story.meet(1, FAST, Direction::Incoming);
    for _ in 0..32 {
        let (disposition, out) = story.block(1, span(0, 0));
        assert_eq!((disposition, closed(&out, 1)), (Disposition::Drop, None));
    }
    assert_eq!(closed(&story.block(1, span(0, 0)).1, 1), Some(CloseReason::Misbehaved));
    assert_eq!(story.hits(Limit::UnrequestedBlocks), 1);
}

#[test]
fn messages_that_contradict_the_torrent_end_the_connection() {
    let hostile = [
        vec![Message::Have(piece(8))],
        vec![Message::Have(piece(u32::MAX))],
        vec![Message::Have(piece(1)), Message::HaveAll],
        vec![Message::HaveNone, Message::HaveAll],
        vec![Message::Bitfield(Bytes::from_static(&[0xff, 0]))],
        vec![Message::Bitfield(Bytes::new())],
        vec![Message::Suggest(piece(8))],
    ];
    for messages in hostile {
        let mut story = Story::leech();
        story.meet(1, FAST, Direction::Incoming);
        let out: Vec<_> = messages.iter().flat_map(|m| story.say(1, m.clone())).collect();
        assert_eq!(closed(&out, 1), Some(CloseReason::Misbehaved), "{messages:?}");
    }
}

#[test]
fn thrashing_is_bounded() {
    let mut story = Story::seed();
    story.meet(1, FAST, Direction::Incoming);
    let mut out = Vec::new();
    for _ in 0..40 {
        out.extend(story.say(1, Message::Interested));
        out.extend(story.say(1, Message::NotInterested));
    }
    assert_eq!(closed(&out, 1), Some(CloseReason::Misbehaved));
    assert_eq!(story.hits(Limit::Toggles), 1);
}

#[test]
fn repeated_haves_are_bounded_and_new_ones_are_not() {
    let mut story = Story::leech();
    story.meet(1, FAST, Direction::Incoming);
    let mut out = Vec::new();
    for _ in 0..20_002 {
        out.extend(story.say(1, Message::Have(piece(0))));
    }
    assert_eq!(closed(&out, 1), Some(CloseReason::Misbehaved));
    assert_eq!(story.hits(Limit::Haves), 1);
}

#[test]
fn metadata_is_served_and_requests_for_it_are_bounded() {
    let mut story = Story::seed();
    story.meet(1, FAST, Direction::Incoming);
    offer_metadata(&mut story, 1, None);
    let ask = |piece| {
        let payload = MetadataMessage::Request { piece }.encode();
        Message::Extended { id: Extension::UtMetadata.local_id(), payload }
    };
    let answer = |out: &[Output]| match &sent(out, 1)[..] {
        [Message::Extended { payload, .. }] => MetadataMessage::decode(payload).unwrap(),
        other => panic!("{other:?}"),
    };
    let out = story.say(1, ask(0));
    assert!(matches!(answer(&out), MetadataMessage::Data { piece: 0, .. }));
    let out = story.say(1, ask(u32::MAX));
    assert!(matches!(answer(&out), MetadataMessage::Reject { .. }));
    let mut refused = 0;
    for _ in 0..100 {
        let out = story.say(1, ask(0));
        refused += u32::from(matches!(answer(&out), MetadataMessage::Reject { .. }));
        story.tell(Input::Flushed { peer: PeerKey(1) });
    }
    assert!(refused >= 30, "only {refused} of 100 refused");
    assert_eq!(story.hits(Limit::MetadataRequests), u64::from(refused) + 1);
}

/// LIMITS P29: each may be a quarter of a megabyte, and be a mate's and a stranger's in turn.
#[test]
fn p29_extension_handshakes_come_at_the_rate_of_a_toggle() {
    let mut story = Story::seed();
    story.meet(1, FAST, Direction::Incoming);
    for _ in 0..50 {
        assert_eq!(closed(&offer_metadata(&mut story, 1, None), 1), None);
    }
    let out = offer_metadata(&mut story, 1, None);
    assert_eq!(closed(&out, 1), Some(CloseReason::Misbehaved));
}

#[test]
fn unknown_messages_are_passed_over_up_to_a_bound() {
    let mut story = Story::leech();
    story.meet(1, FAST, Direction::Incoming);
    for _ in 0..64 {
        assert_eq!(closed(&story.say(1, Message::Unknown(99)), 1), None);
    }
    assert_eq!(closed(&story.say(1, Message::Unknown(99)), 1), Some(CloseReason::Misbehaved));
    assert_eq!(story.hits(Limit::UnknownMessages), 1);
}

#[test]
fn of_hints_only_the_latest_are_remembered() {
    let file = torrent_file(64);
    let metainfo = Arc::new(Metainfo::from_torrent(&file).unwrap());
    let mut story = Story::magnet();
    story.tell(Input::Metainfo(metainfo));
    story.tell(Input::Checked { have: Bitfield::none(64) });
    story.meet(1, FAST, Direction::Incoming);
    for index in 0..64 {
        story.say(1, Message::AllowedFast(piece(index)));
        story.say(1, Message::Suggest(piece(index)));
    }
    let download = &story.torrent.peers[&PeerKey(1)].download;
    assert_eq!((download.allowed.len(), download.suggested.len()), (16, 16));
    assert_eq!(download.allowed.last(), Some(&piece(63)));
}

#[test]
fn haves_before_the_metadata_are_remembered_up_to_a_bound() {
    let mut story = Story::magnet();
    story.meet(1, FAST, Direction::Incoming);
    for index in 0..4096 {
        assert_eq!(closed(&story.say(1, Message::Have(piece(index))), 1), None);
    }
    assert_eq!(closed(&story.say(1, Message::Have(piece(0))), 1), Some(CloseReason::Misbehaved));
    assert_eq!(story.hits(Limit::EarlyHaves), 1);
}

#[test]
fn connections_are_bounded_in_all_and_from_one_machine() {
    let mut story = Story::leech();
    story.torrent.params.config.peers_max = 6;
    let meet = |story: &mut Story, key: u8, ip: [u8; 4]| {
        let (peer, addr) = (PeerKey(key.into()), SocketAddr::from((ip, 1000 + u16::from(key))));
        let direction = Direction::Incoming;
        let out =
            story.tell(Input::Connected { peer, addr, direction, id: id(key), reserved: FAST });
        closed(&out, key)
    };
    for key in 1..=4 {
        assert_eq!(meet(&mut story, key, [203, 0, 113, 1]), None);
    }
    assert_eq!(meet(&mut story, 5, [203, 0, 113, 1]), Some(CloseReason::Full));
    assert_eq!(meet(&mut story, 6, [192, 168, 0, 1]), None);
    assert_eq!(meet(&mut story, 7, [192, 168, 0, 1]), None);
    assert_eq!(meet(&mut story, 8, [198, 51, 100, 1]), Some(CloseReason::Full));
    let hits = [Limit::PeersPerAddress, Limit::PeersPerTorrent, Limit::PeersPerSite];
    assert_eq!(hits.map(|limit| story.hits(limit)), [1, 1, 0]);
}

#[test]
fn what_is_read_ahead_for_peers_stays_within_the_send_budget() {
    let mut story = Story::seed();
    story.torrent.params.config.send_budget = 8 * 16384;
    for host in 1..=2 {
        story.meet(host, FAST, Direction::Incoming);
        story.say(host, Message::Interested);
    }
    let mut serving = Vec::new();
    for host in 1..=2 {
        for index in 0..8 {
            serving.extend(story.say(host, Message::Request(span(index, 0))));
        }
    }
    let served = |out: &[Output]| {
        let all = out.iter();
        all.filter_map(|o| {
            if let Output::Serve { peer, span } = o { Some((*peer, *span)) } else { None }
        })
        .collect::<Vec<_>>()
    };
    let first = served(&serving);
    assert_eq!(first.len(), 8);
    // Each block that leaves makes room for the one that has waited longest.
    let mut total = first.len();
    let mut queue = VecDeque::from(first);
    while let Some((peer, span)) = queue.pop_front() {
        let next = served(&story.tell(Input::Sent { peer, span }));
        total += next.len();
        queue.extend(next);
    }
    assert_eq!(total, 16, "everything asked for is served in the end");
}

#[test]
fn requests_while_choked_are_an_offence_only_once_the_choke_must_have_arrived() {
    let mut story = Story::seed();
    story.meet(1, PLAIN, Direction::Incoming);
    let ask = |story: &mut Story| story.say(1, Message::Request(span(0, 0)));
    for _ in 0..400 {
        assert_eq!(closed(&ask(&mut story), 1), None, "within the grace");
    }
    story.wait(Duration::from_secs(3));
    let last = (0..301).map(|_| closed(&ask(&mut story), 1)).last().flatten();
    assert_eq!(last, Some(CloseReason::Misbehaved));
}

#[test]
fn bitfields_that_come_again_and_again_are_bounded() {
    let mut story = Story::leech();
    story.meet(1, FAST, Direction::Incoming);
    let bits = || Message::Bitfield(Bytes::from_static(&[0b1010_0000]));
    for _ in 0..=50 {
        assert_eq!(closed(&story.say(1, bits()), 1), None);
    }
    assert_eq!(closed(&story.say(1, bits()), 1), Some(CloseReason::Misbehaved));
    assert_eq!(story.hits(Limit::Toggles), 1);
}

#[test]
fn no_place_that_many_share_takes_more_than_half_of_the_connections() {
    let meet = |story: &mut Story, key: u8, ip: &str| {
        let addr = SocketAddr::new(ip.parse().unwrap(), 1000 + u16::from(key));
        let (peer, direction) = (PeerKey(key.into()), Direction::Incoming);
        let out =
            story.tell(Input::Connected { peer, addr, direction, id: id(key), reserved: FAST });
        closed(&out, key)
    };
    for (place, elsewhere) in [
        (["127.0.0.1"; 5], "127.0.0.2"),
        (["192.168.7.7"; 5], "192.168.7.8"),
        (
            ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4", "2001:db8::5"],
            "2001:db8:0:1::1",
        ),
        (["fd00::1"; 5], "fd00::2"),
        (["::ffff:10.0.0.1"; 5], "10.0.0.2"),
    ] {
        let mut story = Story::leech();
        story.torrent.params.config.peers_max = 8;
        for (key, ip) in (1..).zip(&place[..4]) {
            assert_eq!(meet(&mut story, key, ip), None, "{ip}");
        }
        assert_eq!(meet(&mut story, 5, place[4]), Some(CloseReason::Full), "{}", place[4]);
        assert_eq!(story.hits(Limit::PeersPerSite), 1);
        assert_eq!(meet(&mut story, 6, elsewhere), None, "{elsewhere}");
    }
}

#[test]
fn small_talk_comes_at_a_bounded_rate() {
    let mut story = Story::leech();
    story.meet(1, FAST, Direction::Incoming);
    let last = (0..20_001).map(|_| closed(&story.say(1, Message::KeepAlive), 1)).last();
    assert_eq!(last, Some(Some(CloseReason::Misbehaved)));
    assert_eq!(story.hits(Limit::Chatter), 1);
}

#[test]
fn who_says_nothing_or_is_of_no_use_is_let_go_and_counted() {
    let mut story = Story::leech();
    story.meet(1, FAST, Direction::Incoming);
    story.meet(2, FAST, Direction::Incoming);
    let end = |out: &[Output]| (closed(out, 1), closed(out, 2));
    for _ in 0..11 {
        story.wait(Duration::from_secs(50));
        story.say(2, Message::KeepAlive);
    }
    assert_eq!(story.hits(Limit::IdleTime), 1);
    assert_eq!(end(&story.wait(Duration::from_secs(60))), (None, Some(CloseReason::Redundant)));
    assert_eq!(story.hits(Limit::UselessTime), 1);
}

#[test]
fn a_peer_that_does_not_read_is_counted() {
    let mut story = Story::leech();
    story.meet(1, FAST, Direction::Incoming);
    story.tell(Input::Disconnected { peer: PeerKey(1), why: CloseReason::Overloaded });
    assert_eq!(story.hits(Limit::UnsentBytes), 1);
}

/// LIMITS B14: each granted piece three times, and no more.
#[test]
fn what_is_granted_while_choked_is_served_a_few_times_only() {
    let mut story = Story::one_served();
    // As if others had everything too: nobody is shown less than all.
    story.torrent.first = None;
    // Whoever is not served at once is granted some pieces.
    let granted = (1..9).find_map(|host| {
        story.meet(host, FAST, Direction::Incoming);
        let sent = sent(&story.say(host, Message::Interested), host).into_iter();
        let piece = |m| if let Message::AllowedFast(piece) = m { Some(piece.get()) } else { None };
        let pieces: Vec<u32> = sent.filter_map(piece).collect();
        (!pieces.is_empty()).then_some((host, pieces))
    });
    let (host, pieces) = granted.expect("not all are served");
    assert_eq!(pieces.len(), 5);
    let mut rejected = 0;
    for turn in 0..100 {
        let span = span(pieces[turn % 5], 0);
        let out = story.say(host, Message::Request(span));
        rejected += usize::from(sent(&out, host).contains(&Message::Reject(span)));
    }
    let blocks = metainfo(8).geometry().blocks_per_piece() as usize;
    assert_eq!(100 - rejected, 3 * 5 * blocks);
}

#[test]
fn liars_and_givers_are_remembered_up_to_a_bound() {
    let mut story = Story::leech();
    story.join_seed(1);
    let giver = |n: usize| {
        let mut id = [0; 20];
        id[..8].copy_from_slice(&n.to_be_bytes());
        let addr = SocketAddr::from(([127, 0, 0, 1], 1));
        Giver { key: PeerKey(u32::try_from(n).unwrap()), addr, id: PeerId::new(id) }
    };
    for n in 0..2 * BARRED_MAX {
        story.torrent.ban(story.now, giver(n));
    }
    story.drain();
    assert_eq!(story.torrent.barred.len(), BARRED_MAX);
    let content = story.torrent.content.as_mut().unwrap();
    content.givers = (100..100 + GIVERS_MAX).map(|n| (giver(n).key, giver(n))).collect();
    let owed = story.torrent.peers[&PeerKey(1)].download.pipeline.owed_blocks().next().unwrap();
    let (disposition, _) = story.block(1, span(owed.piece.get(), 0));
    assert_eq!(disposition, Disposition::Keep);
    assert_eq!(story.torrent.content.as_ref().unwrap().givers.len(), GIVERS_MAX);
}

/// LIMITS P23: so many times the blocks of each granted piece, then as many as make no sense.
#[test]
fn p23_pieces_granted_while_choked_are_served_a_few_times_and_then_end_the_connection() {
    let mut story = Story::seed();
    for host in 2..10 {
        story.meet(host, FAST, Direction::Incoming);
        story.say(host, Message::Interested);
    }
    story.meet(1, FAST, Direction::Incoming);
    let out = story.say(1, Message::Interested);
    let granted = sent(&out, 1).into_iter().filter_map(|message| match message {
        Message::AllowedFast(piece) => Some(piece),
        _ => None,
    });
    let granted: Vec<_> = granted.collect();
    story.wait(Duration::from_secs(2));
    let span = span(granted[0].get(), 0);
    let mut served = 0;
    for _ in 0..1_000 {
        let out = story.say(1, Message::Request(span));
        if let Some(why) = closed(&out, 1) {
            assert_eq!(why, CloseReason::Misbehaved);
            assert_eq!(served, granted.len() * 2 * 3, "two blocks a piece, three times");
            return;
        }
        served += usize::from(out.contains(&Output::Serve { peer: PeerKey(1), span }));
        story.tell(Input::Sent { peer: PeerKey(1), span });
    }
    panic!("{served} blocks served while choked");
}

/// LIMITS P26: bytes come all the time, no block ever does, and the memory for open pieces is
/// used up.
#[test]
fn p26_what_a_trickling_peer_owes_is_asked_of_another_after_twenty_seconds() {
    let mut story = Story::leech();
    story.tell(Input::Capacity { bytes: 2 * u64::from(PIECE) });
    let held = requests(&story.join_seed(1), 1);
    assert_eq!(held.len(), 4, "all that there is room for");
    let mut out = story.join_seed(2);
    assert_eq!(requests(&out, 2), []);
    for _ in 0..19 {
        out.extend(story.tell(Input::Progress { peer: PeerKey(1), bytes: 1 }));
        out.extend(story.wait(Duration::from_secs(1)));
    }
    assert_eq!(requests(&out, 2), [], "a slow line has its time");
    for _ in 0..2 {
        story.tell(Input::Progress { peer: PeerKey(1), bytes: 1 });
        out.extend(story.wait(Duration::from_secs(1)));
    }
    let asked = requests(&out, 2);
    assert!(!asked.is_empty() && asked.iter().all(|span| held.contains(span)), "{asked:?}");
    assert_eq!(closed(&out, 1), None);
    let taken_back = |out: &[Output]| sent(out, 1).contains(&Message::Cancel(asked[0]));
    assert!(!taken_back(&out), "what comes late is still of use");
    assert!(taken_back(&story.block(2, asked[0]).1), "until it is here");
}

/// LIMITS P27: they were there first, and they come back.
#[test]
fn p27_peers_that_promise_metadata_and_are_silent_do_not_keep_it_from_us() {
    let size = Some(u32::try_from(metainfo(8).info_bytes().len()).unwrap());
    let mut story = Story::magnet();
    for host in 1..=9 {
        story.meet(host, FAST, Direction::Incoming);
        offer_metadata(&mut story, host, size);
    }
    story.meet(10, FAST, Direction::Incoming);
    let mut out = offer_metadata(&mut story, 10, size);
    assert_eq!(sent(&out, 10), []);
    out.extend(story.wait(Duration::from_secs(14)));
    assert_eq!(sent(&out, 10), [], "it is the fourth three's turn");
    let out = story.wait(Duration::from_secs(2));
    assert_eq!(sent(&out, 10).len(), 1, "asked as soon as those before it had their time");
}

/// Strangers that are served ask for everything; the last of them says what was handed out.
fn greedy(story: &mut Story, hosts: std::ops::RangeInclusive<u8>) -> Vec<Output> {
    let mut out = Vec::new();
    for host in hosts {
        story.meet(host, FAST, Direction::Incoming);
        story.say(host, Message::Interested);
        for index in 0..8 {
            out.extend(story.say(host, Message::Request(span(index, 0))));
            out.extend(story.say(host, Message::Request(span(index, 1))));
        }
    }
    out
}

fn served(out: &[Output], host: u8) -> Vec<Span> {
    let to = |output: &Output| match output {
        Output::Serve { peer, span } if *peer == PeerKey(host.into()) => Some(*span),
        _ => None,
    };
    out.iter().filter_map(to).collect()
}

/// LIMITS P20: more of them than there are lanes, and there first.
#[test]
fn p20_peers_that_ask_and_do_not_read_do_not_keep_others_from_being_served() {
    let mut story = Story::seed();
    greedy(&mut story, 1..=6);
    let mut out = greedy(&mut story, 7..=7);
    out.extend(story.wait(Duration::from_secs(4)));
    assert_eq!(served(&out, 7), [], "they have their time");
    let out = story.wait(Duration::from_secs(10));
    assert!(!served(&out, 7).is_empty(), "nobody else takes anything");
    // One that has only slept has its place again.
    story.say(1, Message::Request(span(0, 0)));
    let mut woken = story.tell(Input::Sent { peer: PeerKey(1), span: span(0, 0) });
    woken.extend(story.wait(Duration::from_secs(1)));
    assert_eq!(served(&woken, 1), [span(0, 0)]);
    assert!((1..=7).all(|host| closed(&out, host).is_none()), "there is memory for all of them");
}

/// The same for the memory that waits to be sent.
#[test]
fn p20_peers_that_do_not_read_are_closed_when_others_wait_for_the_memory_they_hold() {
    let mut story = Story::seed();
    story.torrent.params.config.send_budget = 24 * 16384;
    let mut out = greedy(&mut story, 1..=3);
    let held: usize = (1..=3).map(|host| served(&out, host).len()).sum();
    assert_eq!(held, 24, "the whole budget");
    out.extend(greedy(&mut story, 4..=4));
    out.extend(story.wait(Duration::from_secs(9)));
    assert_eq!(served(&out, 4), []);
    let out = story.wait(Duration::from_secs(3));
    assert!((1..=3).any(|host| closed(&out, host) == Some(CloseReason::Overloaded)), "{out:?}");
    assert!(!served(&out, 4).is_empty());
}

/// LIMITS P26 at the end: what may be asked twice in all is little, and held by those who trickle.
#[test]
fn p26_trickling_peers_do_not_use_up_what_may_be_asked_twice() {
    let mut story = Story::leech();
    let mut out = Vec::new();
    // Four hold all blocks, the next four copies of them.
    for host in 1..=8 {
        out.extend(story.join_seed(host));
    }
    out.extend(story.join_seed(9));
    assert_eq!(requests(&out, 9), [], "everything is asked of others, and twice what may be");
    let mut here = 0;
    for _ in 0..40 {
        for host in 1..=8 {
            story.tell(Input::Progress { peer: PeerKey(host), bytes: 1 });
        }
        out = story.wait(Duration::from_secs(1));
        let mut asked = VecDeque::from(requests(&out, 9));
        while let Some(span) = asked.pop_front() {
            here += 1;
            asked.extend(requests(&story.block(9, span).1, 9));
        }
    }
    assert_eq!(here, 16, "all of it comes from the one that delivers");
}
