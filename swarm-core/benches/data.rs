//! What the data plane costs: buffers, hashing, storing and reading pieces, creating, checking.
//!
//! Files lie in `/dev/shm` where there is one, so that the disk is not what is measured.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use std::io::{Read as _, Write as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use swarm_core::Metainfo;
use swarm_core::data::create::Content;
use swarm_core::data::jobs::{ReadBlocks, StoreOutcome, StorePiece};
use swarm_core::data::{BlockPool, PieceBuf, check, hasher};
use swarm_core::metainfo::create::{ContentHashes, MetainfoBuilder};
use swarm_core::storage::{FsStorage, Storage};
use swarm_core::types::{BLOCK_SIZE, BlockIndex, PieceIndex};

const LENGTH: u64 = 256 << 20;
const PIECE_LENGTH: u32 = 1 << 20;

fn main() {
    divan::main();
}

/// A file of random bytes, its torrent, and a folder to fetch into.
struct Scene {
    folder: tempfile::TempDir,
    file: PathBuf,
    torrent: Metainfo,
}

impl Scene {
    fn new() -> Self {
        let memory = Path::new("/dev/shm");
        let folder = match memory.is_dir() {
            true => tempfile::tempdir_in(memory),
            false => tempfile::tempdir(),
        };
        let folder = folder.expect("a temporary folder");
        let file = folder.path().join("content");
        let random = std::fs::File::open("/dev/urandom").expect("random bytes");
        let mut out = std::fs::File::create(&file).expect("a file");
        std::io::copy(&mut random.take(LENGTH), &mut out).expect("room for the content");
        out.flush().expect("room for the content");
        let hashes = hash(&file, 0).concat();
        let builder = MetainfoBuilder::file("content", LENGTH, PIECE_LENGTH);
        let torrent = builder.build(&ContentHashes::V1(hashes)).expect("a torrent");
        let torrent = Metainfo::from_torrent(&torrent).expect("our own torrent");
        Self { folder, file, torrent }
    }

    fn seed(&self) -> Arc<dyn Storage> {
        Arc::new(FsStorage::seed(&self.file, &self.torrent).expect("the content is there"))
    }

    fn fetch(&self) -> Arc<dyn Storage> {
        let folder = self.folder.path().join("fetched");
        let storage = FsStorage::fetch(&folder, &self.torrent, &|_| true, false);
        Arc::new(storage.expect("a folder to fetch into"))
    }
}

fn hash(file: &Path, threads: usize) -> Vec<[u8; 20]> {
    let content = Content::find(file).expect("the content is there");
    let go_on = |_| ControlFlow::Continue(());
    content.hash(PIECE_LENGTH, threads, &go_on).expect("readable content")
}

/// Reads one piece in blocks, as it would be sent.
fn read(
    storage: &Arc<dyn Storage>,
    piece: u32,
    pool: &BlockPool,
) -> Vec<swarm_core::data::BlockBuf> {
    let read = ReadBlocks {
        storage: Arc::clone(storage),
        offset: u64::from(piece) * u64::from(PIECE_LENGTH),
        lengths: vec![BLOCK_SIZE; (PIECE_LENGTH / BLOCK_SIZE) as usize],
        pool: pool.clone(),
    };
    read.run().expect("the piece is there")
}

#[divan::bench]
fn take_and_return_a_block(bencher: Bencher<'_, '_>) {
    let pool = BlockPool::new(64);
    bencher.bench(|| black_box(pool.take()));
}

#[divan::bench]
fn verify_a_piece_of_one_mebibyte(bencher: Bencher<'_, '_>) {
    let piece = vec![7u8; PIECE_LENGTH as usize];
    let expected = swarm_core::metainfo::PieceHash::V1(hasher::sha1([piece.as_slice()]));
    let blocks = || black_box(&piece).chunks(BLOCK_SIZE as usize);
    bencher
        .counter(BytesCount::new(PIECE_LENGTH))
        .bench(|| assert!(hasher::verify(blocks(), &expected)));
}

#[divan::bench]
fn read_a_piece_in_blocks(bencher: Bencher<'_, '_>) {
    let (scene, pool) = (Scene::new(), BlockPool::new(64));
    let seed = scene.seed();
    bencher.counter(BytesCount::new(PIECE_LENGTH)).bench(|| black_box(read(&seed, 9, &pool)));
}

#[divan::bench]
fn verify_and_write_a_piece(bencher: Bencher<'_, '_>) {
    let (scene, pool) = (Scene::new(), BlockPool::new(64));
    let (seed, storage) = (scene.seed(), scene.fetch());
    let geometry = *scene.torrent.geometry();
    let piece = PieceIndex::new(9);
    let hash = scene.torrent.piece_hash(piece).expect("the piece exists");
    let prepare = || {
        let mut buf = PieceBuf::new(&geometry, piece);
        for (index, block) in (0..).zip(read(&seed, piece.get(), &pool)) {
            buf.insert(BlockIndex::new(index), block).expect("a block of this piece");
        }
        StorePiece { storage: Arc::clone(&storage), geometry, buf, hash, digests: false }
    };
    bencher.counter(BytesCount::new(PIECE_LENGTH)).with_inputs(prepare).bench_values(|store| {
        assert!(matches!(store.run().outcome, StoreOutcome::Good));
    });
}

#[divan::bench(args = [1, 0], sample_count = 5)]
fn create(bencher: Bencher<'_, '_>, threads: usize) {
    let scene = Scene::new();
    bencher.counter(BytesCount::new(LENGTH)).bench(|| hash(&scene.file, threads));
}

#[divan::bench(args = [1, 0], sample_count = 5)]
fn check_all(bencher: Bencher<'_, '_>, threads: usize) {
    let scene = Scene::new();
    let seed = scene.seed();
    let hashes = |piece| scene.torrent.piece_hash(piece);
    bencher.counter(BytesCount::new(LENGTH)).bench(|| {
        let go_on = |_| ControlFlow::Continue(());
        let report = check::all(&*seed, scene.torrent.geometry(), &hashes, threads, &go_on);
        assert!(report.expect("readable content").good().is_all());
    });
}
