//! The command line as its users and their scripts see it: text, streams, exit codes.
//!
//! What is printed is compared with snapshots; paths and ports are named in them, so that
//! they are the same on every machine. `cargo insta review` shows a change.

mod codes;
mod events;
mod help;
mod inspect;
mod streams;

use crate::support::binary::{command, run};
use std::path::Path;
use std::process::{Command, Output};

/// Runs `swarm` in `home`.
fn swarm(home: &Path, arguments: &[&str]) -> Output {
    run(command(home).args(arguments))
}

/// A command that fails soon when it would have to wait, on loopback only.
fn fetch(home: &Path) -> Command {
    let mut fetch = command(home);
    fetch.args(["fetch", "--no-dht", "--no-lsd", "--no-upnp", "--listen", "127.0.0.1:0"]);
    fetch
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("output is text")
}

/// Everything a command left behind, as a snapshot shows it.
fn shown(home: &Path, output: &Output) -> String {
    let code = output.status.code().map_or_else(|| output.status.to_string(), |c| c.to_string());
    let mut all = format!("exit code: {code}\n");
    for (name, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let said = text(bytes).replace(&*home.to_string_lossy(), "[HOME]");
        let said = said.replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
        all += &format!("--- {name}\n{said}");
    }
    all
}

/// Compares with the snapshot `name` beside the others.
fn assert_shown(name: &str, shown: &str) {
    let settings = {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings
    };
    settings.bind(|| insta::assert_snapshot!(format!("cli_{name}"), shown));
}
