//! What a client asks, in the query part of a URL.
//!
//! Liberal where nothing is at stake: unknown keys, missing amounts, odd numbers. Strict where
//! a guess would register the wrong thing: the hash, the port. Of a key that is repeated the
//! first value counts; only a repeated hash is refused.

use crate::types::{InfoHash, PeerId};
use crate::wire::tracker::{Announce, AnnounceEvent};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};
use std::borrow::Cow;
use std::fmt::Write as _;

/// Hashes of one scrape that are answered; the rest is ignored (LIMITS I09).
pub const SCRAPE_HASHES_MAX: usize = 70;

/// Everything but the unreserved characters of RFC 3986.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// An announce and how its reply should look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceQuery {
    /// What the peer says.
    pub announce: Announce,
    /// How it wants to read the peers.
    pub form: PeerForm,
}

/// How peers are written in a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeerForm {
    /// Packed strings (BEP 23, BEP 7).
    #[default]
    Compact,
    /// A list of dictionaries (BEP 3).
    Dictionary,
}

/// A query that cannot be answered. Its text is the `failure reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// There is no hash.
    #[error("info_hash is missing")]
    NoInfoHash,
    /// An announce is about one swarm.
    #[error("info_hash is given twice")]
    TwoInfoHashes,
    /// The hash is not 20 bytes.
    #[error("info_hash is {0} bytes long, not 20")]
    InfoHashLength(usize),
    /// The hash is written in hexadecimal digits.
    #[error("info_hash is 40 hexadecimal digits: send its 20 bytes, percent-encoded")]
    HexInfoHash,
    /// The peer id is not 20 bytes.
    #[error("peer_id is {0} bytes long, not 20")]
    PeerIdLength(usize),
    /// Nobody could be told where the peer listens.
    #[error("port is missing")]
    NoPort,
    /// The port is no number up to 65535.
    #[error("port is not a number from 0 to 65535")]
    BadPort,
}

/// Reads the query of an announce, without its question mark.
///
/// A missing or unreadable `left` is unknown, which makes the peer a leech; other missing
/// amounts are 0. Without `compact=0` the reply is compact.
///
/// # Errors
/// When the hash or the port is missing or wrong, or the peer id has a wrong length.
pub fn parse_announce(query: &[u8]) -> Result<AnnounceQuery, QueryError> {
    let mut values = Values::default();
    for (key, value) in pairs(query) {
        values.note(&key, value)?;
    }
    values.finish()
}

/// Reads the query of a scrape: its hashes in order, at most [`SCRAPE_HASHES_MAX`].
///
/// # Errors
/// When there is none (nobody gets everything), or one has a wrong length.
pub fn parse_scrape(query: &[u8]) -> Result<Vec<InfoHash>, QueryError> {
    let hashes: Vec<_> = pairs(query)
        .filter(|(key, _)| key.as_ref() == b"info_hash")
        .take(SCRAPE_HASHES_MAX)
        .map(|(_, value)| info_hash(value))
        .collect::<Result<_, _>>()?;
    if hashes.is_empty() { Err(QueryError::NoInfoHash) } else { Ok(hashes) }
}

/// The raw value of each key of an announce that means something, as first seen.
#[derive(Default)]
struct Values<'a> {
    info_hash: Option<InfoHash>,
    peer_id: Option<&'a [u8]>,
    port: Option<&'a [u8]>,
    uploaded: Option<&'a [u8]>,
    downloaded: Option<&'a [u8]>,
    left: Option<&'a [u8]>,
    event: Option<&'a [u8]>,
    key: Option<&'a [u8]>,
    numwant: Option<&'a [u8]>,
    compact: Option<&'a [u8]>,
}

