//! Real clients and ours in one swarm.
//!
//! Each test is one case of `run.py`, which has a network namespace of its own and compares
//! bytes on the disk. The feature `interop` turns them on; `.ci/run` does, after installing
//! the clients. With it a client that is missing fails its cases: nothing is skipped.
//!
//! `SWARM_BIN` names the binary under test; `.ci/run` gives a release build.

use std::path::{Path, PathBuf};
use std::process::Command;

macro_rules! cases {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(&stringify!($name).replace('_', "-"));
        })*

        const CASES: &[&str] = &[$(stringify!($name)),*];
    };
}

cases! {
    we_seed_libtorrent
    we_seed_transmission
    we_seed_aria2
    we_seed_rqbit
    libtorrent_seeds_us
    transmission_seeds_us
    aria2_seeds_us
    rqbit_seeds_us
    we_seed_a_folder_libtorrent
    we_seed_a_folder_transmission
    we_seed_a_folder_aria2
    we_seed_a_folder_rqbit
    libtorrent_seeds_us_a_folder
    transmission_seeds_us_a_folder
    aria2_seeds_us_a_folder
    rqbit_seeds_us_a_folder
    mixed_swarm_our_tracker
    mixed_swarm_our_tracker_udp
    mixed_swarm_opentracker
    mixed_swarm_opentracker_udp
    our_magnet_libtorrent
    our_magnet_rqbit
    libtorrent_magnet_us
    rqbit_magnet_us
    hybrid_from_libtorrent
    hybrid_to_libtorrent
    resume_beside_libtorrent
    full_disk
    we_introduce_libtorrent
    libtorrent_introduces_us
}

#[test]
fn every_case_of_the_script_is_a_test_here() {
    let listed = python(&["--list"]);
    assert!(listed.status.success());
    let listed = String::from_utf8(listed.stdout).expect("names are text");
    let mut listed: Vec<String> = listed.lines().map(|name| name.replace('-', "_")).collect();
    let mut here: Vec<&str> = CASES.to_vec();
    listed.sort_unstable();
    here.sort_unstable();
    assert_eq!(listed, here);
}

fn run(case: &str) {
    let done = python(&[case]);
    let [out, err] = [&done.stdout, &done.stderr].map(|text| String::from_utf8_lossy(text));
    println!("{out}{err}");
    assert!(done.status.success(), "{case} failed");
}

fn python(arguments: &[&str]) -> std::process::Output {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let binary = std::env::var_os("SWARM_BIN").map_or_else(
        || root.join("../target/release/swarm"),
        |path| std::path::absolute(root.join("..").join(path)).unwrap_or_else(|_| PathBuf::new()),
    );
    Command::new("python3")
        .arg(root.join("interop/run.py"))
        .args(arguments)
        .env("SWARM_BIN", binary)
        .output()
        .expect("python3 starts")
}
