//! Any bytes from a tracker: as a datagram of either family and as an HTTP body. Nothing
//! panics; no more is kept than came, and no more than the bounds say.
#![no_main]

use libfuzzer_sys::fuzz_target;
use swarm_core::wire::tracker::{Family, PEERS_PER_REPLY_MAX};
use swarm_core::wire::tracker_http::{
    PeerForm, SCRAPE_HASHES_MAX, decode_announce_reply, decode_scrape_reply,
    encode_announce_reply,
};
use swarm_core::wire::tracker_udp::Reply;

fuzz_target!(|bytes: &[u8]| {
    for family in [Family::V4, Family::V6] {
        match Reply::decode(bytes, family) {
            Ok((_, Reply::Announce { peers, .. })) => {
                assert!(peers.iter().count() * family.peer_len() <= bytes.len());
                assert!(peers.iter().count() <= PEERS_PER_REPLY_MAX);
            }
            Ok((_, Reply::Scrape(entries))) => assert!(entries.iter().count() * 12 <= bytes.len()),
            Ok(_) | Err(_) => {}
        }
    }
    if let Ok(entries) = decode_scrape_reply(bytes) {
        assert!(entries.len() <= SCRAPE_HASHES_MAX);
    }
    if let Ok(reply) = decode_announce_reply(bytes) {
        assert!(reply.peers.len() <= PEERS_PER_REPLY_MAX);
        let mut again = Vec::new();
        encode_announce_reply(&mut again, &reply, PeerForm::Dictionary);
        let read = decode_announce_reply(&again).expect("our reply is understood");
        assert_eq!(read.peers, reply.peers);
        assert_eq!((read.warning, read.tracker_id), (reply.warning, reply.tracker_id));
    }
});
