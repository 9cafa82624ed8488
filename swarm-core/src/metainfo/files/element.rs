//! One element of a path: any bytes in, a name that every file system takes out.

use crate::types::is_unsafe_to_show;

/// Longest element, bytes.
pub const ELEMENT_MAX_BYTES: usize = 255;
/// What a longer element is cut to, bytes, extension included.
const ELEMENT_CUT_BYTES: usize = 240;
/// Longest extension that a cut keeps, bytes, dot included.
const EXTENSION_KEPT_BYTES: usize = 32;

/// Names that Windows keeps for devices, whatever their extension.
const DEVICES: [&str; 6] = ["CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"];
/// Names that are devices when one digit follows.
const NUMBERED_DEVICES: [&str; 2] = ["COM", "LPT"];

/// A safe name for one element of a path, or `None` when it says nothing (`.`, `..`, empty).
///
/// Separators, control characters, characters that Windows refuses and bytes that are no
/// UTF-8 become `_`; bidirectional and invisible characters are dropped, and so are
/// trailing dots and spaces; names of devices get a `_` in front; what is longer than
/// [`ELEMENT_MAX_BYTES`] is cut, keeping its extension. Safe names stay as they are.
#[must_use]
pub fn safe_element(raw: &[u8]) -> Option<String> {
    if matches!(raw, b"" | b"." | b"..") {
        return None;
    }
    let mut name: String = String::from_utf8_lossy(raw).chars().filter_map(safe_char).collect();
    trim_end(&mut name);
    keep_off_devices(&mut name);
    if name.len() > ELEMENT_MAX_BYTES {
        name = cut(&name, ELEMENT_CUT_BYTES);
        trim_end(&mut name);
        keep_off_devices(&mut name);
    }
    if name.is_empty() {
        name.push('_');
    }
    Some(name)
}

/// The name with `suffix` (such as `.1`) before its extension, shortened to fit.
pub(super) fn with_suffix(name: &str, suffix: &str) -> String {
    let (stem, extension) = split_extension(name);
    let room = ELEMENT_MAX_BYTES.saturating_sub(suffix.len() + extension.len());
    format!("{}{suffix}{extension}", head(stem, room))
}

/// As much of the text as fits into so many bytes without cutting a character.
pub(in crate::metainfo) fn head(text: &str, length: usize) -> &str {
    let end = (0..=length.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}

fn safe_char(c: char) -> Option<char> {
    match c {
        '/' | '\\' | '<' | '>' | ':' | '"' | '|' | '?' | '*' | char::REPLACEMENT_CHARACTER => {
            Some('_')
        }
        c if c.is_control() => Some('_'),
        c if is_unsafe_to_show(c) => None,
        c => Some(c),
    }
}

/// Windows drops these silently, so that two names would be one.
fn trim_end(name: &mut String) {
    name.truncate(name.trim_end_matches(['.', ' ']).len());
}

fn keep_off_devices(name: &mut String) {
    let base = name.split('.').next().unwrap_or_default().trim_end_matches(' ');
    let numbered = NUMBERED_DEVICES.iter().any(|device| {
        let mut rest = base.chars();
        let starts =
            device.chars().all(|c| rest.next().is_some_and(|b| b.eq_ignore_ascii_case(&c)));
        starts && matches!((rest.next(), rest.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
    });
    if numbered || DEVICES.iter().any(|device| base.eq_ignore_ascii_case(device)) {
        name.insert(0, '_');
    }
}

fn cut(name: &str, length: usize) -> String {
    let (stem, extension) = split_extension(name);
    format!("{}{extension}", head(stem, length.saturating_sub(extension.len())))
}

/// Splits before the last dot, unless it is the first character or what follows is long.
fn split_extension(name: &str) -> (&str, &str) {
    match name.rfind('.') {
        Some(dot) if dot > 0 && name.len() - dot <= EXTENSION_KEPT_BYTES => name.split_at(dot),
        _ => (name, ""),
    }
}
