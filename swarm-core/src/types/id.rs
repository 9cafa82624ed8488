//! Identifiers that cannot be mixed up.
//!
//! An [`InfoHash`] is the 20 bytes peers and trackers exchange: the SHA-1 of `info` for a v1
//! torrent (BEP 3), the first 20 bytes of its SHA-256 for a v2 one (BEP 52).

use std::fmt;

/// The 20 bytes that name a swarm on the wire: v1, or v2 truncated.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash([u8; 20]);

/// The whole SHA-256 info hash of a v2 torrent (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHashV2([u8; 32]);

/// A peer's 20-byte identity for one session (BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId([u8; 20]);

/// What a torrent is known by: its v1 hash, its v2 hash, or both (a hybrid).
///
/// At least one is always present; the constructors see to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHashes {
    v1: Option<InfoHash>,
    v2: Option<InfoHashV2>,
}

/// Text that is no identifier of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} hexadecimal digits, found {found} characters")]
#[non_exhaustive]
pub struct IdError {
    /// Hexadecimal digits the identifier has.
    pub expected: usize,
    /// Characters the text has.
    pub found: usize,
}

macro_rules! fixed_bytes {
    ($name:ident, $len:literal) => {
        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// Wraps raw bytes.
            #[must_use]
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }
        }

        impl TryFrom<&[u8]> for $name {
            type Error = std::array::TryFromSliceError;

            fn try_from(bytes: &[u8]) -> Result<Self, Self::Error> {
                <[u8; $len]>::try_from(bytes).map(Self)
            }
        }
    };
}

fixed_bytes!(InfoHash, 20);
fixed_bytes!(InfoHashV2, 32);
fixed_bytes!(PeerId, 20);

macro_rules! hex_text {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                data_encoding::HEXLOWER.encode_display(&self.0).fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }

        impl std::str::FromStr for $name {
            type Err = IdError;

            /// Reads hexadecimal digits of either case.
            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError { expected: Self::LEN * 2, found: text.chars().count() };
                let bytes = data_encoding::HEXLOWER_PERMISSIVE
                    .decode(text.as_bytes())
                    .map_err(|_| error())?;
                Self::try_from(bytes.as_slice()).map_err(|_| error())
            }
        }
    };
}

hex_text!(InfoHash);
hex_text!(InfoHashV2);

impl InfoHashV2 {
    /// The 20 bytes that stand for this hash in handshakes and announces (BEP 52).
    #[must_use]
    pub fn truncated(&self) -> InfoHash {
        let mut short = [0; 20];
        for (to, from) in short.iter_mut().zip(self.0) {
            *to = from;
        }
        InfoHash(short)
    }
}

impl InfoHashes {
    /// A torrent known by its v1 hash only.
    #[must_use]
    pub const fn v1(hash: InfoHash) -> Self {
        Self { v1: Some(hash), v2: None }
    }

    /// A torrent known by its v2 hash only.
    #[must_use]
    pub const fn v2(hash: InfoHashV2) -> Self {
        Self { v1: None, v2: Some(hash) }
    }

    /// A hybrid, known by both.
    #[must_use]
    pub const fn hybrid(v1: InfoHash, v2: InfoHashV2) -> Self {
        Self { v1: Some(v1), v2: Some(v2) }
    }

    /// From whichever hashes are known; `None` when neither is.
    #[must_use]
    pub const fn from_parts(v1: Option<InfoHash>, v2: Option<InfoHashV2>) -> Option<Self> {
        if v1.is_none() && v2.is_none() { None } else { Some(Self { v1, v2 }) }
    }

    /// The v1 hash, if there is one.
    #[must_use]
    pub const fn get_v1(&self) -> Option<InfoHash> {
        self.v1
    }

    /// The v2 hash, if there is one.
    #[must_use]
    pub const fn get_v2(&self) -> Option<InfoHashV2> {
        self.v2
    }

    /// The hash we join swarms by: v1 when there is one, else v2 truncated.
    #[must_use]
    pub fn wire(&self) -> InfoHash {
        match (self.v1, self.v2) {
            (Some(v1), _) => v1,
            (None, Some(v2)) => v2.truncated(),
            (None, None) => InfoHash([0; 20]),
        }
    }
}

impl From<InfoHash> for InfoHashes {
    fn from(hash: InfoHash) -> Self {
        Self::v1(hash)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({})", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_read_in_either_case_and_written_in_lower_case() {
        let text = "0123456789ABCDEF0123456789abcdef01234567";
        let hash: InfoHash = text.parse().unwrap();
        assert_eq!(hash.to_string(), text.to_lowercase());
    }

    #[test]
    fn hex_of_the_wrong_length_is_refused() {
        assert!("00".parse::<InfoHash>().is_err());
        assert!("0".repeat(41).parse::<InfoHash>().is_err());
        assert!("0".repeat(40).parse::<InfoHashV2>().is_err());
    }

    #[test]
    fn a_v2_hash_is_cut_to_twenty_bytes_on_the_wire() {
        let v2 = InfoHashV2::new(std::array::from_fn(|i| u8::try_from(i).unwrap()));
        assert_eq!(InfoHashes::v2(v2).wire().as_bytes()[19], 19);
        let v1 = InfoHash::new([7; 20]);
        assert_eq!(InfoHashes::hybrid(v1, v2).wire(), v1);
    }
}
