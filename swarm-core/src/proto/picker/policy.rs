//! The order in which a peer's next blocks are looked for.
//!
//! Strict priority to pieces under way, with speed affinity, so that pieces become whole
//! soon, memory stays small and one slow peer does not hold up the pieces of the fast:
//!
//! | step | a fast peer | a slow peer | a snubbed peer, one block at a time |
//! |---|---|---|---|
//! | 1 | a piece it works on | a piece it works on | a piece it works on alone |
//! | 2 | a piece nobody works on | a piece nobody works on | a piece nobody works on |
//! | 3 | a new piece | a piece only slow peers work on | a new piece |
//! | 4 | any open piece | a new piece | any open piece |
//! | 5 | | any open piece | |
//!
//! Then, for all but the snubbed, the endgame. A peer that is asked [in turn](Manner::InTurn) works on
//! open pieces before it opens one, and copies only what slow peers owe. A new piece is one the peer suggests, or at
//! random while fewer than [`RANDOM_FIRST`] pieces are begun, or the rarest; equals are
//! drawn by lot, many short ones in short runs.
//!
//! Not here: the books (see `open`, `rarity`), the calls that change them (the parent).

use super::piece::{Keeping, OpenPiece};
use super::{
    ENDGAME_DEPTH, Manner, OPEN_MIN, PeerHave, Pick, Picker, RANDOM_FIRST, ROUNDED_MAX,
    Restriction, Speed, WHOLE_MIN, WINDOW_MIN, endgame,
};
use crate::types::{BLOCK_SIZE, BlockRef, PieceIndex};

/// Open pieces that fit a peer, compared before one is chosen to continue.
const LOOKS: usize = 16;

/// Short pieces are asked for in runs of so many bytes: one read of the giver's, and one write
/// of ours.
const RUN_BYTES: u32 = 256 << 10;
/// Runs in a torrent from which on that is done: with fewer, everybody would have the same.
const RUNS_MIN: u32 = 1024;

/// A pick under way.
pub(super) struct Turn<'a, 'o> {
    pub(super) request: Pick<'a>,
    /// Blocks still to pick.
    pub(super) room: usize,
    pub(super) out: &'o mut Vec<BlockRef>,
}

/// Where to look for the next block.
#[derive(Clone, Copy)]
enum Step {
    /// A piece the peer works on.
    Own,
    /// A piece nobody works on.
    Adopt,
    /// A piece only slow peers work on.
    ShareSlow,
    /// A new piece.
    Open,
    /// Any open piece.
    Share,
}

const fn plan(manner: Manner, speed: Speed) -> &'static [Step] {
    match speed {
        _ if matches!(manner, Manner::InTurn) => &[Step::Own, Step::Adopt, Step::Share, Step::Open],
        Speed::Slow => &[Step::Own, Step::Adopt, Step::ShareSlow, Step::Open, Step::Share],
        Speed::Fast | Speed::Snubbed => &[Step::Own, Step::Adopt, Step::Open, Step::Share],
    }
}

impl Picker {
    pub(super) fn pick_any(&mut self, turn: &mut Turn<'_, '_>, owed: usize) {
        let room = turn.room;
        for step in plan(turn.request.manner, turn.request.speed) {
            while turn.room > 0 && self.step(*step, turn) {}
        }
        if owed == 0 && turn.room == room && self.make_room(turn) {
            self.open_another(turn);
        }
        if turn.request.manner == Manner::InTurn {
            self.round_up(turn);
            // Nothing is left but what others owe: who is slow with it may never give it.
            if turn.room == room {
                self.pick_owed(turn, owed, Speed::Slow);
            }
            return;
        }
        self.pick_owed(turn, owed + (room - turn.room), turn.request.speed);
    }

