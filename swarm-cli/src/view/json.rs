//! Events as JSON, one object a line, `{"v":1,"event":...}`: a schema that scripts rely on.
//!
//! Fields are only ever added. Numbers are exact bytes and bytes a second. The text is
//! ASCII: whatever else a torrent or a peer put into a name comes out as `\u` escapes, so
//! that it reads back exactly and cannot play tricks on a terminal.

use std::io;
use std::time::Duration;

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};
use serde_json::{Serializer, Value, json};
use swarm_core::types::{Limit, Moment};

use super::{Note, Snapshot, Stage, text, write_stderr, write_stdout};
use crate::exit::Failure;

/// How often `progress` is written.
const EVERY: Duration = Duration::from_secs(1);
const VERSION: u32 = 1;

/// Writes events as they come, progress once a second.
#[derive(Debug, Default)]
pub(crate) struct Json {
    next: Option<Moment>,
    order: Order,
    /// Lines that wait for the link.
    held: String,
}

/// What the first line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Order {
    #[default]
    AsTheyCome,
    /// `seeding`: a reader takes the link from the first line. Errors do not wait.
    LinkFirst,
}

impl Json {
    pub(super) fn tick(&mut self, now: Moment, rows: &[Snapshot]) -> Result<(), Failure> {
        if self.order == Order::LinkFirst || self.next.is_some_and(|next| now < next) {
            return Ok(());
        }
        self.next = Some(now + EVERY);
        let lines: String = rows.iter().filter_map(progress).map(|event| line(&event)).collect();
        if lines.is_empty() { Ok(()) } else { write_stdout(lines.as_bytes()) }
    }

    /// Holds everything back until the link is known.
    pub(super) const fn link_first(&mut self) {
        self.order = Order::LinkFirst;
    }

    pub(super) fn note(&mut self, note: &Note) -> Result<(), Failure> {
        if let Note::Error { .. } = note
            && let Some(said) = text::note(note)
        {
            write_stderr(&said);
        }
        let lines = self.lines(note);
        if lines.is_empty() { Ok(()) } else { write_stdout(lines.as_bytes()) }
    }

    /// The lines to write now.
    fn lines(&mut self, note: &Note) -> String {
        let lines = event(note).map(|event| line(&event)).unwrap_or_default();
        match (self.order, note) {
            (Order::AsTheyCome, _) | (Order::LinkFirst, Note::Error { .. }) => lines,
            (Order::LinkFirst, Note::Seeding(_)) => {
                self.order = Order::AsTheyCome;
                lines + &std::mem::take(&mut self.held)
            }
            (Order::LinkFirst, _) => {
                self.held += &lines;
                String::new()
            }
        }
    }
}

fn progress(row: &Snapshot) -> Option<Value> {
    let phase = match row.stage {
        Stage::Starting | Stage::Ended => return None,
        Stage::Hashing => "hashing",
        Stage::Metadata => "metadata",
        Stage::Checking => "checking",
        Stage::Fetching => "fetching",
        Stage::Finishing => "finishing",
        Stage::Waiting => "suspended",
        Stage::Serving => "serving",
    };
    let receives = matches!(row.stage, Stage::Fetching | Stage::Finishing);
    Some(json!({
        "v": VERSION, "event": "progress", "info_hash": row.info_hash, "phase": phase,
        "have_bytes": row.done_bytes, "total_bytes": row.total_bytes,
        "down_rate": if receives { row.rate } else { 0 }, "up_rate": row.up_rate,
        "peers": row.peers.len(),
    }))
}

