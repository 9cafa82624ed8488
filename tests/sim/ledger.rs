//! One end of one connection, as the messages alone tell it.
//!
//! The ledger sees what a core sends and what reaches it, keeps who has, owes and chokes
//! what, and objects to a message that the protocol does not allow at that moment. It is
//! written from the BEPs and shares no code with the core.

use std::collections::{BTreeMap, BTreeSet};
use swarm_core::geometry::Geometry;
use swarm_core::types::{Bitfield, PieceIndex, Span};
use swarm_core::wire::Message;

/// What one end has said and heard.
#[expect(clippy::struct_excessive_bools, reason = "the four bits of BEP 3, kept apart on purpose")]
#[derive(Debug)]
pub(super) struct Ledger {
    /// Both sides speak BEP 6.
    fast: bool,
    said: Said,
    /// We choke them.
    choking: bool,
    /// They choke us.
    choked: bool,
    /// We are interested.
    interested: bool,
    /// What they told us they have.
    theirs: Holdings,
    /// Pieces we let them ask for while choked, and they us.
    fast_given: BTreeSet<PieceIndex>,
    fast_got: BTreeSet<PieceIndex>,
    /// Answers still to come: always with BEP 6, and then also one for every cancelled
    /// request, so that a block asked for again may have two to come.
    due: BTreeMap<Span, u32>,
    /// Requests that we count on: neither answered nor cancelled nor made void by a choke.
    live: BTreeSet<Span>,
    /// Requests of theirs that we have not answered.
    asked: BTreeMap<Span, u32>,
    /// Payload queued towards them, bytes.
    pub(super) unsent: u64,
}

/// How far the opening has come.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Nothing,
    Opening,
}

/// Pieces a peer said it has. The piece count may not be known yet.
#[derive(Debug)]
enum Holdings {
    All,
    Some(Pieces),
}

/// A set of pieces that grows with what is put in.
#[derive(Debug, Default)]
struct Pieces(Vec<u64>);

/// Requests in flight to one peer (LIMITS 5.2; the core's own cap is its byte budget).
const LIVE_MAX: usize = 2048;
/// Unanswered requests of one peer.
const ASKED_MAX: usize = 2048;
/// Payload queued towards one peer, bytes: 1 MiB and the block that passes it.
const UNSENT_MAX: u64 = (1 << 20) + (1 << 14);

/// What the rule is and how it was broken.
pub(super) type Verdict = Result<(), String>;

impl Ledger {
    pub(super) fn new(fast: bool) -> Self {
        Self {
            fast,
            said: Said::Nothing,
            choking: true,
            choked: true,
            interested: false,
            theirs: Holdings::Some(Pieces::default()),
            fast_given: BTreeSet::new(),
            fast_got: BTreeSet::new(),
            due: BTreeMap::new(),
            live: BTreeSet::new(),
            asked: BTreeMap::new(),
            unsent: 0,
        }
    }

    /// A message of ours that is neither a block nor about our holdings.
    pub(super) fn sends(&mut self, message: &Message, geometry: Option<&Geometry>) -> Verdict {
        self.opens(message)?;
        self.speaks_fast_only_if_agreed(message)?;
        match message {
            Message::Choke => self.choking = true,
            Message::Unchoke => self.choking = false,
            Message::Interested => self.interested = true,
            Message::NotInterested => self.interested = false,
            Message::Request(span) => return self.sends_request(*span, geometry),
            Message::Cancel(span) => {
                if !self.live.remove(span) {
                    return Err(format!("cancel of {span:?}, which nobody counts on"));
                }
                // BEP 6: a cancel is answered, by the block or by a reject.
                if !self.fast {
                    self.due.remove(span);
                }
            }
            Message::Reject(span) if !take(&mut self.asked, *span) => {
                return Err(format!("reject of {span:?}, which was not asked for"));
            }
            Message::AllowedFast(piece) => {
                self.fast_given.insert(*piece);
            }
            Message::Piece(_) => return Err("a block header is the driver's to send".to_owned()),
            _ => {}
        }
        Ok(())
    }

    /// We promise a block: invariant `choke-honoured`, and only what was asked for, once.
    pub(super) fn serves(&mut self, span: Span) -> Verdict {
        if !take(&mut self.asked, span) {
            return Err(format!("serves {span:?}, which was not asked for"));
        }
        if self.choking && !self.fast_given.contains(&span.piece) {
            return Err(format!("choke-honoured: serves {span:?} to a choked peer"));
        }
        self.unsent += u64::from(span.length);
        if self.unsent > UNSENT_MAX {
            return Err(format!("budget: {} bytes queued towards one peer", self.unsent));
        }
        Ok(())
    }

