//! The `swarm` binary: exit code only.
fn main() {}
