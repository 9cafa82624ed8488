//! The only arithmetic on piece, block and file boundaries.
//!
//! Everything else asks here and never multiplies an index by a length. A torrent is one
//! run of bytes cut into pieces of equal length (the last may be shorter), pieces into
//! blocks of 16 KiB; files lie end to end in that run. A v2 torrent aligns each file to a
//! piece (BEP 52): its [`Layout`] holds the gap as a pad file, so that both versions share
//! one model.
//!
//! Not here: which files are wanted, where they are stored.

use crate::types::{BLOCK_SIZE, BlockIndex, BlockRef, FileIndex, PieceIndex, Span};
use std::ops::Range;

/// Longest piece, bytes (LIMITS A15).
pub const PIECE_LENGTH_MAX: u32 = 512 << 20;
/// Most pieces in a torrent (LIMITS A16).
pub const PIECE_COUNT_MAX: u32 = 1 << 21;
/// Largest torrent, bytes (LIMITS A17).
pub const TOTAL_LENGTH_MAX: u64 = 1 << 50;

/// How a torrent's bytes are cut into pieces and blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    piece_length: u32,
    total_length: u64,
    piece_count: u32,
}

/// Lengths that make no torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// The piece length is zero or beyond [`PIECE_LENGTH_MAX`].
    #[error("piece length {0} is not between 1 and {PIECE_LENGTH_MAX}")]
    PieceLength(u64),
    /// The total length is zero or beyond [`TOTAL_LENGTH_MAX`].
    #[error("total length {0} is not between 1 and {TOTAL_LENGTH_MAX}")]
    TotalLength(u64),
    /// There would be more than [`PIECE_COUNT_MAX`] pieces.
    #[error("{0} pieces, more than {PIECE_COUNT_MAX}")]
    PieceCount(u64),
}

impl Geometry {
    /// Cuts `total_length` bytes into pieces of `piece_length`.
    ///
    /// # Errors
    /// When a length is zero, or a limit is passed.
    pub fn new(piece_length: u64, total_length: u64) -> Result<Self, GeometryError> {
        let short = u32::try_from(piece_length)
            .ok()
            .filter(|length| (1..=PIECE_LENGTH_MAX).contains(length))
            .ok_or(GeometryError::PieceLength(piece_length))?;
        if !(1..=TOTAL_LENGTH_MAX).contains(&total_length) {
            return Err(GeometryError::TotalLength(total_length));
        }
        let count = total_length.div_ceil(piece_length);
        let piece_count = u32::try_from(count)
            .ok()
            .filter(|count| *count <= PIECE_COUNT_MAX)
            .ok_or(GeometryError::PieceCount(count))?;
        Ok(Self { piece_length: short, total_length, piece_count })
    }

    /// Bytes in every piece but the last.
    #[must_use]
    pub const fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Bytes in all.
    #[must_use]
    pub const fn total_length(&self) -> u64 {
        self.total_length
    }

    /// Pieces in all, at least 1.
    #[must_use]
    pub const fn piece_count(&self) -> u32 {
        self.piece_count
    }

    /// All pieces, ascending.
    pub fn pieces(&self) -> impl Iterator<Item = PieceIndex> + use<> {
        (0..self.piece_count).map(PieceIndex::new)
    }

    /// Whether the piece exists.
    #[must_use]
    pub const fn has_piece(&self, piece: PieceIndex) -> bool {
        piece.get() < self.piece_count
    }

    /// Offset of the piece's first byte in the torrent.
    #[must_use]
    pub const fn piece_offset(&self, piece: PieceIndex) -> u64 {
        piece.get() as u64 * self.piece_length as u64
    }

    /// Bytes in this piece; 0 for a piece that does not exist.
    #[must_use]
    pub fn piece_size(&self, piece: PieceIndex) -> u32 {
        if !self.has_piece(piece) {
            return 0;
        }
        let rest = self.total_length - self.piece_offset(piece);
        u32::try_from(rest).map_or(self.piece_length, |rest| rest.min(self.piece_length))
    }

