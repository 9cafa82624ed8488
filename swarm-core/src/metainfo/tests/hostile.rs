//! v1 torrents that lie about themselves (LIMITS A11 to A18).

use proptest::prelude::*;

use super::*;
use crate::geometry::{GeometryError, PIECE_COUNT_MAX, PIECE_LENGTH_MAX, TOTAL_LENGTH_MAX};

#[test]
fn what_is_no_torrent_is_refused() {
    assert!(matches!(error(b""), MetainfoError::Bencode(bencode::Error::Truncated)));
    assert!(matches!(error(b"<html>"), MetainfoError::Bencode(_)));
    assert!(matches!(error(b"\x1f\x8b\x08gzip"), MetainfoError::Bencode(_)));
    assert!(matches!(error(b"i1e"), MetainfoError::Field { key: "info", .. }));
    assert!(matches!(error(b"de"), MetainfoError::Field { key: "info", .. }));
    assert!(matches!(error(b"d4:infoi1ee"), MetainfoError::Field { key: "info", .. }));
    let whole = single(|_| {});
    for end in 0..whole.len() {
        assert!(Metainfo::from_torrent(&whole[..end]).is_err());
    }
}

#[test]
fn sizes_are_bounded() {
    let mut torrent = single(|_| {});
    torrent.resize(TORRENT_SIZE_MAX, b'\n');
    let trailing = TORRENT_SIZE_MAX - single(|_| {}).len();
    assert_eq!(read(&torrent).warnings(), [Warning::TrailingBytes(trailing)]);
    torrent.push(b'\n');
    let too_large = |length, limit| MetainfoError::TooLarge { length, limit };
    assert_eq!(error(&torrent), too_large(TORRENT_SIZE_MAX + 1, TORRENT_SIZE_MAX));

    let big = |size: usize| read(&single(|info| info.bytes("x", vec![0; size])));
    let room = INFO_SIZE_MAX - big(1_000_000).info_bytes().len() + 1_000_000;
    let fits = big(room - 1);
    assert_eq!(fits.info_bytes().len(), INFO_SIZE_MAX);
    assert!(from_peers(&fits).is_ok());
    let error = from_peers(&big(room)).unwrap_err();
    assert_eq!(error, too_large(INFO_SIZE_MAX + 1, INFO_SIZE_MAX));
    assert_eq!((TORRENT_SIZE_MAX, INFO_SIZE_MAX), (32 << 20, 16 << 20));
}

#[test]
fn what_two_readers_could_read_differently_is_refused() {
    let info = |extra: &str| {
        torrent_of(
            format!(
                "d6:lengthi3e4:name1:a12:piece lengthi16384e6:pieces20:{}{extra}e",
                "x".repeat(20)
            )
            .as_bytes(),
        )
    };
    assert!(Metainfo::from_torrent(&info("")).is_ok());
    let form = |extra| match error(&info(extra)) {
        MetainfoError::Bencode(error) => error,
        other => panic!("{other}"),
    };
    assert!(matches!(form("6:pieces0:"), bencode::Error::RepeatedKey { .. }));
    assert!(matches!(form("6:lengthi4e"), bencode::Error::RepeatedKey { .. }));
    assert!(matches!(form("1:xi-0e"), bencode::Error::NumberForm { .. }));
    assert!(matches!(form("1:xi007e"), bencode::Error::NumberForm { .. }));
    assert!(matches!(form("1:x01:y"), bencode::Error::NumberForm { .. }));
    assert!(matches!(form("1:xd1:ai1e1:ai2ee"), bencode::Error::RepeatedKey { .. }));
    assert!(matches!(form("1:xi9223372036854775808e"), bencode::Error::Integer { .. }));
    // Outside of `info` it does not change what the torrent is.
    let outer = [b"d1:ai-0e4:infod", &single(|_| {})[8..]].concat();
    assert!(Metainfo::from_torrent(&outer).is_ok());
    let info = read(&single(|_| {})).info_bytes().clone();
    let twice = [b"d4:info", &info[..], b"4:info", &info[..], b"e"].concat();
    assert_eq!(error(&twice), MetainfoError::RepeatedInfo);
}

#[test]
fn nesting_is_bounded_alike_in_a_file_and_from_peers() {
    let nested = |depth: usize| [vec![b'l'; depth], vec![b'e'; depth]].concat();
    // The outer dictionary and `info` are two more.
    let fits = read(&single(|info| info.raw("x", &nested(62))));
    assert!(from_peers(&fits).is_ok());
    let deeper = single(|info| info.raw("x", &nested(63)));
    let too_deep = |limit| MetainfoError::Bencode(bencode::Error::TooDeep { limit });
    assert_eq!(error(&deeper), too_deep(64));
    let bytes = &deeper[7..deeper.len() - 1];
    let hashes = info::hashes(bytes, Version::V1);
    let from_peers = Metainfo::from_info(Bytes::copy_from_slice(bytes), &hashes);
    assert_eq!(from_peers.unwrap_err(), too_deep(63));
}

#[test]
fn piece_lengths_are_bounded() {
    let with = |length: i64| error(&single(|info| info.int("piece length", length)));
    assert_eq!(with(0), MetainfoError::Geometry(GeometryError::PieceLength(0)));
    assert!(matches!(with(-1), MetainfoError::Field { key: "piece length", .. }));
    let beyond = i64::from(PIECE_LENGTH_MAX) + 1;
    assert!(matches!(with(beyond), MetainfoError::Geometry(GeometryError::PieceLength(_))));
    assert!(matches!(with(i64::MAX), MetainfoError::Geometry(_)));
    let absent = torrent_of(b"d6:lengthi3e4:name1:a6:pieces20:aaaaaaaaaaaaaaaaaaaae");
    assert!(matches!(error(&absent), MetainfoError::Field { key: "piece length", .. }));
    let odd = single(|info| info.int("piece length", 1_000_003));
    assert!(Metainfo::from_torrent(&odd).is_ok(), "v1 pieces need be no power of two");
}