    /// The block that we promised cannot be read: it is owed an answer again.
    pub(super) fn fails(&mut self, span: Span) {
        self.unsent -= u64::from(span.length);
        *self.asked.entry(span).or_default() += 1;
    }

    /// A message of theirs has arrived.
    pub(super) fn hears(&mut self, message: &Message, geometry: Option<&Geometry>) -> Verdict {
        match message {
            Message::Choke => {
                self.choked = true;
                if !self.fast {
                    self.due.clear();
                    self.live.clear();
                }
            }
            Message::Unchoke => self.choked = false,
            Message::Have(piece) => self.theirs.add(*piece),
            Message::HaveAll => self.theirs = Holdings::All,
            Message::Bitfield(bits) => self.theirs.set(bits, geometry),
            Message::AllowedFast(piece) => {
                self.fast_got.insert(*piece);
            }
            Message::Reject(span) => {
                take(&mut self.due, *span);
                self.live.remove(span);
            }
            Message::Request(span) => {
                // A bounded core may reject or drop beyond its bound, so nothing is asserted here.
                *self.asked.entry(*span).or_default() += 1;
            }
            // The core answers it (BEP 6) or forgets it (BEP 3).
            Message::Cancel(span) if !self.fast => {
                self.asked.remove(span);
            }
            _ => {}
        }
        if self.asked.len() > ASKED_MAX {
            return Err(format!("budget: {} requests unanswered", self.asked.len()));
        }
        Ok(())
    }

    /// Once a core has said all it has to say: whom it chokes it owes no answer (BEP 6).
    pub(super) fn is_settled(&self) -> Verdict {
        if !self.fast || !self.choking {
            return Ok(());
        }
        match self.asked.keys().find(|span| !self.fast_given.contains(&span.piece)) {
            Some(span) => Err(format!(
                "{span:?} was asked for by a peer that is choked now, and not rejected"
            )),
            None => Ok(()),
        }
    }

    /// A block of theirs has arrived. When the same was asked for, taken back and asked for
    /// again, nobody can tell which of the two this answers: it will do for both.
    pub(super) fn gets(&mut self, span: Span) {
        take(&mut self.due, span);
        self.live.remove(&span);
    }

    /// Whether a block that nobody has cancelled is due from them.
    pub(super) fn counts_on(&self, span: Span) -> bool {
        self.live.contains(&span)
    }

    /// Answers that are still to come.
    pub(super) fn unanswered(&self) -> usize {
        self.due.len()
    }

    /// Whether every request must get an answer.
    pub(super) fn answers_are_due(&self) -> bool {
        self.fast
    }

    /// BEP 3 and 6: what we have is said first and once.
    fn opens(&mut self, message: &Message) -> Verdict {
        let opening =
            matches!(message, Message::Bitfield(_) | Message::HaveAll | Message::HaveNone);
        match (opening, &self.said) {
            (true, Said::Opening) => Err(format!("{message:?} is only good as first message")),
            (false, Said::Nothing) if self.fast => {
                Err(format!("{message:?} before bitfield, have-all or have-none"))
            }
            _ => {
                self.said = Said::Opening;
                Ok(())
            }
        }
    }

    fn speaks_fast_only_if_agreed(&self, message: &Message) -> Verdict {
        let fast = matches!(
            message,
            Message::HaveAll
                | Message::HaveNone
                | Message::Reject(_)
                | Message::Suggest(_)
                | Message::AllowedFast(_)
        );
        if fast && !self.fast {
            return Err(format!("{message:?} without the fast extension"));
        }
        Ok(())
    }

    fn sends_request(&mut self, span: Span, geometry: Option<&Geometry>) -> Verdict {
        let geometry = geometry.ok_or("a request before the metadata")?;
        if geometry.block_of(span).is_none() {
            return Err(format!("request of {span:?}, which is no block"));
        }
        if !self.theirs.has(span.piece) {
            return Err(format!("request of {span:?}, which the peer does not have"));
        }
        if self.choked && !self.fast_got.contains(&span.piece) {
            return Err(format!("request of {span:?} while choked"));
        }
        if !self.interested {
            return Err(format!("request of {span:?} without interest"));
        }
        if !self.live.insert(span) {
            return Err(format!("request of {span:?} while the same is unanswered"));
        }
        *self.due.entry(span).or_default() += 1;
        if self.live.len() > LIVE_MAX {
            return Err(format!("budget: {} requests in flight to one peer", self.live.len()));
        }
        Ok(())
    }
}

impl Holdings {
    fn add(&mut self, piece: PieceIndex) {
        if let Self::Some(set) = self {
            set.insert(piece);
        }
    }