    /// Byte range of the piece in the torrent.
    #[must_use]
    pub fn piece_range(&self, piece: PieceIndex) -> Range<u64> {
        let start = self.piece_offset(piece);
        start..start + u64::from(self.piece_size(piece))
    }

    /// Blocks in this piece; 0 for a piece that does not exist.
    #[must_use]
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.piece_size(piece).div_ceil(BLOCK_SIZE)
    }

    /// Blocks in every piece but the last.
    #[must_use]
    pub const fn blocks_per_piece(&self) -> u32 {
        self.piece_length.div_ceil(BLOCK_SIZE)
    }

    /// Bytes in this block; 0 for a block that does not exist.
    #[must_use]
    pub fn block_size(&self, block: BlockRef) -> u32 {
        let begin = u64::from(block.block.get()) * u64::from(BLOCK_SIZE);
        let rest = u64::from(self.piece_size(block.piece)).saturating_sub(begin);
        u32::try_from(rest).map_or(BLOCK_SIZE, |rest| rest.min(BLOCK_SIZE))
    }

    /// The block as a request names it.
    #[must_use]
    pub fn span_of(&self, block: BlockRef) -> Span {
        let begin = block.block.get().saturating_mul(BLOCK_SIZE);
        Span { piece: block.piece, begin, length: self.block_size(block) }
    }

    /// The block that a span names, when it is exactly one of our blocks.
    #[must_use]
    pub fn block_of(&self, span: Span) -> Option<BlockRef> {
        if !span.begin.is_multiple_of(BLOCK_SIZE) || span.length == 0 {
            return None;
        }
        let block = BlockRef { piece: span.piece, block: BlockIndex::new(span.begin / BLOCK_SIZE) };
        (self.block_size(block) == span.length).then_some(block)
    }

    /// Whether the span lies inside an existing piece and is not empty.
    #[must_use]
    pub fn contains(&self, span: Span) -> bool {
        span.length > 0
            && u64::from(span.begin) + u64::from(span.length)
                <= u64::from(self.piece_size(span.piece))
    }

    /// Byte range of the span in the torrent.
    #[must_use]
    pub fn span_range(&self, span: Span) -> Range<u64> {
        let start = self.piece_offset(span.piece) + u64::from(span.begin);
        start..start + u64::from(span.length)
    }

    /// The pieces that a byte range of the torrent touches; none for an empty range.
    #[must_use]
    pub fn pieces_of(&self, bytes: Range<u64>) -> Range<u32> {
        let end = bytes.end.min(self.total_length);
        if bytes.start >= end {
            return 0..0;
        }
        let length = u64::from(self.piece_length);
        let index = |at: u64| u32::try_from(at).unwrap_or(self.piece_count);
        index(bytes.start / length)..index(end.div_ceil(length))
    }
}

/// Where each file lies in the torrent's run of bytes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Layout {
    extents: Vec<Extent>,
}

/// One file's place in the torrent's run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Offset of its first byte in the torrent.
    pub offset: u64,
    /// Length in bytes; may be 0.
    pub length: u64,
    /// A pad file (BEP 47): its bytes are zero, never stored, never written.
    pub pad: bool,
}

/// Part of a file that a byte range of the torrent covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSlice {
    /// Which file.
    pub file: FileIndex,
    /// First byte in the file.
    pub offset: u64,
    /// Bytes, at least 1.
    pub length: u64,
    /// Part of a pad file: zeros that are neither stored nor written.
    pub pad: bool,
}

impl Layout {
    /// Lays files of the given lengths end to end. The flag marks pad files.
    ///
    /// Lengths whose sum passes `u64::MAX` saturate; `Metainfo` has refused them before.
    pub fn new(files: impl IntoIterator<Item = (u64, bool)>) -> Self {
        let mut offset = 0u64;
        let extents = files
            .into_iter()
            .map(|(length, pad)| {
                let extent = Extent { offset, length, pad };
                offset = offset.saturating_add(length);
                extent
            })
            .collect();
        Self { extents }
    }

    /// The extents in file order.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The extent of one file.
    #[must_use]
    pub fn extent(&self, file: FileIndex) -> Option<Extent> {
        self.extents.get(file.as_usize()).copied()
    }

