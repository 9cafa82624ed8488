//! Indices that cannot be mixed up, and the block, the unit of request.

/// Bytes in a block: what one request asks for (BEP 3). Only a piece's last block is shorter.
pub const BLOCK_SIZE: u32 = 16 * 1024;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u32);

        impl $name {
            /// Wraps a raw index. Whether it exists in a torrent is for `Geometry` to say.
            #[must_use]
            pub const fn new(index: u32) -> Self {
                Self(index)
            }

            /// The raw index.
            #[must_use]
            pub const fn get(self) -> u32 {
                self.0
            }

            /// The raw index, to subscript with.
            #[must_use]
            pub const fn as_usize(self) -> usize {
                self.0 as usize
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

index! {
    /// A piece's place in its torrent, from 0.
    PieceIndex
}
index! {
    /// A block's place in its piece, from 0.
    BlockIndex
}
index! {
    /// A file's place in its torrent's file list, from 0, pad files included.
    FileIndex
}

/// One block of one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockRef {
    /// The piece it is part of.
    pub piece: PieceIndex,
    /// Its place in the piece.
    pub block: BlockIndex,
}

/// A byte range inside a piece, as a peer's `request`, `piece`, `cancel` or `reject` names it.
///
/// A span that came off the wire may point anywhere: check it with `Geometry` before use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// The piece it is part of.
    pub piece: PieceIndex,
    /// First byte, counted from the start of the piece.
    pub begin: u32,
    /// Length in bytes.
    pub length: u32,
}