    /// Copies of what others owe, of whom nobody is faster than `reach`: at the end, or where they
    /// hold up everybody else.
    fn pick_owed(&mut self, turn: &mut Turn<'_, '_>, owed: usize, reach: Speed) {
        turn.room = turn.room.min(ENDGAME_DEPTH.saturating_sub(owed));
        if turn.room == 0 || turn.request.speed == Speed::Snubbed {
            return;
        }
        if self.in_endgame() {
            self.pick_copies(turn, reach);
        } else if owed == 0 && !self.has_room() {
            self.pick_copies(turn, Speed::Snubbed);
        }
    }

    /// Takes the rest of the piece that the room was not enough for.
    fn round_up(&mut self, turn: &mut Turn<'_, '_>) {
        let Some(last) = turn.out.last().filter(|_| turn.room == 0) else { return };
        let piece = last.piece;
        let Some(open) = self.open.get(piece).filter(|open| open.is_unfilled()) else { return };
        if turn.request.speed != Speed::Snubbed && self.geometry.block_count(piece) <= ROUNDED_MAX {
            turn.room = open.free();
            self.take(turn, piece);
        }
    }

    /// While choked: these pieces and no other.
    pub(super) fn pick_allowed(&mut self, turn: &mut Turn<'_, '_>, allowed: &[PieceIndex]) {
        for piece in allowed.iter().filter(|piece| turn.request.have.contains(**piece)) {
            if turn.room == 0 {
                return;
            }
            if self.rarity.contains(*piece) && self.has_room() {
                self.begin(*piece);
            }
            let open = self.open.get(*piece);
            if open.is_some_and(|open| open.is_unfilled() && self.fits(turn, *piece, open)) {
                self.take(turn, *piece);
            }
        }
    }

    /// Takes blocks of one piece; false when there is none.
    fn step(&mut self, step: Step, turn: &mut Turn<'_, '_>) -> bool {
        let Pick { peer, speed, .. } = turn.request;
        let piece = match step {
            Step::Open => return self.has_room() && self.open_another(turn),
            Step::Own => self
                .open
                .own(peer)
                .filter(|(index, piece)| self.fits(turn, *index, piece))
                .find(|(_, piece)| speed != Speed::Snubbed || piece.owed() == 0),
            Step::Adopt => self
                .open
                .orphans()
                .filter(|(index, piece)| self.fits(turn, *index, piece))
                .take(LOOKS)
                .max_by_key(|(_, piece)| piece.given()),
            Step::ShareSlow | Step::Share => self
                .open
                .shared()
                .filter(|(index, piece)| self.fits(turn, *index, piece))
                .filter(|(_, piece)| matches!(step, Step::Share) || piece.pace <= Speed::Slow)
                .take(LOOKS)
                .max_by_key(|(_, piece)| piece.free()),
        };
        piece.map(|(index, _)| index).is_some_and(|index| self.take(turn, index))
    }

    /// Opens a piece for the peer; false when it has none to open.
    fn open_another(&mut self, turn: &mut Turn<'_, '_>) -> bool {
        let Some(piece) = self.choose(&turn.request) else { return false };
        self.begin(piece);
        self.take(turn, piece)
    }

    /// The piece to open next for a peer.
    fn choose(&mut self, request: &Pick<'_>) -> Option<PieceIndex> {
        let have = match request.have {
            PeerHave::None => return None,
            PeerHave::All => None,
            PeerHave::Some(bits) => Some(bits),
        };
        let fits =
            |piece: &&PieceIndex| self.rarity.contains(**piece) && request.have.contains(**piece);
        if let Some(suggested) = request.suggested.iter().find(fits) {
            return Some(*suggested);
        }
        let begun = self.have().count() as usize + self.open.len();
        if begun < RANDOM_FIRST && request.manner == Manner::Always {
            return self.rarity.random(have);
        }
        let rarest = self.rarity.rarest(have)?;
        let as_rare = |piece: &PieceIndex| {
            self.rarity.availability(*piece) <= self.rarity.availability(rarest)
        };
        Some(self.neighbour(request).filter(as_rare).unwrap_or(rarest))
    }

