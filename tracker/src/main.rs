//! The `swarm-tracker` binary: flags in, exit code out.

use clap::{CommandFactory as _, Parser as _};
use std::io::Write as _;
use std::process::ExitCode;
use swarm_tracker::args::TrackerArgs;

/// What the tracker's own variables begin with; other `SWARM_` ones are for `swarm`.
const VARIABLE_PREFIX: &str = "SWARM_TRACKER_";
/// Exit code for a command line, or a variable, that makes no sense.
const USAGE: u8 = 2;

/// A BitTorrent tracker over HTTP and UDP
#[derive(Debug, clap::Parser)]
#[command(name = "swarm-tracker", version)]
struct Cli {
    #[command(flatten)]
    args: TrackerArgs,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    if let Some(name) = set.into_iter().find(|name| is_unknown(name)) {
        // With stderr gone there is nobody to tell; the code still says it.
        let _ = writeln!(
            std::io::stderr(),
            "error: unknown variable {name}\nhint: --help names those that count"
        );
        return USAGE.into();
    }
    swarm_tracker::run::main(&cli.args)
}

/// A variable that is meant for us and means nothing: most likely a slip.
fn is_unknown(name: &str) -> bool {
    let command = Cli::command();
    let mut known = command.get_arguments().filter_map(clap::Arg::get_env);
    name.starts_with(VARIABLE_PREFIX) && !known.any(|known| known == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_misspelt_variables_are_unknown() {
        assert!(is_unknown("SWARM_TRACKER_HTPP"));
        for name in ["SWARM_TRACKER_HTTP", "SWARM_LISTEN", "SWARM_JSON", "PATH"] {
            assert!(!is_unknown(name), "{name}");
        }
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
