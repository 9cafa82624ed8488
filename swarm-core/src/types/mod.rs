//! The vocabulary every other module speaks: identifiers, indices, sets of pieces, time.
//!
//! Imports nothing from the crate, so that nothing here can depend on a decision made elsewhere.

mod bitfield;
mod id;
mod index;
mod limit;
mod moment;
mod text;

pub use bitfield::{Bitfield, BitfieldError};
pub use id::{IdError, InfoHash, InfoHashV2, InfoHashes, PeerId};
pub use index::{BLOCK_SIZE, BlockIndex, BlockRef, FileIndex, PieceIndex, Span};
pub use limit::{Limit, LimitCounts};
pub use moment::Moment;
pub use text::Untrusted;
pub(crate) use text::is_unsafe_to_show;
