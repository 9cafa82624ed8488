//! Paths that would meet: equal, equal but for case or normalisation, or a file where
//! another path needs a folder (LIMITS A05).
//!
//! The first file to claim a path keeps it, folders win over files, and a loser gets `.1`,
//! `.2` and so on before its extension: the first number that is free. Folders are numbered
//! and a name is kept once per folder, so memory grows with the paths and not with their
//! depth.

use std::collections::BTreeMap;

use unicode_normalization::UnicodeNormalization as _;

use super::element::with_suffix;
use super::{MetainfoError, RENAMES_MAX};
use crate::metainfo::File;

/// A file that was renamed: its place in the list, and its last element before.
pub(in crate::metainfo) type Renamed = (usize, String);

/// Renames files until no two paths meet. Pad files are never stored, so they cannot be
/// in the way.
pub(in crate::metainfo) fn disambiguate(files: &mut [File]) -> Result<Vec<Renamed>, MetainfoError> {
    let mut names = Names::default();
    let folders: Vec<u32> = files
        .iter()
        .map(|file| if file.pad { Names::ROOT } else { names.folder_of(&file.path) })
        .collect();
    let mut losers: Vec<(usize, u32)> = Vec::new();
    for (at, (file, folder)) in files.iter().zip(folders).enumerate() {
        if !file.pad && file.path.last().is_some_and(|name| !names.claim(folder, name)) {
            losers.push((at, folder));
        }
    }
    let mut attempts = 0;
    // Where the search for a free number goes on, for files that had the same path.
    let mut numbers: BTreeMap<(u32, String), usize> = BTreeMap::new();
    let mut renamed = Vec::new();
    for (at, folder) in losers {
        let Some(name) = files.get_mut(at).and_then(|file| file.path.last_mut()) else { continue };
        let number = numbers.entry((folder, element_key(name))).or_default();
        let free = loop {
            attempts += 1;
            if attempts > RENAMES_MAX {
                return Err(MetainfoError::TooManyCollisions);
            }
            *number += 1;
            let candidate = with_suffix(name, &format!(".{number}"));
            if names.claim(folder, &candidate) {
                break candidate;
            }
        };
        renamed.push((at, std::mem::replace(name, free)));
    }
    Ok(renamed)
}

/// Every name in use, as a file system sees it that ignores case and normalisation.
#[derive(Default)]
struct Names {
    /// Folder and name to the number of the folder of that name, or [`Self::FILE`].
    taken: BTreeMap<(u32, String), u32>,
    folders: u32,
}

impl Names {
    const FILE: u32 = u32::MAX;
    const ROOT: u32 = 0;

    /// The number of the folder that a file lies in. All folders come before any file.
    fn folder_of(&mut self, path: &[String]) -> u32 {
        let folder = path.split_last().map_or(&[][..], |(_, folder)| folder);
        folder.iter().fold(Self::ROOT, |parent, element| {
            *self.taken.entry((parent, element_key(element))).or_insert_with(|| {
                self.folders += 1;
                self.folders
            })
        })
    }

    /// Takes a name for a file; false when it is in use.
    fn claim(&mut self, folder: u32, name: &str) -> bool {
        let before = self.taken.len();
        self.taken.entry((folder, element_key(name))).or_insert(Self::FILE);
        self.taken.len() > before
    }
}

/// Upper case and then lower case folds what only one of them would miss (`ß`, `ſ`, `K`).
pub(super) fn element_key(element: &str) -> String {
    if element.is_ascii() {
        return element.to_ascii_lowercase();
    }
    let decomposed: String = element.nfd().collect();
    decomposed.to_uppercase().to_lowercase().nfc().collect()
}
