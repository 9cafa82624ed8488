//! `LIMITS.md` is true: what it names exists, and every counter is in it.
//!
//! Not here: whether a bound holds; the tests that the table names show that.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use swarm_core::types::Limit;

/// One row of the table.
struct Row {
    limit: String,
    file: String,
    constant: String,
    test: Option<String>,
    counter: Option<String>,
}

#[test]
fn every_constant_of_the_table_is_where_it_says() {
    let mut files: BTreeMap<String, String> = BTreeMap::new();
    for row in rows() {
        let text = files.entry(row.file.clone()).or_insert_with(|| read(&root().join(&row.file)));
        let name = &row.constant;
        let declared = [format!("const {name}:"), format!("pub {name}:")];
        assert!(
            declared.iter().any(|form| text.contains(form)),
            "{}: no {name} in {}",
            row.limit,
            row.file
        );
    }
}

#[test]
fn every_test_of_the_table_exists() {
    let mut tests = BTreeSet::new();
    for folder in ["swarm-core/src", "swarm-cli/src", "tracker/src", "tests"] {
        collect(&root().join(folder), &mut tests);
    }
    let mut untested = Vec::new();
    for row in rows() {
        match row.test {
            Some(test) => assert!(tests.contains(&test), "{}: no test {test}", row.limit),
            None => untested.push(row.limit),
        }
    }
    // How many connections the system holds for us shows only in how it treats the next.
    assert_eq!(untested, ["held by the system"]);
}

#[test]
fn every_counter_is_in_the_table_and_no_other() {
    let told: BTreeSet<String> = rows().into_iter().filter_map(|row| row.counter).collect();
    let real: BTreeSet<String> = Limit::ALL.iter().map(|limit| limit.name().to_owned()).collect();
    assert_eq!(told, real);
}

/// The rows of all tables but their heads.
fn rows() -> Vec<Row> {
    let text = read(&root().join("LIMITS.md"));
    let rows: Vec<Row> = text.lines().filter_map(row).collect();
    assert!(rows.len() > 80, "only {} rows were read", rows.len());
    rows
}

fn row(line: &str) -> Option<Row> {
    let cells: Vec<&str> = line.strip_prefix('|')?.trim_end_matches('|').split('|').collect();
    let [limit, _, constant, test, counter] = cells[..] else { panic!("five cells: {line}") };
    let quoted: Vec<&str> = constant.split('`').skip(1).step_by(2).collect();
    let name = |cell: &str| Some(cell.trim().trim_matches('`').to_owned()).filter(|n| n != "-");
    let [file, constant] = quoted[..] else { return None };
    Some(Row {
        limit: limit.trim().to_owned(),
        file: file.to_owned(),
        constant: constant.to_owned(),
        test: name(test),
        counter: name(counter),
    })
}

/// The names of all functions below a folder.
fn collect(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).expect("a readable folder") {
        let path = entry.expect("a readable entry").path();
        if path.is_dir() {
            collect(&path, names);
        } else if path.extension().is_some_and(|ext| ext == "rs") {
            let text = read(&path);
            let after = text.split("fn ").skip(1);
            names.extend(after.filter_map(|rest| rest.split('(').next().map(str::to_owned)));
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests lies in the workspace").into()
}
