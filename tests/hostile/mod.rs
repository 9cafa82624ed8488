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
//! | T05, T06 | redirects to the inside, out of encryption | `engine::trackers` |
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
