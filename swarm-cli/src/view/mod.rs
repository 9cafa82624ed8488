//! What people and programs see while a command runs.
//!
//! Commands describe what is going on in plain data, [`Snapshot`]s several times a second and
//! [`Note`]s as things happen; a [`View`] decides how much of it is shown, where and when:
//! bars on a terminal, a line every ten seconds elsewhere, JSON lines, or nothing.
//! stdout carries only the product; everything else goes to stderr.
//!
//! Not here: reading the engine (see `cmd::watch`), the exit code.

mod bars;
mod json;
mod lines;
mod table;
mod text;

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::time::Duration;

use swarm_core::types::{Limit, Moment};

pub(crate) use json::{FileJson, InspectJson, Json, VerifiedJson, VerifyJson, pretty};
pub(crate) use table::Table;

use crate::args::ShowArgs;
use crate::diagnosis::Diagnosis;
use crate::exit::{Code, Failure};

/// How often a view wants to be told.
pub(crate) const TICK: Duration = Duration::from_millis(200);

/// One torrent, or one file being hashed, at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// Untrusted: escape before showing.
    pub(crate) name: String,
    /// The info hash in hexadecimal; empty while it is being made.
    pub(crate) info_hash: String,
    pub(crate) stage: Stage,
    /// Bytes done of the stage: hashed, checked or fetched.
    pub(crate) done_bytes: u64,
    /// Bytes of the stage; 0 when not known yet.
    pub(crate) total_bytes: u64,
    /// Bytes a second of the stage: hashed, checked or received.
    pub(crate) rate: u64,
    /// Payload sent, bytes a second.
    pub(crate) up_rate: u64,
    /// Payload sent, bytes.
    pub(crate) uploaded: u64,
    pub(crate) peers: Vec<PeerRow>,
    pub(crate) files: Vec<FileRow>,
    /// Why nothing comes, when nothing comes.
    pub(crate) diagnosis: Option<Diagnosis>,
}

/// What is being done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Reading a `.torrent`, resolving names.
    #[default]
    Starting,
    /// Hashing content for a new torrent, or to verify it.
    Hashing,
    /// A magnet link's metadata is looked for.
    Metadata,
    /// What is on the disk is hashed.
    Checking,
    Fetching,
    /// The last bytes are here and being written.
    Finishing,
    /// This machine fails the fetch, which waits for it to recover.
    Waiting,
    /// Complete and serving.
    Serving,
    /// Done, failed or stopped: not shown any more.
    Ended,
}

/// One connected peer.
#[derive(Clone, Debug)]
pub(crate) struct PeerRow {
    pub(crate) addr: SocketAddr,
    /// Untrusted.
    pub(crate) client: String,
    /// Share of the torrent it has, in tenths of a percent.
    pub(crate) permille: u64,
    /// Payload we send it, bytes a second.
    pub(crate) up_rate: u64,
}

/// One wanted file.
#[derive(Clone, Debug)]
pub(crate) struct FileRow {
    /// Untrusted.
    pub(crate) path: String,
    pub(crate) have_bytes: u64,
    pub(crate) length: u64,
}

/// Something that happened, to be told once.
#[derive(Clone, Debug)]
pub(crate) enum Note {
    Seeding(Seeding),
    Metadata {
        info_hash: String,
        name: String,
        total_bytes: u64,
        files: usize,
        pieces: u32,
    },
    FileDone {
        info_hash: String,
        path: String,
        length: u64,
    },
    PeerBanned {
        info_hash: String,
        addr: SocketAddr,
    },
    /// Worth knowing for whoever runs the command.
    Warning {
        message: String,
    },
    /// Worth recording, but normal while a swarm is found: told to programs only.
    Trouble {
        info_hash: String,
        message: String,
    },
    /// This machine fails a fetch, which tries again by itself.
    Suspended {
        info_hash: String,
        /// Untrusted.
        name: String,
        failure: Failure,
        retry_in: Duration,
    },
    /// What suspended a fetch is over.
    Recovered {
        info_hash: String,
        /// Untrusted.
        name: String,
    },
    Done(Done),
    /// With the link it is about, as given and as people call it.
    Error {
        link: Option<(String, String)>,
        failure: Failure,
    },
    /// A torrent that fetched nothing: why, in full.
    Report(Diagnosis),
    /// The last line of a command.
    Summary(String),
}

