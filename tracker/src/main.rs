//! The `swarm-tracker` binary: flags in, exit code out.

use clap::Parser as _;
use std::process::ExitCode;
use swarm_tracker::args::TrackerArgs;

/// A BitTorrent tracker over HTTP and UDP
#[derive(Debug, clap::Parser)]
#[command(name = "swarm-tracker", version)]
struct Cli {
    #[command(flatten)]
    args: TrackerArgs,
}

fn main() -> ExitCode {
    swarm_tracker::run::main(&Cli::parse().args)
}
