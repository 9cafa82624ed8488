//! One request, one reply.
//!
//! A failed announce is answered with status 200 and a `failure reason`: clients read the
//! reason only then. What is not HTTP, or not for a tracker, gets the status that says so,
//! with a reason for the clients that look at the body all the same.

use super::head::{Head, Problem};
use crate::service::Service;
use crate::swarms::{Change, Channel, Intervals, Visit};
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use swarm_core::wire::tracker_http::{
    AnnounceReply, Retry, encode_announce_reply, encode_refusal, encode_scrape_reply,
    parse_announce, parse_scrape,
};

/// When a client that was turned away may try again.
const BUSY_RETRY: Duration = Duration::from_secs(60);
const FRONT_PAGE: &str = "This is a BitTorrent tracker. Clients announce at /announce.\n";

/// Where the requests of one connection are answered, with the buffers for it.
pub(super) struct Desk {
    service: Arc<Service>,
    remote: IpAddr,
    local: IpAddr,
    peers: Vec<SocketAddr>,
    body: Vec<u8>,
}

/// What a target asks for; the query is raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Route<'a> {
    Announce(&'a [u8]),
    Scrape(&'a [u8]),
    Front,
    Health,
    Stats,
    Unknown,
}

/// Status, content type.
type Kind = (&'static str, &'static str);

const BENCODE: Kind = ("200 OK", "text/plain");
const TEXT: Kind = ("200 OK", "text/plain; charset=utf-8");
const JSON: Kind = ("200 OK", "application/json");

impl Desk {
    pub(super) fn new(service: Arc<Service>, remote: IpAddr, local: IpAddr) -> Self {
        let (remote, local) = (remote.to_canonical(), local.to_canonical());
        Self { service, remote, local, peers: Vec::new(), body: Vec::new() }
    }

    /// Appends the reply to a request.
    pub(super) fn answer(&mut self, head: &Head<'_>, out: &mut Vec<u8>) {
        self.body.clear();
        let kind = match head.method {
            b"GET" | b"HEAD" => self.route(route(head.target)),
            _ => self.error("405 Method Not Allowed", "a tracker answers GET only", Retry::Never),
        };
        put_head(out, kind, self.body.len(), head.keep_alive);
        if head.method != b"HEAD" {
            out.extend_from_slice(&self.body);
        }
    }

    /// Appends the reply to what is no request; the connection is to be closed.
    pub(super) fn refuse(&mut self, problem: Problem, out: &mut Vec<u8>) {
        let (status, text) = match problem {
            Problem::NoRequestLine => ("400 Bad Request", "this is no HTTP/1 request"),
            Problem::LongLine => ("414 URI Too Long", "the request line is too long"),
            Problem::LongHead => {
                ("431 Request Header Fields Too Large", "the request head is too long")
            }
        };
        self.last_error(status, text, Retry::Unspecified, out);
    }

    /// Appends the reply to a request whose end does not come.
    pub(super) fn time_out(&mut self, out: &mut Vec<u8>) {
        let text = "the request did not arrive in time";
        self.last_error("408 Request Timeout", text, Retry::Unspecified, out);
    }

    fn last_error(&mut self, status: &'static str, text: &str, retry: Retry, out: &mut Vec<u8>) {
        self.body.clear();
        let kind = self.error(status, text, retry);
        put_head(out, kind, self.body.len(), false);
        out.extend_from_slice(&self.body);
    }

    fn route(&mut self, route: Route<'_>) -> Kind {
        match route {
            Route::Announce(query) => self.announce(query),
            Route::Scrape(query) => self.scrape(query),
            Route::Front => self.text(TEXT, FRONT_PAGE),
            Route::Health if self.remote.is_loopback() => self.text(TEXT, "ok\n"),
            Route::Stats if self.remote.is_loopback() => self.stats(),
            Route::Health | Route::Stats | Route::Unknown => {
                self.error("404 Not Found", "no tracker at this path", Retry::Never)
            }
        }
    }

    fn announce(&mut self, query: &[u8]) -> Kind {
        let query = match parse_announce(query) {
            Ok(query) => query,
            Err(error) => return self.failure(&error.to_string()),
        };
        let channel = Channel::Http { host: self.local };
        let visit = Visit { announce: &query.announce, source: self.remote, channel };
        let reply = match self.service.announce(&visit, &mut self.peers) {
            Ok(reply) => reply,
            Err(refused) => return self.failure(&refused.to_string()),
        };
        let Intervals { interval, min_interval } = reply.intervals;
        let warning = match reply.change {
            Change::NotStored(why) => Some(why.to_string()),
            _ => None,
        };
        let reply = AnnounceReply {
            interval: Some(interval),
            min_interval: Some(min_interval),
            complete: Some(reply.counts.complete),
            incomplete: Some(reply.counts.incomplete),
            downloaded: Some(reply.counts.downloaded),
            external_ip: Some(self.remote),
            tracker_id: None,
            warning,
            peers: std::mem::take(&mut self.peers),
        };
        encode_announce_reply(&mut self.body, &reply, query.form);
        // The buffer comes back for the next announce.
        self.peers = reply.peers;
        self.service.counters.http_announces.add_one();
        BENCODE
    }

    fn scrape(&mut self, query: &[u8]) -> Kind {
        let hashes = match parse_scrape(query) {
            Ok(hashes) => hashes,
            Err(error) => return self.failure(&error.to_string()),
        };
        let mut entries =
            hashes.into_iter().map(|hash| (hash, self.service.scrape(hash))).collect();
        encode_scrape_reply(&mut self.body, &mut entries);
        self.service.counters.http_scrapes.add_one();
        BENCODE
    }

    fn stats(&mut self) -> Kind {
        match serde_json::to_writer(&mut self.body, &self.service.stats()) {
            Ok(()) => JSON,
            Err(error) => self.text(("500 Internal Server Error", TEXT.1), &error.to_string()),
        }
    }

    fn text(&mut self, kind: Kind, text: &str) -> Kind {
        self.body.clear();
        self.body.extend_from_slice(text.as_bytes());
        kind
    }

    fn failure(&mut self, reason: &str) -> Kind {
        self.error(BENCODE.0, reason, Retry::Unspecified)
    }

    fn error(&mut self, status: &'static str, reason: &str, retry: Retry) -> Kind {
        self.service.counters.http_errors.add_one();
        encode_refusal(&mut self.body, reason, retry);
        (status, BENCODE.1)
    }
}

/// The reply to a connection there is no seat for.
pub(super) fn busy() -> Vec<u8> {
    let (mut body, mut out) = (Vec::new(), Vec::new());
    encode_refusal(&mut body, "too many connections", Retry::After(BUSY_RETRY));
    put_head(&mut out, ("503 Service Unavailable", BENCODE.1), body.len(), false);
    out.extend_from_slice(&body);
    out
}

fn put_head(out: &mut Vec<u8>, (status, content_type): Kind, length: usize, keep_alive: bool) {
    // An HTTP/1.0 client that asked to stay must be told that it may.
    let connection = if keep_alive { "keep-alive" } else { "close" };
    // Writing to a vector cannot fail.
    let _ = write!(
        out,
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\n\
         Connection: {connection}\r\n\r\n"
    );
}

/// What a target asks for. Passkeys and other folders before the last element mean nothing
/// here; `announce` may have an ending (`.php`) or spaces after it.
fn route(target: &[u8]) -> Route<'_> {
    let (path, query) = match target.iter().position(|byte| *byte == b'?') {
        Some(at) => {
            (target.get(..at).unwrap_or_default(), target.get(at + 1..).unwrap_or_default())
        }
        None => (target, &[][..]),
    };
    let path = path.trim_ascii();
    let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    match (path, last) {
        (b"/", _) => Route::Front,
        (b"/health", _) => Route::Health,
        (b"/stats", _) => Route::Stats,
        (_, last) if last.starts_with(b"announce") => Route::Announce(query),
        (_, last) if last.starts_with(b"scrape") => Route::Scrape(query),
        _ => Route::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// DISCOVERY 3.2 row 6.
    #[test]
    fn the_last_element_of_the_path_decides() {
        let cases: [(&str, Route<'_>); 13] = [
            ("/announce?a=b?c", Route::Announce(b"a=b?c")),
            ("/announce", Route::Announce(b"")),
            ("/announce ?a", Route::Announce(b"a")),
            ("/passkey/announce?a", Route::Announce(b"a")),
            ("/announce.php?a", Route::Announce(b"a")),
            ("http://host:1/announce?a", Route::Announce(b"a")),
            ("/scrape?a", Route::Scrape(b"a")),
            ("/announce/scrape?a", Route::Scrape(b"a")),
            ("/", Route::Front),
            ("/health", Route::Health),
            ("/stats?x", Route::Stats),
            ("/x", Route::Unknown),
            ("", Route::Unknown),
        ];
        for (target, expected) in cases {
            assert_eq!(route(target.as_bytes()), expected, "{target}");
        }
    }
}
