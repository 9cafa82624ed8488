//! The only reader of the system's entropy: identities and seeds are made here once and
//! handed down as arguments.
//!
//! Not here: the generators seeded with it, which live in `proto`.

use crate::types::PeerId;
use rand::TryRng as _;
use rand::rngs::SysRng;
use std::io;

/// A fresh peer id: the client's prefix (BEP 20), then 12 random bytes.
///
/// # Errors
/// When the system has no entropy to give.
pub(crate) fn peer_id(prefix: [u8; 8]) -> io::Result<PeerId> {
    let mut id = [0; PeerId::LEN];
    let (head, tail) = id.split_at_mut(prefix.len());
    head.copy_from_slice(&prefix);
    fill(tail)?;
    Ok(PeerId::new(id))
}

/// A seed for one torrent's generators.
///
/// # Errors
/// When the system has no entropy to give.
pub(crate) fn seed() -> io::Result<u64> {
    let mut bytes = [0; 8];
    fill(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn fill(bytes: &mut [u8]) -> io::Result<()> {
    SysRng.try_fill_bytes(bytes).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_id_keeps_the_prefix_and_differs_each_time() {
        let (one, two) = (peer_id(*b"-SW0100-").unwrap(), peer_id(*b"-SW0100-").unwrap());
        assert!(one.as_bytes().starts_with(b"-SW0100-"));
        assert_ne!(one, two);
        assert_ne!(seed().unwrap(), seed().unwrap());
    }
}
