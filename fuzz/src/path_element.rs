//! Any names in a torrent: what they become is safe on every file system, distinct, and safe
//! names stay as they are (LIMITS A01 to A10).

use super::script::Script;
use std::collections::BTreeSet;
use swarm_core::Metainfo;
use swarm_core::metainfo::files::{ELEMENT_MAX_BYTES, safe_element, safe_path};
use unicode_normalization::UnicodeNormalization as _;

/// Files of one torrent.
const FILES_MAX: usize = 64;

/// Paths: each a count of elements, then the elements.
pub fn run(bytes: &[u8]) {
    let mut script = Script::new(bytes);
    let mut paths: Vec<Vec<&[u8]>> = Vec::new();
    while !script.is_empty() && paths.len() < FILES_MAX {
        let count = 1 + usize::from(script.byte() % 4);
        paths.push((0..count).map(|_| script.string()).collect());
    }
    for path in &paths {
        path.iter().for_each(|element| check_element(element));
        let safe = safe_path(path).expect("not deep");
        assert!(!safe.is_empty() && safe.len() <= path.len().max(1));
    }
    if !paths.is_empty() {
        check_torrent(&paths);
    }
}

fn check_element(raw: &[u8]) {
    let Some(name) = safe_element(raw) else {
        assert!(matches!(raw, b"" | b"." | b".."));
        return;
    };
    check_name(&name);
    assert_eq!(safe_element(name.as_bytes()).as_deref(), Some(&*name), "a safe name stays");
}

fn check_name(name: &str) {
    assert!(!matches!(name, "" | "." | "..") && name.len() <= ELEMENT_MAX_BYTES, "{name:?}");
    assert!(!name.contains(['/', '\\', '<', '>', ':', '"', '|', '?', '*', '\0']), "{name:?}");
    assert!(!name.chars().any(char::is_control) && !name.ends_with(['.', ' ']), "{name:?}");
    let invisible = |c: char| matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}');
    assert!(!name.contains(invisible), "{name:?}");
    let base = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    assert!(!matches!(&*base, "CON" | "PRN" | "AUX" | "NUL" | "COM1" | "LPT9"), "{name:?}");
}

/// The same names as files of a torrent: no two paths meet.
fn check_torrent(paths: &[Vec<&[u8]>]) {
    let mut torrent = b"d4:infod5:filesl".to_vec();
    for path in paths {
        torrent.extend_from_slice(b"d6:lengthi1e4:pathl");
        for element in path {
            torrent.extend_from_slice(format!("{}:", element.len()).as_bytes());
            torrent.extend_from_slice(element);
        }
        torrent.extend_from_slice(b"ee");
    }
    torrent.extend_from_slice(b"e4:name1:n12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee");
    let Ok(metainfo) = Metainfo::from_torrent(&torrent) else { return };
    let mut seen: BTreeSet<Vec<String>> = BTreeSet::new();
    let mut folders: BTreeSet<Vec<String>> = BTreeSet::new();
    for file in metainfo.files() {
        file.path.iter().for_each(|name| check_name(name));
        let path: Vec<String> = file.path.iter().map(|name| folded(name)).collect();
        folders.extend((1..path.len()).map(|depth| path[..depth].to_vec()));
        assert!(seen.insert(path), "two files at {:?}", file.path);
    }
    assert!(seen.is_disjoint(&folders), "a file where a folder is");
}

/// As a file system that ignores case and normalisation sees it.
fn folded(name: &str) -> String {
    name.nfc().flat_map(char::to_lowercase).nfc().collect()
}
