//! Requests to scripted web servers on loopback.

use super::*;
use std::cell::RefCell;
use std::future::Future;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(20);

fn web(addresses: AddressPolicy) -> Web {
    Web::new("swarm test", addresses, Patience { connect: LONG, idle: LONG })
}

fn errand(url: &str, trust: Trust) -> Errand<'_> {
    Errand { url, trust, family: None, listen: None, longest: 1000 }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn moved(to: &str) -> String {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")
}

/// Answers one connection after the other while `client` runs; what it was asked.
async fn play<T>(
    servers: &[(&TcpListener, String)],
    client: impl Future<Output = T>,
) -> (T, Vec<String>) {
    let asked: RefCell<Vec<String>> = RefCell::default();
    let serve = async {
        for (listener, answer) in servers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            asked.borrow_mut().push(head.to_ascii_lowercase());
            // The client may have heard enough.
            let _ = stream.write_all(answer.as_bytes()).await;
        }
        std::future::pending::<()>().await;
    };
    let result = timeout(LONG, async {
        tokio::select! {
            result = client => result,
            () = serve => unreachable!("the server never ends"),
        }
    });
    let result = result.await.expect("an end in bounded time");
    (result, asked.take())
}

async fn listen() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    (listener, addr)
}

/// LIMITS C03, E04.
#[tokio::test]
async fn a_redirect_to_another_server_carries_no_secret_of_the_first() {
    let ((one, one_addr), (other, other_addr)) = (listen().await, listen().await);
    let web = web(AddressPolicy::Lan);
    let url = format!("http://me:secret@{one_addr}/announce?passkey=secret");
    let script = [
        (&one, moved("/announce/2")),
        (&one, moved(&format!("http://you:planted@{other_addr}/announce"))),
        (&other, ok("end")),
    ];
    let (answer, asked) = play(&script, web.get(errand(&url, Trust::Torrent))).await;
    assert_eq!(answer.unwrap().body, b"end");
    assert!(asked[0].contains("authorization: basic") && asked[0].contains("passkey=secret"));
    assert!(asked[1].contains("authorization: basic"), "the same server: {}", asked[1]);
    let last = &asked[2];
    assert!(!last.contains("authorization") && !last.contains("secret"), "{last}");
    assert!(!last.contains("referer") && !last.contains("cookie"), "{last}");
}

#[tokio::test]
async fn what_a_torrent_names_is_asked_here_only_for_an_announce_and_never_on_the_internets_terms()
{
    let (listener, addr) = listen().await;
    let url = |path: &str| format!("http://{addr}{path}");
    let lan = web(AddressPolicy::Lan);
    let inwards = |result: Result<Answer, WebError>| {
        assert!(matches!(result, Err(WebError::Inwards(_))), "{result:?}");
    };
    inwards(lan.get(errand(&url("/reboot"), Trust::Torrent)).await);
    inwards(
        lan.get(errand(&url("/reboot").replace("127.0.0.1", "localhost"), Trust::Torrent)).await,
    );
    let internet = web(AddressPolicy::Internet);
    inwards(internet.get(errand(&url("/announce"), Trust::Torrent)).await);
    for (web, path, trust) in [
        (&lan, "/announce", Trust::Torrent),
        (&lan, "/anything", Trust::User),
        (&internet, "/anything", Trust::User),
    ] {
        let url = url(path);
        let (answer, _) = play(&[(&listener, ok(""))], web.get(errand(&url, trust))).await;
        assert_eq!(answer.unwrap().status, 200, "{path}");
    }
}

#[tokio::test]
async fn a_redirect_to_where_the_url_could_not_have_led_is_refused() {
    let (listener, addr) = listen().await;
    let web = web(AddressPolicy::Lan);
    let url = format!("http://{addr}/announce");
    for (to, due) in [
        ("/reboot", WebError::Redirect(RedirectFault::Inwards)),
        ("http://169.254.169.254/announce", WebError::Forbidden([169, 254, 169, 254].into())),
        (
            "http://[64:ff9b::a9fe:a9fe]/announce",
            WebError::Forbidden("64:ff9b::a9fe:a9fe".parse().unwrap()),
        ),
        ("gopher://a/", WebError::Redirect(RedirectFault::Nowhere)),
    ] {
        let get = web.get(errand(&url, Trust::Torrent));
        let (answer, asked) = play(&[(&listener, moved(to))], get).await;
        assert_eq!((answer.unwrap_err(), asked.len()), (due, 1), "{to}");
    }
}

#[tokio::test]
async fn redirects_and_bodies_are_bounded() {
    let (listener, addr) = listen().await;
    let web = web(AddressPolicy::Lan);
    let url = format!("http://{addr}/x");
    let script: Vec<_> = (0..9).map(|_| (&listener, moved("/y"))).collect();
    let (answer, asked) = play(&script, web.get(errand(&url, Trust::User))).await;
    assert_eq!(answer.unwrap_err(), WebError::Redirect(RedirectFault::TooMany));
    assert_eq!(asked.len(), 1 + REDIRECTS_MAX);
    for (length, fits) in [(1000, true), (1001, false)] {
        let body = ok(&"x".repeat(length));
        let (answer, _) = play(&[(&listener, body)], web.get(errand(&url, Trust::User))).await;
        assert_eq!(answer.map_err(|error| matches!(error, WebError::TooLong(_))).is_ok(), fits);
    }
    let headers = "X: y\r\n".repeat(HEADERS_MAX + 1);
    let many = format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 0\r\n\r\n");
    let (answer, _) = play(&[(&listener, many)], web.get(errand(&url, Trust::User))).await;
    assert!(matches!(answer, Err(WebError::Http(_))), "{answer:?}");
    assert_eq!(web.clients.lock().await.len(), 1, "one client does for all of these");
}

#[test]
fn a_redirect_may_not_leave_encryption_or_http() {
    let from = |from: &str, location| redirect_target(&Url::parse(from).unwrap(), location);
    let url = |text: &str| Ok(Url::parse(text).unwrap());
    assert_eq!(from("http://a/x", Some("https://b/y")), url("https://b/y"));
    assert_eq!(from("https://a/x?p", Some("/y")), url("https://a/y"));
    assert_eq!(from("http://me:pw@a/x", Some("/y")), url("http://me:pw@a/y"));
    assert_eq!(from("http://me:pw@a/x", Some("http://me:pw@a:81/y")), url("http://a:81/y"));
    assert_eq!(from("https://a/x", Some("http://a/x")), Err(RedirectFault::Downgrade));
    for nowhere in [None, Some("file:///etc/passwd"), Some("udp://a:1"), Some("http://")] {
        assert_eq!(from("http://a/x", nowhere), Err(RedirectFault::Nowhere));
    }
}
