//! Runs of zeros, as disk images and files not yet written are full of.
//!
//! SHA-1 of a run of zeros is always the same: what it is after each 16 KiB is remembered by the process,
//! so that only the first run of its length costs anything. A tree of SHA-256 needs no memory: its leaves
//! are all alike.
//!
//! Not here: holes in files (`Storage::presence`), which are zeros that nobody has to read.

use super::lanes::{Algorithm, Message, Sha1};
use std::sync::{Mutex, PoisonError};

/// A state is kept for each of these many bytes.
const STEP_BYTES: usize = 16 << 10;
const ZEROS: [u8; STEP_BYTES] = [0; STEP_BYTES];
/// Most states kept, 20 bytes each: those of the longest piece.
const STEPS_MAX: usize = crate::geometry::PIECE_LENGTH_MAX as usize / STEP_BYTES;

/// Whether there is nothing but zeros.
pub(super) fn are_zeros(bytes: &[u8]) -> bool {
    let (lines, rest) = bytes.as_chunks::<64>();
    let is_zero = |line: &[u8]| line.iter().fold(0, |all, byte| all | byte) == 0;
    lines.iter().all(|line| is_zero(line)) && is_zero(rest)
}

/// SHA-1 on its way, after so many zeros.
pub(super) fn message(length: u64) -> Message<Sha1, 5> {
    static KNOWN: Mutex<Vec<[u32; 5]>> = Mutex::new(Vec::new());
    let wanted = usize::try_from(length).map_or(STEPS_MAX, |length| length / STEP_BYTES);
    let steps = wanted.min(STEPS_MAX);
    // Only whole states are ever pushed.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    while known.len() <= steps {
        let lines = (known.len() * (STEP_BYTES / 64)) as u64;
        let next = known.last().map_or(Sha1::INITIAL, |state| {
            let mut message = Message::<Sha1, 5>::after_lines(*state, lines);
            message.update(&ZEROS);
            message.state()
        });
        known.push(next);
    }
    let state = known.get(steps).copied().unwrap_or(Sha1::INITIAL);
    drop(known);
    let done = (steps * STEP_BYTES) as u64;
    let mut message = Message::after_lines(state, done / 64);
    update(&mut message, length - done);
    message
}

/// Feeds zeros.
pub(super) fn update<A: Algorithm<N>, const N: usize>(message: &mut Message<A, N>, length: u64) {
    let mut left = length;
    while left > 0 {
        let now = usize::try_from(left).unwrap_or(STEP_BYTES).min(STEP_BYTES);
        message.update(ZEROS.split_at(now).0);
        left -= now as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::hasher::{PieceHasher, finish};
    use crate::data::lanes::Width;
    use crate::metainfo::PieceHash;
    use crate::metainfo::merkle::{leaves_of, piece_root};
    use sha1::Digest as _;

    #[test]
    fn zeros_hash_alike_whether_they_are_hashed_or_remembered() {
        for length in [0, 1, 63, 64, 16_383, 16_384, 16_385, 100_000, 49_152, 1 << 20, 5] {
            let zeros = vec![0; length];
            let leaves = u32::try_from(leaves_of(length as u64)).unwrap();
            let v1 = PieceHash::V1(sha1::Sha1::digest(&zeros).into());
            let v2 = PieceHash::V2 { root: piece_root(&zeros, leaves), leaves };
            for expected in [v1, v2] {
                let mut hasher = PieceHasher::like(&expected);
                hasher.skip_zeros(length as u64);
                let hashed = finish(Width::widest(), vec![hasher]);
                let is_right = hashed.into_iter().all(|hashed| hashed.is(&expected));
                assert!(is_right || length == 0, "{length}");
            }
        }
    }

    #[test]
    fn one_bit_anywhere_is_not_zero() {
        for length in [1, 63, 64, 65, 200] {
            let mut bytes = vec![0; length];
            assert!(are_zeros(&bytes));
            for at in 0..length {
                bytes[at] = 0x10;
                assert!(!are_zeros(&bytes), "{at} of {length}");
                bytes[at] = 0;
            }
        }
        assert!(are_zeros(&[]));
    }
}
