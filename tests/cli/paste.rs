//! The heart of it: the line that `seed` prints, pasted into a shell, fetches the content.

use super::{ALONE, Home, said};
use crate::support::Tree;
use crate::support::binary::{self, run, shell};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// Seeds, takes the line and runs it as it is in the folder `out` of another home. What keeps
/// it on this machine is in the environment.
fn pasted(tree: &Tree, search: Option<&Path>) -> String {
    let (there, here) = (Home::new(), Home::new());
    tree.write(there.path());
    let mut seed = there.command(&[&["seed"][..], &ALONE, &["--", &tree.name]].concat());
    let out = here.path().join("out");
    fs::create_dir(&out).unwrap();
    let search = search.map(|folder| {
        let paths = [folder, Path::new("/usr/bin"), Path::new("/bin")];
        std::env::join_paths(paths).unwrap()
    });
    let path = search.unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    let mut seed = binary::Running::start(seed.env("PATH", &path));
    let line = seed.line(|line| line.contains(" fetch ").then(|| line.to_owned()));

    let mut fetch = shell(&line, &out);
    fetch.env("PATH", &path).env("HOME", here.path());
    fetch.env("SWARM_NO_LSD", "1").env("SWARM_LISTEN", "127.0.0.1:0");
    let done = run(&mut fetch);
    assert!(done.status.success(), "{line}: {}", said(&done.stderr));
    assert_eq!(said(&done.stdout), "");
    tree.assert_lies_in(&out);
    seed.signal("INT");
    assert_eq!(seed.wait(), Some(130));
    line
}

#[test]
fn the_line_that_seed_prints_fetches_when_pasted() {
    let tree = Tree::folder("shared", &[("a", 1_000_000), ("b/c", 5), ("b/empty", 0)]);
    let line = pasted(&tree, None);
    // Nobody's PATH leads to the binary that was just built.
    assert!(line.starts_with(binary::path().to_str().unwrap()), "{line}");
}

#[test]
fn a_name_full_of_shell_syntax_is_pasted_whole() {
    // Without what no file can be called on another system: those characters are replaced.
    let name = "it's $HOME `id` $(id) & ; %41 + é ~ #!";
    pasted(&Tree::file(name, 70_000), None);
}

#[test]
fn the_line_is_short_where_the_shell_finds_the_program() {
    let bin = Home::new();
    let installed = bin.path().join("swarm");
    std::os::unix::fs::symlink(binary::path(), &installed).unwrap();
    let line = pasted(&Tree::file("one", 40_000), Some(bin.path()));
    assert!(line.starts_with("swarm fetch 'magnet:?"), "{line}");
}
