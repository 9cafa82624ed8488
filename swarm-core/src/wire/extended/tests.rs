//! Handshakes as clients send them, and as they had better not.

use super::*;
use proptest::prelude::*;

fn decode(bytes: &[u8]) -> ExtendedHandshake {
    ExtendedHandshake::decode(bytes).unwrap()
}

#[test]
fn a_whole_handshake_is_read() {
    let bytes = b"d12:complete_agoi5e1:md11:lt_donthavei7e11:ut_metadatai3e6:ut_pexi1ee\
        13:metadata_sizei31235e1:pi6881e4:reqqi500e11:upload_onlyi1e1:v13:\xc2\xb5Torrent 1.2\
        6:yourip4\x3a\x01\x02\x03\x04e";
    let handshake = decode(bytes);
    assert_eq!(handshake.ids.id_of(Extension::UtMetadata), Some(3));
    assert_eq!(handshake.ids.id_of(Extension::UtPex), Some(1));
    assert_eq!(handshake.ids.id_of(Extension::LtDonthave), Some(7));
    assert_eq!(handshake.ids.id_of(Extension::UploadOnly), None);
    assert_eq!(handshake.metadata_size, Some(31235));
    assert_eq!((handshake.port, handshake.reqq), (Some(6881), Some(500)));
    assert_eq!(handshake.client.as_deref(), Some("µTorrent 1.2"));
    assert_eq!(handshake.your_ip, Some([1, 2, 3, 4].into()));
    assert_eq!(handshake.upload_only, Some(true));
}

#[test]
fn an_empty_dictionary_promises_nothing() {
    assert_eq!(decode(b"de"), ExtendedHandshake::default());
    assert_eq!(decode(b"detrailing"), ExtendedHandshake::default());
}

#[test]
fn what_is_no_dictionary_is_refused() {
    assert_eq!(ExtendedHandshake::decode(b"le"), Err(ExtendedError::NotADictionary));
    for bytes in [&b""[..], b"d", b"x", b"d1:m"] {
        assert!(matches!(ExtendedHandshake::decode(bytes), Err(ExtendedError::Bencode(_))));
    }
    let deep = [b"d1:m".to_vec(), vec![b'l'; 20], vec![b'e'; 21]].concat();
    assert!(matches!(
        ExtendedHandshake::decode(&deep),
        Err(ExtendedError::Bencode(bencode::Error::TooDeep { .. }))
    ));
}

#[test]
fn numbers_out_of_range_are_clamped_or_left_out() {
    for (bytes, reqq) in [
        (&b"d4:reqqi0ee"[..], 1),
        (b"d4:reqqi-5ee", 1),
        (b"d4:reqqi2048ee", 2048),
        (b"d4:reqqi2147483648ee", 2048),
    ] {
        assert_eq!(decode(bytes).reqq, Some(reqq));
    }
    for bytes in [
        &b"d13:metadata_sizei0ee"[..],
        b"d13:metadata_sizei-1ee",
        b"d13:metadata_sizei16777217ee",
        b"d13:metadata_size3:100e",
    ] {
        assert_eq!(decode(bytes).metadata_size, None);
    }
    assert_eq!(decode(b"d13:metadata_sizei16777216ee").metadata_size, Some(METADATA_MAX));
    for bytes in [&b"d1:pi0ee"[..], b"d1:pi65536ee", b"d1:pi-1ee"] {
        assert_eq!(decode(bytes).port, None);
    }
    assert_eq!(decode(b"d6:yourip5:12345e").your_ip, None);
    assert_eq!(decode(b"d1:md6:ut_pexi256eee").ids, ExtensionIds::default());
}

#[test]
fn a_later_handshake_changes_only_what_it_names() {
    let mut ids = decode(b"d1:md11:ut_metadatai3e6:ut_pexi1eee").ids;
    ids.update(&decode(b"d1:md11:lt_donthavei9e6:ut_pexi0eee").ids);
    assert_eq!(ids.id_of(Extension::UtMetadata), Some(3));
    assert_eq!(ids.id_of(Extension::UtPex), None);
    assert_eq!(ids.id_of(Extension::LtDonthave), Some(9));
}

#[test]
fn only_the_first_extensions_of_a_long_list_are_looked_at() {
    let with = |others: usize| {
        bencode::encode_dict(|dict| {
            dict.dict("m", |m| {
                for n in 0..others {
                    m.int(format!("a{n:03}"), 1);
                }
                m.int("ut_metadata", 3);
            });
        })
    };
    let id = |bytes: Vec<u8>| decode(&bytes).ids.id_of(Extension::UtMetadata);
    assert_eq!(id(with(EXTENSIONS_MAX - 1)), Some(3));
    assert_eq!(id(with(EXTENSIONS_MAX)), None);
}

