//! Torrents that `swarm create` does not make: padded, v2, hybrid, hostile.

use sha1::{Digest, Sha1};
use swarm_core::metainfo::create::{ContentHashes, FileEntry, MetainfoBuilder};
use swarm_core::metainfo::merkle::{FileRoots, leaves_of, piece_root};

pub(super) const PIECE: u32 = 32 * 1024;

/// Three files, one of them empty, one longer than a piece.
fn files() -> [(&'static [&'static str], Vec<u8>); 3] {
    [(&["a"], vec![b'a'; 40_000]), (&["b", "empty"], Vec::new()), (&["c"], b"five!".to_vec())]
}

fn builder() -> MetainfoBuilder {
    let entry = |(path, bytes): &(&[&str], Vec<u8>)| FileEntry {
        path: path.iter().map(|&element| element.to_owned()).collect(),
        length: u64::try_from(bytes.len()).unwrap(),
    };
    MetainfoBuilder::folder("three", files().iter().map(entry).collect(), PIECE)
}

pub(super) fn v2() -> Vec<u8> {
    builder().build(&ContentHashes::V2(roots())).unwrap()
}

pub(super) fn hybrid() -> Vec<u8> {
    let piece = usize::try_from(PIECE).unwrap();
    let mut run = Vec::new();
    for (_, bytes) in files() {
        // Each file begins a piece; nothing pads the end.
        if !bytes.is_empty() {
            run.resize(run.len().next_multiple_of(piece), 0);
        }
        run.extend(bytes);
    }
    let pieces = run.chunks(piece).flat_map(Sha1::digest).collect();
    builder().build(&ContentHashes::Hybrid { pieces, files: roots() }).unwrap()
}

fn roots() -> Vec<FileRoots> {
    let piece = usize::try_from(PIECE).unwrap();
    let roots = |bytes: &[u8]| {
        let within = u64::try_from(bytes.len().min(piece)).unwrap();
        let leaves = u32::try_from(leaves_of(within)).unwrap();
        FileRoots::new(bytes.chunks(piece).map(|part| piece_root(part, leaves)).collect(), PIECE)
    };
    files().iter().map(|(_, bytes)| roots(bytes)).collect()
}

/// A v1 folder with an empty file, and a pad file that fills a piece up (BEP 47).
pub(super) fn padded() -> Vec<u8> {
    let files = vec![
        file(&["a"], 20_000),
        dict(&[
            ("attr", text("p")),
            ("length", int(12_768)),
            ("path", list(vec![text(".pad"), text("12768")])),
        ]),
        file(&["b", "empty"], 0),
        file(&["c"], 5),
    ];
    torrent(&[], "padded", files, 2)
}

/// Everything a torrent may say to play tricks on a terminal or a disk.
pub(super) fn hostile() -> Vec<u8> {
    let files = vec![
        file(&["..", "..", "etc", "passwd"], 5),
        file(&["/absolute"], 5),
        file(&["a/b"], 5),
        file(&["\u{1b}[2Jclear"], 5),
        file(&["invoice\u{202e}fdp.exe"], 5),
        file(&["two\nlines"], 5),
        file(&["CON"], 5),
    ];
    let outer = [
        ("announce", text("http://host/\u{1b}[2J")),
        ("comment", text("\u{1b}[31mred\u{1b}[0m\nerror: forged \u{9b}2J")),
        ("created by", text("\u{1b}]0;title\u{7}")),
    ];
    torrent(&outer, "\u{1b}[1mbold\u{2066}/../x", files, 1)
}

/// The piece hashes are zeros: nobody looks at them here. Every piece length is [`PIECE`].
fn torrent(outer: &[(&str, Vec<u8>)], name: &str, files: Vec<Vec<u8>>, pieces: usize) -> Vec<u8> {
    let info = dict(&[
        ("files", list(files)),
        ("name", text(name)),
        ("piece length", int(i64::from(PIECE))),
        ("pieces", text(&"\0".repeat(20 * pieces))),
    ]);
    let mut entries = outer.to_vec();
    entries.push(("info", info));
    dict(&entries)
}

fn file(path: &[&str], length: i64) -> Vec<u8> {
    let path = path.iter().map(|element| text(element)).collect();
    dict(&[("length", int(length)), ("path", list(path))])
}

/// The keys have to be in order.
fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries = entries.iter().flat_map(|(key, value)| [text(key), value.clone()].concat());
    wrapped(b'd', entries)
}

fn list(items: Vec<Vec<u8>>) -> Vec<u8> {
    wrapped(b'l', items.into_iter().flatten())
}

fn wrapped(kind: u8, content: impl Iterator<Item = u8>) -> Vec<u8> {
    std::iter::once(kind).chain(content).chain(std::iter::once(b'e')).collect()
}

fn text(text: &str) -> Vec<u8> {
    format!("{}:{text}", text.len()).into_bytes()
}

fn int(number: i64) -> Vec<u8> {
    format!("i{number}e").into_bytes()
}
