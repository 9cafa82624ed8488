//! Help, versions, the manual page, completions: what the program says of itself.

use super::{Home, assert_snapshot, said};

const COMMANDS: [&str; 8] =
    ["seed", "fetch", "create", "inspect", "verify", "tracker", "completions", "man"];

#[test]
fn help_says_what_there_is() {
    let home = Home::new();
    assert_snapshot("help", &home.transcript(&["--help"]));
    for command in COMMANDS {
        assert_snapshot(&format!("help_{command}"), &home.transcript(&[command, "--help"]));
    }
}

#[test]
fn help_of_a_command_is_the_same_however_it_is_asked_for() {
    let home = Home::new();
    for command in COMMANDS {
        let long = home.succeed(&[command, "--help"]);
        assert_eq!(said(&home.succeed(&["help", command])), said(&long), "{command}");
        assert_eq!(said(&home.succeed(&[command, "-h"])), said(&long), "{command}");
    }
}

#[test]
fn values_of_the_environment_stay_out_of_the_help() {
    let home = Home::new();
    let mut help = home.command(&["fetch", "--help"]);
    help.env("SWARM_OUTPUT", "/secret");
    let told = crate::support::binary::run(&mut help);
    assert_eq!(said(&told.stdout), said(&home.succeed(&["fetch", "--help"])));
}

#[test]
fn the_version_is_one_line() {
    let home = Home::new();
    let version = format!("swarm {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(said(&home.succeed(&["--version"])), version);
    assert_eq!(said(&home.succeed(&["-V"])), version);
}

#[test]
fn the_manual_has_a_section_for_each_command() {
    let manual = said(&Home::new().succeed(&["man"]));
    let is_heading = |line: &&str| [".TH", ".SH", ".SS"].iter().any(|mark| line.starts_with(mark));
    let headings: Vec<&str> = manual.lines().filter(is_heading).collect();
    let headings = headings.join("\n").replace(env!("CARGO_PKG_VERSION"), "[VERSION]");
    assert_snapshot("man_headings", &headings);
    // Every flag of the command that has most is there, in roff's spelling.
    let flags = "listen peer tracker up down max-peers only timeout stall-timeout overwrite json";
    for flag in flags.split(' ') {
        let roff = format!("\\-\\-{}", flag.replace('-', "\\-"));
        assert!(manual.contains(&roff), "--{flag}");
    }
}

#[test]
fn each_shell_gets_a_completion_script() {
    let home = Home::new();
    let mut starts = String::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = said(&home.succeed(&["completions", shell]));
        for word in COMMANDS.into_iter().chain(["max-peers"]) {
            assert!(script.contains(word), "{shell} does not complete {word}");
        }
        let start: Vec<&str> = script.lines().take(6).map(str::trim_end).collect();
        starts += &format!("--- {shell}\n{}\n", start.join("\n"));
    }
    assert_snapshot("completions", &starts);
}

#[test]
fn bash_accepts_its_completion_script() {
    use crate::support::binary::{run, shell};
    let home = Home::new();
    home.write("swarm.bash", home.succeed(&["completions", "bash"]));
    let line = "! command -v bash >/dev/null || bash -c 'source ./swarm.bash && complete -p swarm'";
    let checked = run(&mut shell(line, home.path()));
    assert!(checked.status.success(), "{}", said(&checked.stderr));
}
