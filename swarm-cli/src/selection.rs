//! `--only`: which files of a torrent are wanted.
//!
//! A list of numbers such as `1,3-5` counts files as `inspect` shows them, from 1, pad files
//! left out. Anything else is a glob over the path below the torrent's name, where `*` also
//! crosses folders; a folder's path alone means everything in it.
//!
//! Not here: what the engine does with the files (see `swarm_core::session::Selection`).

use std::ops::RangeInclusive;

use globset::{GlobBuilder, GlobMatcher};
use swarm_core::metainfo::Metainfo;
use swarm_core::session::Selection;
use swarm_core::types::FileIndex;

use crate::exit::Failure;

/// Every `--only` of one command line; none means every file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Only {
    rules: Vec<Rule>,
}

#[derive(Clone, Debug)]
enum Rule {
    /// Files by number, from 1.
    Numbers(Vec<RangeInclusive<usize>>),
    Glob {
        text: String,
        matchers: [GlobMatcher; 2],
    },
}

impl Only {
    /// Reads the values of `--only`.
    pub(crate) fn parse(values: &[String]) -> Result<Self, Failure> {
        let rules = values.iter().map(|value| Rule::parse(value)).collect::<Result<_, _>>()?;
        Ok(Self { rules })
    }

    pub(crate) const fn is_all(&self) -> bool {
        self.rules.is_empty()
    }

    /// The wanted files of this torrent.
    pub(crate) fn apply(&self, metainfo: &Metainfo) -> Result<Selection, Failure> {
        if self.is_all() {
            return Ok(Selection::All);
        }
        let shown: Vec<(FileIndex, String)> = (0u32..)
            .zip(metainfo.files())
            .filter(|(_, file)| !file.pad)
            .map(|(index, file)| (FileIndex::new(index), file.path.join("/")))
            .collect();
        let paths: Vec<&str> = shown.iter().map(|(_, path)| path.as_str()).collect();
        let places = self.matching(metainfo.name(), &paths)?;
        let files = places.into_iter().filter_map(|at| shown.get(at)).map(|(index, _)| *index);
        Ok(Selection::Files(files.collect()))
    }

    /// Places in `paths` that at least one rule wants, ascending.
    fn matching(&self, name: &str, paths: &[&str]) -> Result<Vec<usize>, Failure> {
        let mut wanted = vec![false; paths.len()];
        for rule in &self.rules {
            let hits = rule.matching(name, paths)?;
            for (want, hit) in wanted.iter_mut().zip(hits) {
                *want |= hit;
            }
        }
        Ok((0..).zip(wanted).filter_map(|(at, want)| want.then_some(at)).collect())
    }
}

impl Rule {
    fn parse(value: &str) -> Result<Self, Failure> {
        let bad = |why: String| Failure::usage(format!("--only '{value}': {why}"));
        let is_numbers =
            !value.is_empty() && value.chars().all(|c| c.is_ascii_digit() || ",- ".contains(c));
        if is_numbers {
            let ranges = value.split(',').map(range).collect::<Option<Vec<_>>>();
            let ranges =
                ranges.ok_or_else(|| bad("expected file numbers such as 1,3-5".to_owned()))?;
            return Ok(Self::Numbers(ranges));
        }
        let text = value.strip_suffix('/').unwrap_or(value);
        let glob = |text: &str| {
            let glob = GlobBuilder::new(text).literal_separator(false).build();
            glob.map(|glob| glob.compile_matcher()).map_err(|error| bad(error.kind().to_string()))
        };
        let matchers = [glob(text)?, glob(&format!("{text}/**"))?];
        Ok(Self::Glob { text: value.to_owned(), matchers })
    }

    fn matching(&self, name: &str, paths: &[&str]) -> Result<Vec<bool>, Failure> {
        match self {
            Self::Numbers(ranges) => {
                let last = ranges.iter().map(|range| *range.end()).filter(|end| *end != usize::MAX);
                if let Some(beyond) = last.max().filter(|last| *last > paths.len()) {
                    return Err(Failure::usage(format!(
                        "--only {beyond}: the torrent has {}",
                        crate::units::count_len(paths.len(), "file")
                    ))
                    .hint("`swarm inspect` shows the files with their numbers"));
                }
                let numbers = 1..=paths.len();
                Ok(numbers.map(|n| ranges.iter().any(|range| range.contains(&n))).collect())
            }
            Self::Glob { text, matchers } => {
                let hit = |path: &&str| {
                    let full = format!("{name}/{path}");
                    matchers.iter().any(|glob| glob.is_match(path) || glob.is_match(&full))
                };
                let hits: Vec<bool> = paths.iter().map(hit).collect();
                if hits.contains(&true) {
                    return Ok(hits);
                }
                Err(Failure::usage(format!("--only '{text}' matches no file"))
                    .hint("`swarm inspect` shows the files with their numbers"))
            }
        }
    }
}

/// `3`, `3-5`, or `3-` for the third and all after it.
fn range(text: &str) -> Option<RangeInclusive<usize>> {
    let number = |text: &str| text.trim().parse::<usize>().ok().filter(|n| *n > 0);
    let Some((first, last)) = text.split_once('-') else {
        return number(text).map(|n| n..=n);
    };
    let first = number(first)?;
    let last = if last.trim().is_empty() { usize::MAX } else { number(last)? };
    (first <= last).then_some(first..=last)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATHS: [&str; 5] = ["a.txt", "b.iso", "docs/c.txt", "docs/deep/d.txt", "e[1].bin"];

    fn chosen(values: &[&str]) -> Result<Vec<usize>, Failure> {
        let values: Vec<String> = values.iter().map(|value| (*value).to_owned()).collect();
        Only::parse(&values)?.matching("set", &PATHS)
    }

    #[test]
    fn numbers_count_from_one_and_ranges_may_be_open() {
        assert_eq!(chosen(&["1,3-4"]).unwrap(), [0, 2, 3]);
        assert_eq!(chosen(&["4-"]).unwrap(), [3, 4]);
        assert_eq!(chosen(&["2", "2,1"]).unwrap(), [0, 1]);
    }

    #[test]
    fn globs_cross_folders_and_a_folder_means_all_in_it() {
        assert_eq!(chosen(&["*.txt"]).unwrap(), [0, 2, 3]);
        assert_eq!(chosen(&["docs"]).unwrap(), [2, 3]);
        assert_eq!(chosen(&["docs/"]).unwrap(), [2, 3]);
        assert_eq!(chosen(&["set/docs/deep"]).unwrap(), [3]);
        assert_eq!(chosen(&["*.{iso,bin}"]).unwrap(), [1, 4]);
    }

    #[test]
    fn what_names_nothing_is_a_usage_error() {
        for value in ["0", "3-1", "1,,2", "-", "6", "*.mp3", "docs/[", ""] {
            let error = chosen(&[value]).unwrap_err();
            assert_eq!(error.code(), crate::exit::Code::Usage, "{value}");
        }
        assert_eq!(chosen(&["6"]).unwrap_err().message(), "--only 6: the torrent has 5 files");
    }
}
