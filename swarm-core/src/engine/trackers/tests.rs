//! The client against scripted trackers on loopback.

use super::*;
use crate::engine::web::{Patience, RedirectFault};
use crate::proto::candidates::AddressPolicy;
use crate::wire::tracker::AnnounceEvent;
use crate::wire::tracker_http::{PeerForm, Refusal, ReplyError, Retry, encode_announce_reply};
use crate::wire::tracker_udp::{
    AnnounceCounts, ConnectionId, Request, encode_announce_reply as encode_udp_reply,
    encode_connect_reply, encode_error_reply,
};
use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// A test that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);
const ALL_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 6881);
const ALL_V6: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 6882);
const V4: ListenAddrs = ListenAddrs { v4: Some(ALL_V4), v6: None };
const BOTH: ListenAddrs = ListenAddrs { v4: Some(ALL_V4), v6: Some(ALL_V6) };
const V6: ListenAddrs = ListenAddrs { v4: None, v6: Some(ALL_V6) };

fn short() -> Timing {
    Timing {
        http_total: Duration::from_millis(600),
        udp_first: Duration::from_millis(100),
        udp_total: Duration::from_millis(1200),
        family_grace: Duration::from_millis(100),
    }
}

fn web(patience: Duration) -> Arc<Web> {
    let patience = Patience { connect: patience, idle: patience };
    Arc::new(Web::new("swarm test", AddressPolicy::Lan, patience))
}

/// Patient, unless the test is about time.
fn client() -> TrackerClient {
    TrackerClient::new(web(Duration::from_secs(10)), 1)
}

fn hasty() -> TrackerClient {
    TrackerClient::with_timing(web(Duration::from_millis(300)), 1, short())
}

fn request(url: impl Into<Arc<str>>, listen: ListenAddrs) -> AnnounceRequest {
    let announce = Announce {
        event: AnnounceEvent::Started,
        key: 0xbeef,
        numwant: Some(50),
        left: 99,
        ..Announce::new(InfoHash::new([0xfe; 20]), PeerId::new(*b"-SW0100-abcdefghijkl"), 0)
    };
    let trust = Trust::Torrent;
    AnnounceRequest { url: url.into(), announce, trust, tracker_id: None, listen, limit: None }
}

fn peers() -> Vec<SocketAddr> {
    vec!["10.0.0.1:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap()]
}

fn reply() -> AnnounceReply {
    AnnounceReply {
        interval: Some(Duration::from_secs(1800)),
        peers: peers(),
        ..AnnounceReply::default()
    }
}

fn ok(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn ok_reply() -> Vec<u8> {
    let mut body = Vec::new();
    encode_announce_reply(&mut body, &reply(), PeerForm::Compact);
    ok(&body)
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n").into_bytes()
}

async fn read_request(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

/// A tracker that answers each connection with the next of its answers.
struct Script {
    listener: TcpListener,
    requests: RefCell<Vec<String>>,
}

impl Script {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, requests: RefCell::default() }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.listener.local_addr().unwrap())
    }

    /// Plays the answers until the client has its result.
    async fn play<T>(&self, answers: Vec<Vec<u8>>, client: impl Future<Output = T>) -> T {
        let server = async {
            for answer in answers {
                let (mut stream, _) = self.listener.accept().await.unwrap();
                let head = read_request(&mut stream).await;
                self.requests.borrow_mut().push(head);
                // The client may have heard enough.
                let _ = stream.write_all(&answer).await;
            }
            std::future::pending::<()>().await;
        };
        let both = async {
            tokio::select! {
                result = client => result,
                () = server => unreachable!("the server never ends"),
            }
        };
        timeout(PATIENCE, both).await.expect("the client answers in bounded time")
    }
}

/// One announce to a scripted tracker.
async fn one(answer: Vec<u8>) -> Result<AnnounceReply, AnnounceError> {
    let script = Script::new().await;
    let client = client();
    let request = request(script.url("/announce"), V4);
    script.play(vec![answer], client.announce(request)).await
}

