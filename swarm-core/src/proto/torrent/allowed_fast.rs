//! The allowed-fast set (BEP 6): pieces a new peer may request while choked, so that it
//! soon has something to trade. Both sides can compute the set from the peer's address, so
//! reconnecting gives no other pieces.

use crate::geometry::Geometry;
use crate::types::{InfoHash, PieceIndex};
use sha1::{Digest, Sha1};
use std::net::IpAddr;

/// Pieces in the set.
pub(crate) const ALLOWED_FAST: usize = 5;

/// The set for a peer at `ip`. BEP 6 defines it for IPv4 only; for IPv6 the first 64 bits,
/// one site's network, take the place of the first 24.
pub(crate) fn allowed_fast(
    ip: IpAddr,
    info_hash: InfoHash,
    geometry: &Geometry,
) -> Vec<PieceIndex> {
    let count = geometry.piece_count();
    let wanted = ALLOWED_FAST.min(count as usize);
    let mut seed: Vec<u8> = match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            vec![a, b, c, 0]
        }
        IpAddr::V6(ip) => ip.octets().into_iter().take(8).collect(),
    };
    seed.extend_from_slice(info_hash.as_bytes());
    let mut set = Vec::with_capacity(wanted);
    while set.len() < wanted {
        let digest: [u8; 20] = Sha1::digest(&seed).into();
        for word in digest.chunks_exact(4) {
            let word = word.try_into().map_or(0, u32::from_be_bytes);
            let piece = PieceIndex::new(word % count);
            if set.len() < wanted && !set.contains(&piece) {
                set.push(piece);
            }
        }
        seed = digest.to_vec();
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vector_of_bep_6_comes_out() {
        //= BEP 6: the example for 80.4.4.200, info hash of 0xaa bytes, 1313 pieces
        let geometry = Geometry::new(1, 1313).unwrap();
        let set = allowed_fast([80, 4, 4, 200].into(), InfoHash::new([0xaa; 20]), &geometry);
        let set: Vec<u32> = set.into_iter().map(PieceIndex::get).collect();
        assert_eq!(set, [1059, 431, 808, 1217, 287]);
    }

    #[test]
    fn a_torrent_with_few_pieces_gives_them_all() {
        let geometry = Geometry::new(1, 3).unwrap();
        let set = allowed_fast([1, 2, 3, 4].into(), InfoHash::new([1; 20]), &geometry);
        assert_eq!(set.len(), 3);
    }
}