/// The product of `seed`.
#[derive(Clone, Debug)]
pub(crate) struct Seeding {
    pub(crate) name: String,
    pub(crate) magnet: String,
    /// The line that fetches it, ready to paste.
    pub(crate) fetch_line: String,
    pub(crate) info_hash_v1: Option<String>,
    pub(crate) info_hash_v2: Option<String>,
    pub(crate) listen: Vec<SocketAddr>,
    /// The `.torrent`, if one was written.
    pub(crate) torrent: Option<String>,
}

/// A finished fetch.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) info_hash: String,
    pub(crate) name: String,
    pub(crate) path: String,
    pub(crate) bytes: u64,
    pub(crate) elapsed: Duration,
    pub(crate) downloaded: u64,
    pub(crate) uploaded: u64,
    pub(crate) wasted: u64,
    pub(crate) peers: usize,
    /// Bounds that have bitten, and how often: the torrent's and the session's.
    pub(crate) limits: Vec<(Limit, u64)>,
}

/// Who is looking.
#[derive(Debug)]
pub(crate) enum View {
    Bars(bars::Bars),
    Lines(lines::Lines),
    Json(Json),
    Quiet,
}

impl View {
    pub(crate) fn new(show: ShowArgs) -> Self {
        if show.json {
            Self::Json(Json::default())
        } else if show.quiet {
            Self::Quiet
        } else if show.verbose == 0 && io::stderr().is_terminal() && has_cursor() {
            Self::Bars(bars::Bars::new())
        } else {
            Self::Lines(lines::Lines::default())
        }
    }

    /// For commands without `--json` or `-v`.
    pub(crate) fn plain(quiet: bool) -> Self {
        Self::new(ShowArgs { json: false, quiet, verbose: 0 })
    }

    /// For programs: the link is the first thing they read.
    pub(crate) const fn link_first(&mut self) {
        if let Self::Json(json) = self {
            json.link_first();
        }
    }

    /// The state of everything, every [`TICK`].
    pub(crate) fn tick(&mut self, now: Moment, rows: &[Snapshot]) -> Result<(), Failure> {
        match self {
            Self::Bars(bars) => bars.tick(rows),
            Self::Lines(lines) => lines.tick(now, rows),
            Self::Json(json) => return json.tick(now, rows),
            Self::Quiet => {}
        }
        Ok(())
    }

    /// Tells one thing now.
    pub(crate) fn note(&mut self, note: &Note) -> Result<(), Failure> {
        if let Self::Json(json) = self {
            return json.note(note);
        }
        if let Note::Seeding(seeding) = note {
            let product = format!("{}\n{}\n", seeding.magnet, seeding.fetch_line);
            return self.above(|| write_stdout(product.as_bytes()));
        }
        let quiet = matches!(self, Self::Quiet) && !matches!(note, Note::Error { .. });
        if let Some(text) = text::note(note).filter(|_| !quiet) {
            self.above(|| write_stderr(&text));
        }
        Ok(())
    }

    /// Takes bars off the screen, for good.
    pub(crate) fn clear(&mut self) {
        if let Self::Bars(bars) = self {
            bars.clear();
        }
    }

    fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        match self {
            Self::Bars(bars) => bars.above(write),
            _ => write(),
        }
    }
}

/// Writes part of the product. A reader that has gone ends the command without a word.
pub(crate) fn write_stdout(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|error| Failure::stdout(&error))
}

/// Writes a listing. Whoever reads it may stop early: `inspect | head` is no failure.
pub(crate) fn write_listing(bytes: &[u8]) -> Result<(), Failure> {
    match write_stdout(bytes) {
        Err(failure) if failure.code() == Code::ClosedPipe => Ok(()),
        written => written,
    }
}

/// Writes a line for people. When stderr is closed there is nobody left to tell.
pub(crate) fn write_stderr(line: &str) {
    let mut err = io::stderr().lock();
    let written = err.write_all(line.as_bytes()).and_then(|()| err.write_all(b"\n"));
    drop(written);
}

/// Whether stderr is shown in colour: `NO_COLOR` counts more than `CLICOLOR_FORCE`.
pub(crate) fn has_color() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && console::colors_enabled_stderr()
}

fn has_cursor() -> bool {
    std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