impl<'a> Values<'a> {
    fn note(&mut self, key: &[u8], value: &'a [u8]) -> Result<(), QueryError> {
        let slot = match key {
            b"info_hash" if self.info_hash.is_some() => return Err(QueryError::TwoInfoHashes),
            b"info_hash" => {
                self.info_hash = Some(info_hash(value)?);
                return Ok(());
            }
            b"peer_id" => &mut self.peer_id,
            b"port" => &mut self.port,
            b"uploaded" => &mut self.uploaded,
            b"downloaded" => &mut self.downloaded,
            b"left" => &mut self.left,
            b"event" => &mut self.event,
            b"key" => &mut self.key,
            b"numwant" => &mut self.numwant,
            b"compact" => &mut self.compact,
            _ => return Ok(()),
        };
        slot.get_or_insert(value);
        Ok(())
    }

    fn finish(self) -> Result<AnnounceQuery, QueryError> {
        let info_hash = self.info_hash.ok_or(QueryError::NoInfoHash)?;
        let peer_id = match self.peer_id {
            Some(value) => twenty_bytes(value).map_err(QueryError::PeerIdLength)?,
            None => [0; 20],
        };
        let port = self.port.ok_or(QueryError::NoPort)?;
        let port = number(port).and_then(|port| u16::try_from(port).ok());
        let amount = |value: Option<&[u8]>| value.and_then(number).and_then(saturated);
        let announce = Announce {
            info_hash,
            peer_id: PeerId::new(peer_id),
            port: port.ok_or(QueryError::BadPort)?,
            uploaded: amount(self.uploaded).unwrap_or(0),
            downloaded: amount(self.downloaded).unwrap_or(0),
            left: amount(self.left).unwrap_or(Announce::LEFT_UNKNOWN),
            event: self.event.map_or(AnnounceEvent::None, event),
            key: self.key.map_or(0, key),
            numwant: amount(self.numwant).map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
        };
        let compact = self.compact.is_none_or(|value| number(value) != Some(0));
        let form = if compact { PeerForm::Compact } else { PeerForm::Dictionary };
        Ok(AnnounceQuery { announce, form })
    }
}

/// Key, decoded, and value, still encoded. Only `&` separates; a key without `=` is empty.
fn pairs(query: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, &[u8])> {
    query.split(|byte| *byte == b'&').map(|pair| {
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let key = parts.next().unwrap_or_default();
        (percent_decode(key).into(), parts.next().unwrap_or_default())
    })
}

fn info_hash(value: &[u8]) -> Result<InfoHash, QueryError> {
    let is_hex = || percent_decode(value).all(|byte| byte.is_ascii_hexdigit());
    twenty_bytes(value).map(InfoHash::new).map_err(|length| match length {
        40 if is_hex() => QueryError::HexInfoHash,
        length => QueryError::InfoHashLength(length),
    })
}

/// Decodes exactly twenty bytes; otherwise says how many there are.
fn twenty_bytes(value: &[u8]) -> Result<[u8; 20], usize> {
    let mut bytes = [0; 20];
    let mut decoded = percent_decode(value);
    let mut length = 0;
    for (to, from) in bytes.iter_mut().zip(decoded.by_ref()) {
        *to = from;
        length += 1;
    }
    length += decoded.count();
    if length == bytes.len() { Ok(bytes) } else { Err(length) }
}

/// A decimal number of any size; what does not fit becomes the largest of its sign.
fn number(value: &[u8]) -> Option<i128> {
    let text = percent_decode(value).decode_utf8().ok()?;
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.as_ref()),
    };
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse::<i128>().unwrap_or(i128::MAX) * sign)
}

/// The number as an amount; `None` when it is negative.
fn saturated(number: i128) -> Option<u64> {
    (number >= 0).then(|| u64::try_from(number).unwrap_or(u64::MAX))
}

fn event(value: &[u8]) -> AnnounceEvent {
    match Cow::from(percent_decode(value)).as_ref() {
        b"started" => AnnounceEvent::Started,
        b"stopped" => AnnounceEvent::Stopped,
        b"completed" => AnnounceEvent::Completed,
        b"paused" => AnnounceEvent::Paused,
        _ => AnnounceEvent::None,
    }
}

/// Keys are opaque; ours and most others' are up to eight hexadecimal digits.
fn key(value: &[u8]) -> u32 {
    let text = percent_decode(value).decode_utf8().ok();
    text.and_then(|text| u32::from_str_radix(&text, 16).ok()).unwrap_or(0)
}