/// `None` for what is meant for people only.
fn event(note: &Note) -> Option<Value> {
    Some(match note {
        Note::Seeding(seeding) => json!({
            "v": VERSION, "event": "seeding", "name": seeding.name, "magnet": seeding.magnet,
            "info_hash_v1": seeding.info_hash_v1, "info_hash_v2": seeding.info_hash_v2,
            "listen": seeding.listen, "torrent": seeding.torrent,
        }),
        Note::Metadata { info_hash, name, total_bytes, files, pieces } => json!({
            "v": VERSION, "event": "metadata", "info_hash": info_hash, "name": name,
            "total_bytes": total_bytes, "files": files, "pieces": pieces,
        }),
        Note::FileDone { info_hash, path, length } => json!({
            "v": VERSION, "event": "file_done", "info_hash": info_hash, "path": path,
            "length": length,
        }),
        Note::PeerBanned { info_hash, addr } => json!({
            "v": VERSION, "event": "peer_banned", "info_hash": info_hash, "addr": addr,
        }),
        Note::Warning { message } => json!({
            "v": VERSION, "event": "warning", "message": message,
        }),
        Note::Trouble { info_hash, message } => json!({
            "v": VERSION, "event": "warning", "info_hash": info_hash, "message": message,
        }),
        Note::Suspended { info_hash, failure, retry_in, .. } => json!({
            "v": VERSION, "event": "suspended", "info_hash": info_hash,
            "code": failure.code().number(), "message": failure.message(),
            "retry_seconds": retry_in.as_secs_f64(),
        }),
        Note::Recovered { info_hash, .. } => json!({
            "v": VERSION, "event": "recovered", "info_hash": info_hash,
        }),
        Note::Done(done) => json!({
            "v": VERSION, "event": "done", "info_hash": done.info_hash, "name": done.name,
            "path": done.path, "bytes": done.bytes, "seconds": done.elapsed.as_secs_f64(),
            "downloaded": done.downloaded, "uploaded": done.uploaded, "wasted": done.wasted,
            "peers": done.peers, "limits": limits(&done.limits),
        }),
        Note::Error { link, failure } => json!({
            "v": VERSION, "event": "error", "code": failure.code().number(),
            "message": failure.message(), "link": link.as_ref().map(|(given, _)| given),
        }),
        Note::Report(_) | Note::Summary(_) => return None,
    })
}

/// Bounds that have bitten, by name.
fn limits(hits: &[(Limit, u64)]) -> Value {
    hits.iter().map(|(limit, times)| (limit.name().to_owned(), Value::from(*times))).collect()
}

/// `inspect --json`: the contract's names, in its order.
#[derive(Debug, Serialize)]
pub(crate) struct InspectJson {
    pub(crate) name: Option<String>,
    pub(crate) info_hash_v1: Option<String>,
    pub(crate) info_hash_v2: Option<String>,
    pub(crate) piece_length: Option<u32>,
    pub(crate) piece_count: Option<u32>,
    pub(crate) total_length: Option<u64>,
    pub(crate) private: Option<bool>,
    pub(crate) files: Vec<FileJson>,
    pub(crate) trackers: Vec<Vec<String>>,
    pub(crate) web_seeds: Vec<String>,
    pub(crate) comment: Option<String>,
    pub(crate) created_by: Option<String>,
    pub(crate) creation_date: Option<u64>,
    pub(crate) magnet: String,
    pub(crate) warnings: Vec<String>,
}

/// One file of `inspect --json`.
#[derive(Debug, Serialize)]
pub(crate) struct FileJson {
    pub(crate) path: String,
    pub(crate) length: u64,
}

/// `verify --json`.
#[derive(Debug, Serialize)]
pub(crate) struct VerifyJson {
    pub(crate) ok: bool,
    pub(crate) pieces_ok: usize,
    pub(crate) pieces_bad: usize,
    pub(crate) pieces_missing: usize,
    pub(crate) files: Vec<VerifiedJson>,
}

/// One file of `verify --json`.
#[derive(Debug, Serialize)]
pub(crate) struct VerifiedJson {
    pub(crate) path: String,
    pub(crate) length: u64,
    pub(crate) state: &'static str,
}

/// One object on one line.
fn line(value: &impl Serialize) -> String {
    encode(value, Ascii(CompactFormatter))
}

/// One object over several lines, for `inspect` and `verify`.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    encode(value, Ascii(PrettyFormatter::new()))
}

