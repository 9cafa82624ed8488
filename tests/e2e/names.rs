//! Names that a torrent gives its files, on the way to the disk (LIMITS A01 to A09).
//!
//! Not here: each rule by itself (`metainfo::files`), links that lie in the way
//! (`storage::fs`).

use super::{address, complete, seed, session};
use crate::support::within;
use sha1::{Digest as _, Sha1};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use swarm_core::{AddTorrent, Metainfo};
use tempfile::tempdir;

/// What is in each file.
const BYTES: &[u8] = b"five!";

fn text(text: &str) -> String {
    format!("{}:{text}", text.len())
}

/// A v1 torrent of these files, called `name`.
fn torrent(name: &str, paths: &[&[&str]]) -> Arc<Metainfo> {
    let file = |path: &&[&str]| {
        let path: String = path.iter().map(|element| text(element)).collect();
        format!("d6:lengthi{}e4:pathl{path}ee", BYTES.len())
    };
    let files: String = paths.iter().map(file).collect();
    let hash = Sha1::digest(BYTES.repeat(paths.len()));
    let head =
        format!("d4:infod5:filesl{files}e4:name{}12:piece lengthi16384e6:pieces20:", text(name));
    let torrent = [head.as_bytes(), &hash, b"ee"].concat();
    Arc::new(Metainfo::from_torrent(&torrent).expect("a torrent"))
}

/// Every file below a folder, relative to it.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_files_are_called_they_lie_below_the_torrents_own_name() {
    let long = format!("{}.mkv", "ü".repeat(200));
    let metainfo = torrent(
        "..\\../up\u{202e}/and/away",
        &[
            &["..", "..", "etc", "passwd"],
            &["/absolute"],
            &["a/../../b"],
            &["same"],
            &["SAME"],
            &["same", "is a folder"],
            &["CON"],
            &["C:", "autoexec.bat"],
            &["\u{1b}[2J", "two\nlines\u{202e}"],
            &[&long],
            &["trailing. . "],
        ],
    );
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let [content, output] = [there.path().join("content"), here.path().join("a/b/output")];
    fs::create_dir_all(&output).unwrap();
    for file in metainfo.files() {
        let path = file.path.iter().fold(content.clone(), |at, element| at.join(element));
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, BYTES).unwrap();
    }
    let (giver, taker) = (session().await, session().await);
    seed(&giver, &metainfo, &content).await;
    let fetch = AddTorrent::fetch(metainfo.clone(), &output).peers([address(&giver)]);
    let done = complete(&taker.add(fetch).await.unwrap()).await;
    within("shutdown", taker.shutdown()).await;
    within("shutdown", giver.shutdown()).await;
    let name = Path::new(metainfo.name());
    assert_eq!(name.components().count(), 1, "{name:?}");
    assert_eq!(done.path, output.join(name));
    let found = files(here.path());
    let root = Path::new("a/b/output").join(name);
    let below: BTreeSet<&Path> =
        found.iter().map(|path| path.strip_prefix(&root).expect("below its own name")).collect();
    assert_eq!(below.len(), 11, "each has a place of its own: {below:?}");
    for path in below {
        assert_eq!(fs::read(here.path().join(&root).join(path)).unwrap(), BYTES);
        for element in path.components() {
            let element = element.as_os_str().to_str().expect("UTF-8");
            assert!(element.len() <= 255 && element != "CON" && !element.ends_with(['.', ' ']));
            assert!(!element.contains(|c: char| c.is_control() || c == '\u{202e}'), "{element:?}");
            assert!(!element.contains(['/', '\\', ':']), "{element:?}");
        }
    }
}