#[test]
fn there_is_exactly_one_hash_for_each_piece() {
    for found in [0, 19, 21, 40] {
        let torrent = single(|info| info.bytes("pieces", vec![1; found]));
        assert_eq!(error(&torrent), MetainfoError::PieceHashes { expected: 20, found });
    }
    let torrent = torrent_of(b"d6:lengthi3e4:name1:a12:piece lengthi16384ee");
    assert!(matches!(error(&torrent), MetainfoError::Field { key: "pieces", .. }));
    let pieces = |count: u32| {
        let bytes = vec![1; usize::try_from(count).unwrap() * 20];
        single(|info| {
            info.int("length", i64::from(count) * 16384);
            info.bytes("pieces", bytes);
        })
    };
    assert!(pieces(PIECE_COUNT_MAX).len() > TORRENT_SIZE_MAX, "2^21 hashes are 40 MiB");
    let most = read(&pieces(1_600_000));
    assert_eq!(most.geometry().piece_count(), 1_600_000);
    let many = single(|info| {
        info.int("piece length", 1);
        info.int("length", i64::from(PIECE_COUNT_MAX) + 1);
    });
    assert!(matches!(error(&many), MetainfoError::Geometry(GeometryError::PieceCount(_))));
}

#[test]
fn lengths_that_overflow_or_are_negative_are_refused() {
    let with = |length: i64| error(&single(|info| info.int("length", length)));
    assert_eq!(with(-1), MetainfoError::FileLength(0));
    assert_eq!(with(i64::MAX), MetainfoError::FileLength(0));
    let most = i64::try_from(TOTAL_LENGTH_MAX).unwrap();
    let two = folder_with(1, |list| {
        for length in [most, 1] {
            list.dict(|file| {
                file.int("length", length);
                file.list("path", |out| out.bytes(length.to_string()));
            });
        }
    });
    assert!(matches!(error(&two), MetainfoError::Geometry(GeometryError::TotalLength(_))));
}

#[test]
fn torrents_without_content_are_refused() {
    assert_eq!(error(&single(|info| info.int("length", 0))), MetainfoError::Empty);
    assert_eq!(error(&folder_with(0, |_| {})), MetainfoError::Empty);
    let only = |attr: &'static str, length| {
        folder_with(usize::try_from(length).unwrap(), move |list| {
            list.dict(|file| {
                file.bytes("attr", attr);
                file.int("length", length);
                file.list("path", |out| out.bytes("a"));
            });
        })
    };
    assert_eq!(error(&only("p", 5)), MetainfoError::Empty);
    assert_eq!(error(&only("", 0)), MetainfoError::Empty);
}

#[test]
fn files_need_a_length_and_a_path() {
    let with = |write: fn(&mut DictEncoder<'_>)| {
        error(&folder_with(1, |list| {
            list.dict(|file| {
                file.int("length", 1);
                file.list("path", |out| out.bytes("a"));
            });
            list.dict(write);
        }))
    };
    assert_eq!(with(|file| file.int("length", 1)), MetainfoError::FilePath(1));
    let empty: fn(&mut DictEncoder<'_>) = |file| {
        file.int("length", 1);
        file.list("path", |_| {});
    };
    assert_eq!(with(empty), MetainfoError::FilePath(1));
    assert_eq!(with(|file| file.list("path", |out| out.bytes("b"))), MetainfoError::FileLength(1));
    let number: fn(&mut DictEncoder<'_>) = |file| {
        file.int("length", 1);
        file.list("path", |out| out.int(1));
    };
    assert_eq!(with(number), MetainfoError::FilePath(1));
    assert_eq!(error(&folder_with(1, |list| list.int(1))), MetainfoError::FileLength(0));
    let both = single(|info| info.list("files", |_| {}));
    assert_eq!(error(&both), MetainfoError::LengthOrFiles);
    let neither = torrent_of(b"d4:name1:a12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaae");
    assert_eq!(error(&neither), MetainfoError::LengthOrFiles);
    assert!(matches!(
        error(&torrent_of(b"d5:filesi1e4:name1:a12:piece lengthi16384e6:pieces0:e")),
        MetainfoError::Field { key: "files", .. }
    ));
}

proptest! {
    #[test]
    fn damaged_torrents_are_read_or_refused_but_never_panic(
        which in 0usize..6,
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let torrents = [
            fixtures::FOLDER_V1, fixtures::FOLDER_V2, fixtures::FOLDER_HYBRID,
            fixtures::FILE_V2, fixtures::FILE_HYBRID, fixtures::BIG_V2,
        ];
        let mut torrent = hex(torrents[which]);
        for (at, byte) in damage {
            let at = at.index(torrent.len());
            torrent[at] = byte;
        }
        if let Ok(metainfo) = Metainfo::from_torrent(&torrent) {
            for piece in metainfo.geometry().pieces().chain([PieceIndex::new(u32::MAX)]) {
                let exists = metainfo.geometry().has_piece(piece);
                prop_assert!(metainfo.piece_hash(piece).is_some() == exists
                    || metainfo.warnings().contains(&Warning::PieceLayersMissing));
            }
            prop_assert_eq!(metainfo.layout().total_length(), metainfo.geometry().total_length());
            prop_assert_eq!(metainfo.layout().extents().len(), metainfo.files().len());
            let again = read(&metainfo.to_torrent());
            prop_assert_eq!(again.hashes(), metainfo.hashes());
            prop_assert_eq!(again.files(), metainfo.files());
        }
    }
}
