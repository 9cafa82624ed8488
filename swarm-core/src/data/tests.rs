//! From a folder to its copy by real torrents: hashed, seeded, read, verified, written, named.

use super::check::{self, PieceState};
use super::create::Content;
use super::jobs::{ReadBlocks, StoreOutcome, StorePiece};
use super::lanes::Width;
use super::{BlockPool, PieceBuf};
use crate::metainfo::create::{ContentHashes, FileEntry, MetainfoBuilder};
use crate::metainfo::merkle::{FileRoots, leaves_of, piece_root};
use crate::metainfo::{Metainfo, Version};
use crate::storage::{FsStorage, Storage};
use crate::types::{BLOCK_SIZE, BlockIndex, BlockRef};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

const PIECE_LENGTH: u32 = 32 << 10;

fn make_folder(folder: &Path) {
    fs::create_dir_all(folder.join("sub/deep")).unwrap();
    let files = [("a", 100_000), ("empty", 0), ("sub/one", 1), ("sub/deep/b", 65_536), ("z", 3)];
    for (salt, (path, length)) in (0u64..).zip(files) {
        let bytes: Vec<u8> =
            (0..length).map(|at| u8::try_from((at * at + salt) % 249).unwrap()).collect();
        fs::write(folder.join(path), bytes).unwrap();
    }
}

fn torrent(root: &Path, version: Version) -> Metainfo {
    let content = Content::find(root).unwrap();
    let entry = |file: &super::create::ContentFile| FileEntry {
        path: file.path.clone(),
        length: file.length,
    };
    let entries: Vec<_> = content.files.iter().map(entry).collect();
    let builder = MetainfoBuilder::folder(content.name.clone(), entries.clone(), PIECE_LENGTH);
    let read = |file: &FileEntry| fs::read(root.join(file.path.join("/"))).unwrap();
    let roots = |file: &FileEntry| {
        let leaves = leaves_of(file.length).min(u64::from(PIECE_LENGTH / BLOCK_SIZE));
        let bytes = read(file);
        let pieces = bytes.chunks(PIECE_LENGTH as usize);
        let leaves = u32::try_from(leaves).unwrap();
        FileRoots::new(pieces.map(|piece| piece_root(piece, leaves)).collect(), PIECE_LENGTH)
    };
    let hashes = match version {
        Version::V1 => {
            let go_on = |_| ControlFlow::Continue(());
            ContentHashes::V1(content.hash(PIECE_LENGTH, 2, &go_on).unwrap().concat())
        }
        Version::V2 => ContentHashes::V2(entries.iter().map(roots).collect()),
        _ => {
            let mut bytes = Vec::new();
            let mut files = entries.iter().map(read);
            for extent in builder.layout(version).extents() {
                match extent.pad {
                    true => bytes.extend(vec![0; usize::try_from(extent.length).unwrap()]),
                    false => bytes.extend(files.next().unwrap()),
                }
            }
            let pieces = bytes.chunks(PIECE_LENGTH as usize);
            let pieces = pieces.flat_map(|piece| super::hasher::sha1([piece])).collect();
            ContentHashes::Hybrid { pieces, files: entries.iter().map(roots).collect() }
        }
    };
    Metainfo::from_torrent(&builder.build(&hashes).unwrap()).unwrap()
}

fn states(storage: &dyn Storage, torrent: &Metainfo) -> Vec<PieceState> {
    let go_on = |_| ControlFlow::Continue(());
    let hashes = |piece| torrent.piece_hash(piece);
    let states = check::all(storage, torrent.geometry(), &hashes, 2, &go_on).unwrap();
    let wide = Width::widest();
    let again = check::all_in(wide, storage, torrent.geometry(), &hashes, 2, &go_on).unwrap();
    assert_eq!(again, states);
    states.pieces
}

