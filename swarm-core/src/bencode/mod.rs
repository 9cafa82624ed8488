//! Bencode (BEP 3) for bytes that nobody vouches for.
//!
//! [`parse`] borrows its input and builds one flat list of small tokens, with an explicit
//! stack: no recursion, no allocation that an announced length decides, at most
//! [`Limits::tokens`] values of 12 bytes each. Every [`Value`] knows its byte span, so the
//! raw bytes of `info` can be hashed as they stand. Decoding is tolerant (unsorted keys,
//! leading zeros); where the form must be exact, as inside `info`, [`Value::check_form`]
//! says so afterwards. [`Encoder`] writes canonical form only.
//!
//! `serde_bencode` is not used on untrusted input: it bounds neither depth nor the number of
//! values, and it cannot give the span of a value. The tests hold both against each other.
//!
//! Not here: what the values mean.

mod decode;
mod encode;
mod form;
mod value;

#[cfg(test)]
mod tests;

pub use decode::{Document, parse, parse_prefix};
pub use encode::{DictEncoder, Encoder, encode_dict};
pub use form::KeyOrder;
pub use value::{Dict, Entries, Items, List, Value};

/// How much a decoder takes on before it refuses (LIMITS A11, A12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Lists and dictionaries that may be open at the same time.
    pub depth: usize,
    /// Values in all. A dictionary's keys count as part of their values.
    pub tokens: usize,
}

impl Limits {
    /// For `.torrent` files and metadata from peers.
    pub const METAINFO: Self = Self { depth: 64, tokens: 2_000_000 };
    /// For tracker replies and extension messages.
    pub const WIRE: Self = Self { depth: 16, tokens: 20_000 };
}

/// Why bytes are no bencode, or no bencode we accept. Offsets count from the first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end inside a value.
    #[error("ends inside a value")]
    Truncated,
    /// This byte cannot stand here.
    #[error("unexpected byte at offset {at}")]
    Unexpected {
        /// Where.
        at: usize,
    },
    /// No integer, or one that does not fit 64 bits with a sign.
    #[error("bad integer at offset {at}")]
    Integer {
        /// Where.
        at: usize,
    },
    /// Bytes follow the value.
    #[error("bytes after the value, from offset {at} on")]
    Trailing {
        /// The first of them.
        at: usize,
    },
    /// Nested deeper than [`Limits::depth`].
    #[error("nested deeper than {limit}")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// More values than [`Limits::tokens`].
    #[error("more than {limit} values")]
    TooManyTokens {
        /// The limit.
        limit: usize,
    },
    /// More bytes than 32 bits can count.
    #[error("{length} bytes are too many")]
    TooLong {
        /// Bytes given.
        length: usize,
    },
    /// An integer or a length is written in a way that is not the only one: `-0`, `03`.
    /// Only from [`Value::check_form`].
    #[error("number not in canonical form at offset {at}")]
    NumberForm {
        /// Where.
        at: usize,
    },
    /// A key occurs twice in one dictionary. Only from [`Value::check_form`].
    #[error("repeated key in the dictionary at offset {at}")]
    RepeatedKey {
        /// Where the dictionary begins.
        at: usize,
    },
}
