//! Any `.torrent`: refused, or valid in every respect, and the same again when written.

use swarm_core::Metainfo;
use swarm_core::metainfo::Warning;

/// One input.
pub fn run(bytes: &[u8]) {
    let Ok(metainfo) = Metainfo::from_torrent(bytes) else { return };
    let geometry = metainfo.geometry();
    assert_eq!(metainfo.layout().total_length(), geometry.total_length());
    assert_eq!(metainfo.layout().extents().len(), metainfo.files().len());
    let complete = !metainfo.warnings().contains(&Warning::PieceLayersMissing);
    for piece in geometry.pieces().take(10_000) {
        assert!(metainfo.piece_hash(piece).is_some() || !complete);
    }
    for file in metainfo.files().iter().filter(|file| !file.pad) {
        assert!(!file.path.is_empty());
        for element in &file.path {
            assert!(!matches!(element.as_str(), "" | "." | "..") && element.len() <= 255);
            assert!(!element.contains(['/', '\\']) && !element.chars().any(char::is_control));
        }
    }
    let again = Metainfo::from_torrent(&metainfo.to_torrent()).expect("what we write is read");
    assert_eq!(again.hashes(), metainfo.hashes());
    assert_eq!(again.files(), metainfo.files());
    assert_eq!(again.trackers(), metainfo.trackers());
    if let Ok(peers) = Metainfo::from_info(metainfo.info_bytes().clone(), &metainfo.hashes()) {
        assert_eq!(peers.files(), metainfo.files());
    }
}
