//! Tests of safe paths: each rule of LIMITS A01 to A10, and the properties all of them keep.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::collide::element_key;
use super::*;
use crate::metainfo::File;

fn safe(raw: impl AsRef<[u8]>) -> Option<String> {
    safe_element(raw.as_ref())
}

fn file(path: &[&str]) -> File {
    let path = path.iter().map(|element| (*element).to_owned()).collect();
    File { path, length: 1, pad: false, executable: false }
}

fn renamed(paths: &[&[&str]]) -> Vec<String> {
    let mut files: Vec<File> = paths.iter().map(|path| file(path)).collect();
    disambiguate(&mut files).unwrap();
    files.iter().map(|file| file.path.join("/")).collect()
}

#[test]
fn elements_that_say_nothing_are_dropped() {
    for nothing in ["", ".", ".."] {
        assert_eq!(safe(nothing), None);
    }
    let path = |elements: &[&[u8]]| safe_path(elements).unwrap().join("/");
    assert_eq!(path(&[b"..", b"a", b".", b"", b"b"]), "a/b");
    assert_eq!(path(&[b"..", b".."]), "_");
    assert_eq!(path(&[b"", b"etc", b"passwd"]), "etc/passwd");
}

#[test]
fn elements_are_mapped_to_portable_names() {
    for (raw, expected) in [
        ("plain name (1).tar.gz", "plain name (1).tar.gz"),
        ("größe 東京 🦀", "größe 東京 🦀"),
        ("a/b\\c", "a_b_c"),
        ("../../etc/passwd", ".._.._etc_passwd"),
        ("C:\\x", "C__x"),
        ("a<b>c:d\"e|f?g*h", "a_b_c_d_e_f_g_h"),
        ("a\0b\x1b[2J\x7f\u{9b}", "a_b_[2J__"),
        ("txt.\u{202e}exe\u{200b}\u{feff}\u{2066}\u{61c}", "txt.exe"),
        ("trailing. . ", "trailing"),
        ("...", "_"),
        (" ", "_"),
        (".\u{200b}.", "_"),
        (".hidden", ".hidden"),
        (" leading", " leading"),
        ("\u{fffd}", "_"),
    ] {
        assert_eq!(safe(raw).as_deref(), Some(expected), "{raw:?}");
    }
    assert_eq!(safe(b"a\xffb\xc0\xafc\xed\xa0\x80").as_deref(), Some("a_b__c___"));
}

#[test]
fn names_of_devices_get_an_underscore() {
    for raw in [
        "CON",
        "con",
        "Nul.txt",
        "aux.tar.gz",
        "COM1",
        "lpt9.x",
        "com³",
        "CONIN$",
        "con ",
        "prn .x",
    ] {
        assert!(safe(raw).unwrap().starts_with('_'), "{raw}");
    }
    for raw in ["CONSOLE", "com", "com10", "com1x", "xcon", "lpt", "COMx"] {
        assert_eq!(safe(raw).as_deref(), Some(raw));
    }
}

#[test]
fn long_elements_are_cut_and_keep_their_extension() {
    let fits = "x".repeat(ELEMENT_MAX_BYTES);
    assert_eq!(safe(&fits), Some(fits.clone()));
    let cut = safe(format!("{fits}.flac")).unwrap();
    assert_eq!((cut.len(), cut.ends_with("x.flac")), (240, true));
    let cut = safe("ü".repeat(200) + ".mkv").unwrap();
    assert!(cut.len() <= 240 && cut.len() >= 239 && cut.ends_with("ü.mkv"));
    let cut = safe(format!("a.{}", "y".repeat(300))).unwrap();
    assert_eq!(cut.len(), 240, "what is that long is no extension");
    let device = safe(format!("con{}x", " ".repeat(300))).unwrap();
    assert_eq!(device, "_con", "what a cut leaves is checked again");
    let device = safe(format!("con.{}", "x".repeat(251))).unwrap();
    assert!(device.starts_with("_con.") && device.len() <= ELEMENT_MAX_BYTES);
}

#[test]
fn depth_and_length_of_paths_are_bounded() {
    let deep = |depth: usize| safe_path(&vec![&b"a"[..]; depth]);
    assert_eq!(deep(DEPTH_MAX).unwrap().len(), 100);
    assert_eq!(deep(DEPTH_MAX + 1), Err(MetainfoError::TooDeep(101)));
    let path = vec!["x".repeat(255); 15];
    let name = "x".repeat(PATH_MAX_BYTES - 15 * 256);
    assert_eq!(check_length(&name, &path), Ok(()));
    assert_eq!(check_length(&(name + "x"), &path), Err(MetainfoError::PathTooLong(4097)));
}

#[test]
fn colliding_files_are_numbered_and_the_first_keeps_its_name() {
    assert_eq!(renamed(&[&["a.txt"], &["a.txt"], &["a.txt"]]), ["a.txt", "a.1.txt", "a.2.txt"]);
    assert_eq!(renamed(&[&["A"], &["a"]]), ["A", "a.1"]);
    assert_eq!(renamed(&[&["\u{e9}"], &["e\u{301}"]]), ["\u{e9}", "e\u{301}.1"]);
    assert_eq!(renamed(&[&["STRASSE"], &["stra\u{df}e"]]), ["STRASSE", "stra\u{df}e.1"]);
    assert_eq!(renamed(&[&["d", "x"], &["D", "X"]]), ["d/x", "D/X.1"]);
    assert_eq!(renamed(&[&[".a"], &[".a"]]), [".a", ".a.1"]);
    assert_eq!(renamed(&[&["d", "x"], &["e", "x"]]), ["d/x", "e/x"], "no collision");
}