/// Reads every piece of one storage as a peer asks for it and stores it in the other.
fn copy(torrent: &Metainfo, from: &Arc<dyn Storage>, to: &Arc<dyn Storage>, pool: &BlockPool) {
    let geometry = *torrent.geometry();
    for piece in geometry.pieces() {
        let count = geometry.block_count(piece);
        let size = |block| geometry.block_size(BlockRef { piece, block: BlockIndex::new(block) });
        let read = ReadBlocks {
            storage: from.clone(),
            offset: geometry.piece_offset(piece),
            lengths: (0..count).map(size).collect(),
            pool: pool.clone(),
        };
        let mut buf = PieceBuf::new(&geometry, piece);
        for (block, bytes) in (0..).zip(read.run().unwrap()) {
            buf.insert(BlockIndex::new(block), bytes).unwrap();
        }
        let hash = torrent.piece_hash(piece).unwrap();
        let storage = to.clone();
        let stored = StorePiece { storage, geometry, buf, hash, digests: false }.run();
        assert!(matches!(stored.outcome, StoreOutcome::Good), "{piece}: {stored:?}");
    }
}

#[test]
fn a_folder_arrives_byte_for_byte_whatever_the_version_of_its_torrent() {
    for version in [Version::V1, Version::V2, Version::Hybrid] {
        let [home, away] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let original = home.path().join("content");
        make_folder(&original);
        let torrent = torrent(&original, version);
        let seed: Arc<dyn Storage> = Arc::new(FsStorage::seed(&original, &torrent).unwrap());
        assert!(states(&*seed, &torrent).iter().all(|state| *state == PieceState::Good));

        let storage = FsStorage::fetch(away.path(), &torrent, &|_| true, false).unwrap();
        assert!(states(&storage, &torrent).iter().all(|state| *state == PieceState::Missing));
        let fetch: Arc<dyn Storage> = Arc::new(storage);
        let pool = BlockPool::new(16);
        copy(&torrent, &seed, &fetch, &pool);
        assert_eq!(pool.in_use(), 0);
        assert_eq!(pool.peak(), usize::try_from(PIECE_LENGTH / BLOCK_SIZE).unwrap());
        fetch.finish().unwrap();
        assert!(states(&*fetch, &torrent).iter().all(|state| *state == PieceState::Good));
        for path in ["a", "empty", "sub/one", "sub/deep/b", "z"] {
            let copied = fs::read(away.path().join("content").join(path)).unwrap();
            assert_eq!(copied, fs::read(original.join(path)).unwrap(), "{version:?} {path}");
        }
        assert_eq!(fs::read_dir(away.path()).unwrap().count(), 1, "nothing else is left");
    }
}

#[test]
fn damage_is_found_in_its_piece_and_a_missing_file_in_all_of_its_pieces() {
    let home = tempfile::tempdir().unwrap();
    let original = home.path().join("content");
    make_folder(&original);
    let torrent = torrent(&original, Version::V1);
    let mut bytes = fs::read(original.join("a")).unwrap();
    bytes[40_000] ^= 1;
    fs::write(original.join("a"), bytes).unwrap();
    fs::remove_file(original.join("sub/deep/b")).unwrap();
    let seed = FsStorage::seed(&original, &torrent).unwrap();
    use PieceState::{Bad, Good, Missing};
    assert_eq!(states(&seed, &torrent), [Good, Bad, Good, Missing, Missing, Missing]);
}

#[test]
fn content_with_names_no_torrent_should_have_is_seeded_as_it_is_spelled() {
    let home = tempfile::tempdir().unwrap();
    let original = home.path().join("content");
    fs::create_dir(&original).unwrap();
    fs::write(original.join("con"), b"reserved").unwrap();
    fs::write(original.join("dot."), b"a dot at the end").unwrap();
    let torrent = torrent(&original, Version::V1);
    assert!(torrent.files().iter().any(|file| file.path != ["con"] && file.path != ["dot."]));
    let seed = FsStorage::seed(&original, &torrent).unwrap();
    assert_eq!(states(&seed, &torrent), [PieceState::Good]);
}
