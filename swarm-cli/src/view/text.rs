//! Snapshots and notes as text: pure, so that every screen can be tested as a string.
//!
//! Not here: when and where it is printed (see `bars`, `lines`).

use std::fmt::Write as _;

use console::{Alignment, Style, measure_text_width, pad_str, truncate_str};
use swarm_core::types::Untrusted;

use super::{Done, FileRow, Note, PeerRow, Snapshot, Stage};
use crate::exit::Code;
use crate::units;

/// What the terminal can do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) color: bool,
    pub(crate) unicode: bool,
}

/// Torrents with at most this many files get a line per file.
const FILE_LINES_MAX: usize = 8;
/// Peers shown per torrent that is served, where the screen has room.
const PEER_LINES_MAX: usize = 10;
/// Below this a bar says nothing.
const BAR_WIDTH_MIN: usize = 10;
const BAR_WIDTH_MAX: usize = 40;
const NAME_WIDTH_MIN: usize = 8;
const NAME_WIDTH_MAX: usize = 36;

/// Every line of the live view, none wider than the screen, and fewer than fit.
pub(crate) fn screen_lines(rows: &[Snapshot], screen: Screen) -> Vec<String> {
    let live: Vec<&Snapshot> = rows.iter().filter(|row| row.stage != Stage::Ended).collect();
    // The last line of the terminal stays free for the cursor.
    let room = screen.height.saturating_sub(1).max(1);
    let mut lines: Vec<String> = Vec::new();
    for (at, row) in live.iter().enumerate() {
        let more = live.len() - at - 1;
        // A torrent that is not the last leaves a line to say so.
        let left = room.saturating_sub(lines.len() + usize::from(more > 0));
        if left == 0 && at > 0 {
            let hidden = format!("  and {} more", units::count_len(more + 1, "torrent"));
            lines.extend((lines.len() < room).then(|| dim(&hidden, screen)));
            break;
        }
        lines.push(main_line(row, screen));
        lines.extend(detail_lines(row, screen, left.saturating_sub(1)));
    }
    lines
}

fn main_line(row: &Snapshot, screen: Screen) -> String {
    let name = Untrusted::new(&row.name).to_string();
    let bar = match row.stage {
        Stage::Hashing | Stage::Checking | Stage::Fetching | Stage::Finishing => {
            (row.total_bytes > 0).then(|| units::permille(row.done_bytes, row.total_bytes))
        }
        Stage::Starting | Stage::Metadata | Stage::Waiting | Stage::Serving | Stage::Ended => None,
    };
    let facts = facts(row).join("  ");
    match bar {
        Some(permille) => Bar { name, permille, facts }.alone(screen),
        None => {
            let room = screen.width.saturating_sub(measure_text_width(&facts) + 2);
            let name = truncate_str(&name, room, ellipsis(screen));
            cut(&format!("{name}  {facts}"), screen.width)
        }
    }
}

/// What is known beside the bar, most telling first.
fn facts(row: &Snapshot) -> Vec<String> {
    let mut facts = vec![verb(row.stage).to_owned()];
    let peers = || units::count_len(row.peers.len(), "peer");
    match row.stage {
        Stage::Hashing | Stage::Checking | Stage::Fetching => {
            let sizes =
                format!("{} of {}", units::size(row.done_bytes), units::size(row.total_bytes));
            facts.extend([sizes, units::rate(row.rate)]);
            let rest = row.total_bytes.saturating_sub(row.done_bytes);
            let left = units::time_left(rest, row.rate).filter(|_| rest > 0);
            facts.extend(left.map(|left| format!("{} left", units::clock(left))));
            if row.stage == Stage::Fetching {
                facts.push(peers());
            }
        }
        Stage::Metadata => facts.push(peers()),
        Stage::Serving => {
            facts.extend([peers(), units::rate(row.up_rate)]);
            facts.push(format!("{} sent", units::size(row.uploaded)));
        }
        Stage::Starting | Stage::Finishing | Stage::Waiting | Stage::Ended => {}
    }
    facts
}

