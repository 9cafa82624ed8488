//! The command line as scripts and people meet it: text, streams, exit codes, JSON.
//!
//! Each test runs the built binary in a folder of its own, with nothing of the user's
//! environment. What it says is compared with a file in `tests/snapshots/cli`, so that a
//! change of any word shows up in a review; what differs from run to run is masked first.
//!
//! Not here: what only a terminal shows (bars, colour; `swarm-cli` tests those from plain
//! data), a disk that fills up during a fetch (that takes a file system of its own; a full
//! device stands in for it), processes killed without warning (see `e2e`).

mod describe;
mod documents;
mod events;
mod exits;
mod limits;
mod linger;
mod paste;
mod streams;
mod torrents;
mod verify;

use crate::support::binary::{Running, command, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::{TempDir, tempdir};

/// A link that nobody serves.
const HASH: &str = "0123456789abcdef0123456789abcdef01234567";

/// Finds peers only where the test says, and listens only here.
const ALONE: [&str; 6] =
    ["--no-dht", "--no-lsd", "--no-upnp", "--no-pex", "--listen", "127.0.0.1:0"];

/// A folder to run `swarm` in.
struct Home(TempDir);

impl Home {
    fn new() -> Self {
        Self(tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file, and the folders above it.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(self.path());
        command.args(arguments);
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        run(&mut self.command(arguments))
    }

    /// Runs what must succeed; its standard output.
    fn succeed(&self, arguments: &[&str]) -> Vec<u8> {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", said(&output.stderr));
        output.stdout
    }

    fn start(&self, arguments: &[&str]) -> Running {
        Running::start(&mut self.command(arguments))
    }

    /// What it says on which stream and how it ends, without what changes from run to run.
    fn transcript(&self, arguments: &[&str]) -> String {
        transcript(self.path(), arguments, &self.run(arguments))
    }
}

fn transcript(home: &Path, arguments: &[&str], output: &Output) -> String {
    let code = output.status.code().expect("it was not killed");
    let mut text = format!("$ swarm {}\n", arguments.join(" ").escape_default());
    for (stream, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let said = said(bytes);
        assert!(!said.contains('\u{1b}'), "no terminal, no escape sequences: {said:?}");
        if !said.is_empty() {
            text += &format!("--- {stream}\n{said}");
        }
    }
    masked(home, &format!("{text}--- exit {code}\n"))
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text is UTF-8")
}

fn masked(home: &Path, text: &str) -> String {
    let text = text
        .replace(home.to_str().unwrap(), "[HOME]")
        .replace(concat!("swarm ", env!("CARGO_PKG_VERSION")), "swarm [VERSION]");
    text.split_inclusive('\n').map(without_times).collect()
}

/// `0.3 s` becomes `[TIME] s`.
fn without_times(line: &str) -> String {
    let mut words: Vec<&str> = line.split(' ').collect();
    for at in 1..words.len() {
        let is_unit = words[at].trim_end_matches([')', ',', '\n']) == "s";
        if is_unit && words[at - 1].parse::<f64>().is_ok() {
            words[at - 1] = "[TIME]";
        }
    }
    words.join(" ")
}

/// Compares with `tests/snapshots/cli/NAME.snap`.
fn assert_snapshot(name: &str, text: &str) {
    insta::with_settings!({
        snapshot_path => "../snapshots/cli",
        prepend_module_to_snapshot => false,
        omit_expression => true,
    }, {
        insta::assert_snapshot!(name, text);
    });
}