#[tokio::test]
async fn an_http_announce_says_what_bep_3_asks_and_brings_peers_of_both_families() {
    let script = Script::new().await;
    let client = client();
    let mut request = request(script.url("/announce?passkey=1"), BOTH);
    request.tracker_id = Some(b"t id".to_vec());
    let found = script.play(vec![ok_reply()], client.announce(request)).await.unwrap();
    assert_eq!(found, reply());
    let requests = script.requests.borrow();
    let head = requests[0].to_lowercase();
    assert_eq!(requests.len(), 1, "the literal has one family");
    let hash = "%fe".repeat(20);
    let query = [
        &format!("get /announce?passkey=1&info_hash={hash}&peer_id=-sw0100-abcdefghijkl&port=6881"),
        "&left=99&compact=1",
        "&key=0000beef&numwant=50&event=started&trackerid=t%20id http/1.1\r\n",
        "\r\nuser-agent: swarm test\r\n",
    ];
    for part in query {
        assert!(head.contains(part), "{part} in {head}");
    }
    for absent in ["accept-encoding", "cookie", "referer"] {
        assert!(!head.contains(absent), "{absent} in {head}");
    }
}

#[tokio::test]
async fn a_tracker_where_we_do_not_listen_is_told_port_zero() {
    let script = Script::new().await;
    for listen in [V6, ListenAddrs::default()] {
        let client = client();
        let request = request(script.url("/announce"), listen);
        script.play(vec![ok_reply()], client.announce(request)).await.unwrap();
        assert!(script.requests.borrow_mut().remove(0).contains("&port=0&"));
    }
}

#[tokio::test]
async fn an_ipv6_tracker_is_told_the_ipv6_port() {
    let listener = TcpListener::bind("[::1]:0").await.unwrap();
    let script = Script { listener, requests: RefCell::default() };
    let client = client();
    let request = request(script.url("/announce"), BOTH);
    script.play(vec![ok_reply()], client.announce(request)).await.unwrap();
    assert!(script.requests.borrow()[0].contains("&port=6882&"));
}

/// On a machine of several addresses, the tracker sees the one we listen on.
#[tokio::test]
async fn who_listens_on_one_address_announces_from_it() {
    let here: IpAddr = Ipv4Addr::new(127, 0, 0, 2).into();
    let listen = ListenAddrs { v4: Some((here, 6881).into()), v6: None };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let client = client();
    let ask = client.announce(request(url, listen));
    let serve = async {
        let (mut stream, from) = listener.accept().await.unwrap();
        read_request(&mut stream).await;
        stream.write_all(&ok_reply()).await.unwrap();
        from.ip()
    };
    let (asked, from) = timeout(PATIENCE, async { tokio::join!(ask, serve) }).await.unwrap();
    assert_eq!((asked, from), (Ok(reply()), here));

    let (socket, url) = udp_socket().await;
    let hasty = hasty();
    let ask = hasty.announce(request(url, listen));
    let hear = async { socket.recv_from(&mut [0; 64]).await.unwrap().1.ip() };
    let from = tokio::select! {
        from = hear => from,
        _ = async { ask.await.unwrap_err(); std::future::pending::<()>().await } => unreachable!(),
    };
    assert_eq!(from, here);
}

#[tokio::test]
async fn a_body_over_one_mebibyte_is_given_up() {
    let mut endless = b"HTTP/1.1 200 OK\r\n\r\nd5:peers2000000:".to_vec();
    endless.resize(3 << 20, b'x');
    let Err(AnnounceError::Reply(ReplyError::TooLong(length))) = one(endless).await else {
        panic!("the body was taken");
    };
    assert!(length < (1 << 20) + (512 << 10), "{length} bytes were read");
}

#[tokio::test]
async fn a_compressed_body_is_not_inflated() {
    let answer =
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x08";
    let malformed = Err(AnnounceError::Reply(ReplyError::Malformed));
    assert_eq!(one(answer.to_vec()).await, malformed);
}

#[tokio::test]
async fn a_refusal_counts_under_any_status_and_says_when_to_come_again() {
    let body = b"d14:failure reason8:go\x1b[2Jaway8:retry in1:5e";
    for status in ["200 OK", "403 Forbidden", "500 Oops"] {
        let body = [&b"d14:failure reason10:go\x1b[2Jaway8:retry in1:5e"[..]].concat();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
        let error = one([head.as_bytes(), &body].concat()).await.unwrap_err();
        assert_eq!(error.retry(), Retry::After(Duration::from_secs(300)));
        assert!(!error.to_string().contains('\x1b'), "{error}");
        let failed = AnnounceInput::Failed { id: some_id(), retry: error.retry() };
        assert_eq!(outcome(some_id(), &Err(error)), failed);
    }
    assert_eq!(one(ok(body)).await, Err(AnnounceError::Reply(ReplyError::Malformed)));
    let not_found = b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n<ht>";
    assert_eq!(one(not_found.to_vec()).await, Err(AnnounceError::Web(WebError::Status(404))));
}

