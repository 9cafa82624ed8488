//! `swarm verify`: hashes data again and says which files and pieces are what they must be.
//!
//! A piece that spans a file that is missing cannot be checked: it counts as missing, and
//! is not held against the file beside it.

use std::ops::Range;

use swarm_core::FsStorage;
use swarm_core::data::check::{self, PieceState, ScanError};
use swarm_core::metainfo::Metainfo;
use swarm_core::types::{FileIndex, Untrusted};

use super::hash::{self, Gauge};
use super::{Context, load};
use crate::args::VerifyArgs;
use crate::exit::{Code, Failure};
use crate::units;
use crate::view::{Table, VerifiedJson, VerifyJson, pretty, write_listing};

pub(crate) async fn run(args: VerifyArgs, context: &mut Context) -> Result<Code, Failure> {
    let metainfo = load::torrent(&args.torrent)?;
    let content = load::locate(&metainfo, &args.path);
    let name = metainfo.name().to_owned();
    let work = move |gauge: &Gauge| {
        let storage = FsStorage::seed(&content, &metainfo)
            .map_err(|error| Failure::io(error.op, &error.path, &error.source))?;
        let hashes = |piece| metainfo.piece_hash(piece);
        let report = check::all(&storage, metainfo.geometry(), &hashes, 0, &|at| gauge.report(at));
        let report = report.map_err(|error| match error {
            ScanError::Storage(error) => Failure::io(error.op, &error.path, &error.source),
            error => Failure::new(Code::Internal, error.to_string()),
        })?;
        let on_disk = |file| storage.length_on_disk(file);
        Ok(Verdict::new(&metainfo, report.pieces, on_disk))
    };
    let verdict = hash::with_bar(context, &name, work).await?;
    let text = if args.json { pretty(&verdict.json()) } else { verdict.text(args.quiet) };
    write_listing(text.as_bytes())?;
    if verdict.is_whole() {
        return Ok(Code::Done);
    }
    let path = args.path.to_string_lossy().into_owned();
    Err(Failure::new(Code::NotWhole, format!("{} {}", Untrusted::new(&path), verdict.summary())))
}

/// What each piece and each file is.
#[derive(Debug)]
struct Verdict {
    pieces: Vec<PieceState>,
    files: Vec<Verified>,
}

#[derive(Debug)]
struct Verified {
    path: String,
    length: u64,
    state: FileState,
    /// Its length is right and nothing is wrong, but a piece it shares with a file that is
    /// not there could not be checked.
    partly: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileState {
    Ok,
    /// Its length is right, what is in it is not.
    Damaged,
    Missing,
    Short,
    Long,
}

impl Verdict {
    fn new(
        metainfo: &Metainfo,
        pieces: Vec<PieceState>,
        on_disk: impl Fn(FileIndex) -> Option<u64>,
    ) -> Self {
        let all = (0u32..).zip(metainfo.files()).zip(metainfo.layout().extents());
        let files = all.filter(|((_, file), _)| !file.pad).map(|((index, file), extent)| {
            let bytes = extent.offset..extent.offset.saturating_add(extent.length);
            let touched = metainfo.geometry().pieces_of(bytes);
            let pieces = pieces.get(as_usize(touched)).unwrap_or_default();
            let state = judge(file.length, on_disk(FileIndex::new(index)), pieces);
            let partly = state == FileState::Ok && pieces.contains(&PieceState::Missing);
            Verified { path: file.path.join("/"), length: file.length, state, partly }
        });
        let files = files.collect();
        Self { pieces, files }
    }

    fn count(&self, state: PieceState) -> usize {
        self.pieces.iter().filter(|piece| **piece == state).count()
    }

    fn is_whole(&self) -> bool {
        self.pieces.iter().all(|piece| *piece == PieceState::Good)
            && self.files.iter().all(|file| file.state == FileState::Ok)
    }

    fn json(&self) -> VerifyJson {
        let file = |file: &Verified| VerifiedJson {
            path: file.path.clone(),
            length: file.length,
            state: file.state.name(),
        };
        VerifyJson {
            ok: self.is_whole(),
            pieces_ok: self.count(PieceState::Good),
            pieces_bad: self.count(PieceState::Bad),
            pieces_missing: self.count(PieceState::Missing),
            files: self.files.iter().map(file).collect(),
        }
    }