const fn verb(stage: Stage) -> &'static str {
    match stage {
        Stage::Starting => "starting",
        Stage::Hashing => "hashing",
        Stage::Metadata => "looking for metadata",
        Stage::Checking => "checking",
        Stage::Fetching => "fetching",
        Stage::Finishing => "finishing",
        Stage::Waiting => "waiting for the disk",
        Stage::Serving => "serving",
        Stage::Ended => "ended",
    }
}

fn detail_lines(row: &Snapshot, screen: Screen, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    if let Some(diagnosis) = &row.diagnosis {
        lines.extend(diagnosis.lines().iter().map(|line| dim(&format!("  {line}"), screen)));
    }
    match row.stage {
        Stage::Serving => lines.extend(peer_lines(&row.peers, screen, room)),
        Stage::Fetching if (2..=FILE_LINES_MAX).contains(&row.files.len()) => {
            lines.extend(align(row.files.iter().map(file_bar), screen));
        }
        _ => {}
    }
    lines.truncate(room);
    lines
}

fn file_bar(file: &FileRow) -> Bar {
    Bar {
        name: format!("  {}", Untrusted::new(&file.path)),
        permille: units::permille(file.have_bytes, file.length),
        facts: units::size(file.length),
    }
}

fn peer_lines(peers: &[PeerRow], screen: Screen, room: usize) -> Vec<String> {
    let room = room.min(PEER_LINES_MAX);
    let mut order: Vec<&PeerRow> = peers.iter().collect();
    order.sort_by_key(|peer| (std::cmp::Reverse(peer.up_rate), peer.addr));
    let shown = if order.len() > room { room.saturating_sub(1) } else { order.len() };
    let mut lines = align(order.iter().take(shown).map(|peer| peer_bar(peer)), screen);
    if order.len() > shown && room > 0 {
        let more = format!("  and {} more", units::count_len(order.len() - shown, "peer"));
        lines.push(dim(&more, screen));
    }
    lines
}

fn peer_bar(peer: &PeerRow) -> Bar {
    let client = if peer.client.is_empty() { "unknown client" } else { &peer.client };
    Bar {
        name: format!("  {} {}", peer.addr, Untrusted::with_limit(client, 40)),
        permille: peer.permille,
        facts: units::rate(peer.up_rate),
    }
}

/// `NAME  45% ━━━━━━━━━━━━────────  facts`.
struct Bar {
    name: String,
    permille: u64,
    facts: String,
}

/// Bars below each other, in columns.
fn align(bars: impl Iterator<Item = Bar>, screen: Screen) -> Vec<String> {
    let bars: Vec<Bar> = bars.collect();
    let widest = |text: fn(&Bar) -> &str| {
        bars.iter().map(|bar| measure_text_width(text(bar))).max().unwrap_or(0)
    };
    let (name, facts) = (widest(|bar| &bar.name), widest(|bar| &bar.facts));
    bars.iter().map(|bar| bar.line(name, facts, screen)).collect()
}

impl Bar {
    fn alone(&self, screen: Screen) -> String {
        self.line(measure_text_width(&self.name), measure_text_width(&self.facts), screen)
    }

    /// In columns of these widths: where it is narrow the bar gives way first, then the name.
    fn line(&self, name_width: usize, facts_width: usize, screen: Screen) -> String {
        let free = screen.width.saturating_sub(facts_width + "  45%   ".len());
        let with_bar = free.saturating_sub(BAR_WIDTH_MIN).max(NAME_WIDTH_MIN);
        let name_room = name_width.min(NAME_WIDTH_MAX).min(with_bar).min(free);
        let name = truncate_str(&self.name, name_room, ellipsis(screen));
        let name = pad_str(&name, name_room, Alignment::Left, None);
        let facts = pad_str(&self.facts, facts_width, Alignment::Right, None);
        let percent = self.permille / 10;
        let bar_width = (free - name_room).min(BAR_WIDTH_MAX);
        let line = if bar_width < BAR_WIDTH_MIN {
            format!("{name} {percent:>3}%  {facts}")
        } else {
            format!("{name} {percent:>3}% {}  {facts}", bar(self.permille, bar_width, screen))
        };
        cut(&line, screen.width)
    }
}

