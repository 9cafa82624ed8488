//! Messages that carry the `info` dictionary from peer to peer (BEP 9).
//!
//! A message is a small dictionary; that of a data message is followed by up to 16 KiB of
//! metadata. A data message is checked against the size it claims itself, so whoever collects
//! the pieces only has to compare that size with the one it expects.
//!
//! Not here: whom to ask, how many requests to answer, the hash that decides.

use crate::bencode::{self, Limits};
use bytes::Bytes;

/// Largest `info` dictionary that is fetched from peers, bytes (LIMITS 5.2).
pub const METADATA_MAX: u32 = 16 << 20;
/// Bytes of metadata in every piece but the last.
pub const METADATA_PIECE_LEN: u32 = 16 << 10;
/// Longest message, bytes: a piece and its dictionary.
pub const METADATA_MESSAGE_MAX: usize = 17 << 10;

const REQUEST: i64 = 0;
const DATA: i64 = 1;
const REJECT: i64 = 2;

/// A message of the metadata extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataMessage {
    /// Send me this piece.
    Request {
        /// The piece, from 0.
        piece: u32,
    },
    /// Here is a piece.
    Data {
        /// The piece, from 0.
        piece: u32,
        /// Bytes of the whole metadata, as the sender says; 1 to [`METADATA_MAX`].
        total_size: u32,
        /// The bytes: as many as this piece of metadata of that size has.
        bytes: Bytes,
    },
    /// I do not have that piece, or not for you.
    Reject {
        /// The piece, from 0.
        piece: u32,
    },
    /// A kind of message that is not known; to be ignored, as BEP 9 asks.
    Unknown,
}

/// A message of the metadata extension that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MetadataMessageError {
    /// Longer than [`METADATA_MESSAGE_MAX`].
    #[error("metadata message of {length} bytes")]
    TooLong {
        /// Bytes found.
        length: usize,
    },
    /// It does not begin with bencode.
    #[error("metadata message: {0}")]
    Bencode(#[from] bencode::Error),
    /// A field is missing, of the wrong kind or out of range.
    #[error("metadata message without a usable {0}")]
    Field(&'static str),
    /// The bytes are not as many as this piece has.
    #[error("metadata piece of {found} bytes where {due} are due")]
    Length {
        /// Bytes due.
        due: u32,
        /// Bytes found.
        found: usize,
    },
}

impl MetadataMessage {
    /// Reads the payload of an extension message. The bytes of a data message share it.
    ///
    /// # Errors
    /// When it is too long, no such message, or a data message that contradicts itself.
    pub fn decode(payload: &Bytes) -> Result<Self, MetadataMessageError> {
        if payload.len() > METADATA_MESSAGE_MAX {
            return Err(MetadataMessageError::TooLong { length: payload.len() });
        }
        let (document, rest) = bencode::parse_prefix(payload, &Limits::WIRE)?;
        let field = |key: &'static str| {
            let value = document.root().as_dict().and_then(|dict| dict.int(key.as_bytes()));
            value.ok_or(MetadataMessageError::Field(key))
        };
        let piece =
            || u32::try_from(field("piece")?).map_err(|_| MetadataMessageError::Field("piece"));
        match field("msg_type")? {
            REQUEST => Ok(Self::Request { piece: piece()? }),
            DATA => data(piece()?, field("total_size")?, payload.slice_ref(rest)),
            REJECT => Ok(Self::Reject { piece: piece()? }),
            _ => Ok(Self::Unknown),
        }
    }

    /// The payload to send; empty for [`Self::Unknown`], which is never sent.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let head = |kind: i64, piece: u32, total_size: Option<u32>| {
            bencode::encode_dict(|dict| {
                dict.int("msg_type", kind);
                dict.int("piece", i64::from(piece));
                if let Some(size) = total_size {
                    dict.int("total_size", i64::from(size));
                }
            })
        };
        match self {
            Self::Request { piece } => head(REQUEST, *piece, None).into(),
            Self::Reject { piece } => head(REJECT, *piece, None).into(),
            Self::Data { piece, total_size, bytes } => {
                let mut message = head(DATA, *piece, Some(*total_size));
                message.extend_from_slice(bytes);
                message.into()
            }
            Self::Unknown => Bytes::new(),
        }
    }
}

/// Pieces that metadata of this size is sent in.
#[must_use]
pub const fn metadata_piece_count(size: u32) -> u32 {
    size.div_ceil(METADATA_PIECE_LEN)
}

/// Bytes of one piece of metadata of this size; 0 for a piece it does not have.
#[must_use]
pub fn metadata_piece_size(size: u32, piece: u32) -> u32 {
    let begin = piece.saturating_mul(METADATA_PIECE_LEN);
    size.saturating_sub(begin).min(METADATA_PIECE_LEN)
}

