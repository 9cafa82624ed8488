//! v2 and hybrid torrents: those that libtorrent made, and damaged ones.

use super::*;
use crate::metainfo::merkle::{FileRoots, leaves_of, piece_root};

/// Content of the folder that the fixtures describe.
const FOLDER: [(&str, usize, u8); 5] = [
    ("a.bin", 40_000, 1),
    ("empty", 0, 0),
    ("sub/b.bin", 16_384, 2),
    ("sub/c.bin", 100, 3),
    ("z.bin", 70_000, 4),
];

/// The run of bytes in which every file begins a piece.
fn aligned_run(piece_length: usize) -> Vec<u8> {
    let mut run = Vec::new();
    for (_, length, byte) in FOLDER.iter().filter(|(_, length, _)| *length > 0) {
        run.resize(run.len().next_multiple_of(piece_length), 0);
        run.resize(run.len() + length, *byte);
    }
    run
}

fn content_paths() -> Vec<String> {
    FOLDER.iter().map(|(path, ..)| (*path).to_owned()).collect()
}

#[test]
fn hashes_are_those_libtorrent_finds() {
    for (torrent, v1, v2) in [
        (fixtures::FOLDER_V1, Some("7dc1f654178d1c2f61268017fa58bfe0ab75b453"), None),
        (
            fixtures::FOLDER_V2,
            None,
            Some("d03d59de231a7b36e13bb9b8d6704cd3daf17a1bcc8af7d73553ce9b4d1f0c95"),
        ),
        (
            fixtures::FOLDER_HYBRID,
            Some("0d4441effda97d8193b18467b84458543dc87dd2"),
            Some("b0f7a0e2080e424cce422127f8ba684263958f3f9ac8cc888088c4e2d7d0c9e7"),
        ),
        (
            fixtures::FILE_V2,
            None,
            Some("2d08529c37b880ca87ba48ef5f58eaebc4d6f530c1ad7a0034289288d88b0bc1"),
        ),
        (
            fixtures::FILE_HYBRID,
            Some("97f9a9152a8193c4de3fbca439caf4bc096228a6"),
            Some("e03ed2de86c1333ce6fc1276169fda56f54716a3735682f153be121d154ddf3b"),
        ),
        (
            fixtures::BIG_V2,
            None,
            Some("3c47e41e0d01d71130295192c139fd2c2f51b4c9a92c71bfc769c33012b9d697"),
        ),
    ] {
        let metainfo = read(&hex(torrent));
        assert_eq!(metainfo.hashes().get_v1(), v1.map(|hash| hash.parse().unwrap()));
        assert_eq!(metainfo.hashes().get_v2(), v2.map(|hash| hash.parse().unwrap()));
        assert_eq!(metainfo.warnings(), []);
    }
}

#[test]
fn all_versions_of_a_folder_have_the_same_files() {
    let versions = [
        (fixtures::FOLDER_V1, Version::V1),
        (fixtures::FOLDER_V2, Version::V2),
        (fixtures::FOLDER_HYBRID, Version::Hybrid),
    ];
    for (torrent, version) in versions {
        let metainfo = read(&hex(torrent));
        assert_eq!(metainfo.version(), version);
        assert_eq!((metainfo.name(), paths(&metainfo)), ("dir", content_paths()));
        assert_eq!(metainfo.content_length(), 126_484);
        assert!(!metainfo.is_single_file());
    }
    for torrent in [fixtures::FILE_V2, fixtures::FILE_HYBRID] {
        let metainfo = read(&hex(torrent));
        assert!(metainfo.is_single_file());
        assert_eq!(paths(&metainfo), ["one.bin"]);
    }
}

#[test]
fn v2_and_hybrid_share_one_layout_but_for_the_tail() {
    let v2 = read(&hex(fixtures::FOLDER_V2));
    let hybrid = read(&hex(fixtures::FOLDER_HYBRID));
    assert_eq!(v2.geometry().piece_count(), hybrid.geometry().piece_count());
    let content = |metainfo: &Metainfo| -> Vec<_> {
        let extents = metainfo.layout().extents().iter().filter(|e| !e.pad && e.length > 0);
        extents.copied().collect()
    };
    assert_eq!(content(&v2), content(&hybrid));
    let run = aligned_run(16384);
    assert_eq!(v2.geometry().total_length(), run.len() as u64);
    assert_eq!(hybrid.geometry().total_length(), run.len().next_multiple_of(16384) as u64);
}