    /// Bytes in all, pad files included.
    #[must_use]
    pub fn total_length(&self) -> u64 {
        self.extents.last().map_or(0, |last| last.offset.saturating_add(last.length))
    }

    /// The file slices that cover a byte range of the torrent, in order, without gaps.
    /// Empty files yield nothing; bytes past the end yield nothing.
    pub fn slices(&self, bytes: Range<u64>) -> impl Iterator<Item = FileSlice> + '_ {
        let first = self
            .extents
            .partition_point(|extent| extent.offset.saturating_add(extent.length) <= bytes.start);
        let rest = self.extents.get(first..).unwrap_or_default();
        rest.iter()
            .enumerate()
            .take_while({
                let end = bytes.end;
                move |(_, extent)| extent.offset < end
            })
            .filter_map(move |(at, extent)| {
                let start = bytes.start.max(extent.offset);
                let end = bytes.end.min(extent.offset.saturating_add(extent.length));
                let file = FileIndex::new(u32::try_from(first + at).ok()?);
                (start < end).then(|| FileSlice {
                    file,
                    offset: start - extent.offset,
                    length: end - start,
                    pad: extent.pad,
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits_are_enforced() {
        assert!(matches!(Geometry::new(0, 1), Err(GeometryError::PieceLength(0))));
        assert!(matches!(Geometry::new(1, 0), Err(GeometryError::TotalLength(0))));
        assert!(Geometry::new(u64::from(PIECE_LENGTH_MAX) + 1, 1).is_err());
        assert!(Geometry::new(1 << 20, TOTAL_LENGTH_MAX + 1).is_err());
        assert!(Geometry::new(1, u64::from(PIECE_COUNT_MAX)).is_ok());
        assert!(matches!(
            Geometry::new(1, u64::from(PIECE_COUNT_MAX) + 1),
            Err(GeometryError::PieceCount(_))
        ));
    }

    #[test]
    fn a_wire_span_that_overflows_is_outside() {
        let geometry = Geometry::new(1 << 15, 100_000).unwrap();
        let span = Span { piece: PieceIndex::new(0), begin: u32::MAX, length: u32::MAX };
        assert!(!geometry.contains(span));
        assert_eq!(geometry.block_of(span), None);
        let gone = Span { piece: PieceIndex::new(u32::MAX), begin: 0, length: 1 };
        assert!(!geometry.contains(gone));
    }

    proptest! {
        #[test]
        fn pieces_and_blocks_partition_the_torrent(piece_length in 1u64..100_000, pieces in 1u64..40, cut in 0u64..100_000) {
            let total = (piece_length * pieces).saturating_sub(cut % piece_length).max(1);
            let geometry = Geometry::new(piece_length, total).unwrap();
            let mut at = 0;
            for piece in geometry.pieces() {
                prop_assert_eq!(geometry.piece_range(piece).start, at);
                for block in 0..geometry.block_count(piece) {
                    let block = BlockRef { piece, block: BlockIndex::new(block) };
                    let span = geometry.span_of(block);
                    prop_assert!(geometry.contains(span));
                    prop_assert_eq!(geometry.block_of(span), Some(block));
                    prop_assert_eq!(geometry.span_range(span).start, at);
                    at = geometry.span_range(span).end;
                }
                prop_assert_eq!(geometry.piece_range(piece).end, at);
            }
            prop_assert_eq!(at, total);
            prop_assert_eq!(geometry.pieces_of(0..total), 0..geometry.piece_count());
        }

        #[test]
        fn slices_partition_any_range(files in prop::collection::vec((0u64..50, any::<bool>()), 1..20), a in 0u64..1000, b in 0u64..1000) {
            let layout = Layout::new(files.iter().copied());
            let range = a.min(b)..a.max(b).min(layout.total_length());
            let mut at = range.start;
            for slice in layout.slices(range.clone()) {
                let extent = layout.extent(slice.file).unwrap();
                prop_assert_eq!(extent.offset + slice.offset, at);
                prop_assert!(slice.length > 0 && slice.offset + slice.length <= extent.length);
                at += slice.length;
            }
            prop_assert!(at == range.end || range.start >= range.end);
        }
    }
}