    fn set(&mut self, wire: &[u8], geometry: Option<&Geometry>) {
        // Without metadata the spare bits are not known; they are zero from an honest core.
        let most = u32::try_from(wire.len() * 8).expect("small");
        let count = geometry.map_or(most, Geometry::piece_count);
        let bits = Bitfield::from_wire(wire, count).expect("our cores send valid bitfields");
        let mut pieces = Pieces::default();
        bits.iter().for_each(|piece| pieces.insert(piece));
        *self = Self::Some(pieces);
    }

    fn has(&self, piece: PieceIndex) -> bool {
        match self {
            Self::All => true,
            Self::Some(set) => set.contains(piece),
        }
    }
}

impl Pieces {
    fn insert(&mut self, piece: PieceIndex) {
        let (word, bit) = place(piece);
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= bit;
    }

    fn contains(&self, piece: PieceIndex) -> bool {
        let (word, bit) = place(piece);
        self.0.get(word).is_some_and(|bits| bits & bit != 0)
    }
}

fn place(piece: PieceIndex) -> (usize, u64) {
    (piece.as_usize() / 64, 1 << (piece.get() % 64))
}

/// The four bits, for the reader of a failure.
impl std::fmt::Display for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { choking, choked, interested, .. } = self;
        write!(
            f,
            "choking {choking}, choked {choked}, interested {interested}, asked {}",
            self.asked.len()
        )
    }
}

/// Takes one off a count; false when there is none.
fn take(counts: &mut BTreeMap<Span, u32>, span: Span) -> bool {
    let Some(count) = counts.get_mut(&span) else { return false };
    *count -= 1;
    if *count == 0 {
        counts.remove(&span);
    }
    true
}

mod tests {
    use super::*;
    use swarm_core::types::BLOCK_SIZE;

    fn block(number: u32) -> Span {
        Span { piece: PieceIndex::new(number), begin: 0, length: BLOCK_SIZE }
    }

    /// Ten pieces of one block, and a peer that has them all, unchoked and interesting.
    fn open() -> (Ledger, Geometry) {
        let geometry = Geometry::new(u64::from(BLOCK_SIZE), 10 * u64::from(BLOCK_SIZE)).unwrap();
        let mut ledger = Ledger::new(true);
        ledger.sends(&Message::HaveNone, None).unwrap();
        ledger.sends(&Message::Interested, None).unwrap();
        for message in [Message::HaveAll, Message::Unchoke] {
            ledger.hears(&message, Some(&geometry)).unwrap();
        }
        (ledger, geometry)
    }

    #[test]
    fn a_request_is_good_once_and_again_after_its_cancel() {
        let (mut ledger, geometry) = open();
        let request = Message::Request(block(1));
        ledger.sends(&request, Some(&geometry)).unwrap();
        assert!(ledger.sends(&request, Some(&geometry)).is_err());
        ledger.sends(&Message::Cancel(block(1)), Some(&geometry)).unwrap();
        ledger.sends(&request, Some(&geometry)).unwrap();
        assert_eq!(ledger.unanswered(), 1);
        ledger.gets(block(1));
        ledger.hears(&Message::Reject(block(1)), Some(&geometry)).unwrap();
        assert_eq!((ledger.unanswered(), ledger.counts_on(block(1))), (0, false));
    }

    #[test]
    fn it_objects_to_what_the_protocol_does_not_allow() {
        let (mut ledger, geometry) = open();
        let odd = Span { length: 5, ..block(1) };
        for message in [
            Message::HaveAll,
            Message::Cancel(block(2)),
            Message::Reject(block(2)),
            Message::Request(odd),
            Message::Piece(block(1)),
        ] {
            assert!(ledger.sends(&message, Some(&geometry)).is_err(), "{message:?}");
        }
        assert!(ledger.serves(block(1)).is_err(), "never asked for");
        ledger.hears(&Message::Choke, Some(&geometry)).unwrap();
        assert!(ledger.sends(&Message::Request(block(1)), Some(&geometry)).is_err(), "choked");
        let mut silent = Ledger::new(true);
        assert!(silent.sends(&Message::Interested, None).is_err(), "nothing said of pieces");
    }

    #[test]
    fn a_choked_peer_is_served_allowed_pieces_only_and_told_no_for_the_rest() {
        let (mut ledger, geometry) = open();
        ledger.sends(&Message::AllowedFast(PieceIndex::new(3)), Some(&geometry)).unwrap();
        for number in [3, 4] {
            ledger.hears(&Message::Request(block(number)), Some(&geometry)).unwrap();
        }
        assert!(ledger.is_settled().is_err(), "piece 4 waits for a reject");
        assert!(ledger.serves(block(4)).is_err());
        assert!(ledger.serves(block(3)).is_ok());
        assert!(ledger.is_settled().is_ok());
    }
}
