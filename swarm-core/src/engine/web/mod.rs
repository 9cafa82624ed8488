//! Asks web servers: one request, one answer, in bounded bytes, never where a URL may not lead.
//!
//! A URL in a torrent makes its readers send requests wherever its author likes, and so does a
//! redirect. So a name is looked up once, what it leads to is judged, and the connection goes to
//! an address that was judged (LIMITS 1.G); every redirect is followed here and not by the HTTP
//! library, and is judged again. Nothing of one server is told to another: a request carries what
//! its own URL says and nothing else. A body is read chunk by chunk and given up when it is too
//! long; it is never inflated, because no encoding is offered. Connections are not kept, and no
//! proxy is asked: a proxy would look names up by itself.
//!
//! Not here: what is asked of whom (`trackers`, `session`), the limit on the whole.

mod error;
mod reach;
pub(crate) mod resolve;
#[cfg(test)]
mod tests;

pub use error::{RedirectFault, WebError};
pub(crate) use reach::Trust;

use super::source;
use crate::proto::candidates::AddressPolicy;
use crate::proto::candidates::scope::Scope;
use crate::wire::tracker::Family;
use error::blame;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderValue, LOCATION};
use reqwest::{Client, Response};
use resolve::Reach;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use url::{Host, Url};

/// Redirects that are followed in a row (LIMITS C03).
pub(crate) const REDIRECTS_MAX: usize = 5;
/// Headers of an answer that are read.
const HEADERS_MAX: usize = 100;
/// Port that stands for the one of the URL, until the HTTP library puts that in.
const PORT_OF_URL: u16 = 0;

/// A session's way to web servers.
#[derive(Debug)]
pub(crate) struct Web {
    name: HeaderValue,
    addresses: AddressPolicy,
    patience: Patience,
    /// Made when they are first needed; as many as there are kinds.
    clients: Mutex<Vec<(Kind, Client)>>,
}

/// How long parts of an exchange may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// A TCP and TLS handshake.
    pub(crate) connect: Duration,
    /// Without a byte.
    pub(crate) idle: Duration,
}

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Errand<'a> {
    /// What, secrets included.
    pub(crate) url: &'a str,
    /// Who named it.
    pub(crate) trust: Trust,
    /// Over which family; `None` over any.
    pub(crate) family: Option<Family>,
    /// Where peers reach us over that family.
    pub(crate) listen: Option<SocketAddr>,
    /// Longest body, bytes.
    pub(crate) longest: usize,
}

/// What a server said.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body, whole.
    pub(crate) body: Vec<u8>,
}

/// What makes two requests need different clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    reach: Reach,
    source: Option<IpAddr>,
    /// Reading the system's certificates takes time and may fail, so plain HTTP does without.
    tls: bool,
}

impl Web {
    pub(crate) fn new(name: &str, addresses: AddressPolicy, patience: Patience) -> Self {
        let name = HeaderValue::from_str(name).unwrap_or(HeaderValue::from_static("swarm"));
        Self { name, addresses, patience, clients: Mutex::default() }
    }

    /// The addresses that a URL may lead to, before any redirect.
    pub(crate) fn reach(&self, url: &Url, trust: Trust, family: Option<Family>) -> Reach {
        Reach { family, floor: reach::floor(url, trust, self.addresses) }
    }

    /// Asks, and follows redirects.
    pub(crate) async fn get(&self, errand: Errand<'_>) -> Result<Answer, WebError> {
        let Errand { trust, family, listen, longest, .. } = errand;
        let mut url = Url::parse(errand.url).map_err(|_| WebError::BadUrl)?;
        // Nothing leads from a wider network into a narrower one.
        let mut came_from = Scope::Loopback;
        for hop in 0..=REDIRECTS_MAX {
            let reach = self.reach(&url, trust, family).no_nearer_than(came_from);
            let response = self.ask(&url, reach, source_for(listen, &url)).await;
            let response = match response {
                Err(WebError::Inwards(_)) if hop > 0 => {
                    return Err(WebError::Redirect(RedirectFault::Inwards));
                }
                response => response?,
            };
            if !response.status().is_redirection() {
                return answer(response, longest).await;
            }
            came_from = came_from.max(scope_of(&response));
            let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
            url = redirect_target(&url, location).map_err(WebError::Redirect)?;
        }
        Err(WebError::Redirect(RedirectFault::TooMany))
    }