fn encode(value: &impl Serialize, formatter: impl Formatter) -> String {
    let mut bytes = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut bytes, formatter);
    // Plain data with string keys into memory: nothing in it can fail.
    value.serialize(&mut serializer).expect("plain data serializes");
    bytes.push(b'\n');
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Escapes everything that is not printable ASCII.
struct Ascii<F>(F);

macro_rules! forward {
    ($($method:ident($($arg:ident: $kind:ty),*));* $(;)?) => {
        $(fn $method<W: ?Sized + io::Write>(&mut self, to: &mut W $(, $arg: $kind)*) -> io::Result<()> {
            self.0.$method(to $(, $arg)*)
        })*
    };
}

impl<F: Formatter> Formatter for Ascii<F> {
    forward! {
        begin_array(); end_array(); begin_array_value(first: bool); end_array_value();
        begin_object(); end_object(); begin_object_key(first: bool); end_object_key();
        begin_object_value(); end_object_value();
    }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0u16; 2];
        for c in fragment.chars() {
            if c.is_ascii() && !c.is_ascii_control() {
                to.write_all(&[u8::try_from(c).unwrap_or(b'?')])?;
                continue;
            }
            for unit in c.encode_utf16(&mut units) {
                write!(to, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit::Code;

    #[test]
    fn text_is_ascii_and_reads_back_exactly() {
        let name = "a\u{1b}[2J\u{7f}\u{9b}\u{202e}é\u{1f980}\"\\";
        let text = line(&json!({ "name": name }));
        assert!(text.is_ascii() && !text.contains(['\u{1b}', '\u{7f}']), "{text}");
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["name"], name);
    }

    #[test]
    fn each_event_is_one_line_with_version_and_name() {
        let failure = Failure::new(Code::BadTorrent, "bad\nluck");
        let text = line(&event(&Note::Error { link: None, failure }).unwrap());
        assert_eq!(
            text,
            "{\"code\":8,\"event\":\"error\",\"link\":null,\"message\":\"bad\\nluck\",\"v\":1}\n"
        );
    }

    #[test]
    fn progress_tells_bytes_and_rates() {
        let row = Snapshot {
            info_hash: "ab".to_owned(),
            stage: Stage::Fetching,
            done_bytes: 5,
            total_bytes: 10,
            rate: 3,
            ..Snapshot::default()
        };
        let event = progress(&row).unwrap();
        assert_eq!(
            (&event["have_bytes"], &event["total_bytes"], &event["down_rate"], &event["peers"]),
            (&json!(5), &json!(10), &json!(3), &json!(0))
        );
        assert!(progress(&Snapshot { stage: Stage::Ended, ..row }).is_none());
    }

    #[test]
    fn the_link_comes_first_where_it_is_asked_for() {
        let mut json = Json::default();
        json.link_first();
        let warning = Note::Warning { message: "w".to_owned() };
        assert_eq!(json.lines(&warning), "");
        let seeding = Note::Seeding(super::super::Seeding {
            name: "n".to_owned(),
            magnet: "m".to_owned(),
            fetch_line: String::new(),
            info_hash_v1: None,
            info_hash_v2: None,
            listen: Vec::new(),
            torrent: None,
        });
        let lines = json.lines(&seeding);
        let events: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            (&events[0]["event"], &events[1]["event"]),
            (&json!("seeding"), &json!("warning"))
        );
        assert!(!json.lines(&warning).is_empty());
    }

    #[test]
    fn only_bounds_that_have_bitten_are_named() {
        assert_eq!(limits(&[]), json!({}));
        let hits = [(Limit::Peers, 1), (Limit::DialRate, 3)];
        assert_eq!(limits(&hits), json!({ "dial_rate": 3, "peers": 1 }));
    }

    #[test]
    fn a_hash_rate_is_no_download_rate() {
        let row = Snapshot { stage: Stage::Checking, rate: 9, ..Snapshot::default() };
        assert_eq!(progress(&row).unwrap()["down_rate"], 0);
    }
}
