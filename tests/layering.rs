//! Who may import whom, read from the sources.
//!
//! The compiler keeps the async half out of the pure one (feature `engine`) and private names
//! private. What it cannot see is an edge between two modules of one crate: this test reads
//! every `crate::` and `super::` path outside test code and compares it with [`ALLOWED`].
//! A new edge is a decision (ARCHITECTURE.md, "what may import what"), so it changes the table.
//!
//! Not here: whether the build without `engine` compiles (`.ci/run` builds it).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Each module of `swarm-core` and the modules it may name. A module may name itself.
const ALLOWED: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("bencode", &[]),
    ("geometry", &["types"]),
    ("metainfo", &["types", "geometry", "bencode"]),
    ("wire", &["types", "bencode"]),
    ("proto", &["types", "geometry", "metainfo", "wire"]),
    ("storage", &["types", "geometry", "metainfo"]),
    ("data", &["types", "geometry", "metainfo", "storage"]),
    (
        "engine",
        &[
            "types", "geometry", "bencode", "metainfo", "wire", "proto", "storage", "data",
            "session",
        ],
    ),
    ("session", &["types", "geometry", "metainfo", "proto", "storage", "data", "engine"]),
];

/// Outside names that a module of `swarm-core` may never utter.
const FORBIDDEN: &[(&[&str], &[&str])] = &[
    (
        &["types", "bencode", "geometry", "metainfo", "wire", "proto", "storage", "data"],
        &["tokio", "futures", "reqwest", "socket2"],
    ),
    (
        &["types", "bencode", "geometry", "wire", "proto"],
        &[
            "std::fs",
            "std::thread",
            "std::io",
            "std::sync::Mutex",
            "std::sync::RwLock",
            "Instant",
            "SystemTime",
            "TcpStream",
            "UdpSocket",
            "async fn",
        ],
    ),
    (&["types", "geometry"], &["bytes::"]),
];

/// Modules of `swarm_core` that a crate outside may name. Names at the root are always free.
const OUTSIDE: &[(&str, &[&str])] = &[
    ("swarm-cli", &["session", "metainfo", "types", "data"]),
    ("tracker", &["types", "wire", "bencode", "proto::limits"]),
];