#[test]
fn a_number_that_is_taken_is_skipped() {
    assert_eq!(renamed(&[&["a"], &["a"], &["a.1"]]), ["a", "a.2", "a.1"]);
}

#[test]
fn folders_win_over_files() {
    assert_eq!(renamed(&[&["a"], &["a", "b"]]), ["a.1", "a/b"]);
    assert_eq!(renamed(&[&["A", "b", "c"], &["a", "B"]]), ["A/b/c", "a/B.1"]);
    assert_eq!(renamed(&[&["a"], &["a", "b"], &["a.1", "c"]]), ["a.2", "a/b", "a.1/c"]);
}

#[test]
fn pad_files_are_in_nobody_s_way() {
    let mut files = vec![file(&["a"]), file(&["a"])];
    files[0].pad = true;
    assert_eq!(disambiguate(&mut files).unwrap(), []);
}

#[test]
fn renames_are_bounded() {
    let same = |count: usize| disambiguate(&mut vec![file(&["a"]); count]);
    assert_eq!(same(RENAMES_MAX + 1).unwrap().len(), 500);
    assert_eq!(same(RENAMES_MAX + 2), Err(MetainfoError::TooManyCollisions));
    // Searching for a free number counts too.
    let mut files: Vec<File> = (1..=RENAMES_MAX).map(|at| file(&[&format!("a.{at}")])).collect();
    files.extend([file(&["a"]), file(&["a"])]);
    assert_eq!(disambiguate(&mut files), Err(MetainfoError::TooManyCollisions));
}

#[test]
fn a_rename_keeps_a_long_name_within_bounds() {
    let long = format!("{}.txt", "x".repeat(ELEMENT_MAX_BYTES - 4));
    let mut files = vec![file(&[&long]), file(&[&long])];
    disambiguate(&mut files).unwrap();
    assert_eq!(files[1].path[0].len(), ELEMENT_MAX_BYTES);
    assert!(files[1].path[0].ends_with("x.1.txt"));
}

/// Elements that provoke: few letters, so that they collide, and every special character.
fn element() -> impl Strategy<Value = Vec<u8>> {
    let special = prop::sample::select(vec![
        "a", "A", "b", ".", "..", "/", "\\", " ", "con", "CON", "1", "é", "e\u{301}", "ß", "SS",
        "ſ", "\u{202e}", "\u{200d}", "\0", "\u{85}", ":", "K", "\u{212a}", "İ", "🦀", "ᾳ",
        "\u{345}",
    ]);
    prop_oneof![
        4 => prop::collection::vec(special, 0..4).prop_map(|parts| parts.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..12),
        1 => ("[a-c. ]{230,300}", "[.a-z ]{0,40}").prop_map(|(a, b)| (a + &b).into_bytes()),
        1 => "\\PC{80,120}".prop_map(String::into_bytes),
    ]
}

fn check_element(element: &str) -> Result<(), TestCaseError> {
    prop_assert!(!matches!(element, "" | "." | ".."));
    prop_assert!(element.len() <= ELEMENT_MAX_BYTES);
    prop_assert!(!element.contains(['/', '\\', ':', '\0']));
    prop_assert!(!element.chars().any(|c| c.is_control() || crate::types::is_unsafe_to_show(c)));
    prop_assert!(!element.ends_with(['.', ' ']));
    let components: Vec<_> = std::path::Path::new(element).components().collect();
    prop_assert!(matches!(components.as_slice(), [std::path::Component::Normal(_)]));
    Ok(())
}

proptest! {
    #[test]
    fn elements_are_safe_and_stay_as_they_are_the_second_time(raw in element()) {
        if let Some(element) = safe_element(&raw) {
            check_element(&element)?;
            prop_assert_eq!(safe_element(element.as_bytes()), Some(element));
        }
    }

}

proptest! {
    // Each case is a whole torrent of paths.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn paths_are_distinct_safe_and_settled(
        raw in prop::collection::vec(prop::collection::vec(element(), 1..4), 0..20),
    ) {
        let mut files: Vec<File> = raw
            .iter()
            .map(|path| {
                let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
                File { path: safe_path(&path).unwrap(), length: 0, pad: false, executable: false }
            })
            .collect();
        disambiguate(&mut files).unwrap();
        let key = |path: &[String]| -> Vec<String> { path.iter().map(|e| element_key(e)).collect() };
        let mut seen = BTreeSet::new();
        for file in &files {
            prop_assert!(!file.path.is_empty());
            for element in &file.path {
                check_element(element)?;
                prop_assert_eq!(safe_element(element.as_bytes()), Some(element.clone()));
            }
            prop_assert!(seen.insert(key(&file.path)), "two files at {:?}", file.path);
        }
        for file in &files {
            for depth in 1..file.path.len() {
                prop_assert!(!seen.contains(&key(&file.path[..depth])), "a file where a folder is");
            }
        }
        let before = files.clone();
        prop_assert_eq!(disambiguate(&mut files).unwrap(), []);
        prop_assert_eq!(files, before);
    }
}
