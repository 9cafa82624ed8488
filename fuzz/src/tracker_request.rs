//! What clients send to a tracker, over HTTP and UDP: read without panic, within bounds, and
//! the same again from what our own client writes of it.

use swarm_core::wire::tracker::Announce;
use swarm_core::wire::tracker_http::{self, PeerForm};
use swarm_core::wire::tracker_udp::{self, Request};

/// One input.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 3 {
        0 => announce_query(bytes),
        1 => {
            if let Ok(hashes) = tracker_http::parse_scrape(bytes) {
                assert!((1..=tracker_http::SCRAPE_HASHES_MAX).contains(&hashes.len()));
            }
        }
        _ => datagram(bytes),
    }
}

fn announce_query(query: &[u8]) {
    let Ok(read) = tracker_http::parse_announce(query) else { return };
    let url = tracker_http::announce_url("http://t/announce", &read.announce, None);
    let (_, query) = url.split_once('?').expect("an announce has a query");
    let again = tracker_http::parse_announce(query.as_bytes()).expect("what we write is read");
    assert_eq!((again.announce, again.form), (read.announce, PeerForm::Compact));
}

fn datagram(bytes: &[u8]) {
    match Request::decode(bytes) {
        Some(Request::Announce { connection, transaction, announce, options }) => {
            let mut url_data = Vec::new();
            options.url_data(&mut url_data);
            assert!(url_data.len() <= bytes.len());
            let mut out = Vec::new();
            tracker_udp::encode_announce(&mut out, connection, transaction, &announce, &url_data);
            same_announce(&out, announce, &url_data);
        }
        Some(Request::Scrape { hashes, .. }) => {
            assert!(hashes.iter().count() <= tracker_udp::SCRAPE_HASHES_MAX);
        }
        Some(Request::Connect { .. }) | None => {}
    }
}

fn same_announce(bytes: &[u8], due: Announce, due_data: &[u8]) {
    let Some(Request::Announce { announce, options, .. }) = Request::decode(bytes) else {
        panic!("what we write is read");
    };
    let mut url_data = Vec::new();
    options.url_data(&mut url_data);
    assert_eq!((announce, url_data.as_slice()), (due, due_data));
}
