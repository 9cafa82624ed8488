//! One HTTP announce over one address family (BEP 3).
//!
//! Redirects are followed here and not by the HTTP library, so that every hop is judged like
//! the first. A body is read chunk by chunk and given up at 1 MiB; it is never inflated,
//! because no encoding is offered (LIMITS C01..C04). Connections are not kept: the next
//! announce is a minute away at best.
//!
//! Not here: the query and the reply (`wire::tracker_http`), the limit on the whole.

use super::error::RedirectFault;
use super::{AnnounceError, Timing, resolve, source_for};
use crate::wire::tracker::Family;
use crate::wire::tracker_http::{self, AnnounceReply, REPLY_MAX, ReplyError};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderValue, LOCATION};
use reqwest::{Client, ClientBuilder, Response};
use std::error::Error;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::OnceCell;
use url::Url;

/// Redirects that are followed in a row.
pub(super) const REDIRECTS_MAX: usize = 5;
/// Headers of an answer that are read.
const HEADERS_MAX: usize = 100;
/// Port that stands for the one of the URL, until the HTTP library puts that in.
const PORT_OF_URL: u16 = 0;

/// HTTP clients, made when they are first needed.
#[derive(Debug)]
pub(super) struct Http {
    name: HeaderValue,
    timing: Timing,
    /// Reading the system's certificates takes time and may fail, so plain HTTP does without.
    plain: Clients,
    tls: Clients,
}

/// By family: those that connect from any address, and those that connect from the one we
/// listen on, which does not change as long as the session lives.
#[derive(Debug, Default)]
struct Clients {
    any: [OnceCell<Client>; 2],
    bound: [OnceCell<Client>; 2],
}

impl Http {
    pub(super) fn new(name: &str, timing: Timing) -> Self {
        let name = HeaderValue::from_str(name).unwrap_or(HeaderValue::from_static("swarm"));
        Self { name, timing, plain: Clients::default(), tls: Clients::default() }
    }

    /// Sends the announce that is in `url` and reads the answer; `listen` is where peers reach
    /// us over this family.
    pub(super) async fn announce(
        &self,
        url: &str,
        family: Family,
        listen: Option<SocketAddr>,
    ) -> Result<AnnounceReply, AnnounceError> {
        let mut url = Url::parse(url).map_err(|_| AnnounceError::BadUrl)?;
        for _ in 0..=REDIRECTS_MAX {
            resolve::check_literal(&url, family)?;
            let source = source_for(listen, &url);
            let client = self.client(family, source, url.scheme() == "https").await?;
            let response = client.get(url.clone()).send().await.map_err(blame)?;
            if !response.status().is_redirection() {
                return answer(response).await;
            }
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            url = redirect_target(&url, location).map_err(AnnounceError::Redirect)?;
        }
        Err(AnnounceError::Redirect(RedirectFault::TooMany))
    }

    async fn client(
        &self,
        family: Family,
        source: Option<IpAddr>,
        tls: bool,
    ) -> Result<&Client, AnnounceError> {
        let clients = if tls { &self.tls } else { &self.plain };
        let [v4, v6] = if source.is_some() { &clients.bound } else { &clients.any };
        let cell = match family {
            Family::V4 => v4,
            Family::V6 => v6,
        };
        let (name, timing) = (self.name.clone(), self.timing);
        cell.get_or_try_init(async || {
            let building = tokio::task::spawn_blocking(move || {
                build(name, timing, family, tls).local_address(source).build().map_err(blame)
            });
            let failed = |_| AnnounceError::Http("HTTP client failed to start".to_owned());
            building.await.map_err(failed)?
        })
        .await
    }
}

fn build(name: HeaderValue, timing: Timing, family: Family, tls: bool) -> ClientBuilder {
    let builder = Client::builder()
        .user_agent(name)
        .dns_resolver(Arc::new(FamilyResolver(family)))
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .http1_only()
        .http1_max_headers(HEADERS_MAX)
        .pool_max_idle_per_host(0)
        .connect_timeout(timing.http_connect)
        .read_timeout(timing.http_idle);
    if tls { builder } else { builder.tls_certs_only([]) }
}

/// Gives the HTTP library addresses of one family only, and only those that are allowed.
#[derive(Debug)]
struct FamilyResolver(Family);

impl Resolve for FamilyResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let family = self.0;
        Box::pin(async move {
            let addrs = resolve::lookup(name.as_str(), PORT_OF_URL, family).await?;
            Ok(Box::new(addrs.into_iter()) as Addrs)
        })
    }
}

fn redirect_target(from: &Url, location: Option<&str>) -> Result<Url, RedirectFault> {
    let target = location.and_then(|location| from.join(location).ok());
    let target = target.ok_or(RedirectFault::Nowhere)?;
    match (from.scheme(), target.scheme()) {
        ("https", "http") => Err(RedirectFault::Downgrade),
        (_, "http" | "https") => Ok(target),
        _ => Err(RedirectFault::Nowhere),
    }
}

/// Reads the answer. A refusal counts under any status, since trackers are not of one mind.
async fn answer(mut response: Response) -> Result<AnnounceReply, AnnounceError> {
    let status = response.status();
    let body = body(&mut response).await?;
    match tracker_http::decode_announce_reply(&body) {
        Err(refused @ ReplyError::Refused(_)) => Err(refused.into()),
        _ if !status.is_success() => Err(AnnounceError::Status(status.as_u16())),
        decoded => Ok(decoded?),
    }
}

async fn body(response: &mut Response) -> Result<Vec<u8>, AnnounceError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(blame)? {
        let length = body.len() + chunk.len();
        if length > REPLY_MAX {
            return Err(ReplyError::TooLong(length).into());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The cause at the bottom of a library error, without the URL that the library would show.
fn blame(error: reqwest::Error) -> AnnounceError {
    if error.is_timeout() {
        return AnnounceError::TimedOut;
    }
    let error = error.without_url();
    let mut cause: &(dyn Error + 'static) = &error;
    while let Some(source) = cause.source() {
        cause = source;
        if let Some(ours) = cause.downcast_ref::<AnnounceError>() {
            return ours.clone();
        }
    }
    match cause.downcast_ref::<io::Error>() {
        Some(error) if error.kind() != io::ErrorKind::Other => error.kind().into(),
        _ => AnnounceError::Http(cause.to_string()),
    }
}

impl From<io::ErrorKind> for AnnounceError {
    fn from(kind: io::ErrorKind) -> Self {
        io::Error::from(kind).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_may_not_leave_encryption_or_http() {
        let from = |from: &str, location| redirect_target(&Url::parse(from).unwrap(), location);
        let url = |text: &str| Ok(Url::parse(text).unwrap());
        assert_eq!(from("http://a/x", Some("https://b/y")), url("https://b/y"));
        assert_eq!(from("https://a/x?p", Some("/y")), url("https://a/y"));
        assert_eq!(from("https://a/x", Some("http://a/x")), Err(RedirectFault::Downgrade));
        for nowhere in [None, Some("file:///etc/passwd"), Some("udp://a:1"), Some("http://")] {
            assert_eq!(from("http://a/x", nowhere), Err(RedirectFault::Nowhere));
        }
    }
}