    /// The piece behind the one that the peer was asked for last, where pieces are so short and
    /// so many that it matters to the disks of both ends and not to the swarm.
    fn neighbour(&self, request: &Pick<'_>) -> Option<PieceIndex> {
        let run = RUN_BYTES / self.geometry.piece_length();
        if run < 2 || self.geometry.piece_count() / run < RUNS_MIN {
            return None;
        }
        let last = self.open.peers().get(&request.peer)?.owed.back()?.piece;
        let next = PieceIndex::new(last.get().checked_add(1)?);
        let fits = !next.get().is_multiple_of(run)
            && self.rarity.contains(next)
            && request.have.contains(next);
        fits.then_some(next)
    }

    /// Gives up open pieces that hold up a peer with nothing else to do; false when it
    /// would not help.
    fn make_room(&mut self, turn: &Turn<'_, '_>) -> bool {
        let hopeful = self.open.ending().is_some() || self.open.orphans().next().is_some();
        if !hopeful || self.choose(&turn.request).is_none() {
            return false;
        }
        let stalled = self.open.is_stalled();
        while !self.has_room() {
            let lost = |piece: PieceIndex| self.rarity.availability(piece) == 0;
            let stuck = || {
                let orphans = self.open.orphans();
                let stuck = orphans.filter(|(index, _)| stalled || lost(*index));
                stuck.min_by_key(|(index, piece)| (!lost(*index), piece.given()))
            };
            let victim = self.open.ending().or_else(|| stuck().map(|(index, _)| index));
            let Some(victim) = victim else { return false };
            self.give_up(victim);
        }
        true
    }

    /// Takes blocks that others owe, of whom nobody is faster than `reach`.
    fn pick_copies(&mut self, turn: &mut Turn<'_, '_>, reach: Speed) {
        let allowance = endgame::copies_max(&self.geometry).saturating_sub(self.open.copies());
        let room = turn.room.min(allowance);
        for block in endgame::copies(&self.open, &turn.request, reach, room) {
            if self.open.copy(turn.request.peer, block) {
                turn.out.push(block);
            }
        }
    }

    fn begin(&mut self, piece: PieceIndex) {
        self.rarity.take_out(piece);
        let (blocks, size) = (self.geometry.block_count(piece), self.geometry.piece_size(piece));
        let mut open = OpenPiece::new(blocks, size, self.keeping());
        if self.restricted.contains(&piece) {
            open.restriction = Restriction::OneAtATime;
        }
        self.open.begin(piece, open);
    }

    fn take(&mut self, turn: &mut Turn<'_, '_>, piece: PieceIndex) -> bool {
        let through = self.open.get(piece).is_some_and(OpenPiece::is_through);
        let room = if through { turn.room.min(self.window()) } else { turn.room };
        let taken = self.open.take(turn.request.peer, piece, room, turn.out);
        turn.room -= taken;
        taken > 0
    }

    /// Whether a peer may work on an open piece.
    fn fits(&self, turn: &Turn<'_, '_>, index: PieceIndex, piece: &OpenPiece) -> bool {
        let Pick { peer, have, speed, .. } = turn.request;
        have.contains(index)
            && self.open.admits(piece, peer, speed)
            && (!piece.is_through() || self.window() > 0)
    }

    /// How a piece opened now is kept.
    fn keeping(&self) -> Keeping {
        match u64::from(self.geometry.piece_length()) * WHOLE_MIN <= self.capacity {
            true => Keeping::Whole,
            false => Keeping::Through { written: 0 },
        }
    }

    /// Blocks of pieces written through that there is memory to ask for.
    fn window(&self) -> usize {
        let bytes = self.capacity.max(WINDOW_MIN).saturating_sub(self.open.bytes());
        usize::try_from(bytes / u64::from(BLOCK_SIZE)).unwrap_or(usize::MAX)
    }

    /// Whether another piece may be opened.
    pub(super) fn has_room(&self) -> bool {
        let more = self.open.bytes() + u64::from(self.geometry.piece_length());
        let few = self.open.len() < OPEN_MIN;
        match self.keeping() {
            Keeping::Whole => few || more <= self.capacity,
            Keeping::Through { .. } => few && self.window() > 0,
        }
    }
}
