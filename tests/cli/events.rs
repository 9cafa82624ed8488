//! The JSON events: their names, their keys and what kind of value each holds.

use super::{assert_shown, fetch, text};
use crate::support::Tree;
use crate::support::binary::{Running, command, run};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use tempfile::tempdir;

/// For each event: its keys and the kinds of their values.
type Schema = BTreeMap<String, BTreeSet<String>>;

fn learn(schema: &mut Schema, event: &Value) {
    assert_eq!(event["v"], 1, "{event}");
    let name = event["event"].as_str().expect("a name").to_owned();
    let keys = schema.entry(name).or_default();
    for (key, value) in event.as_object().expect("an object") {
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "string",
            Value::Array(_) => "list",
            Value::Object(_) => "object",
        };
        keys.insert(format!("{key}: {kind}"));
    }
}

fn events(stdout: &[u8]) -> Vec<Value> {
    text(stdout).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[test]
fn the_events_of_a_transfer_stand() {
    let (there, here) = (tempdir().unwrap(), tempdir().unwrap());
    let tree = Tree::folder("shared", &[("a", 300_000), ("b", 5)]);
    let content = tree.write(there.path());
    let mut seed = command(there.path());
    seed.args(["seed", "--json", "--no-lsd", "--listen", "127.0.0.1:0"]).arg(content);
    let mut seed = Running::start(&mut seed);
    let mut schema = Schema::new();
    let seeding = seed.event("seeding");
    learn(&mut schema, &seeding);
    learn(&mut schema, &seed.event("progress"));

    let link = seeding["magnet"].as_str().expect("a link");
    let done = run(fetch(here.path()).args(["--json", link]));
    assert!(done.status.success(), "{}", text(&done.stderr));
    tree.assert_lies_in(here.path());
    for event in events(&done.stdout) {
        learn(&mut schema, &event);
    }
    let last = events(&done.stdout).pop().expect("events");
    assert_eq!((&last["event"], &last["bytes"]), (&"done".into(), &300_005.into()));

    let failed = run(fetch(here.path()).args(["--json", "magnet:?dn=none"]));
    for event in events(&failed.stdout) {
        learn(&mut schema, &event);
    }
    let shown: String = schema
        .iter()
        .map(|(name, keys)| {
            let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
            format!("{name}\n    {}\n", keys.join("\n    "))
        })
        .collect();
    assert_shown("events", &shown);
}

#[test]
fn seeding_is_the_first_line_of_a_seed() {
    let there = tempdir().unwrap();
    // Long enough to hash for some moments.
    let file = there.path().join("large");
    fs::File::create(&file).unwrap().set_len(512 << 20).unwrap();
    let mut seed = command(there.path());
    seed.args(["seed", "--json", "--no-lsd", "--listen", "127.0.0.1:0"]).arg(file);
    let mut seed = Running::start(&mut seed);
    let first: Value = seed.line(|line| serde_json::from_str(line).ok());
    assert_eq!(first["event"], "seeding", "{first}");
}