#[test]
fn piece_hashes_fit_the_content() {
    let v2 = read(&hex(fixtures::FOLDER_V2));
    let run = aligned_run(16384);
    for piece in v2.geometry().pieces() {
        let Some(PieceHash::V2 { root, leaves }) = v2.piece_hash(piece) else { panic!() };
        // Only what belongs to the file: the pad file after it is not hashed.
        let slice = v2.layout().slices(v2.geometry().piece_range(piece)).next().unwrap();
        let start = usize::try_from(v2.geometry().piece_offset(piece)).unwrap();
        let bytes = &run[start..start + usize::try_from(slice.length).unwrap()];
        assert_eq!(piece_root(bytes, leaves), root, "piece {piece}");
    }
    let hybrid = read(&hex(fixtures::FOLDER_HYBRID));
    let mut padded = run;
    padded.resize(padded.len().next_multiple_of(16384), 0);
    for (piece, bytes) in hybrid.geometry().pieces().zip(padded.chunks(16384)) {
        let sha1: [u8; 20] = <sha1::Sha1 as sha1::Digest>::digest(bytes).into();
        assert_eq!(hybrid.piece_hash(piece), Some(PieceHash::V1(sha1)));
    }
}

#[test]
fn pieces_of_several_blocks_have_their_layer_and_small_files_their_root() {
    let metainfo = read(&hex(fixtures::BIG_V2));
    let leaves: Vec<_> = metainfo
        .geometry()
        .pieces()
        .map(|piece| match metainfo.piece_hash(piece) {
            Some(PieceHash::V2 { root, leaves }) => (root, leaves),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(leaves.len(), 5);
    let last = piece_root(&vec![7; 200_000 - 3 * 65536], 4);
    assert_eq!(leaves[3], (last, 4));
    assert_eq!(leaves[4], (piece_root(&[1; 65536], 4), 4));
    let peers = from_peers(&metainfo).unwrap();
    assert_eq!(peers.piece_hash(PieceIndex::new(0)), None, "its layer is not known");
    assert_eq!(peers.piece_hash(PieceIndex::new(4)), metainfo.piece_hash(PieceIndex::new(4)));
    assert_eq!(metainfo.piece_hash(PieceIndex::new(5)), None);
}

#[test]
fn torrents_are_written_back_byte_for_byte() {
    for torrent in [
        fixtures::FOLDER_V1,
        fixtures::FOLDER_V2,
        fixtures::FOLDER_HYBRID,
        fixtures::FILE_V2,
        fixtures::FILE_HYBRID,
        fixtures::BIG_V2,
    ] {
        assert_eq!(read(&hex(torrent)).to_torrent(), hex(torrent));
    }
}

#[test]
fn a_hybrid_that_came_from_peers_can_be_written_and_read() {
    let peers = from_peers(&read(&hex(fixtures::FOLDER_HYBRID))).unwrap();
    let again = read(&peers.to_torrent());
    assert_eq!(again.hashes(), peers.hashes());
    assert_eq!(again.warnings(), [Warning::PieceLayersMissing]);
    let v2 = from_peers(&read(&hex(fixtures::FOLDER_V2))).unwrap();
    assert!(matches!(error(&v2.to_torrent()), MetainfoError::Field { key: "piece layers", .. }));
}

/// Bytes that only the layer of `z.bin` holds: the key, in the hybrid and in the v2 torrent.
fn layers_of(torrent: &[u8]) -> std::ops::Range<usize> {
    let key = b"12:piece layers";
    let at = (0..torrent.len()).find(|at| torrent[*at..].starts_with(key)).unwrap();
    at + key.len()..torrent.len() - 1
}

#[test]
fn damaged_piece_layers_are_refused() {
    for torrent in [fixtures::FOLDER_V2, fixtures::FOLDER_HYBRID] {
        let torrent = hex(torrent);
        let range = layers_of(&torrent);
        let with = |layers: &[u8]| {
            let mut changed = torrent.clone();
            changed.splice(range.clone(), layers.iter().copied());
            error(&changed)
        };
        let document = bencode::parse(&torrent[range.clone()], &Limits::WIRE).unwrap();
        let layers = document.root().as_dict().unwrap();
        let (key, layer) = layers.iter().next().unwrap();
        let layer = layer.as_bytes().unwrap();
        let other = layers.iter().nth(1).unwrap();
        let with_layer = |key: &[u8], layer: &[u8]| {
            with(&encode_dict(|out| {
                out.bytes(key, layer);
                out.raw(other.0, other.1.raw());
            }))
        };
        let reason = |error| match error {
            MetainfoError::PieceLayers(reason) => reason,
            other => panic!("{other}"),
        };
        assert_eq!(reason(with(b"de")), "a layer is missing");
        let unknown = encode_dict(|out| {
            layers.iter().for_each(|(key, layer)| out.raw(key, layer.raw()));
            out.bytes([9; 32], [9; 32]);
        });
        assert_eq!(reason(with(&unknown)), "no file has this root");
        assert_eq!(reason(with(b"d3:abc0:e")), "key is no root");
        assert_eq!(reason(with_layer(key, &layer[..32])), "layer of the wrong length");
        assert_eq!(reason(with_layer(key, &layer[1..])), "layer of the wrong length");
        let mut zero = layer.to_vec();
        zero[..32].fill(0);
        assert_eq!(reason(with_layer(key, &zero)), "layer with a zero hash");
        let mut wrong = layer.to_vec();
        wrong[0] ^= 1;
        assert_eq!(reason(with_layer(key, &wrong)), "layer does not match its root");
        assert!(matches!(with(b"le"), MetainfoError::Field { key: "piece layers", .. }));
    }
}

/// A v2 torrent of folder `top` whose file tree `write` writes, without piece layers.
fn tree(write: impl FnOnce(&mut DictEncoder<'_>)) -> Vec<u8> {
    torrent_of(&encode_dict(|info| {
        info.dict("file tree", write);
        info.int("meta version", 2);
        info.bytes("name", "top");
        info.int("piece length", 16384);
    }))
}

fn leaf(entry: &mut DictEncoder<'_>, length: i64) {
    entry.dict("", |file| {
        file.int("length", length);
        file.bytes("pieces root", [length.max(1).to_le_bytes()[0]; 32]);
    });
}

#[test]
fn a_tree_of_one_file_is_a_single_file_torrent_of_its_name() {
    let one = read(&tree(|t| t.dict("a", |a| leaf(a, 5))));
    assert!(one.is_single_file());
    assert_eq!((one.name(), paths(&one)), ("a", vec!["a".to_owned()]));
    let below = read(&tree(|t| t.dict("d", |d| d.dict("a", |a| leaf(a, 5)))));
    assert!(!below.is_single_file());
    assert_eq!((below.name(), paths(&below)), ("top", vec!["d/a".to_owned()]));
}

#[test]
fn malformed_file_trees_are_refused() {
    let reason = |torrent: Vec<u8>| match error(&torrent) {
        MetainfoError::FileTree(reason) => reason,
        other => panic!("{other}"),
    };
    let nested = "empty name, or a file with children";
    assert_eq!(reason(tree(|t| leaf(t, 5))), nested);
    assert_eq!(
        reason(tree(|t| t.dict("a", |a| {
            leaf(a, 5);
            a.dict("b", |b| leaf(b, 5));
        }))),
        "a file with children"
    );
    assert_eq!(reason(tree(|t| t.int("a", 5))), "entry is no dictionary");
    assert_eq!(reason(tree(|t| t.dict("a", |a| a.int("", 5)))), "entry is no dictionary");
    let length = "file without a valid length";
    assert_eq!(reason(tree(|t| t.dict("a", |a| a.dict("", |_| {})))), length);
    assert_eq!(reason(tree(|t| t.dict("a", |a| leaf(a, -1)))), length);
    let root = "file without a valid root";
    for bytes in [&[0; 32][..], &[1; 31], &[1; 33]] {
        let torrent = tree(|t| {
            t.dict("a", |a| {
                a.dict("", |file| {
                    file.int("length", 5);
                    file.bytes("pieces root", bytes);
                });
            });
        });
        assert_eq!(reason(torrent), root);
    }
    let padded = tree(|t| {
        t.dict("a", |a| {
            a.dict("", |file| {
                file.bytes("attr", "p");
                file.int("length", 5);
                file.bytes("pieces root", [1; 32]);
            });
        });
    });
    assert_eq!(reason(padded), "pad file");
}

#[test]
fn a_tree_out_of_order_is_refused() {
    let sorted = tree(|t| {
        t.dict("aa", |a| leaf(a, 5));
        t.dict("bb", |b| leaf(b, 5));
    });
    let swapped = patched(&patched(&sorted, b"2:aa", b"2:cc"), b"2:bb", b"2:aa");
    assert_eq!(error(&swapped), MetainfoError::FileTree("names out of order"));
}

#[test]
fn empty_folders_are_told_and_alone_are_no_content() {
    let torrent = tree(|t| {
        t.dict("a", |a| leaf(a, 5));
        t.dict("b", |_| {});
    });
    assert_eq!(read(&torrent).warnings(), [Warning::EmptyFolders(1)]);
    assert_eq!(error(&tree(|t| t.dict("b", |_| {}))), MetainfoError::Empty);
    assert_eq!(error(&tree(|_| {})), MetainfoError::Empty);
}

#[test]
fn files_of_one_root_share_a_layer_only_when_as_long() {
    let leaf = |entry: &mut DictEncoder<'_>, length| {
        entry.dict("", |file| {
            file.int("length", length);
            file.bytes("pieces root", [5; 32]);
        });
    };
    let torrent = |lengths: [i64; 2]| {
        tree(|t| {
            t.dict("a", |a| leaf(a, lengths[0]));
            t.dict("b", |b| leaf(b, lengths[1]));
        })
    };
    let with_layers = |mut torrent: Vec<u8>| {
        torrent.pop();
        torrent.extend_from_slice(b"12:piece layersdee");
        error(&torrent)
    };
    let reason = MetainfoError::PieceLayers("one root for files of different lengths");
    assert_eq!(with_layers(torrent([40_000, 60_000])), reason);
    assert_eq!(
        with_layers(torrent([40_000, 40_001])),
        MetainfoError::PieceLayers("a layer is missing")
    );
}

#[test]
fn v2_piece_lengths_are_powers_of_two_of_at_least_a_block() {
    for (length, valid) in [(8192, false), (16384, true), (24576, false), (1 << 29, true)] {
        let torrent = torrent_of(&encode_dict(|info| {
            info.dict("file tree", |t| t.dict("a", |a| leaf(a, 5)));
            info.int("meta version", 2);
            info.bytes("name", "top");
            info.int("piece length", length);
        }));
        assert_eq!(Metainfo::from_torrent(&torrent).is_ok(), valid, "{length}");
    }
}

#[test]
fn unknown_meta_versions_are_named_before_anything_else() {
    for version in [1, 3, 0, -2] {
        let torrent = single(|info| {
            info.int("meta version", version);
            info.bytes("pieces", "");
        });
        assert_eq!(error(&torrent), MetainfoError::MetaVersion(version));
    }
}

#[test]
fn halves_of_a_hybrid_have_to_agree() {
    let torrent = hex(fixtures::FOLDER_HYBRID);
    for (old, new) in [
        // another name, another length with its pad changed to match, a missing alignment
        (&b"4:pathl5:a.bin"[..], &b"4:pathl5:b.bin"[..]),
        (b"6:lengthi100e4:path", b"6:lengthi101e4:path"),
        (b"d4:attr1:p6:lengthi9152e", b"d4:attr1:x6:lengthi9152e"),
        (b"4:pathl3:sub5:c.bin", b"4:pathl3:sub5:C.bin"),
        (b"d4:attr1:p6:lengthi11920e", b"d4:attr1:p6:lengthi11919e"),
    ] {
        let error = error(&patched(&torrent, old, new));
        assert_eq!(error, MetainfoError::HybridMismatch, "{}", old.escape_ascii());
    }
    let single = hex(fixtures::FILE_HYBRID);
    let at = (0..single.len()).find(|at| single[*at..].starts_with(b"7:one.bin12:piece")).unwrap();
    let mut renamed = single;
    renamed[at + 2] = b'O';
    assert_eq!(error(&renamed), MetainfoError::HybridMismatch);
}

#[test]
fn roots_from_pieces_are_those_libtorrent_wrote() {
    let piece = |bytes: &[u8]| piece_root(bytes, 4);
    let content = vec![7; 200_000];
    let roots = FileRoots::new(content.chunks(65536).map(piece).collect(), 65536);
    let torrent = hex(fixtures::BIG_V2);
    assert!(torrent.windows(32).any(|bytes| bytes == roots.root));
    let small = piece_root(&[3; 100], u32::try_from(leaves_of(100)).unwrap());
    assert!(hex(fixtures::FOLDER_V2).windows(32).any(|bytes| bytes == small));
}