fn some_announcement() -> Announcement {
    use crate::proto::announce::{Announcer, TierOrder};
    let url = "udp://a:1".to_owned();
    let mut announcer = Announcer::new(1, &[vec![url]], TierOrder::Parallel);
    announcer.handle(crate::types::Moment::ZERO, AnnounceInput::Start);
    announcer.poll().unwrap()
}

fn some_id() -> AnnounceId {
    some_announcement().id
}

#[test]
fn a_request_says_what_the_announcer_asks_and_a_goodbye_is_short() {
    let mut announcement = some_announcement();
    let who = Announcing {
        info_hash: InfoHash::new([1; 20]),
        peer_id: PeerId::new([2; 20]),
        key: 3,
        listen: BOTH,
    };
    let request = AnnounceRequest::new(&announcement, &who, Trust::User);
    assert_eq!((request.announce.event, request.limit), (AnnounceEvent::Started, None));
    assert_eq!((request.announce.key, request.announce.numwant), (3, Some(announcement.numwant)));
    announcement.event = AnnounceEvent::Stopped;
    assert_eq!(AnnounceRequest::new(&announcement, &who, Trust::User).limit, Some(STOP_LIMIT));
}

#[tokio::test]
async fn five_redirects_are_followed_and_not_six() {
    let script = Script::new().await;
    let client = client();
    let hop = || redirect(&script.url("/announce/next"));
    let mut answers: Vec<_> = (0..5).map(|_| hop()).collect();
    answers.push(ok_reply());
    let found = client.announce(request(script.url("/announce"), V4));
    assert_eq!(script.play(answers, found).await, Ok(reply()));
    let too_many = client.announce(request(script.url("/announce"), V4));
    let found = script.play((0..9).map(|_| hop()).collect(), too_many).await;
    assert_eq!(found, Err(AnnounceError::Web(WebError::Redirect(RedirectFault::TooMany))));
    assert_eq!(script.requests.borrow().len(), 12);
}

#[tokio::test]
async fn a_redirect_to_a_metadata_service_is_refused() {
    let forbidden =
        Err(AnnounceError::Web(WebError::Forbidden("169.254.169.254".parse().unwrap())));
    assert_eq!(one(redirect("http://169.254.169.254/latest")).await, forbidden);
    let client = client();
    assert_eq!(client.announce(request("udp://169.254.169.254:80", V4)).await, forbidden);
}

#[tokio::test]
async fn a_tracker_that_stalls_or_drips_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    for drips in [false, true] {
        let client = hasty();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_request(&mut stream).await;
            let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
            stream.write_all(head).await.unwrap();
            while drips && stream.write_all(b"d").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            std::future::pending::<()>().await;
        };
        let result = tokio::select! {
            result = client.announce(request(url.as_str(), V4)) => result,
            () = server => unreachable!("the server never ends"),
            () = tokio::time::sleep(PATIENCE) => panic!("not given up"),
        };
        assert_eq!(result, Err(AnnounceError::Web(WebError::TimedOut)), "drips: {drips}");
    }
}

#[tokio::test]
async fn the_callers_limit_holds_for_the_whole() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce", listener.local_addr().unwrap());
    let client = client();
    let mut request = request(url, V4);
    request.limit = Some(Duration::from_millis(50));
    let result = timeout(PATIENCE, client.announce(request)).await.unwrap();
    assert_eq!(result, Err(AnnounceError::Web(WebError::TimedOut)));
}

#[tokio::test]
async fn no_more_than_fifty_announces_are_under_way() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Arc<str> = format!("http://{}/announce", listener.local_addr().unwrap()).into();
    let client = client();
    let announces = |count, limit| {
        let announce = || {
            let mut request = request(Arc::clone(&url), V4);
            request.limit = Some(limit);
            client.announce(request)
        };
        futures::future::join_all((0..count).map(|_| announce()).collect::<Vec<_>>())
    };
    let held = RefCell::new(Vec::new());
    let server = async {
        loop {
            let connection = listener.accept().await.unwrap();
            held.borrow_mut().push(connection);
        }
    };
    tokio::select! {
        biased;
        _ = announces(CONCURRENT_MAX, PATIENCE) => unreachable!("nobody answers them"),
        waited = announces(10, Duration::from_millis(1000)) => {
            assert!(waited.iter().all(|result| *result == Err(AnnounceError::Web(WebError::TimedOut))));
        }
        () = server => unreachable!("the server never ends"),
    }
    assert_eq!(held.borrow().len(), CONCURRENT_MAX);
}