#[test]
fn modules_import_only_what_the_table_allows() {
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let mut wrong = Vec::new();
    for source in sources("swarm-core/src").filter(|source| !source.module.is_empty()) {
        let module = source.module[0].as_str();
        let Some(may) = allowed.get(module) else {
            wrong.push(format!("{}: module `{module}` is not in the table", source.path.display()));
            continue;
        };
        for target in source.edges() {
            if target != module && !may.contains(&target.as_str()) {
                wrong.push(format!("{}: {module} -> {target}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "edges that ALLOWED does not have:\n{}", wrong.join("\n"));
}

#[test]
fn the_table_names_every_module_and_no_other() {
    let declared: BTreeSet<String> = sources("swarm-core/src")
        .filter_map(|source| source.module.first().cloned())
        .filter(|module| !module.starts_with("tests"))
        .collect();
    let table: BTreeSet<String> = ALLOWED.iter().map(|(module, _)| (*module).to_owned()).collect();
    assert_eq!(declared, table);
}

#[test]
fn the_pure_modules_name_neither_runtime_nor_clock_nor_lock() {
    let mut wrong = Vec::new();
    for source in sources("swarm-core/src") {
        for (modules, words) in FORBIDDEN {
            let concerned = source.module.first().is_some_and(|m| modules.contains(&m.as_str()));
            for word in words.iter().filter(|word| concerned && names(&source.code, word)) {
                wrong.push(format!("{}: {word}", source.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "names that do not belong there:\n{}", wrong.join("\n"));
}

#[test]
fn other_crates_use_only_what_is_meant_for_them() {
    let mut wrong = Vec::new();
    for (krate, may) in OUTSIDE {
        for source in sources(&format!("{krate}/src")) {
            for path in paths_after(&source.code, "swarm_core::") {
                let root_name = path.starts_with(char::is_uppercase);
                let named = may.iter().any(|m| path == *m || path.starts_with(&format!("{m}::")));
                if !root_name && !named {
                    wrong.push(format!("{}: swarm_core::{path}", source.path.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "uses of the library's inside:\n{}", wrong.join("\n"));
}

#[test]
fn the_tracker_is_built_without_the_engine() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "-p", "swarm-tracker", "-e", "normal,features"])
        .args(["--prefix", "none"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    let text = String::from_utf8_lossy(&tree.stdout);
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    assert!(text.contains("swarm-core v"), "the tree has no swarm-core:\n{text}");
    assert!(!text.contains("swarm-core feature \"engine\""), "{text}");
    assert!(!text.contains("swarm-core feature \"default\""), "{text}");
}

#[test]
fn the_reader_of_paths_sees_groups_nesting_and_parents() {
    let module = vec!["proto".to_owned(), "peer".to_owned()];
    let code = strip(
        "use crate::{geometry::Geometry, types::{PieceIndex, Span}};\n\
         use super::super::wire::Message; // crate::session\n\
         use super::PeerKey;\nfn f(x: crate::storage::X) {}\n\
         #[cfg(test)]\nmod tests { use crate::engine::Y; }\n",
    );
    let source = Source { path: PathBuf::new(), module, code };
    let edges: Vec<String> = source.edges().into_iter().collect();
    assert_eq!(edges, ["geometry", "proto", "storage", "types", "wire"]);
}

/// One file of a crate.
struct Source {
    path: PathBuf,
    /// Its module path; empty for the crate root.
    module: Vec<String>,
    /// Its text without comments and without the tests at its end.
    code: String,
}

impl Source {
    /// Top-level modules of its own crate that it names.
    fn edges(&self) -> BTreeSet<String> {
        let mut edges: BTreeSet<String> = BTreeSet::new();
        let first = |path: String| path.split("::").next().unwrap_or_default().to_owned();
        edges.extend(paths_after(&self.code, "crate::").into_iter().map(first));
        // `super::` once per level that is left; what follows the last one is a name there.
        for up in 1..=self.module.len() {
            let prefix = "super::".repeat(up);
            for path in paths_after(&self.code, &prefix) {
                let name = first(path);
                if name == "super" {
                    continue;
                }
                let here = self.module.len() - up;
                edges.insert(
                    self.module.get(..here).and_then(<[_]>::first).cloned().unwrap_or(name),
                );
            }
        }
        edges
    }
}

/// Every source file below a folder of the workspace.
fn sources(folder: &str) -> impl Iterator<Item = Source> {
    let base = root().join(folder);
    let mut files = Vec::new();
    collect(&base, &mut files);
    assert!(!files.is_empty(), "{folder} has no sources");
    files.sort();
    files.into_iter().map(move |path| {
        let module = module_of(path.strip_prefix(&base).expect("collected below base"));
        let code = strip(&fs::read_to_string(&path).expect("a readable source"));
        Source { path, module, code }
    })
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ext| ext == "rs") && !is_test_file(&path) {
            files.push(path);
        }
    }
}

/// Test modules that live in files of their own may name what they like.
fn is_test_file(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let parents = path.parent().into_iter().flat_map(Path::components);
    stem == "tests"
        || stem.ends_with("_tests")
        || parents.last().is_some_and(|folder| folder.as_os_str() == "tests")
}

fn module_of(file: &Path) -> Vec<String> {
    let text = file.with_extension("");
    let mut module: Vec<String> =
        text.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if matches!(module.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        module.pop();
    }
    module
}

/// The code without line comments and without what follows the first test module.
fn strip(text: &str) -> String {
    let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    code.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// The paths that follow `prefix`, groups in braces taken apart.
fn paths_after(code: &str, prefix: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        // `super::` as part of a longer chain, or `crate::` as the end of `my_crate::`.
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c == ':' || c == '_' || c.is_alphanumeric()) {
            continue;
        }
        expand(&code[at + prefix.len()..], "", &mut found);
    }
    found
}

/// Reads one path or one group from the front of `text`; returns the bytes it took.
fn expand(text: &str, base: &str, found: &mut Vec<String>) -> usize {
    if !text.starts_with('{') {
        let end = text
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':' || c == '*'))
            .unwrap_or(text.len());
        let path = format!("{base}{}", &text[..end]);
        if text[end..].starts_with('{') && path.ends_with("::") {
            return end + expand(&text[end..], &path, found);
        }
        found.push(path);
        return end;
    }
    let mut at = 1;
    loop {
        let rest = &text[at..];
        match rest.chars().next() {
            None => return at,
            Some('}') => return at + 1,
            Some(c) if c.is_alphanumeric() || c == '_' || c == '{' => {
                at += expand(rest, base, found).max(1);
            }
            Some(c) => at += c.len_utf8(),
        }
    }
}

/// Whether the code has `word`, not as part of a longer name.
fn names(code: &str, word: &str) -> bool {
    let part = |c: char| c == '_' || c.is_alphanumeric();
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back().is_some_and(part);
        let open_end = !word.ends_with(part);
        let after = !open_end && code[at + word.len()..].chars().next().is_some_and(part);
        !before && !after
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the workspace").into()
}
