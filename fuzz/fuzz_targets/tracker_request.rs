//! Any bytes at a tracker: as a datagram and as a query. Nothing panics; what is read stays
//! within its bounds.
#![no_main]

use libfuzzer_sys::fuzz_target;
use swarm_core::wire::tracker::Announce;
use swarm_core::wire::tracker_http::{self, announce_url, parse_announce, parse_scrape};
use swarm_core::wire::tracker_udp::{self, Request, encode_announce};

fuzz_target!(|bytes: &[u8]| {
    match Request::decode(bytes) {
        Some(Request::Announce { connection, transaction, announce, options }) => {
            let mut url = Vec::new();
            options.url_data(&mut url);
            assert!(url.len() <= bytes.len());
            let mut again = Vec::new();
            encode_announce(&mut again, connection, transaction, &announce, &url);
            match Request::decode(&again) {
                Some(Request::Announce { announce: read, .. }) => assert_eq!(read, announce),
                other => panic!("{other:?}"),
            }
        }
        Some(Request::Scrape { hashes, .. }) => {
            assert!(hashes.iter().count() <= tracker_udp::SCRAPE_HASHES_MAX);
        }
        Some(Request::Connect { .. }) | None => {}
    }
    if let Ok(query) = parse_announce(bytes) {
        assert_same(&query.announce);
    }
    if let Ok(hashes) = parse_scrape(bytes) {
        assert!(!hashes.is_empty() && hashes.len() <= tracker_http::SCRAPE_HASHES_MAX);
    }
});

/// What was read is the same when our client asks it.
fn assert_same(announce: &Announce) {
    let url = announce_url("http://t/announce", announce, None);
    let (_, query) = url.split_once('?').expect("an announce has a query");
    let read = parse_announce(query.as_bytes()).expect("our query is understood");
    assert_eq!(read.announce, *announce);
}
