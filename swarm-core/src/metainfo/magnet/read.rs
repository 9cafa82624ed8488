//! The fields of a link, one by one, in whatever order and however often they come.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use percent_encoding::percent_decode_str;

use super::{Magnet, MagnetError, PEERS_MAX, PeerAddr, SHA256_MULTIHASH, filtered};
use crate::metainfo::error::Warning;
use crate::metainfo::raw::FILES_MAX;
use crate::metainfo::urls::UrlUse;
use crate::types::{InfoHash, InfoHashV2, InfoHashes};

/// Ranges of a file selection that are read.
pub(super) const SELECTION_RANGES_MAX: usize = 10_000;

/// Collects the fields of a link in the order in which they come.
#[derive(Default)]
pub(super) struct Reader {
    v1: Option<InfoHash>,
    v2: Option<InfoHashV2>,
    name: Option<String>,
    trackers: Vec<String>,
    web_seeds: Vec<String>,
    peers: Vec<PeerAddr>,
    selection: Option<Vec<RangeInclusive<u32>>>,
    warnings: Vec<Warning>,
    bad_hashes: usize,
    foreign_topics: usize,
    bad_peers: usize,
}

impl Reader {
    pub(super) fn read(mut self, query: &str) -> Result<Magnet, MagnetError> {
        for field in query.split('&') {
            // Links copied out of a page's source have `&amp;` for `&`.
            let field = field.strip_prefix("amp;").unwrap_or(field);
            if let Some((key, value)) = field.split_once('=') {
                self.field(key, value)?;
            }
        }
        let hashes = InfoHashes::from_parts(self.v1, self.v2).ok_or(match self.bad_hashes {
            0 => MagnetError::NoHash,
            _ => MagnetError::BadHash,
        })?;
        let topics = self.bad_hashes + self.foreign_topics;
        if topics > 0 {
            self.warnings.push(Warning::TopicsIgnored(topics));
        }
        if self.bad_peers > 0 {
            self.warnings.push(Warning::PeersIgnored(self.bad_peers));
        }
        let mut magnet = Magnet::from_hashes(hashes);
        magnet.trackers = filtered(self.trackers, UrlUse::Tracker, &mut self.warnings);
        magnet.web_seeds = filtered(self.web_seeds, UrlUse::WebSeed, &mut self.warnings);
        magnet.name = self.name;
        magnet.peers = self.peers;
        magnet.selection = self.selection;
        magnet.warnings = self.warnings;
        Ok(magnet)
    }

    fn field(&mut self, key: &str, value: &str) -> Result<(), MagnetError> {
        let text = || percent_decode_str(value).decode_utf8_lossy().into_owned();
        // Repeated fields may be numbered: `tr.1`, `tr.2`.
        let plain = match key.rsplit_once('.') {
            Some((plain, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => plain,
            _ => key,
        };
        match plain.to_ascii_lowercase().as_str() {
            "xt" => self.topic(&text())?,
            // Some programs write names as forms do, with `+` for a space.
            "dn" if self.name.is_none() => {
                let name = percent_decode_str(&value.replace('+', " ")).decode_utf8_lossy().into();
                self.name = Some(name).filter(|name: &String| !name.is_empty());
            }
            "tr" => self.trackers.push(text()),
            "ws" => self.web_seeds.push(text()),
            "x.pe" => match text().parse() {
                Ok(peer) if self.peers.contains(&peer) => {}
                Ok(peer) if self.peers.len() < PEERS_MAX => self.peers.push(peer),
                _ => self.bad_peers += 1,
            },
            "so" if self.selection.is_none() => {
                self.selection = parse_selection(&text());
                if self.selection.is_none() {
                    self.warnings.push(Warning::SelectionIgnored);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn topic(&mut self, topic: &str) -> Result<(), MagnetError> {
        let lower = topic.to_ascii_lowercase();
        if let Some(digits) = lower.strip_prefix("urn:btih:") {
            match digits.parse().ok().or_else(|| base32_hash(digits)) {
                Some(hash) => keep(&mut self.v1, hash)?,
                None => self.bad_hashes += 1,
            }
        } else if let Some(digits) = lower.strip_prefix("urn:btmh:") {
            match digits.strip_prefix(SHA256_MULTIHASH).and_then(|digits| digits.parse().ok()) {
                Some(hash) => keep(&mut self.v2, hash)?,
                None => self.bad_hashes += 1,
            }
        } else {
            self.foreign_topics += 1;
        }
        Ok(())
    }
}

fn keep<T: PartialEq>(slot: &mut Option<T>, hash: T) -> Result<(), MagnetError> {
    if slot.as_ref().is_some_and(|before| *before != hash) {
        return Err(MagnetError::AmbiguousHash);
    }
    *slot = Some(hash);
    Ok(())
}

pub(super) fn bare_hash(text: &str) -> Option<InfoHashes> {
    let v1 = text.parse().ok().map(InfoHashes::v1);
    v1.or_else(|| text.parse().ok().map(InfoHashes::v2))
}

fn base32_hash(digits: &str) -> Option<InfoHash> {
    let bytes = data_encoding::BASE32.decode(digits.to_ascii_uppercase().as_bytes()).ok()?;
    InfoHash::try_from(bytes.as_slice()).ok()
}

/// Reads `0,2,6-8` into ascending ranges that neither meet nor touch.
fn parse_selection(text: &str) -> Option<Vec<RangeInclusive<u32>>> {
    let mut ranges = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (file_number(first)?, file_number(last)?);
        if first > last || ranges.len() >= SELECTION_RANGES_MAX {
            return None;
        }
        ranges.insert((first, last));
    }
    let mut merged: Vec<RangeInclusive<u32>> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if first <= before.end().saturating_add(1) => {
                *before = *before.start()..=last.max(*before.end());
            }
            _ => merged.push(first..=last),
        }
    }
    Some(merged)
}

fn file_number(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u32 = digits.parse().ok().filter(|_| plain)?;
    (usize::try_from(number).ok()? < FILES_MAX).then_some(number)
}
