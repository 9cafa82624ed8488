//! Any text: refused, or a link that is the same again when written and read.
#![no_main]

use libfuzzer_sys::fuzz_target;
use swarm_core::Magnet;

fuzz_target!(|text: &str| {
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
});
