//! Peers and trackers of ill will against the real binary.
//!
//! Each case starts a victim (`victim`) and lets a script loose on it (`attacker`). Whatever the
//! script does, the victim stays up, gets or gives the right bytes, keeps its memory and its log
//! short; and the attacker meets its fate. Nothing waits for a time to pass. Run with
//! `SWARM_HOSTILE=long` the same cases have a content of 64 MiB and an honest seed of 2 MB/s, and
//! print a table: `tests/hostile/long.sh`.
//!
//! Where a bound is a long time, virtual time shows it: `unit` is `swarm-core`'s
//! `proto/torrent/tests`, `sim` is `tests/sim/hostile.rs`. Some decisions are ours and not the
//! list's; the case says so.
//!
//! | case | what | where |
//! |---|---|---|
//! | P01 | says nothing | `handshakes` |
//! | P02 | a trickling handshake | `handshakes` |
//! | P03 | HTTP, TLS, a wrong protocol | `handshakes` |
//! | P04 | an unknown torrent | `handshakes` |
//! | P05 | our own peer id | `handshakes` |
//! | P06 | a frame of 4 GiB | `frames` |
//! | P07 | large frames of unknown kind | `frames` |
//! | P08 | a million keep-alives | `floods` |
//! | P09 | wrong bitfields | `frames` |
//! | P10 | bitfields again | `frames`: allowed, at a rate |
//! | P11 | `have` of no piece | `frames` |
//! | P12 | everything, nothing, in turn | `floods` |
//! | P13 | interest on and off | `floods` |
//! | P14 | blocks nobody asked for | `frames` |
//! | P15 | blocks outside of the torrent | `frames` |
//! | P16 | blocks too short, too long | `frames` |
//! | P17 | one wrong bit | `lies` |
//! | P18 | three liars | `lies` |
//! | P19 | the only source lies | `lies` |
//! | P20 | requests, nothing read | `floods`, unit, `engine::dial` |
//! | P21 | requests without sense | `floods` |
//! | P22 | requests while choked | `floods`, unit |
//! | P23 | granted pieces, over and over | unit |
//! | P24 | cancels, hints | `floods` |
//! | P25 | takes requests, sends nothing | `lies`, sim |
//! | P26 | trickles blocks | `lies`, unit |
//! | P27 | metadata: absurd, wrong, none, refused | `exchange`, unit |
//! | P28 | metadata asked for without end | `floods` |
//! | P29 | extension handshakes too long, rich, deep | `frames` |
//! | P30 | addresses: many, often, nobody's | `exchange` |
//! | P31 | noise | `handshakes` |
//! | P32 | version 2 claimed | `frames` |
//! | P33 | hash requests | `frames` |
//! | P34 to P36 | floods of connections | not here: they need a network of their own |
//! | P37 | resets in mid message | `handshakes`, `floods` |
//! | P38 | vanishes without a word | sim |
//! | P39 | leaves after each block | `lies`: dialled once a second at most |
//! | P40 | names that play tricks | `shown`, and `cli::describe` |
//! | T01 | a compressed body | `trackers` |
//! | T02, T03 | bodies and headers without end | `trackers` |
//! | T04 | redirects in a circle | `trackers` |
//! | T05, T06 | redirects to the inside, out of encryption | `trackers`, `engine::web` |
//! | T07 | absurd intervals | `trackers`, `proto::announce` |
//! | T08, T09 | peers that do not divide, a million of them | `trackers` |
//! | T10 | no answer | `trackers` |
//! | T11 | a flood of wrong answers | `trackers` |
//! | T12 | texts that play tricks | `trackers` |

mod attacker;
mod exchange;
mod floods;
mod frames;
mod handshakes;
mod lies;
mod shown;
mod trackers;
mod victim;

use std::thread;

/// With their names, for the table and for who looks for one that failed.
macro_rules! named {
    ($($case:path),* $(,)?) => { [$((stringify!($case), $case as fn())),*] };
}

/// Each of these waits for a bound of 10 or 20 s, and has nothing to do meanwhile.
#[test]
fn cases_that_wait_for_long_bounds_side_by_side() {
    let cases = named![
        handshakes::p01_a_connection_that_says_nothing_is_closed,
        handshakes::p02_a_handshake_that_trickles_is_closed_before_it_is_whole,
        exchange::p27_peers_that_promise_metadata_and_send_none_do_not_keep_it_from_us,
        exchange::p27_peers_that_refuse_metadata_or_trickle_it_do_not_keep_it_from_us,
        lies::p25_who_takes_requests_and_sends_nothing_does_not_hold_up_the_end,
        lies::p26_who_trickles_a_block_does_not_hold_up_the_end,
        floods::p20_a_million_requests_and_nothing_read_are_closed_by_the_queue,
        trackers::t10_a_tracker_that_never_answers_is_given_up,
    ];
    thread::scope(|scope| {
        for (name, case) in cases {
            let thread = thread::Builder::new().name(name.to_owned());
            thread.spawn_scoped(scope, case).expect("a thread");
        }
    });
}
