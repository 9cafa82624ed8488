//! What a `.torrent` says beside `info`: where to find peers, and remarks.
//!
//! The info hash does not vouch for any of it, so it only ever comes from the user's own
//! file or link, never from peers (LIMITS A29). What is malformed here is left out with a
//! warning.

use super::error::Warning;
use super::magnet::PeerAddr;
use super::urls::{UrlFilter, UrlUse};
use crate::bencode::{Dict, Value};

/// Most DHT nodes of a torrent.
pub const NODES_MAX: usize = 50;

/// The outer keys we know.
#[derive(Clone, Debug, Default)]
pub(super) struct Outer {
    pub(super) trackers: Vec<Vec<String>>,
    pub(super) web_seeds: Vec<String>,
    pub(super) nodes: Vec<PeerAddr>,
    pub(super) comment: Option<String>,
    pub(super) created_by: Option<String>,
    pub(super) creation_date: Option<u64>,
}

impl Outer {
    pub(super) fn parse(torrent: Dict<'_>, warnings: &mut Vec<Warning>) -> Self {
        let text = |key: &[u8], utf8: &[u8]| {
            let bytes = torrent.bytes(utf8).or_else(|| torrent.bytes(key))?;
            Some(String::from_utf8_lossy(bytes).into_owned()).filter(|text| !text.is_empty())
        };
        let date = torrent.int(b"creation date").and_then(|date| u64::try_from(date).ok());
        if torrent.get(b"httpseeds").is_some() {
            warnings.push(Warning::HttpSeedsIgnored);
        }
        Self {
            trackers: trackers(torrent, warnings),
            web_seeds: web_seeds(torrent, warnings),
            nodes: nodes(torrent, warnings),
            comment: text(b"comment", b"comment.utf-8"),
            created_by: text(b"created by", b"created by.utf-8"),
            creation_date: date.filter(|date| *date > 0),
        }
    }
}

/// Tiers of trackers. `announce` counts only without a usable `announce-list` (BEP 12).
fn trackers(torrent: Dict<'_>, warnings: &mut Vec<Warning>) -> Vec<Vec<String>> {
    let mut filter = UrlFilter::new(UrlUse::Tracker);
    let mut tiers = Vec::new();
    for tier in torrent.list(b"announce-list").into_iter().flatten() {
        let urls = strings(tier, &mut filter);
        if !urls.is_empty() {
            tiers.push(urls);
        }
    }
    if tiers.is_empty()
        && let Some(url) = torrent.get(b"announce")
    {
        tiers.extend(Some(strings(url, &mut filter)).filter(|urls| !urls.is_empty()));
    }
    warnings.extend(filter.into_warnings());
    tiers
}

fn web_seeds(torrent: Dict<'_>, warnings: &mut Vec<Warning>) -> Vec<String> {
    let mut filter = UrlFilter::new(UrlUse::WebSeed);
    let urls = torrent.get(b"url-list").map(|urls| strings(urls, &mut filter)).unwrap_or_default();
    warnings.extend(filter.into_warnings());
    urls
}

/// The URLs in a list of strings, or in one string.
fn strings(value: Value<'_>, filter: &mut UrlFilter) -> Vec<String> {
    let mut urls = Vec::new();
    let mut take = |value: Value<'_>| match value.as_bytes() {
        Some(url) => urls.extend(filter.take(url)),
        None => filter.ignore(),
    };
    match value.as_list() {
        Some(list) => list.iter().for_each(take),
        None => take(value),
    }
    urls
}

/// `[host, port]` pairs (BEP 5).
fn nodes(torrent: Dict<'_>, warnings: &mut Vec<Warning>) -> Vec<PeerAddr> {
    let mut nodes = Vec::new();
    let mut ignored = 0;
    for pair in torrent.list(b"nodes").into_iter().flatten() {
        match node(pair) {
            Some(node) if nodes.len() < NODES_MAX => nodes.push(node),
            _ => ignored += 1,
        }
    }
    if ignored > 0 {
        warnings.push(Warning::NodesIgnored(ignored));
    }
    nodes
}

fn node(pair: Value<'_>) -> Option<PeerAddr> {
    let mut items = pair.as_list()?.iter();
    let host = items.next()?.as_str()?;
    let port = u16::try_from(items.next()?.as_int()?).ok()?;
    PeerAddr::new(host, port)
}
