//! Help, manual and completions: made from one definition, so one change shows everywhere.

use super::{assert_shown, shown, swarm, text};
use tempfile::tempdir;

#[test]
fn the_help_of_every_command_stands() {
    let home = tempdir().unwrap();
    let commands =
        ["", "seed", "fetch", "create", "inspect", "verify", "tracker", "completions", "man"];
    for name in commands {
        let arguments: Vec<&str> = [name, "--help"].into_iter().filter(|a| !a.is_empty()).collect();
        let output = swarm(home.path(), &arguments);
        let name = if name.is_empty() { "swarm" } else { name };
        assert_shown(&format!("help_{name}"), &shown(home.path(), &output));
    }
}

#[test]
fn the_manual_and_the_completions_know_every_command() {
    let home = tempdir().unwrap();
    let manual = swarm(home.path(), &["man"]);
    let mut all = vec![text(&manual.stdout)];
    assert!(all[0].contains(".TH"), "a page in roff");
    for shell in ["bash", "zsh", "fish"] {
        all.push(text(&swarm(home.path(), &["completions", shell]).stdout));
    }
    for page in all {
        for name in ["seed", "fetch", "create", "inspect", "verify", "tracker"] {
            assert!(page.contains(name), "{name} is missing in:\n{page}");
        }
    }
}
