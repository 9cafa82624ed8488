//! The `swarm` command line: exit code only.
//!
//! `args` is what was typed, `plan` what it means, `cmd` does it, `view` shows it, `exit`
//! says how it ended. stdout carries only the product.

mod addresses;
mod args;
mod clock;
mod cmd;
mod confine;
mod diagnosis;
mod exit;
mod link;
mod memory;
mod plan;
mod selection;
mod signals;
mod units;
mod view;

use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse() {
        Ok(command) => cmd::run(command),
        Err(code) => code.into(),
    }
}
