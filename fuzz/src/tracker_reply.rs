//! What a tracker answers, over HTTP and UDP: bounded lists, no port 0, bounded texts.

use std::net::SocketAddr;
use swarm_core::wire::tracker::{Family, PEERS_PER_REPLY_MAX};
use swarm_core::wire::tracker_http::{self, PeerForm, ReplyError};
use swarm_core::wire::tracker_udp::Reply;

/// One input.
pub fn run(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    match kind % 4 {
        0 => http(bytes),
        1 => drop(tracker_http::decode_scrape_reply(bytes)),
        2 => udp(bytes, Family::V4),
        _ => udp(bytes, Family::V6),
    }
}

fn check_peers(peers: &[SocketAddr]) {
    assert!(peers.len() <= PEERS_PER_REPLY_MAX);
    assert!(peers.iter().all(|peer| peer.port() != 0));
}

fn http(body: &[u8]) {
    match tracker_http::decode_announce_reply(body) {
        Err(ReplyError::Refused(refusal)) => assert!(refusal.reason.chars().count() <= 256),
        Err(_) => {}
        Ok(reply) => {
            check_peers(&reply.peers);
            assert!(reply.warning.as_ref().is_none_or(|text| text.chars().count() <= 256));
            let mut out = Vec::new();
            tracker_http::encode_announce_reply(&mut out, &reply, PeerForm::Compact);
            let again = tracker_http::decode_announce_reply(&out).expect("what we write is read");
            assert_eq!(again.peers.len(), reply.peers.len());
            assert_eq!(again.interval, reply.interval);
        }
    }
}

fn udp(datagram: &[u8], family: Family) {
    match Reply::decode(datagram, family) {
        Ok((_, Reply::Announce { peers, .. })) => check_peers(&peers.iter().collect::<Vec<_>>()),
        Ok((_, Reply::Scrape(entries))) => assert!(entries.iter().count() <= datagram.len() / 12),
        Ok((_, Reply::Error(text))) => assert!(text.len() <= 256),
        Ok((_, Reply::Connect(_))) | Err(_) => {}
    }
}
