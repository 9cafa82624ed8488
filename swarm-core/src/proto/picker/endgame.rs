//! The last blocks: asked of several peers, so that none of them decides when we finish.
//!
//! Begins when every missing wanted block is requested. Then a peer with little left to
//! deliver is asked for blocks that others owe too: fewest copies first, then those of the
//! slowest peers, and of each peer what it was asked for last, since it comes last. The
//! first to deliver wins; the others are told to forget it ([`Received::Keep`]).
//!
//! The price is bounded three times: [`COPIES_MAX`] of a block, [`DEPTH`] per peer, and
//! [`copies_max`] in all. A snubbed peer gets no copies and a slow one none of what a fast
//! one owes, so peers that never deliver cannot use up the allowance (LIMITS B38, B39).
//!
//! The same happens before the end in one case: the capacity is used up, every block of the
//! open pieces is requested, and a peer is idle for it. It then copies what snubbed peers
//! owe, so that peers which never deliver cannot fill the memory and stop the others.
//!
//! [`Received::Keep`]: super::Received::Keep

use super::open::Open;
use super::piece::{COPIES_MAX, Demand};
use super::{Pick, Speed};
use crate::geometry::Geometry;
use crate::types::BlockRef;

/// A peer that owes as many blocks as this gets no copies: they would come too late.
pub const DEPTH: usize = 4;

/// Copies in flight in all: about one in a hundred of the torrent's blocks, within bounds
/// that keep the end of a tiny torrent quick and that of a huge one cheap (4 MiB).
pub(super) fn copies_max(geometry: &Geometry) -> usize {
    let blocks = u64::from(geometry.piece_count()) * u64::from(geometry.blocks_per_piece());
    usize::try_from((blocks / 100).clamp(8, 256)).unwrap_or(8)
}

/// At most `room` blocks that are owed by nobody faster than `reach`, for one more peer.
pub(super) fn copies(open: &Open, request: &Pick<'_>, reach: Speed, room: usize) -> Vec<BlockRef> {
    let mut found = Vec::new();
    if room == 0 || !open.indices().any(|piece| request.have.contains(piece)) {
        return found;
    }
    for copies in 1..COPIES_MAX {
        for speed in [Speed::Snubbed, Speed::Slow, Speed::Fast] {
            if speed > reach {
                break;
            }
            for block in open.debts_of(speed) {
                if found.len() == room {
                    return found;
                }
                if !found.contains(&block) && suits(open, request, block, (copies, reach)) {
                    found.push(block);
                }
            }
        }
    }
    found
}

fn suits(
    open: &Open,
    request: &Pick<'_>,
    block: BlockRef,
    (copies, reach): (usize, Speed),
) -> bool {
    let Some(piece) = open.get(block.piece) else { return false };
    let owers = piece.owers(block.block);
    let slow = |ower| open.peers().get(&ower).is_none_or(|worker| worker.speed <= reach);
    owers.count() == copies
        && owers.iter().all(slow)
        && !owers.contains(request.peer)
        && piece.demand == Demand::Wanted
        && request.have.contains(block.piece)
        && open.admits(piece, request.peer, request.speed)
}
