//! Torrents that we build ourselves, compared with libtorrent's.

use sha1::{Digest as _, Sha1};

use super::*;
use crate::metainfo::create::{
    ContentHashes, CreateError, FileEntry, MetainfoBuilder, choose_piece_length, sort_files,
};
use crate::metainfo::merkle::{FileRoots, leaves_of, piece_root};

fn entry(path: &str, length: u64) -> FileEntry {
    FileEntry { path: path.split('/').map(str::to_owned).collect(), length }
}

fn files() -> Vec<FileEntry> {
    let mut files = vec![
        entry("z.bin", 70_000),
        entry("sub/c.bin", 100),
        entry("a.bin", 40_000),
        entry("sub/b.bin", 16_384),
        entry("empty", 0),
    ];
    sort_files(&mut files);
    files
}

fn byte_of(file: &FileEntry) -> u8 {
    match file.path.last().map(String::as_str) {
        Some("a.bin") => 1,
        Some("b.bin") => 2,
        Some("c.bin") => 3,
        _ => 4,
    }
}

/// SHA-1 of every piece of the run of bytes that the builder lays out.
fn v1_pieces(builder: &MetainfoBuilder, version: Version) -> Vec<u8> {
    let layout = builder.layout(version);
    let mut run = Vec::new();
    let mut files = files().into_iter();
    for extent in layout.extents() {
        let byte = if extent.pad { 0 } else { byte_of(&files.next().unwrap()) };
        run.resize(run.len() + usize::try_from(extent.length).unwrap(), byte);
    }
    run.chunks(16384).flat_map(Sha1::digest).collect()
}

fn roots(file: &FileEntry) -> FileRoots {
    let content = vec![byte_of(file); usize::try_from(file.length).unwrap()];
    let leaves = u32::try_from(leaves_of(file.length).min(1)).unwrap();
    FileRoots::new(content.chunks(16384).map(|piece| piece_root(piece, leaves)).collect(), 16384)
}

#[test]
fn v1_and_v2_torrents_are_those_libtorrent_makes() {
    let builder = MetainfoBuilder::folder("dir", files(), 16384);
    let v1 = ContentHashes::V1(v1_pieces(&builder, Version::V1));
    assert_eq!(builder.build(&v1).unwrap(), hex(fixtures::FOLDER_V1));
    let v2 = ContentHashes::V2(files().iter().map(roots).collect());
    assert_eq!(builder.build(&v2).unwrap(), hex(fixtures::FOLDER_V2));
}

#[test]
fn hybrids_are_valid_and_pad_only_between_files() {
    let builder = MetainfoBuilder::folder("dir", files(), 16384);
    let files = files().iter().map(roots).collect();
    let pieces = v1_pieces(&builder, Version::Hybrid);
    let torrent = builder.build(&ContentHashes::Hybrid { pieces, files }).unwrap();
    let ours = read(&torrent);
    let theirs = read(&hex(fixtures::FOLDER_HYBRID));
    assert_eq!((ours.version(), ours.warnings()), (Version::Hybrid, &[][..]));
    assert_eq!(paths(&ours), paths(&theirs));
    assert_eq!(ours.files().len() + 1, theirs.files().len(), "theirs pads the tail too");
    assert_eq!(ours.layout(), &builder.layout(Version::Hybrid));
    for piece in ours.geometry().pieces().take(9) {
        assert_eq!(ours.piece_hash(piece), theirs.piece_hash(piece));
    }
}

#[test]
fn single_files_of_every_version_are_those_libtorrent_makes() {
    let content = [7; 50_000];
    let builder = MetainfoBuilder::file("one.bin", 50_000, 16384);
    let pieces: Vec<u8> = content.chunks(16384).flat_map(Sha1::digest).collect();
    let roots = content.chunks(16384).map(|piece| piece_root(piece, 1)).collect();
    let files = vec![FileRoots::new(roots, 16384)];
    let v2 = ContentHashes::V2(files.clone());
    assert_eq!(builder.build(&v2).unwrap(), hex(fixtures::FILE_V2));
    let hybrid = ContentHashes::Hybrid { pieces: pieces.clone(), files };
    assert_eq!(builder.build(&hybrid).unwrap(), hex(fixtures::FILE_HYBRID));
    let v1 = read(&builder.build(&ContentHashes::V1(pieces)).unwrap());
    assert!(v1.is_single_file());
    assert_eq!(paths(&v1), ["one.bin"]);
}

