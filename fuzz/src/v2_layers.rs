//! Piece layers of v2 torrents (BEP 52): a layer passes exactly when a naive tree over it has
//! the root that the file names, and a piece's root is that of a naive tree too.

use super::script::Script;
use sha2::{Digest as _, Sha256};
use swarm_core::Metainfo;
use swarm_core::metainfo::merkle::{leaves_of, piece_root};

type Hash = [u8; 32];

const BLOCK: u64 = 16 << 10;
const PIECES_MAX: usize = 70;

/// A shape, a seed of hashes, and one thing that may be wrong.
pub fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    check_piece(&mut script);
    let piece_length = BLOCK << (script.byte() % 6);
    let count = 2 + script.below(PIECES_MAX);
    let length = piece_length * count as u64 - script.long() % piece_length;
    let salt = script.byte();
    let mut layer: Vec<Hash> = (0..count).map(|piece| hash(&[salt, piece as u8])).collect();
    let root = naive_root(&layer, piece_length);
    let harm = script.byte() % 6;
    let at = script.below(count);
    match harm {
        1 => layer[at][script.below(32)] ^= script.byte(),
        2 => drop(layer.remove(at)),
        3 => layer.push(hash(&[salt])),
        4 => layer[at] = [0; 32],
        5 => layer.swap(at, (at + 1) % count),
        _ => {}
    }
    let whole = layer.len() == count && naive_root(&layer, piece_length) == root;
    let torrent = torrent(length, piece_length, &root, &layer);
    let read = Metainfo::from_torrent(&torrent);
    assert_eq!(read.is_ok(), whole, "{harm} of {count} pieces of {piece_length}: {:?}", read.err());
}

/// The root of part of a file, with leaves missing at its end.
fn check_piece(script: &mut Script<'_>) {
    let bytes = usize::from(script.short()) + (usize::from(script.byte() % 4) << 16);
    let content = vec![script.byte(); bytes];
    let leaves = leaves_of(bytes as u64) << (script.byte() % 3);
    let mut row: Vec<Hash> = content.chunks(BLOCK as usize).map(hash).collect();
    row.resize(leaves as usize, [0; 32]);
    assert_eq!(piece_root(&content, leaves as u32), naive(&row));
}

/// Every leaf of the whole tree, one after another.
fn naive_root(layer: &[Hash], piece_length: u64) -> Hash {
    let empty = naive(&vec![[0; 32]; (piece_length / BLOCK) as usize]);
    let mut row = layer.to_vec();
    row.resize(layer.len().next_power_of_two(), empty);
    naive(&row)
}

fn naive(row: &[Hash]) -> Hash {
    match row {
        [one] => *one,
        _ => {
            let (left, right) = row.split_at(row.len() / 2);
            hash(&[naive(left), naive(right)].concat())
        }
    }
}

fn hash(bytes: &[u8]) -> Hash {
    Sha256::digest(bytes).into()
}

fn torrent(length: u64, piece_length: u64, root: &Hash, layer: &[Hash]) -> Vec<u8> {
    let mut out = b"d4:infod9:file treed1:xd0:d6:lengthi".to_vec();
    out.extend_from_slice(format!("{length}e11:pieces root32:").as_bytes());
    out.extend_from_slice(root);
    out.extend_from_slice(b"eee12:meta versioni2e4:name1:x12:piece lengthi");
    out.extend_from_slice(format!("{piece_length}ee12:piece layersd32:").as_bytes());
    out.extend_from_slice(root);
    out.extend_from_slice(format!("{}:", layer.len() * 32).as_bytes());
    layer.iter().for_each(|node| out.extend_from_slice(node));
    out.extend_from_slice(b"ee");
    out
}