    /// Every file with its state, then the pieces that are not good. Quiet: only what is not.
    fn text(&self, quiet: bool) -> String {
        let shown = self.files.iter().filter(|file| !quiet || file.state != FileState::Ok);
        let row = |file: &Verified| {
            let note =
                if file.partly { "  (shares a piece with a file that is not there)" } else { "" };
            let path = format!("{}{note}", Untrusted::new(&file.path));
            [file.state.name().to_owned(), units::size(file.length), path]
        };
        let mut table = Table::default();
        table.rows([false, true, false], &shown.map(row).collect::<Vec<_>>());
        for (state, label) in
            [(PieceState::Bad, "damaged pieces"), (PieceState::Missing, "missing pieces")]
        {
            if self.count(state) > 0 {
                table.line(&format!("{label}: {}", self.places(state)));
            }
        }
        if self.is_whole() && !quiet {
            let pieces = units::count_len(self.pieces.len(), "piece");
            let files = units::count_len(self.files.len(), "file");
            table.line(&format!("whole: {files}, {pieces}"));
        }
        table.text().to_owned()
    }

    fn summary(&self) -> String {
        let good = self.count(PieceState::Good);
        format!(
            "is not whole: {good} of {} good, {} damaged, {} missing",
            units::count_len(self.pieces.len(), "piece"),
            self.count(PieceState::Bad),
            self.count(PieceState::Missing),
        )
    }

    /// `0, 5-7, 9`: piece numbers as on the wire, from 0, cut when there are many.
    fn places(&self, state: PieceState) -> String {
        let mut ranges: Vec<Range<usize>> = Vec::new();
        for (at, _) in self.pieces.iter().enumerate().filter(|(_, piece)| **piece == state) {
            match ranges.last_mut() {
                Some(last) if last.end == at => last.end = at + 1,
                _ => ranges.push(at..at + 1),
            }
        }
        let text = |range: &Range<usize>| match range.len() {
            1 => range.start.to_string(),
            _ => format!("{}-{}", range.start, range.end - 1),
        };
        let mut parts: Vec<String> = ranges.iter().take(RANGES_SHOWN).map(text).collect();
        if ranges.len() > RANGES_SHOWN {
            parts.push(format!("and {} more ranges", ranges.len() - RANGES_SHOWN));
        }
        parts.join(", ")
    }
}

/// Ranges of pieces listed before the rest is only counted.
const RANGES_SHOWN: usize = 20;

impl FileState {
    /// The word of the contract.
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Damaged => "damaged",
            Self::Missing => "missing",
            Self::Short => "short",
            Self::Long => "long",
        }
    }
}

fn as_usize(range: Range<u32>) -> Range<usize> {
    let place = |at| usize::try_from(at).unwrap_or(usize::MAX);
    place(range.start)..place(range.end)
}

/// From its length, and the pieces it touches.
fn judge(length: u64, on_disk: Option<u64>, pieces: &[PieceState]) -> FileState {
    match on_disk {
        None => FileState::Missing,
        Some(found) if found < length => FileState::Short,
        Some(found) if found > length => FileState::Long,
        Some(_) if pieces.contains(&PieceState::Bad) => FileState::Damaged,
        Some(_) => FileState::Ok,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use PieceState::{Bad, Good, Missing};

    #[test]
    fn a_file_is_judged_by_its_length_first_and_its_pieces_next() {
        assert_eq!(judge(10, None, &[Good]), FileState::Missing);
        assert_eq!(judge(10, Some(9), &[Bad]), FileState::Short);
        assert_eq!(judge(10, Some(11), &[Good]), FileState::Long);
        assert_eq!(judge(10, Some(10), &[Good, Bad]), FileState::Damaged);
        assert_eq!(judge(10, Some(10), &[Good]), FileState::Ok);
    }

    #[test]
    fn a_missing_neighbour_is_not_held_against_a_file() {
        assert_eq!(judge(10, Some(10), &[Good, Missing]), FileState::Ok);
    }

    #[test]
    fn pieces_are_listed_as_ranges() {
        let pieces = vec![Bad, Good, Bad, Bad, Bad, Missing, Bad];
        let verdict = Verdict { pieces, files: Vec::new() };
        assert_eq!(verdict.places(Bad), "0, 2-4, 6");
        assert_eq!(verdict.summary(), "is not whole: 1 of 7 pieces good, 5 damaged, 1 missing");
        let pieces = (0..100).map(|at| if at % 2 == 0 { Bad } else { Good }).collect();
        let verdict = Verdict { pieces, files: Vec::new() };
        assert!(verdict.places(Bad).ends_with("38, and 30 more ranges"));
    }

    #[test]
    fn whole_means_every_piece_and_every_file() {
        let file = |state| Verified { path: "a".to_owned(), length: 1, state, partly: false };
        let verdict = |state| Verdict { pieces: vec![Good], files: vec![file(state)] };
        assert!(verdict(FileState::Ok).is_whole());
        assert!(!verdict(FileState::Long).is_whole());
        assert_eq!(verdict(FileState::Ok).text(false), "ok  1 B  a\nwhole: 1 file, 1 piece\n");
        assert_eq!(verdict(FileState::Long).text(true), "long  1 B  a\n");
        assert_eq!(verdict(FileState::Ok).text(true), "");
    }
}