#[tokio::test]
async fn https_is_never_spoken_to_a_tracker_without_it_and_no_error_shows_a_secret() {
    let script = Script::new().await;
    let client = client();
    let url =
        script.url("/secret/announce?passkey=secret").replace("http://", "https://me:secret@");
    let answer = ok_reply();
    let hangs_up = async {
        let (mut stream, _) = script.listener.accept().await.unwrap();
        stream.write_all(&answer).await.unwrap();
    };
    let announce = client.announce(request(url, V4));
    let (result, ()) = timeout(PATIENCE, async { tokio::join!(announce, hangs_up) }).await.unwrap();
    let error = result.unwrap_err();
    assert!(
        matches!(error, AnnounceError::Web(WebError::Http(_) | WebError::Network(_))),
        "{error:?}"
    );
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
}

#[tokio::test]
async fn failures_of_the_network_are_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    let refused = Err(AnnounceError::Web(WebError::Network(io::ErrorKind::ConnectionRefused)));
    let client = client();
    assert_eq!(client.announce(request(format!("http://{free}/announce"), V4)).await, refused);
    assert_eq!(client.announce(request(format!("udp://{free}/announce"), V4)).await, refused);
    for url in ["udp://127.0.0.1/announce", "ftp://127.0.0.1/announce", "http://", "x"] {
        let result = client.announce(request(url, V4)).await;
        assert_eq!(result, Err(AnnounceError::Web(WebError::BadUrl)), "{url}");
    }
    let script = Script::new().await;
    let url = script.url("/announce");
    let hangs_up = async {
        let (mut stream, _) = script.listener.accept().await.unwrap();
        read_request(&mut stream).await;
    };
    let announce = client.announce(request(url, V4));
    let (result, ()) = timeout(PATIENCE, async { tokio::join!(announce, hangs_up) }).await.unwrap();
    let error = result.unwrap_err();
    assert!(
        matches!(error, AnnounceError::Web(WebError::Http(_) | WebError::Network(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn the_first_family_to_answer_does_not_wait_long_for_the_other() {
    let grace = Duration::from_millis(50);
    let with = |peer: &str| AnnounceReply { peers: vec![peer.parse().unwrap()], ..reply() };
    let (v4, v6) = (with("10.0.0.1:1"), with("[2001:db8::1]:2"));
    let never = std::future::pending;
    let now = std::future::ready;
    let failed = || Err(AnnounceError::Web(WebError::Status(500)));
    let none = || Err(AnnounceError::Web(WebError::NoAddress));

    let joined = first_and_soon(now(Ok(v4.clone())), now(Ok(v6.clone())), grace).await.unwrap();
    assert_eq!(joined.peers, [v4.peers.clone(), v6.peers.clone()].concat());
    assert_eq!(first_and_soon(never(), now(Ok(v6.clone())), grace).await, Ok(v6.clone()));
    assert_eq!(first_and_soon(now(Ok(v4.clone())), never(), grace).await, Ok(v4.clone()));
    assert_eq!(first_and_soon(now(failed()), now(Ok(v6.clone())), grace).await, Ok(v6));
    assert_eq!(first_and_soon(now(failed()), now(none()), grace).await, failed());
    assert_eq!(first_and_soon(now(none()), now(failed()), grace).await, failed());
    assert_eq!(first_and_soon(now(none()), now(none()), grace).await, none());
    let twice = first_and_soon(now(Ok(v4.clone())), now(Ok(v4.clone())), grace).await.unwrap();
    assert_eq!(twice.peers, v4.peers);
}

/// A UDP tracker that answers with what `answer` makes of each datagram.
async fn udp_tracker(
    socket: &UdpSocket,
    mut answer: impl FnMut(&[u8]) -> Vec<Vec<u8>>,
) -> std::convert::Infallible {
    let mut buffer = [0; 2048];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        for datagram in answer(&buffer[..length]) {
            socket.send_to(&datagram, from).await.unwrap();
        }
    }
}

/// What an honest tracker answers.
fn honest(datagram: &[u8], seen: &mut Vec<(Announce, Vec<u8>)>) -> Vec<u8> {
    const ID: ConnectionId = ConnectionId(0x1234_5678_9abc_def0);
    let mut out = Vec::new();
    match Request::decode(datagram).expect("a request") {
        Request::Connect { transaction } => encode_connect_reply(&mut out, transaction, ID),
        Request::Announce { connection, transaction, announce, options } => {
            assert_eq!(connection, ID);
            let mut data = Vec::new();
            options.url_data(&mut data);
            seen.push((announce, data));
            let counts = AnnounceCounts { interval_secs: 900, leechers: 1, seeders: 2 };
            encode_udp_reply(&mut out, transaction, counts, Family::V4, &peers());
        }
        Request::Scrape { .. } => panic!("nobody scrapes"),
    }
    out
}

async fn udp_play(
    socket: &UdpSocket,
    client: TrackerClient,
    request: AnnounceRequest,
    answer: impl FnMut(&[u8]) -> Vec<Vec<u8>>,
) -> Result<AnnounceReply, AnnounceError> {
    tokio::select! {
        result = client.announce(request) => result,
        never = udp_tracker(socket, answer) => match never {},
        () = tokio::time::sleep(PATIENCE) => panic!("no result"),
    }
}

async fn udp_socket() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let url = format!("udp://{}", socket.local_addr().unwrap());
    (socket, url)
}

#[tokio::test]
async fn a_udp_announce_connects_announces_and_sends_the_path() {
    let (socket, url) = udp_socket().await;
    let mut seen = Vec::new();
    for (path, due) in [("/x/announce?key=1", "/x/announce?key=1"), ("/", ""), ("", "")] {
        let request = request(format!("{url}{path}"), BOTH);
        let result =
            udp_play(&socket, client(), request, |datagram| vec![honest(datagram, &mut seen)]);
        let reply = result.await.unwrap();
        assert_eq!(reply.interval, Some(Duration::from_secs(900)));
        assert_eq!((reply.complete, reply.incomplete), (Some(2), Some(1)));
        assert_eq!(reply.peers, peers()[..1]);
        let (announce, data) = seen.pop().unwrap();
        assert_eq!((announce.port, announce.event), (6881, AnnounceEvent::Started));
        assert_eq!((announce.key, announce.left), (0xbeef, 99));
        assert_eq!(data, due.as_bytes());
    }
}

#[tokio::test]
async fn a_lost_datagram_is_sent_again_and_a_silent_tracker_given_up() {
    let (socket, url) = udp_socket().await;
    for lost in 1..4 {
        let (mut at, mut seen) = (0, Vec::new());
        let result = udp_play(&socket, hasty(), request(url.as_str(), V4), |datagram| {
            at += 1;
            if at == lost { vec![] } else { vec![honest(datagram, &mut seen)] }
        });
        assert!(result.await.is_ok(), "with datagram {lost} lost");
    }
    let mut transactions = Vec::new();
    let result = udp_play(&socket, hasty(), request(url.as_str(), V4), |datagram| {
        if let Some(Request::Connect { transaction }) = Request::decode(datagram) {
            transactions.push(transaction);
        }
        vec![]
    });
    assert_eq!(result.await, Err(AnnounceError::Web(WebError::TimedOut)));
    assert_eq!(transactions.len(), 4, "at 0, 100, 300 and 700 ms of 1200");
    transactions.dedup();
    assert_eq!(transactions.len(), 4, "each with an id of its own");
}

#[tokio::test]
async fn replies_that_do_not_match_are_ignored() {
    let (socket, url) = udp_socket().await;
    let mut seen = Vec::new();
    let result = udp_play(&socket, client(), request(url, V4), |datagram| {
        let right = honest(datagram, &mut seen);
        let mut spoofed = right.clone();
        spoofed[7] ^= 1;
        let mut error = Vec::new();
        encode_error_reply(&mut error, TransactionId(0), "no");
        let mut other_kind = right.clone();
        other_kind[3] = 2;
        vec![spoofed, vec![], vec![0; 3], error, other_kind, right]
    });
    assert_eq!(result.await.unwrap().peers, peers()[..1]);
}

#[tokio::test]
async fn a_udp_refusal_is_told() {
    let (socket, url) = udp_socket().await;
    let result = udp_play(&socket, client(), request(url, V4), |datagram| {
        let Some(Request::Connect { transaction }) = Request::decode(datagram) else {
            return vec![];
        };
        let mut out = Vec::new();
        encode_error_reply(&mut out, transaction, "not here");
        vec![out]
    });
    let refusal = Refusal { reason: "not here".to_owned(), retry: Retry::Unspecified };
    assert_eq!(result.await, Err(AnnounceError::Reply(ReplyError::Refused(refusal))));
}
