//! The only reader of the system's entropy. Keys and seeds are made here once, at the start,
//! and handed down as arguments.

use rand::TryRng as _;
use rand::rngs::SysRng;
use std::io;

/// A 128-bit key nobody else knows.
///
/// # Errors
/// When the system has no entropy to give.
pub(crate) fn key() -> io::Result<[u64; 2]> {
    Ok([seed()?, seed()?])
}

/// A seed for one generator.
///
/// # Errors
/// When the system has no entropy to give.
pub(crate) fn seed() -> io::Result<u64> {
    SysRng.try_next_u64().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ() {
        assert_ne!(key().unwrap(), key().unwrap());
    }
}
