//! `--json`: a schema that programs rely on.

use super::{ALONE, HASH, Home, assert_snapshot, said};
use crate::support::Tree;
use serde_json::Value;
use std::collections::BTreeMap;

/// The lines, each an object with a version and a name.
fn events(stdout: &[u8]) -> Vec<Value> {
    let events = said(stdout);
    let events = events.lines().map(|line| serde_json::from_str(line).expect("JSON"));
    events.inspect(checked).collect()
}

fn checked(event: &Value) {
    assert!(event.is_object() && event["v"] == 1 && event["event"].is_string(), "{event}");
}

/// The fields of an event and their types, in the order of the alphabet.
fn shape(event: &Value) -> String {
    let field = |(name, value): (&String, &Value)| format!("\n  {name}: {}", kind(value));
    let fields: String = event.as_object().unwrap().iter().map(field).collect();
    format!("{}{fields}\n", event["event"].as_str().unwrap())
}

fn kind(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(number) if number.is_u64() => "whole number".to_owned(),
        Value::Number(_) => "number".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(items) => {
            format!("list of {}", items.first().map_or_else(|| "nothing".to_owned(), kind))
        }
        Value::Object(_) => "object".to_owned(),
    }
}

/// The first of each, by name.
fn shapes<'a>(events: impl IntoIterator<Item = &'a Value>) -> String {
    let mut shapes: BTreeMap<String, String> = BTreeMap::new();
    for event in events {
        shapes.entry(event["event"].to_string()).or_insert_with(|| shape(event));
    }
    shapes.into_values().collect::<Vec<_>>().join("\n")
}

#[test]
fn seed_and_fetch_tell_what_the_contract_says() {
    let (there, here) = (Home::new(), Home::new());
    let tree = Tree::folder("shared", &[("a", 300_000), ("b/c", 5), ("b/empty", 0)]);
    tree.write(there.path());
    let seed = [&["seed", "--json", "-o", "shared.torrent"][..], &ALONE, &["shared"]].concat();
    let mut seed = there.start(&seed);
    let first: Value = seed.line(|line| Some(serde_json::from_str(line).expect("JSON")));
    checked(&first);
    assert_eq!(first["event"], "seeding", "the link is the first line");
    assert_eq!(first["torrent"], "shared.torrent");
    assert_eq!(first["info_hash_v2"], Value::Null);
    let hash = first["info_hash_v1"].as_str().unwrap();
    let magnet = first["magnet"].as_str().unwrap();
    assert!(magnet.starts_with(&format!("magnet:?xt=urn:btih:{hash}&dn=shared&tr=")), "{magnet}");
    let listen = first["listen"][0].as_str().unwrap();
    assert!(magnet.contains(&format!("x.pe={listen}")), "{magnet} does not name {listen}");
    let progress = seed.event("progress");
    assert_eq!((&progress["phase"], &progress["info_hash"]), (&"serving".into(), &hash.into()));

    let fetch = [&["fetch", "--json"][..], &ALONE, &["--web-seed", "http://127.0.0.1:1/", magnet]];
    let output = here.run(&fetch.concat());
    assert!(output.status.success(), "{}", said(&output.stderr));
    let events = events(&output.stdout);
    let done = events.last().expect("at least one event");
    assert_eq!(done["event"], "done", "the end is the last line");
    assert_eq!(done["bytes"], tree.length());
    assert_eq!((&done["name"], &done["peers"]), (&"shared".into(), &1.into()));
    let path = here.path().canonicalize().unwrap().join("shared");
    assert_eq!(std::path::Path::new(done["path"].as_str().unwrap()).canonicalize().unwrap(), path);
    let files = events.iter().filter(|event| event["event"] == "file_done");
    let mut files: Vec<&str> = files.map(|event| event["path"].as_str().unwrap()).collect();
    files.sort_unstable();
    assert_eq!(files, ["a", "b/c", "b/empty"]);
    let ours = events.iter().filter(|event| event["event"] != "progress");
    assert_snapshot("json_events", &shapes([&first, &progress].into_iter().chain(ours)));
}

#[test]
fn an_error_is_an_event_with_code_and_message_and_a_line_for_people() {
    let home = Home::new();
    let mut told = String::new();
    for (code, arguments) in [
        (8, &["fetch", "--json", "nonsense"][..]),
        (6, &["seed", "--json", "missing"]),
        (4, &["fetch", "--json", "--timeout", "100ms", HASH]),
    ] {
        let arguments = [arguments, &ALONE].concat();
        let output = home.run(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let events = events(&output.stdout);
        let error = events.iter().find(|event| event["event"] == "error").expect("an error");
        assert_eq!(error["code"], code, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(said(&output.stderr).contains(message), "{message}");
        told += &format!("{error}\n");
    }
    assert_snapshot("json_errors", &super::masked(home.path(), &told));
}

#[test]
fn the_tracker_says_first_where_it_listens() {
    let home = Home::new();
    let serve = ["tracker", "--json", "--http", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
    let mut tracker = home.start(&serve);
    let first: Value = tracker.line(|line| Some(serde_json::from_str(line).expect("JSON")));
    checked(&first);
    assert_snapshot("json_tracker", &shape(&first));
    let url = format!("http://{}/announce", first["http"][0].as_str().unwrap());
    let mut fetch =
        home.start(&[&["fetch", "--json"][..], &ALONE, &["--tracker", &url, HASH]].concat());
    let joined = tracker.event("joined");
    assert_eq!((&joined["v"], &joined["info_hash"]), (&1.into(), &HASH.into()));
    fetch.event("progress");
    fetch.signal("INT");
    assert_eq!(fetch.wait(), Some(130));
    // It says goodbye.
    assert_eq!(tracker.event("left")["info_hash"], HASH);
}