#[test]
fn everything_given_is_in_the_torrent() {
    let build = || {
        MetainfoBuilder::file("a", 3, 16384)
            .tracker_tier(["http://a.example/".to_owned(), "udp://b.example:1".to_owned()])
            .tracker_tier([])
            .tracker_tier(["udp://c.example:1".to_owned()])
            .web_seed("http://s.example/")
            .private(true)
            .comment("a comment")
            .created_by("swarm 0.1.0")
            .creation_date(1_234_567_890)
            .source("tag")
            .build(&ContentHashes::V1(vec![1; 20]))
            .unwrap()
    };
    assert_eq!(build(), build());
    let metainfo = read(&build());
    assert_eq!(metainfo.trackers().len(), 2);
    assert_eq!(metainfo.trackers()[0], ["http://a.example/", "udp://b.example:1"]);
    assert_eq!(metainfo.web_seeds(), ["http://s.example/"]);
    assert!(metainfo.is_private());
    assert_eq!(metainfo.comment(), Some("a comment"));
    assert_eq!(metainfo.created_by(), Some("swarm 0.1.0"));
    assert_eq!(metainfo.creation_date(), Some(1_234_567_890));
    assert_eq!(metainfo.source(), Some("tag"));
    let document = bencode::parse(metainfo.info_bytes(), &Limits::METAINFO).unwrap();
    assert_eq!(document.root().check_form(), Ok(bencode::KeyOrder::Sorted));
}

#[test]
fn what_would_be_no_good_torrent_is_not_built() {
    let hashes = ContentHashes::V1(vec![1; 20]);
    let folder = |paths: &[&str]| {
        let files = paths.iter().map(|path| entry(path, 1)).collect();
        MetainfoBuilder::folder("top", files, 16384).build(&hashes)
    };
    assert!(folder(&["a", "b/c"]).is_ok());
    assert_eq!(folder(&["b", "a"]), Err(CreateError::Order(1)));
    assert_eq!(folder(&["a", "a"]), Err(CreateError::Order(1)));
    assert_eq!(folder(&["a", "a/b"]), Err(CreateError::Order(1)));
    assert_eq!(folder(&["a/../b"]), Err(CreateError::Path("..".to_owned())));
    assert_eq!(folder(&["a//b"]), Err(CreateError::Path(String::new())));
    assert_eq!(folder(&[]), Err(CreateError::Invalid(MetainfoError::Empty)));
    let file = MetainfoBuilder::file("a", 3, 16384);
    let url = file.clone().tracker_tier(["http://t.example/?event=started".to_owned()]);
    assert!(matches!(url.build(&hashes), Err(CreateError::Url { .. })));
    assert!(matches!(file.clone().web_seed("x").build(&hashes), Err(CreateError::Url { .. })));
    let roots = file.build(&ContentHashes::V2(Vec::new()));
    assert_eq!(roots, Err(CreateError::Roots { expected: 1, found: 0 }));
    let pieces = file.build(&ContentHashes::V1(vec![1; 40]));
    assert!(matches!(pieces, Err(CreateError::Invalid(MetainfoError::PieceHashes { .. }))));
    let zero = MetainfoBuilder::file("a", 3, 0).build(&hashes);
    assert!(matches!(zero, Err(CreateError::Invalid(MetainfoError::Geometry(_)))));
}

#[test]
fn names_that_are_not_portable_can_still_be_shared() {
    let files = vec![entry("CON", 1), entry("a:b", 1)];
    let builder = MetainfoBuilder::folder("top", files, 16384);
    let metainfo = read(&builder.build(&ContentHashes::V1(vec![1; 20])).unwrap());
    assert_eq!(paths(&metainfo), ["_CON", "a_b"]);
    let spelled = metainfo.spelling(FileIndex::new(1)).unwrap();
    assert_eq!(spelled, ["a:b"], "where the seed finds it");
}

/// FLEET 4.3, table A: the lengths a crowd of a thousand wants.
#[test]
fn piece_lengths_are_those_of_the_table() {
    const KIB: u32 = 1 << 10;
    const MIB: u32 = 1 << 20;
    for (total, length) in [
        (0, 16 * KIB),
        (1, 16 * KIB),
        (1_000_000, 16 * KIB),
        (16_000_000, 32 * KIB),
        (16 << 20, 32 * KIB),
        (48 << 20, 64 * KIB),
        (64_000_000, 128 * KIB),
        (64 << 20, 128 * KIB),
        (256_000_000, 512 * KIB),
        (500_000_000, 512 * KIB),
        (1_000_000_000, MIB),
        (1 << 30, MIB),
        (4_000_000_000, 2 * MIB),
        (10_000_000_000, 8 * MIB),
        (20_000_000_000, 16 * MIB),
        (1 << 40, 16 * MIB),
        (u64::MAX, 16 * MIB),
    ] {
        assert_eq!(choose_piece_length(total), length, "for {total} bytes");
    }
}

#[test]
fn a_crowd_always_has_enough_pieces_and_a_magnet_link_never_too_many() {
    // From 8 MB to 17 GB in steps of a fourteenth.
    let steps = std::iter::successors(Some(8_000_000u64), |total| Some(total * 15 / 14));
    for total in steps.take_while(|total| *total < 17_000_000_000) {
        let pieces = total.div_ceil(choose_piece_length(total).into());
        assert!((480..=2000).contains(&pieces), "{pieces} pieces for {total} bytes");
    }
}