#[test]
fn a_long_name_is_cut_between_characters() {
    let with = |name: &[u8]| {
        let bytes = bencode::encode_dict(|dict| dict.bytes("v", name));
        decode(&bytes).client.unwrap()
    };
    assert_eq!(with(&[b'x'; 1000]), "x".repeat(64));
    let umlauts = format!("x{}", "ü".repeat(500));
    assert_eq!(with(umlauts.as_bytes()), format!("x{}", "ü".repeat(31)));
    assert_eq!(with(b"a\xffb"), "a\u{fffd}b");
    assert_eq!(with(b"a\xc3"), "a\u{fffd}");
}

#[test]
fn a_run_is_longer_than_a_block_and_no_longer_than_we_would_take() {
    let with =
        |bytes: i64| decode(&bencode::encode_dict(|dict| dict.int("swarm_run", bytes))).run_max;
    for none in [i64::MIN, -1, 0, 1, i64::from(BLOCK_SIZE)] {
        assert_eq!(with(none), None);
    }
    assert_eq!(with(40_000), Some(40_000));
    assert_eq!(with(i64::MAX), Some(frame::RUN_MAX));
}

#[test]
fn local_ids_are_distinct_and_found_again() {
    for extension in Extension::ALL {
        assert_eq!(Extension::from_local_id(extension.local_id()), Some(extension));
    }
    assert_eq!(Extension::from_local_id(HANDSHAKE_ID), None);
    assert_eq!(Extension::from_local_id(200), None);
    let ours = ExtensionIds::local(&[Extension::LtDonthave]);
    assert_eq!(ours.id_of(Extension::LtDonthave), Some(3));
    assert_eq!(ours.id_of(Extension::UtPex), None);
}

#[test]
fn the_small_messages_are_exact() {
    let piece = PieceIndex::new(0x0102_0304);
    assert_eq!(encode_donthave(piece), Bytes::from_static(&[1, 2, 3, 4]));
    assert_eq!(decode_donthave(&[1, 2, 3, 4]), Some(piece));
    for wrong in [&[][..], &[1, 2, 3], &[1, 2, 3, 4, 5]] {
        assert_eq!(decode_donthave(wrong), None);
    }
    for flag in [true, false] {
        assert_eq!(decode_upload_only(&encode_upload_only(flag)), Some(flag));
    }
    assert_eq!((decode_upload_only(&[]), decode_upload_only(&[1, 1])), (None, None));
}

fn any_handshake() -> impl Strategy<Value = ExtendedHandshake> {
    let ids = any::<[Option<u8>; Extension::ALL.len()]>().prop_map(|ids| ExtensionIds { ids });
    let ip = prop::option::of(any::<IpAddr>());
    let size = prop::option::of(1..=METADATA_MAX);
    let reqq = prop::option::of(1..=REQQ_MAX);
    let port = prop::option::of(1..=u16::MAX);
    let client = prop::option::of("[a-zé]{0,32}");
    let run = prop::option::of(BLOCK_SIZE + 1..=frame::RUN_MAX);
    (ids, size, reqq, client, ip, port, any::<Option<bool>>(), run).prop_map(
        |(ids, metadata_size, reqq, client, your_ip, port, upload_only, run_max)| {
            ExtendedHandshake {
                ids,
                metadata_size,
                reqq,
                client,
                your_ip,
                port,
                upload_only,
                run_max,
            }
        },
    )
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(handshake in any_handshake()) {
        let Message::Extended { id: HANDSHAKE_ID, payload } = handshake.to_message() else {
            return Err(TestCaseError::fail("not an extension handshake"));
        };
        prop_assert_eq!(ExtendedHandshake::decode(&payload), Ok(handshake));
    }

    #[test]
    fn mutilated_handshakes_do_no_harm(handshake in any_handshake(), at: usize, byte: u8) {
        let mut bytes = handshake.encode().to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        if let Ok(read) = ExtendedHandshake::decode(&bytes) {
            prop_assert!(read.metadata_size.is_none_or(|size| (1..=METADATA_MAX).contains(&size)));
            prop_assert!(read.reqq.is_none_or(|reqq| (1..=REQQ_MAX).contains(&reqq)));
            prop_assert!(read.run_max.is_none_or(|run| (BLOCK_SIZE + 1..=frame::RUN_MAX).contains(&run)));
            prop_assert!(read.client.is_none_or(|name| name.len() <= 3 * CLIENT_NAME_MAX));
        }
    }
}