fn bar(permille: u64, width: usize, screen: Screen) -> String {
    let width_u64 = u64::try_from(width).unwrap_or(0);
    let full = usize::try_from(permille * width_u64 / 1000).unwrap_or(0).min(width);
    let (done, rest) = if screen.unicode { ("━", "─") } else { ("=", "-") };
    let (done, rest) = (done.repeat(full), rest.repeat(width - full));
    if !screen.color {
        return format!("{done}{rest}");
    }
    let style = |style: Style, text: String| style.force_styling(true).apply_to(text);
    format!("{}{}", style(Style::new().cyan(), done), style(Style::new().dim(), rest))
}

fn dim(text: &str, screen: Screen) -> String {
    let text = cut(text, screen.width);
    if !screen.color {
        return text;
    }
    Style::new().dim().force_styling(true).apply_to(text).to_string()
}

fn cut(text: &str, width: usize) -> String {
    truncate_str(text, width, "").into_owned()
}

const fn ellipsis(screen: Screen) -> &'static str {
    if screen.unicode { "…" } else { "..." }
}

/// One torrent as one plain line, for logs.
pub(crate) fn plain_line(row: &Snapshot) -> String {
    let mut facts = facts(row);
    let verb = if facts.is_empty() { String::new() } else { facts.remove(0) };
    if row.total_bytes > 0
        && matches!(row.stage, Stage::Hashing | Stage::Checking | Stage::Fetching)
    {
        let share = units::permille(row.done_bytes, row.total_bytes);
        facts.insert(0, format!("{}.{}%", share / 10, share % 10));
    }
    let mut line = format!("{}: {verb}", Untrusted::new(&row.name));
    for fact in facts {
        let _ = write!(line, ", {fact}");
    }
    if let Some(diagnosis) = &row.diagnosis {
        let _ = write!(line, "; {}", diagnosis.line());
    }
    line
}

/// A note for people; `None` when it is for programs only.
pub(crate) fn note(note: &Note) -> Option<String> {
    match note {
        Note::Warning { message } => Some(format!("warning: {message}")),
        Note::PeerBanned { addr, .. } => {
            Some(format!("warning: peer {addr} sent wrong data: banned"))
        }
        Note::Suspended { name, failure, retry_in, .. } => {
            let (name, why) = (Untrusted::new(name), failure.message());
            let wait = units::elapsed(*retry_in);
            let text = format!("warning: {name} waits: {why}; trying again in {wait}");
            Some(match failure.code() {
                Code::DiskFull => {
                    format!("{text}\nhint: free some space, and it goes on by itself")
                }
                _ => format!("{text}\nhint: it goes on by itself once the disk works again"),
            })
        }
        Note::Recovered { name, .. } => Some(format!("{} goes on", Untrusted::new(name))),
        Note::Done(done) => Some(done_line(done)),
        Note::Error { link: None, failure } => Some(failure.report()),
        Note::Error { link: Some((_, label)), failure } => {
            let said = failure.message().contains(label.as_str());
            let failure = if said { failure.clone() } else { failure.clone().about(label) };
            Some(failure.report())
        }
        Note::Report(diagnosis) => Some(diagnosis.report()),
        Note::Summary(text) => Some(text.clone()),
        Note::Seeding(_) | Note::Metadata { .. } | Note::FileDone { .. } | Note::Trouble { .. } => {
            None
        }
    }
}

/// `done: NAME, 1.2 GiB in 14.3 s (86 MB/s), from 5 peers`.
fn done_line(done: &Done) -> String {
    let name = Untrusted::new(&done.name);
    let size = units::size(done.bytes);
    let time = units::elapsed(done.elapsed);
    if done.downloaded == 0 {
        return format!("done: {name}, {size}, was all here already (checked in {time})");
    }
    let rate = units::rate(units::average(done.downloaded, done.elapsed));
    let peers = units::count_len(done.peers, "peer");
    format!("done: {name}, {size} in {time} ({rate}), from {peers}")
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
