//! The binary dies at every named point and at any time: the next run needs no help, gets
//! there, and no byte of what has its final name is wrong.
//!
//! Short here. `SWARM_ROUNDS=20` dies that often at each point, `SWARM_KILLS=200` as often at
//! random times; `SWARM_TEST_SEED` chooses them.

use super::process::{PIECE, fetches};
use super::{address, seed, session_with};
use crate::support::Tree;
use crate::support::binary::{Running, run};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use swarm_core::Session;
use tempfile::tempdir;

/// When a run comes to a point.
#[derive(Clone, Copy, Debug)]
enum When {
    /// While it fetches.
    Fetching,
    /// When it is told to end, and records what it has.
    Ending,
    /// When it has everything.
    Complete,
}

const POINTS: [(&str, When); 11] = [
    ("BeforeWrite", When::Fetching),
    ("AfterWrite", When::Fetching),
    ("BeforeSync", When::Ending),
    ("AfterSync", When::Ending),
    ("MidRecord", When::Ending),
    ("BeforeRename", When::Ending),
    ("AfterRename", When::Ending),
    ("AfterFolderSync", When::Ending),
    ("BeforeFinish", When::Complete),
    ("AfterFinish", When::Complete),
    ("BeforeForget", When::Complete),
];

/// Fewer than a fetch makes, which has 55 pieces to write.
const WRITES: u64 = 40;
/// Slow enough to be stopped half way.
const SLOW: u64 = 250_000;

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn tree() -> Tree {
    let names: Vec<String> = (0..12).map(|number| format!("{}/{number}", number % 3)).collect();
    let files: Vec<(&str, usize)> = names.iter().map(|name| (&**name, 150_001)).collect();
    Tree::folder("crash", &files)
}

/// A seed at so many bytes a second, and the folder it serves from.
async fn giver(tree: &Tree, there: &Path, rate: u64) -> Session {
    let giver = session_with("127.0.0.1:0", |config| config.up_limit = Some(rate)).await;
    seed(&giver, &tree.metainfo(PIECE), &tree.write(there)).await;
    giver
}

/// Whatever has its final name is whole.
fn finished_files_are_whole(tree: &Tree, out: &Path) {
    for index in 0..tree.len() {
        assert!(tree.has(out, index) || !tree.exists(out, index), "file {index} is wrong");
    }
}

fn dies(fetch: &mut Command, (point, when): (&str, When), round: u64) {
    let nth = if matches!(when, When::Fetching) { 1 + 2 * round % WRITES } else { 1 };
    fetch.env("SWARM_CRASH_AT", format!("{point}:{nth}"));
    let mut running = Running::start(fetch);
    if matches!(when, When::Ending) {
        // While it checks what is there, what it tells of is what it has checked.
        let has_some = |told: &Value| {
            told["phase"] == "fetching" && told["have_bytes"].as_u64() >= Some(PIECE.into())
        };
        while !has_some(&running.event("progress")) {}
        running.signal("TERM");
    }
    assert_eq!(running.wait(), None, "it was killed at {point}:{nth}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dying_at_any_named_point_costs_no_byte_and_needs_no_help() {
    let (there, home) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = tree();
    let giver = giver(&tree, there.path(), SLOW).await;
    let fetch = fetches(home.path(), &tree, address(&giver));
    tokio::task::spawn_blocking(move || {
        let out = home.path().join("out");
        for (point, when) in POINTS {
            for round in 1..=number("SWARM_ROUNDS", 1) {
                let slow = matches!(when, When::Ending).then_some(SLOW);
                giver.set_limits(slow, None);
                dies(&mut fetch(), (point, when), round);
                giver.set_limits(None, None);
                finished_files_are_whole(&tree, &out);
                let again = run(&mut fetch());
                let said = String::from_utf8_lossy(&again.stderr);
                assert!(again.status.success(), "{point}: {said}");
                tree.assert_lies_in(&out);
                fs::remove_dir_all(&out).unwrap();
            }
        }
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_it_gets_there_and_fetches_little_twice() {
    let (there, home) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = tree();
    let giver = giver(&tree, there.path(), 4_000_000).await;
    let fetch = fetches(home.path(), &tree, address(&giver));
    tokio::task::spawn_blocking(move || {
        let mut random = StdRng::seed_from_u64(number("SWARM_TEST_SEED", 1));
        let out = home.path().join("out");
        for _ in 0..number("SWARM_KILLS", 4) {
            let running = Running::start(&mut fetch());
            let time = Duration::from_millis(random.random_range(0..700));
            if running.runs_for(time) {
                running.signal("KILL");
            }
            let code = running.wait();
            finished_files_are_whole(&tree, &out);
            if code == Some(0) {
                tree.assert_lies_in(&out);
                fs::remove_dir_all(&out).unwrap();
            }
        }
        let last = run(&mut fetch());
        assert!(last.status.success(), "{}", String::from_utf8_lossy(&last.stderr));
        tree.assert_lies_in(&out);
    })
    .await
    .unwrap();
}