    async fn ask(
        &self,
        url: &Url,
        reach: Reach,
        source: Option<IpAddr>,
    ) -> Result<Response, WebError> {
        resolve::check_literal(url, reach)?;
        let client = self.client(Kind { reach, source, tls: url.scheme() == "https" }).await?;
        client.get(url.clone()).send().await.map_err(blame)
    }

    async fn client(&self, kind: Kind) -> Result<Client, WebError> {
        let mut clients = self.clients.lock().await;
        if let Some((_, client)) = clients.iter().find(|(known, _)| *known == kind) {
            return Ok(client.clone());
        }
        let (name, patience) = (self.name.clone(), self.patience);
        let building = tokio::task::spawn_blocking(move || build(name, patience, kind));
        let failed = |_| WebError::Http("HTTP client failed to start".to_owned());
        let client = building.await.map_err(failed)??;
        clients.push((kind, client.clone()));
        Ok(client)
    }
}

fn build(name: HeaderValue, patience: Patience, kind: Kind) -> Result<Client, WebError> {
    let builder = Client::builder()
        .user_agent(name)
        .dns_resolver(Arc::new(Judge(kind.reach)))
        .local_address(kind.source)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .no_proxy()
        .http1_only()
        .http1_max_headers(HEADERS_MAX)
        .pool_max_idle_per_host(0)
        .connect_timeout(patience.connect)
        .read_timeout(patience.idle);
    let builder = if kind.tls { builder } else { builder.tls_certs_only([]) };
    builder.build().map_err(blame)
}

/// Gives the HTTP library those addresses of a name that may be connected to.
#[derive(Debug)]
struct Judge(Reach);

impl Resolve for Judge {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let addrs = resolve::lookup(name.as_str(), PORT_OF_URL, reach).await?;
            Ok(Box::new(addrs.into_iter()) as Addrs)
        })
    }
}

/// The address to speak from to the server of this URL; see [`source::source_for`].
pub(crate) fn source_for(listen: Option<SocketAddr>, url: &Url) -> Option<IpAddr> {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        // An IPv4 address is a name to the parser, unless the scheme is a web's.
        Some(Host::Domain(name)) => name
            .parse::<IpAddr>()
            .map_or_else(|_| name.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback()),
        None => false,
    };
    source::source_for(listen, is_loopback)
}

/// How far the answer came from; unknown counts as far.
fn scope_of(response: &Response) -> Scope {
    response.remote_addr().map_or(Scope::Global, |addr| Scope::of(addr.ip()))
}

fn redirect_target(from: &Url, location: Option<&str>) -> Result<Url, RedirectFault> {
    let target = location.and_then(|location| from.join(location).ok());
    let mut target = target.ok_or(RedirectFault::Nowhere)?;
    if target.origin() != from.origin() {
        // Nobody hands on a name and a password of his own choosing.
        let _ = target.set_username("");
        let _ = target.set_password(None);
    }
    match (from.scheme(), target.scheme()) {
        ("https", "http") => Err(RedirectFault::Downgrade),
        (_, "http" | "https") => Ok(target),
        _ => Err(RedirectFault::Nowhere),
    }
}

async fn answer(mut response: Response, longest: usize) -> Result<Answer, WebError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(blame)? {
        let length = body.len() + chunk.len();
        if length > longest {
            return Err(WebError::TooLong(length));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status: response.status().as_u16(), body })
}
