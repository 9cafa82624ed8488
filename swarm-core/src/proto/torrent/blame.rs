//! Who is to blame for a wrong piece.
//!
//! One giver of a whole piece that fails its hash is a liar. With several givers the
//! digests of the blocks are kept; when the piece is fetched again and right, whoever's
//! block differed is the liar, and nobody else is (LIMITS B08, "smart ban").

use super::super::PeerKey;
use crate::types::{PeerId, PieceIndex};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// A peer that gave a block, known by name even after it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Giver {
    pub(crate) key: PeerKey,
    pub(crate) addr: SocketAddr,
    pub(crate) id: PeerId,
}

/// Evidence kept for pieces that failed.
#[derive(Debug, Default)]
pub(crate) struct Blame {
    failed: BTreeMap<PieceIndex, Vec<Evidence>>,
    kept: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Evidence {
    block: usize,
    digest: u64,
    giver: Giver,
}

/// Blocks' worth of evidence kept at once; beyond it the oldest piece's is forgotten.
const EVIDENCE_MAX: usize = 1 << 16;

impl Blame {
    /// Whether the piece failed before, so that its digests are wanted when it is right.
    pub(crate) fn is_suspect(&self, piece: PieceIndex) -> bool {
        self.failed.contains_key(&piece)
    }

    /// A piece failed. Returns its only giver, if it has only one: the proven liar.
    pub(crate) fn failed(
        &mut self,
        piece: PieceIndex,
        givers: &[Giver],
        digests: &[u64],
    ) -> Option<Giver> {
        let first = *givers.first()?;
        if givers.iter().all(|giver| giver.key == first.key) {
            return Some(first);
        }
        let evidence = givers.iter().zip(digests).enumerate();
        let kept = self.failed.entry(piece).or_default();
        let before = kept.len();
        for (block, (giver, digest)) in evidence {
            let entry = Evidence { block, digest: *digest, giver: *giver };
            if before == 0 || !kept.contains(&entry) {
                kept.push(entry);
            }
        }
        self.kept += kept.len() - before;
        while self.kept > EVIDENCE_MAX {
            let Some((_, oldest)) = self.failed.pop_first() else { break };
            self.kept -= oldest.len();
        }
        None
    }

    /// The piece is right now: whoever gave a different block before lied.
    pub(crate) fn verified(&mut self, piece: PieceIndex, digests: &[u64]) -> Vec<Giver> {
        let Some(evidence) = self.failed.remove(&piece) else { return Vec::new() };
        self.kept -= evidence.len();
        let mut liars: Vec<Giver> = evidence
            .iter()
            .filter(|kept| digests.get(kept.block).is_some_and(|right| *right != kept.digest))
            .map(|kept| kept.giver)
            .collect();
        liars.sort_unstable();
        liars.dedup();
        liars
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn giver(key: u32) -> Giver {
        let addr = SocketAddr::from(([10, 0, 0, 1], 1));
        Giver { key: PeerKey(key), addr, id: PeerId::new([0; 20]) }
    }

    const PIECE: PieceIndex = PieceIndex::new(3);

    #[test]
    fn the_only_giver_of_a_wrong_piece_lied() {
        let mut blame = Blame::default();
        assert_eq!(blame.failed(PIECE, &[giver(1), giver(1)], &[5, 6]), Some(giver(1)));
        assert!(!blame.is_suspect(PIECE));
    }

    #[test]
    fn of_several_givers_only_the_one_whose_block_differed_lied() {
        let mut blame = Blame::default();
        assert_eq!(blame.failed(PIECE, &[giver(1), giver(2), giver(1)], &[5, 66, 7]), None);
        assert!(blame.is_suspect(PIECE));
        assert_eq!(blame.verified(PIECE, &[5, 6, 7]), [giver(2)]);
        assert_eq!(blame.verified(PIECE, &[5, 6, 7]), []);
    }

    #[test]
    fn evidence_is_bounded() {
        let mut blame = Blame::default();
        for piece in 0..20 {
            let givers: Vec<_> = (0..8192).map(|key| giver(key % 2)).collect();
            blame.failed(PieceIndex::new(piece), &givers, &vec![1; 8192]);
        }
        assert!(blame.kept <= EVIDENCE_MAX);
        assert_eq!(blame.kept, blame.failed.values().map(Vec::len).sum());
    }
}
