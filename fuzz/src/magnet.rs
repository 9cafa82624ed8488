//! Any text: refused, or a link that is the same again when written and read.

use swarm_core::Magnet;

/// One input; what is no UTF-8 is none.
pub fn run(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(magnet) = Magnet::parse(text) else { return };
    let again = Magnet::parse(&magnet.to_string());
    // Escaping may make a link longer than we read; nothing else may be in the way.
    let Ok(again) = again else {
        assert!(magnet.to_string().len() > swarm_core::metainfo::MAGNET_MAX_BYTES);
        return;
    };
    assert_eq!(again.hashes(), magnet.hashes());
    assert_eq!(again.trackers(), magnet.trackers());
    assert_eq!(again.web_seeds(), magnet.web_seeds());
    assert_eq!(again.peers(), magnet.peers());
    assert_eq!(again.selection(), magnet.selection());
    assert_eq!(again.name(), magnet.name());
}
