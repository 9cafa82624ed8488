//! The `swarm-tracker` binary: exit code only.
fn main() {}