/// The URL of an announce: the tracker's own, its query kept, with the announce appended.
/// `tracker_id` is what the tracker's last reply asked to be sent back.
#[must_use]
pub fn announce_url(tracker: &str, announce: &Announce, tracker_id: Option<&[u8]>) -> String {
    let mut url = start_query(tracker);
    push_bytes(&mut url, "info_hash=", announce.info_hash.as_bytes());
    push_bytes(&mut url, "&peer_id=", announce.peer_id.as_bytes());
    let amounts = format!(
        "&port={}&uploaded={}&downloaded={}&left={}&compact=1&no_peer_id=1&key={:08X}",
        announce.port, announce.uploaded, announce.downloaded, announce.left, announce.key
    );
    url.push_str(&amounts);
    if let Some(numwant) = announce.numwant {
        push_bytes(&mut url, "&numwant=", numwant.to_string().as_bytes());
    }
    let event = match announce.event {
        AnnounceEvent::None => "",
        AnnounceEvent::Completed => "&event=completed",
        AnnounceEvent::Started => "&event=started",
        AnnounceEvent::Stopped => "&event=stopped",
        AnnounceEvent::Paused => "&event=paused",
    };
    url.push_str(event);
    if let Some(id) = tracker_id {
        push_bytes(&mut url, "&trackerid=", id);
    }
    url
}

/// The URL of a scrape: in the path, the last `announce` becomes `scrape` (BEP 48). `None`
/// when there is none to change: such a tracker cannot be scraped.
#[must_use]
pub fn scrape_url(tracker: &str, hashes: &[InfoHash]) -> Option<String> {
    let after_scheme = tracker.find("://").map_or(0, |at| at + 3);
    let path_end = tracker.find(['?', '#']).unwrap_or(tracker.len());
    let path_start = after_scheme + tracker.get(after_scheme..path_end)?.find('/')?;
    let at = path_start + tracker.get(path_start..path_end)?.rfind("announce")?;
    let (before, rest) = tracker.split_at_checked(at)?;
    let rest = rest.strip_prefix("announce")?;
    let mut url = start_query(&format!("{before}scrape{rest}"));
    for (at, hash) in hashes.iter().take(SCRAPE_HASHES_MAX).enumerate() {
        let key = if at == 0 { "info_hash=" } else { "&info_hash=" };
        push_bytes(&mut url, key, hash.as_bytes());
    }
    Some(url)
}

/// The URL without its fragment, ready for one more pair.
fn start_query(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let joint = match url.split_once('?') {
        None => "?",
        Some((_, query)) if query.is_empty() || query.ends_with('&') => "",
        Some(_) => "&",
    };
    format!("{url}{joint}")
}

