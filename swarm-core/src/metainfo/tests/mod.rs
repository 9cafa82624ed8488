//! Tests of whole torrents: honest ones of every version, and each way to lie.

mod create;
mod fixtures;
mod hostile;
mod outer;
mod versions;

use bytes::Bytes;

use super::*;
use crate::bencode::{DictEncoder, Encoder, encode_dict};

/// A v1 torrent of one 3-byte file, with `change` applied to `info`: keys written again
/// replace those before.
fn single(change: impl FnOnce(&mut DictEncoder<'_>)) -> Vec<u8> {
    torrent_of(&encode_dict(|info| {
        info.bytes("name", "a");
        info.int("piece length", 16384);
        info.int("length", 3);
        info.bytes("pieces", [1; 20]);
        change(info);
    }))
}

/// A v1 torrent of a folder `top` with files of one byte at these paths.
fn folder(paths: &[&[&str]]) -> Vec<u8> {
    folder_with(paths.len(), |list| {
        for path in paths {
            list.dict(|file| {
                file.int("length", 1);
                file.list("path", |out| path.iter().for_each(|element| out.bytes(element)));
            });
        }
    })
}

/// A v1 torrent of a folder `top` whose files `write` writes; they hold `total` bytes.
fn folder_with(total: usize, write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    torrent_of(&encode_dict(|info| {
        info.bytes("name", "top");
        info.int("piece length", 16384);
        info.list("files", write);
        info.bytes("pieces", vec![1; 20 * total.div_ceil(16384)]);
    }))
}

fn torrent_of(info: &[u8]) -> Vec<u8> {
    encode_dict(|torrent| torrent.raw("info", info))
}

fn read(torrent: &[u8]) -> Metainfo {
    Metainfo::from_torrent(torrent).unwrap()
}

fn error(torrent: &[u8]) -> MetainfoError {
    Metainfo::from_torrent(torrent).unwrap_err()
}

/// Paths of stored files, joined by `/`.
fn paths(metainfo: &Metainfo) -> Vec<String> {
    metainfo.files().iter().filter(|file| !file.pad).map(|file| file.path.join("/")).collect()
}

fn hex(text: &str) -> Vec<u8> {
    data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
}

/// The same torrent as peers give it.
fn from_peers(metainfo: &Metainfo) -> Result<Metainfo, MetainfoError> {
    Metainfo::from_info(metainfo.info_bytes().clone(), &metainfo.hashes())
}

/// Replaces the one occurrence of `old` by bytes of the same length.
fn patched(torrent: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    assert_eq!(old.len(), new.len());
    let at: Vec<usize> = (0..torrent.len()).filter(|at| torrent[*at..].starts_with(old)).collect();
    assert_eq!(at.len(), 1, "{} places", at.len());
    let mut torrent = torrent.to_vec();
    torrent[at[0]..at[0] + old.len()].copy_from_slice(new);
    torrent
}

#[test]
fn the_info_hash_is_taken_over_the_bytes_as_they_came() {
    // Keys out of order: a decoder that re-encodes would hash something else.
    let info = b"d4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaa6:lengthi3ee";
    let metainfo = read(&torrent_of(info));
    let expected: [u8; 20] = <sha1::Sha1 as sha1::Digest>::digest(info).into();
    assert_eq!(metainfo.hashes().get_v1().unwrap().as_bytes(), &expected);
    assert_eq!(metainfo.info_bytes().as_ref(), info);
    assert_eq!(metainfo.warnings(), [Warning::UnsortedKeys]);
}

#[test]
fn metadata_from_peers_gives_the_same_torrent() {
    let torrent = folder(&[&["..", "A"], &["a"], &["con"], &["a", "b"]]);
    let file = read(&torrent);
    let peers = from_peers(&file).unwrap();
    assert_eq!(peers.files(), file.files());
    assert_eq!(peers.hashes(), file.hashes());
    assert_eq!(peers.info_bytes(), file.info_bytes());
    assert_eq!((peers.name(), peers.geometry()), (file.name(), file.geometry()));
}

#[test]
fn metadata_that_hashes_to_something_else_is_refused() {
    let file = read(&single(|_| {}));
    let mut bytes = file.info_bytes().to_vec();
    let last = bytes.len() - 2;
    bytes[last] ^= 1;
    let changed = Metainfo::from_info(Bytes::from(bytes), &file.hashes());
    assert_eq!(changed.unwrap_err(), MetainfoError::HashMismatch);
}

#[test]
fn a_torrent_is_not_taken_for_one_of_another_version() {
    let v2 = read(&hex(fixtures::FILE_V2));
    let info = v2.info_bytes();
    let sha1: [u8; 20] = <sha1::Sha1 as sha1::Digest>::digest(info).into();
    let as_v1 = InfoHashes::v1(crate::types::InfoHash::new(sha1));
    let error = Metainfo::from_info(info.clone(), &as_v1).unwrap_err();
    assert_eq!(error, MetainfoError::HashMismatch);
}

#[test]
fn piece_hashes_of_a_v1_torrent_are_its_own() {
    let pieces: Vec<u8> = (0..60).collect();
    let metainfo = read(&single(|info| {
        info.int("length", 16384 * 2 + 1);
        info.bytes("pieces", &pieces);
    }));
    assert_eq!(metainfo.geometry().piece_count(), 3);
    let second = metainfo.piece_hash(PieceIndex::new(1)).unwrap();
    assert_eq!(second, PieceHash::V1(pieces[20..40].try_into().unwrap()));
    assert_eq!(metainfo.piece_hash(PieceIndex::new(3)), None);
    assert_eq!(metainfo.version(), Version::V1);
}

#[test]
fn a_folder_keeps_its_order_and_its_attributes() {
    let metainfo = read(&folder_with(16384 + 5, |list| {
        for (attr, length, path) in
            [("x", 5, "z"), ("p", 16379, "pad"), ("h", 0, "e"), ("", 5, "a")]
        {
            list.dict(|file| {
                file.bytes("attr", attr);
                file.int("length", length);
                file.list("path", |out| out.bytes(path));
            });
        }
    }));
    assert_eq!(paths(&metainfo), ["z", "e", "a"]);
    let flags: Vec<_> = metainfo.files().iter().map(|file| (file.pad, file.executable)).collect();
    assert_eq!(flags, [(false, true), (true, false), (false, false), (false, false)]);
    assert_eq!(metainfo.content_length(), 10);
    assert_eq!(metainfo.layout().extents()[3].offset, 16384);
    assert!(!metainfo.is_single_file());
    assert_eq!(metainfo.warnings(), []);
}

#[test]
fn pad_files_need_no_path_and_may_share_one() {
    let metainfo = read(&folder_with(6, |list| {
        for at in 0..3 {
            list.dict(|file| {
                file.bytes("attr", "p");
                file.int("length", 1);
            });
            list.dict(|file| {
                file.int("length", 1);
                file.list("path", |out| out.bytes(at.to_string()));
            });
        }
    }));
    assert_eq!(paths(&metainfo), ["0", "1", "2"]);
    assert_eq!(metainfo.warnings(), []);
}

#[test]
fn links_are_skipped_unless_they_have_content() {
    let metainfo = read(&folder_with(7, |list| {
        list.dict(|file| {
            file.bytes("attr", "l");
            file.list("path", |out| out.bytes("link"));
            file.list("symlink path", |out| out.bytes(".."));
        });
        list.dict(|file| {
            file.bytes("attr", "l");
            file.int("length", 7);
            file.list("path", |out| out.bytes("content"));
        });
    }));
    assert_eq!(paths(&metainfo), ["content"]);
    assert_eq!(metainfo.files().len(), 2, "places of files do not shift");
    assert_eq!(metainfo.warnings(), [Warning::LinksSkipped(1)]);
}

#[test]
fn utf_8_names_are_preferred() {
    let metainfo = read(&torrent_of(&encode_dict(|info| {
        info.bytes("name", b"\xb1");
        info.bytes("name.utf-8", "ü");
        info.int("piece length", 16384);
        info.bytes("pieces", [1; 20]);
        info.list("files", |list| {
            list.dict(|file| {
                file.int("length", 1);
                file.list("path", |out| out.bytes(b"\xff"));
                file.list("path.utf-8", |out| out.bytes("ß"));
            });
        });
    })));
    assert_eq!((metainfo.name(), paths(&metainfo)), ("ü", vec!["ß".to_owned()]));
}

#[test]
fn a_torrent_without_a_name_is_called_by_its_hash() {
    for name in ["", ".."] {
        let metainfo = read(&single(|info| info.bytes("name", name)));
        assert_eq!(metainfo.name(), metainfo.hashes().wire().to_string());
        assert_eq!(metainfo.files()[0].path, [metainfo.name()]);
        assert!(metainfo.warnings().contains(&Warning::NameMissing));
    }
}

#[test]
fn changed_paths_remember_how_the_torrent_spells_them() {
    let metainfo = read(&folder(&[&["a:b", "c"], &["same"], &["SAME"], &["..", "x"], &["plain"]]));
    assert_eq!(paths(&metainfo), ["a_b/c", "same", "SAME.1", "x", "plain"]);
    let spelling = |file| metainfo.spelling(FileIndex::new(file)).map(|path| path.join("/"));
    assert_eq!(spelling(0).as_deref(), Some("a:b/c"));
    assert_eq!(spelling(2).as_deref(), Some("SAME"));
    assert_eq!((spelling(1), spelling(4)), (None, None));
    assert_eq!(spelling(3), None, "it would lead out of the folder");
    let warnings = [Warning::PathsRenamed(1), Warning::PathsChanged(2)];
    assert_eq!(metainfo.warnings(), warnings);
}

#[test]
fn private_and_source_come_from_info() {
    let metainfo = read(&single(|info| {
        info.int("private", 1);
        info.bytes("source", "S");
    }));
    assert!(metainfo.is_private());
    assert_eq!(metainfo.source(), Some("S"));
    assert!(!read(&single(|info| info.int("private", 0))).is_private());
}

#[test]
fn many_files_fit_the_limits_of_the_decoder() {
    let count = 100_000;
    let metainfo = read(&folder_with(count, |list| {
        for at in 0..count {
            list.dict(|file| {
                file.int("length", 1);
                file.list("path", |out| {
                    out.bytes(format!("folder {}", at / 100));
                    out.bytes(format!("file number {at}"));
                });
            });
        }
    }));
    assert_eq!(metainfo.files().len(), count);
}