fn data(
    piece: u32,
    total_size: i64,
    bytes: Bytes,
) -> Result<MetadataMessage, MetadataMessageError> {
    let total_size = u32::try_from(total_size)
        .ok()
        .filter(|size| (1..=METADATA_MAX).contains(size))
        .ok_or(MetadataMessageError::Field("total_size"))?;
    let due = metadata_piece_size(total_size, piece);
    if due == 0 {
        return Err(MetadataMessageError::Field("piece"));
    }
    if bytes.len() != due as usize {
        return Err(MetadataMessageError::Length { due, found: bytes.len() });
    }
    Ok(MetadataMessage::Data { piece, total_size, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(bytes: &[u8]) -> Result<MetadataMessage, MetadataMessageError> {
        MetadataMessage::decode(&Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn the_bytes_are_those_of_bep_9() {
        let data =
            MetadataMessage::Data { piece: 0, total_size: 3, bytes: Bytes::from_static(b"abc") };
        let cases = [
            (MetadataMessage::Request { piece: 0 }, &b"d8:msg_typei0e5:piecei0ee"[..]),
            (data, b"d8:msg_typei1e5:piecei0e10:total_sizei3eeabc"),
            (MetadataMessage::Reject { piece: 7 }, b"d8:msg_typei2e5:piecei7ee"),
        ];
        for (message, bytes) in cases {
            assert_eq!(message.encode(), bytes);
            assert_eq!(decode(bytes), Ok(message));
        }
    }

    #[test]
    fn an_unknown_kind_is_no_error() {
        assert_eq!(decode(b"d8:msg_typei9ee"), Ok(MetadataMessage::Unknown));
    }

    #[test]
    fn messages_that_lack_something_are_refused() {
        let field = |name| Err(MetadataMessageError::Field(name));
        assert_eq!(decode(b"de"), field("msg_type"));
        assert_eq!(decode(b"i1e"), field("msg_type"));
        assert_eq!(decode(b"d8:msg_typei0ee"), field("piece"));
        assert_eq!(decode(b"d8:msg_typei0e5:piecei-1ee"), field("piece"));
        assert_eq!(decode(b"d8:msg_typei0e5:piecei4294967296ee"), field("piece"));
        assert_eq!(decode(b"d8:msg_typei1e5:piecei0ee"), field("total_size"));
        assert!(matches!(decode(b""), Err(MetadataMessageError::Bencode(_))));
    }

    #[test]
    fn data_that_contradicts_its_own_size_is_refused() {
        let with = |piece: u32, size: i64, len: usize| {
            let mut bytes = bencode::encode_dict(|dict| {
                dict.int("msg_type", DATA);
                dict.int("piece", i64::from(piece));
                dict.int("total_size", size);
            });
            bytes.resize(bytes.len() + len, b'x');
            decode(&bytes)
        };
        for size in [0, -1, i64::from(METADATA_MAX) + 1] {
            assert_eq!(with(0, size, 1), Err(MetadataMessageError::Field("total_size")));
        }
        assert!(with(0, 16_384, 16_384).is_ok());
        assert!(with(1, 16_385, 1).is_ok());
        assert_eq!(with(1, 16_384, 0), Err(MetadataMessageError::Field("piece")));
        assert_eq!(with(u32::MAX, 16_384, 0), Err(MetadataMessageError::Field("piece")));
        let wrong = |due, found| Err(MetadataMessageError::Length { due, found });
        assert_eq!(with(0, 16_385, 16_383), wrong(16_384, 16_383));
        assert_eq!(with(1, 16_385, 2), wrong(1, 2));
    }

    #[test]
    fn a_long_message_is_refused_before_it_is_parsed() {
        let bytes = vec![b'x'; METADATA_MESSAGE_MAX + 1];
        let length = bytes.len();
        assert_eq!(decode(&bytes), Err(MetadataMessageError::TooLong { length }));
        assert!(matches!(decode(&bytes[1..]), Err(MetadataMessageError::Bencode(_))));
    }

    #[test]
    fn the_longest_data_message_fits() {
        let bytes = Bytes::from(vec![0; METADATA_PIECE_LEN as usize]);
        let piece = METADATA_MAX / METADATA_PIECE_LEN - 1;
        let message = MetadataMessage::Data { piece, total_size: METADATA_MAX, bytes };
        assert_eq!(MetadataMessage::decode(&message.encode()), Ok(message));
    }

    proptest! {
        #[test]
        fn pieces_add_up_to_the_whole(size in 1..=METADATA_MAX) {
            let pieces = metadata_piece_count(size);
            let sum: u64 = (0..pieces).map(|piece| u64::from(metadata_piece_size(size, piece))).sum();
            prop_assert_eq!(sum, u64::from(size));
            prop_assert_eq!(metadata_piece_size(size, pieces), 0);
        }

        #[test]
        fn any_bytes_are_read_without_panic(kind in -1i64..4, piece: i64, size: i64, tail: Vec<u8>, cut: usize) {
            let mut bytes = bencode::encode_dict(|dict| {
                dict.int("msg_type", kind);
                dict.int("piece", piece);
                dict.int("total_size", size);
            });
            bytes.extend(tail);
            bytes.truncate(cut % (bytes.len() + 1));
            if let Ok(MetadataMessage::Data { piece, total_size, bytes }) = decode(&bytes) {
                prop_assert_eq!(bytes.len(), metadata_piece_size(total_size, piece) as usize);
            }
        }
    }
}
