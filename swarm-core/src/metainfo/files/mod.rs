//! Safe paths: what a torrent calls its files, made fit for any file system (LIMITS A01 to A10).
//!
//! Decided once, when a torrent is parsed, and the same everywhere: each element of a path
//! is cleaned by itself, then paths that would meet on a file system that ignores case or
//! normalisation are told apart. A torrent is refused only when its paths are too deep or
//! too long, or when hundreds of them collide.
//!
//! Not here: opening files below a root without following links (see `storage`).

mod collide;
mod element;

#[cfg(test)]
mod tests;

pub(super) use collide::disambiguate;
pub(super) use element::head;
pub use element::{ELEMENT_MAX_BYTES, safe_element};

use super::error::MetainfoError;

/// Most elements of a path.
pub const DEPTH_MAX: usize = 100;
/// Longest path, bytes, with the torrent's name and the separators.
pub const PATH_MAX_BYTES: usize = 4096;
/// Most renames that colliding paths may cause in a torrent, unsuccessful ones included.
pub const RENAMES_MAX: usize = 500;

/// Makes a path safe element by element. Elements that say nothing (`.`, `..`, empty) are
/// dropped; the result has at least one element.
///
/// # Errors
/// When it has more than [`DEPTH_MAX`] elements.
pub fn safe_path(elements: &[&[u8]]) -> Result<Vec<String>, MetainfoError> {
    if elements.len() > DEPTH_MAX {
        return Err(MetainfoError::TooDeep(elements.len()));
    }
    let mut path = Vec::with_capacity(elements.len());
    path.extend(elements.iter().filter_map(|element| safe_element(element)));
    if path.is_empty() {
        path.push("_".to_owned());
    }
    Ok(path)
}

/// Checks the length of a path below the torrent's name.
pub(super) fn check_length(name: &str, path: &[String]) -> Result<(), MetainfoError> {
    let length = path.iter().fold(name.len(), |sum, element| sum + 1 + element.len());
    if length > PATH_MAX_BYTES { Err(MetainfoError::PathTooLong(length)) } else { Ok(()) }
}

/// The path as the torrent spells it, when it differs from the safe one and can
/// nevertheless be joined below a folder without leaving it.
pub(super) fn spelling(elements: &[&[u8]], safe: &[String]) -> Option<Vec<String>> {
    if elements.iter().copied().eq(safe.iter().map(String::as_bytes)) {
        return None;
    }
    elements
        .iter()
        .map(|element| {
            let element = std::str::from_utf8(element).ok()?;
            let leaves = matches!(element, "" | "." | "..")
                || element.contains(|c| c == '\0' || std::path::is_separator(c))
                || (cfg!(windows) && element.contains(':'));
            (!leaves).then(|| element.to_owned())
        })
        .collect()
}
