//! The blocks of one piece while they come in.
//!
//! Each block stays in the buffer it arrived in; nothing is joined. Hash and disk take the
//! blocks one after the other.
//!
//! Not here: which blocks were asked of whom (`proto`), memory limits.

use super::pool::BlockBuf;
use crate::geometry::Geometry;
use crate::types::{BlockIndex, BlockRef, PieceIndex};

/// A piece under way: a slot for each of its blocks.
#[derive(Debug)]
pub struct PieceBuf {
    piece: PieceIndex,
    geometry: Geometry,
    blocks: Vec<Option<BlockBuf>>,
    missing: usize,
    received: u32,
}

impl PieceBuf {
    /// An empty piece. One that does not exist in `geometry` has no blocks to take.
    #[must_use]
    pub fn new(geometry: &Geometry, piece: PieceIndex) -> Self {
        let count = geometry.block_count(piece) as usize;
        let blocks = std::iter::repeat_with(|| None).take(count).collect();
        Self { piece, geometry: *geometry, blocks, missing: count, received: 0 }
    }

    /// Takes in a block.
    ///
    /// # Errors
    /// Gives the buffer back when the block does not exist, is here already, or is not filled
    /// to exactly the length it must have.
    pub fn insert(&mut self, index: BlockIndex, block: BlockBuf) -> Result<(), BlockBuf> {
        let size = self.geometry.block_size(BlockRef { piece: self.piece, block: index });
        match self.blocks.get_mut(index.as_usize()) {
            Some(slot @ None) if block.len() == size as usize => {
                *slot = Some(block);
                self.missing -= 1;
                self.received += size;
                Ok(())
            }
            _ => Err(block),
        }
    }

    /// Which piece.
    #[must_use]
    pub const fn piece(&self) -> PieceIndex {
        self.piece
    }

    /// Whether every block is here.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Whether this block is here.
    #[must_use]
    pub fn contains(&self, index: BlockIndex) -> bool {
        self.blocks.get(index.as_usize()).is_some_and(Option::is_some)
    }

    /// Bytes that are here.
    #[must_use]
    pub const fn received(&self) -> u32 {
        self.received
    }

    /// The blocks that are here, in order; all of the piece once it is complete.
    pub fn blocks(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks.iter().flatten().map(|block| &**block)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::BlockPool;
    use crate::types::BLOCK_SIZE;

    fn filled(pool: &BlockPool, len: usize) -> BlockBuf {
        let mut block = pool.take();
        block.set_len(len);
        block
    }

    #[test]
    fn a_piece_is_complete_when_its_last_short_block_is_in() {
        let pool = BlockPool::new(4);
        let geometry = Geometry::new(100_000, 150_000).unwrap();
        let mut piece = PieceBuf::new(&geometry, PieceIndex::new(1));
        for index in 0..3 {
            piece.insert(BlockIndex::new(index), filled(&pool, BLOCK_SIZE as usize)).unwrap();
            assert!(!piece.is_complete());
        }
        let last = 50_000 - 3 * BLOCK_SIZE;
        piece.insert(BlockIndex::new(3), filled(&pool, last as usize)).unwrap();
        assert!(piece.is_complete());
        assert_eq!(piece.received(), 50_000);
        assert_eq!(piece.blocks().map(<[u8]>::len).sum::<usize>(), 50_000);
        drop(piece);
        assert_eq!(pool.in_use(), 0);
    }

    #[test]
    fn a_second_copy_a_wrong_length_and_a_block_out_of_range_come_back() {
        let pool = BlockPool::new(4);
        let geometry = Geometry::new(1 << 15, 1 << 15).unwrap();
        let mut piece = PieceBuf::new(&geometry, PieceIndex::new(0));
        let whole = || filled(&pool, BLOCK_SIZE as usize);
        assert!(piece.insert(BlockIndex::new(0), whole()).is_ok());
        assert!(piece.insert(BlockIndex::new(0), whole()).is_err(), "second copy");
        assert!(piece.insert(BlockIndex::new(1), filled(&pool, 1)).is_err(), "too short");
        assert!(piece.insert(BlockIndex::new(2), whole()).is_err(), "no such block");
        assert!(piece.insert(BlockIndex::new(u32::MAX), whole()).is_err());
        assert_eq!(piece.received(), BLOCK_SIZE);
        let mut gone = PieceBuf::new(&geometry, PieceIndex::new(7));
        assert!(gone.insert(BlockIndex::new(0), whole()).is_err(), "no such piece");
    }
}
