//! Extension handshakes and metadata messages: what is read is in bounds, and is read again
//! from what we write of it.

use bytes::Bytes;
use swarm_core::wire::extended::{self, CLIENT_NAME_MAX, REQQ_MAX};
use swarm_core::wire::ut_metadata::{METADATA_MAX, metadata_piece_size};
use swarm_core::wire::{ExtendedHandshake, ExtensionIds, MetadataMessage};

/// One input.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => handshake(bytes),
        1 => metadata(bytes),
        _ => {
            let piece = extended::decode_donthave(bytes);
            assert_eq!(piece.is_some(), bytes.len() == 4);
            let flag = extended::decode_upload_only(bytes);
            assert_eq!(flag.is_some(), bytes.len() == 1);
        }
    }
}

fn handshake(bytes: &[u8]) {
    let Ok(mut read) = ExtendedHandshake::decode(bytes) else { return };
    assert!(read.metadata_size.is_none_or(|size| (1..=METADATA_MAX).contains(&size)));
    assert!(read.reqq.is_none_or(|reqq| (1..=REQQ_MAX).contains(&reqq)));
    assert!(read.port != Some(0));
    // A byte that is no UTF-8 becomes a character of three.
    assert!(read.client.as_ref().is_none_or(|name| name.len() <= 3 * CLIENT_NAME_MAX));
    let mut ids = ExtensionIds::default();
    ids.update(&read.ids);
    assert_eq!(ids, read.ids);
    read.client = read.client.filter(|name| name.len() <= CLIENT_NAME_MAX);
    assert_eq!(ExtendedHandshake::decode(&read.encode()), Ok(read));
}

fn metadata(bytes: &[u8]) {
    let Ok(message) = MetadataMessage::decode(&Bytes::copy_from_slice(bytes)) else { return };
    if let MetadataMessage::Data { piece, total_size, bytes } = &message {
        assert!((1..=METADATA_MAX).contains(total_size) && !bytes.is_empty());
        assert_eq!(bytes.len(), metadata_piece_size(*total_size, *piece) as usize);
    }
    if message != MetadataMessage::Unknown {
        assert_eq!(MetadataMessage::decode(&message.encode()), Ok(message));
    }
}