fn push_bytes(url: &mut String, key: &str, bytes: &[u8]) {
    url.push_str(key);
    // Writing to a string cannot fail.
    let _ = write!(url, "{}", percent_encode(bytes, ESCAPED));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HASH: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa";

    fn parse(rest: &str) -> Result<AnnounceQuery, QueryError> {
        parse_announce(format!("{HASH}&peer_id=bbbbbbbbbbbbbbbbbbbb&port=7{rest}").as_bytes())
    }

    fn announce(rest: &str) -> Announce {
        parse(rest).unwrap().announce
    }

    /// DISCOVERY 3.2 row 1.
    #[test]
    fn all_byte_values_decode_in_three_spellings() {
        for byte in 0..=u8::MAX {
            let mut spellings = vec![format!("%{byte:02x}").into(), format!("%{byte:02X}").into()];
            if !matches!(byte, b'&' | b'%' | b'=') {
                spellings.push(vec![byte]);
            }
            for spelling in spellings {
                let mut query = b"info_hash=".to_vec();
                for _ in 0..20 {
                    query.extend_from_slice(&spelling);
                }
                assert_eq!(parse_scrape(&query), Ok(vec![InfoHash::new([byte; 20])]), "{byte}");
            }
        }
    }

    /// DISCOVERY 3.2 row 1.
    #[test]
    fn a_plus_is_a_plus_and_a_semicolon_does_not_split() {
        let query = b"info_hash=+;++++++++++++++++;+&port=1;port=2";
        let hash = *parse_scrape(query).unwrap()[0].as_bytes();
        assert_eq!(&hash, b"+;++++++++++++++++;+");
        assert_eq!(parse_announce(query), Err(QueryError::BadPort));
    }

    #[test]
    fn a_broken_escape_stands_for_itself() {
        let query = b"info_hash=%zz%4%%zzzzzzzzzzzzz";
        assert_eq!(parse_scrape(query).unwrap()[0].as_bytes(), &query[10..]);
    }

    /// DISCOVERY 3.2 row 2.
    #[test]
    fn two_hashes_are_refused_by_announce_and_listed_by_scrape() {
        let query = format!("{HASH}&{HASH}&port=1");
        assert_eq!(parse_announce(query.as_bytes()), Err(QueryError::TwoInfoHashes));
        assert_eq!(parse_scrape(query.as_bytes()).unwrap().len(), 2);
    }

    /// DISCOVERY 3.2 row 2.
    #[test]
    fn of_another_repeated_key_the_first_wins() {
        assert_eq!(announce("&port=9&left=1&left=0").port, 7);
        assert_eq!(announce("&left=1&left=0").left, 1);
    }

    /// DISCOVERY 3.2 rows 3 and 5.
    #[test]
    fn wrong_lengths_are_named() {
        let cases = [
            ("port=1".to_owned(), QueryError::NoInfoHash),
            ("info_hash=abc&port=1".to_owned(), QueryError::InfoHashLength(3)),
            (format!("info_hash={}&port=1", "z".repeat(40)), QueryError::InfoHashLength(40)),
            (format!("info_hash={}&port=1", "aB".repeat(20)), QueryError::HexInfoHash),
            (format!("{HASH}&peer_id=abc&port=1"), QueryError::PeerIdLength(3)),
            (format!("{HASH}&peer_id&port=1"), QueryError::PeerIdLength(0)),
            (HASH.to_owned(), QueryError::NoPort),
            (format!("{HASH}&port"), QueryError::BadPort),
            (format!("{HASH}&port=65536"), QueryError::BadPort),
            (format!("{HASH}&port=-1"), QueryError::BadPort),
        ];
        for (query, error) in cases {
            assert_eq!(parse_announce(query.as_bytes()), Err(error), "{query}");
        }
        assert_eq!(parse_scrape(b""), Err(QueryError::NoInfoHash));
        assert_eq!(parse_scrape(b"info_hash="), Err(QueryError::InfoHashLength(0)));
    }

    /// DISCOVERY 3.2 rows 4 and 5.
    #[test]
    fn only_an_exact_zero_left_makes_a_seed() {
        let huge = "9".repeat(60);
        let cases = [
            ("", Announce::LEFT_UNKNOWN),
            ("&left", Announce::LEFT_UNKNOWN),
            ("&left=-1", Announce::LEFT_UNKNOWN),
            ("&left=zero", Announce::LEFT_UNKNOWN),
            ("&left=0", 0),
            ("&left=%30", 0),
            ("&left=18446744073709551615", u64::MAX),
        ];
        for (rest, left) in cases {
            assert_eq!(announce(rest).left, left, "{rest}");
        }
        assert_eq!(announce(&format!("&left={huge}")).left, u64::MAX);
        assert_eq!(announce(&format!("&left=-{huge}")).left, Announce::LEFT_UNKNOWN);
    }

    /// DISCOVERY 3.1: numwant -1 and 0.
    #[test]
    fn numwant_keeps_zero_and_forgets_negatives() {
        let cases = [("0", Some(0)), ("1", Some(1)), ("-1", None), ("x", None), ("", None)];
        for (text, numwant) in cases {
            assert_eq!(announce(&format!("&numwant={text}")).numwant, numwant, "{text}");
        }
        assert_eq!(announce("&numwant=99999999999").numwant, Some(u32::MAX));
        assert_eq!(announce("").numwant, None);
    }

    #[test]
    fn flags_without_a_value_and_unknown_events_are_tolerated() {
        assert_eq!(announce("&supportcrypto&event=&x").event, AnnounceEvent::None);
        assert_eq!(announce("&event=party").event, AnnounceEvent::None);
        assert_eq!(announce("&event=paused").event, AnnounceEvent::Paused);
        assert_eq!(parse("").unwrap().form, PeerForm::Compact);
        assert_eq!(parse("&compact=0").unwrap().form, PeerForm::Dictionary);
        assert_eq!(parse("&compact=1").unwrap().form, PeerForm::Compact);
    }

    /// DISCOVERY 3.2 row 5.
    #[test]
    fn a_peer_without_an_id_is_welcome() {
        let query = parse_announce(format!("{HASH}&port=1").as_bytes()).unwrap();
        assert_eq!(query.announce.peer_id, PeerId::new([0; 20]));
        assert_eq!((query.announce.uploaded, query.announce.downloaded), (0, 0));
    }

    #[test]
    fn the_query_is_appended_to_whatever_the_tracker_has() {
        let announce =
            Announce::new(InfoHash::new([0xE9; 20]), PeerId::new(*b"-SW0100-abcdefghi~_."), 1);
        for (tracker, start) in [
            ("http://t/announce", "http://t/announce?info_hash=%E9%E9"),
            ("http://t/announce?", "http://t/announce?info_hash="),
            ("http://t/announce?key=1", "http://t/announce?key=1&info_hash="),
            ("http://t/announce?key=1&#x", "http://t/announce?key=1&info_hash="),
        ] {
            let url = announce_url(tracker, &announce, Some(b"a b"));
            assert!(url.starts_with(start), "{url}");
            assert!(url.ends_with("&trackerid=a%20b") && url.contains("-SW0100-abcdefghi~_."));
        }
    }

    /// DISCOVERY 3.2 row 6.
    #[test]
    fn the_last_announce_of_the_path_becomes_scrape() {
        let hash = [InfoHash::new(*b"aaaaaaaaaaaaaaaaaaaa")];
        let cases = [
            ("http://t/announce", Some("http://t/scrape?")),
            ("http://t/announce.php?x=1", Some("http://t/scrape.php?x=1&")),
            ("http://announce/announce/announce", Some("http://announce/announce/scrape?")),
            ("http://announce/a?announce", None),
            ("http://announce", None),
        ];
        for (tracker, start) in cases {
            let expected = start.map(|start| format!("{start}{HASH}"));
            assert_eq!(scrape_url(tracker, &hash), expected, "{tracker}");
        }
    }

    proptest! {
        #[test]
        fn what_the_client_builds_the_tracker_reads(
            hash: [u8; 20], id: [u8; 20], port: u16, amounts: [u64; 3], key: u32,
            numwant: Option<u32>, event in 0usize..5,
        ) {
            let events = [AnnounceEvent::None, AnnounceEvent::Completed, AnnounceEvent::Started,
                AnnounceEvent::Stopped, AnnounceEvent::Paused];
            let sent = Announce {
                info_hash: InfoHash::new(hash), peer_id: PeerId::new(id), port,
                uploaded: amounts[0], downloaded: amounts[1], left: amounts[2],
                event: events[event], key, numwant,
            };
            let url = announce_url("http://t/announce", &sent, None);
            let (_, query) = url.split_once('?').unwrap();
            let read = parse_announce(query.as_bytes()).unwrap();
            prop_assert_eq!(read, AnnounceQuery { announce: sent, form: PeerForm::Compact });
        }

        #[test]
        fn no_query_panics(query in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse_announce(&query);
            let mut with_hash = b"port=1&info_hash=".to_vec();
            with_hash.extend_from_slice(&query);
            let _ = parse_announce(&with_hash);
            let _ = parse_scrape(&with_hash);
        }
    }
}
