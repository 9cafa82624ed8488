//! Links and other traps in the output folder: nothing outside of it is read or written.

use super::super::beneath::{Replace, Resolve, Root};
use super::{NAME, OpenError, Sample, tree};
use crate::storage::Storage as _;
use crate::types::PieceIndex;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A folder to fetch into, and beside it one that must not change.
struct Scene {
    _outer: tempfile::TempDir,
    inside: PathBuf,
    outside: PathBuf,
}

const SECRET: &[u8] = b"secret";

impl Scene {
    fn new() -> Self {
        let outer = tempfile::tempdir().unwrap();
        let [inside, outside] = ["inside", "outside"].map(|name| outer.path().join(name));
        std::fs::create_dir(&inside).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("file"), SECRET).unwrap();
        Self { _outer: outer, inside, outside }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(tree(&self.outside), [(PathBuf::from("file"), SECRET.to_vec())].into());
        }
    }
}

fn roots(folder: &Path) -> [Root; 2] {
    [Resolve::Kernel, Resolve::Ourselves]
        .map(|resolve| Root::open(folder).unwrap().resolving(resolve))
}

#[test]
fn no_path_leads_through_a_link_whoever_resolves_it() {
    let scene = Scene::new();
    symlink(&scene.outside, scene.inside.join("link")).unwrap();
    symlink(scene.outside.join("file"), scene.inside.join("file-link")).unwrap();
    symlink("real", scene.inside.join("inner")).unwrap();
    std::fs::create_dir(scene.inside.join("real")).unwrap();
    std::fs::write(scene.inside.join("real/file"), "").unwrap();
    for root in roots(&scene.inside) {
        for path in ["link/file", "file-link", "inner/file"].map(Path::new) {
            assert!(root.read(path).is_err(), "{path:?}");
            assert!(root.write(path).is_err(), "{path:?}");
            assert!(root.create(path).is_err(), "{path:?}");
        }
        let (link, file) = (Path::new("link/file"), Path::new("real/file"));
        assert!(root.create(Path::new("link/new/file")).is_err());
        assert!(root.remove(link).is_err());
        assert!(root.list(Path::new("link")).is_err());
        assert!(root.rename(file, link, Replace::Yes).is_err());
        assert!(root.rename(link, Path::new("taken"), Replace::Yes).is_err());
        assert!(root.read(file).is_ok(), "an honest path still works");
    }
}

#[test]
fn no_text_leads_upwards_whoever_resolves_it() {
    let scene = Scene::new();
    for root in roots(&scene.inside) {
        for path in ["../outside/file", "/etc/hostname", "a/../../outside/file", "", ".", "a\0b"] {
            assert!(root.create(Path::new(path)).is_err(), "{path:?}");
            assert!(root.read(Path::new(path)).is_err(), "{path:?}");
        }
    }
}

#[test]
fn both_ways_of_resolving_agree_on_honest_paths() {
    for n in 0..2 {
        let scene = Scene::new();
        let root = roots(&scene.inside).into_iter().nth(n).unwrap();
        let [old, new] = ["a/b/c", "x/y"].map(Path::new);
        root.create(old).unwrap().set_len(5).unwrap();
        assert_eq!(root.stat(old).unwrap().unwrap().1, 5);
        assert_eq!(root.stat(new).unwrap(), None);
        assert_eq!(root.stat(Path::new("no/such/folder")).unwrap(), None);
        root.rename(old, new, Replace::No).unwrap();
        root.create(old).unwrap();
        assert!(root.rename(old, new, Replace::No).is_err(), "taken");
        root.rename(old, new, Replace::Yes).unwrap();
        assert_eq!(root.list(Path::new("x")).unwrap().len(), 1);
        assert!(!root.remove_empty(Path::new("x")).unwrap(), "not empty");
        assert!(root.remove_empty(Path::new("a/b")).unwrap());
        root.sync_folder(Path::new("")).unwrap();
        assert!(root.remove(new).unwrap());
        assert!(!root.remove(new).unwrap(), "gone already");
    }
}

#[test]
fn links_planted_before_the_fetch_are_refused() {
    for name in ["name.part", NAME] {
        let scene = Scene::new();
        symlink(scene.outside.join("file"), scene.inside.join(name)).unwrap();
        let opened = Sample::single(6, 64).open(&scene.inside, &[0], true);
        assert!(matches!(opened, Err(OpenError::Conflict { .. })), "{name}");
        let scene = Scene::new();
        symlink(&scene.outside, scene.inside.join(name)).unwrap();
        let opened = Sample::folder(&[("file", 6)], 64).open(&scene.inside, &[0], true);
        assert!(matches!(opened, Err(OpenError::Conflict { .. })), "{name}");
    }
}

#[test]
fn links_planted_while_fetching_are_refused() {
    let sample = Sample::folder(&[("sub/file", 6), ("other", 100)], 64);
    let first = PieceIndex::new(0);

    let scene = Scene::new();
    let storage = sample.open_all(&scene.inside);
    std::fs::create_dir(scene.inside.join("name.part")).unwrap();
    symlink(&scene.outside, scene.inside.join("name.part/sub")).unwrap();
    assert!(sample.write(&storage, first).is_err());

    let scene = Scene::new();
    let storage = sample.open(&scene.inside, &[1], false).unwrap();
    symlink(scene.outside.join("file"), scene.inside.join(".name.swarm-parts")).unwrap();
    assert!(sample.write(&storage, first).is_err());

    let scene = Scene::new();
    symlink(scene.outside.join("file"), scene.inside.join(".name.swarm-lock")).unwrap();
    assert!(sample.open(&scene.inside, &[1], false).is_err());
}

#[test]
fn links_planted_before_publishing_are_refused() {
    let sample = Sample::folder(&[("sub/file", 6), ("other", 100)], 64);
    let scene = Scene::new();
    let storage = sample.open(&scene.inside, &[0, 1], true).unwrap();
    for piece in sample.geometry.pieces() {
        sample.write(&storage, piece).unwrap();
    }
    std::fs::create_dir(scene.inside.join(NAME)).unwrap();
    symlink(&scene.outside, scene.inside.join(NAME).join("sub")).unwrap();
    assert!(storage.finish().is_err());
}

#[test]
fn a_seed_follows_the_link_it_was_given_and_none_inside() {
    let scene = Scene::new();
    let sample = Sample::folder(&[("file", 6)], 64);
    symlink(&scene.outside, scene.inside.join("content")).unwrap();
    let seed = sample.seed(&scene.inside.join("content")).unwrap();
    let mut found = [0; 6];
    seed.read_at(0, &mut [std::io::IoSliceMut::new(&mut found)]).unwrap();
    assert_eq!(found, SECRET);
    std::fs::create_dir(scene.inside.join("folder")).unwrap();
    symlink(scene.outside.join("file"), scene.inside.join("folder/file")).unwrap();
    let seed = sample.seed(&scene.inside.join("folder")).unwrap();
    assert!(seed.read_at(0, &mut [std::io::IoSliceMut::new(&mut found)]).is_err());
}

#[test]
fn a_pipe_in_place_of_a_file_is_refused_and_does_not_block() {
    let scene = Scene::new();
    let sample = Sample::folder(&[("file", 6)], 64);
    let storage = sample.open_all(&scene.inside);
    std::fs::create_dir(scene.inside.join("name.part")).unwrap();
    let pipe = scene.inside.join("name.part/file");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    assert!(sample.write(&storage, PieceIndex::new(0)).is_err());
    let mut found = [0; 6];
    assert!(storage.read_at(0, &mut [std::io::IoSliceMut::new(&mut found)]).is_err());
}
