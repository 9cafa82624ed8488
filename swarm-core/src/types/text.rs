//! Text that came from a torrent, a peer or a tracker, made safe to show.
//!
//! Such text may hold escape sequences that move the cursor, rename the terminal or hide
//! what follows (LIMITS A07, A08). [`Untrusted`] is the one way to print it.

use std::fmt::{self, Write as _};

/// Shows untrusted text with control, bidirectional and invisible characters escaped,
/// and at most a given number of characters.
#[derive(Clone, Copy, Debug)]
pub struct Untrusted<'a> {
    text: &'a str,
    limit: usize,
}

impl<'a> Untrusted<'a> {
    /// Characters of a name that are shown.
    pub const NAME_MAX: usize = 512;
    /// Characters of a comment that are shown.
    pub const COMMENT_MAX: usize = 1024;
    /// Characters of a tracker's failure text that are shown.
    pub const FAILURE_MAX: usize = 256;

    /// Shows the first [`Self::NAME_MAX`] characters.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self::with_limit(text, Self::NAME_MAX)
    }

    /// Shows the first `limit` characters, and `…` when there are more.
    #[must_use]
    pub const fn with_limit(text: &'a str, limit: usize) -> Self {
        Self { text, limit }
    }
}

impl fmt::Display for Untrusted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.text.chars();
        for c in rest.by_ref().take(self.limit) {
            if is_unsafe_to_show(c) {
                write!(f, "{}", c.escape_unicode())?;
            } else {
                f.write_char(c)?;
            }
        }
        if rest.next().is_some() { f.write_char('…') } else { Ok(()) }
    }
}

/// Control characters (C0, DEL, C1), bidirectional overrides, zero-width and format characters.
pub(crate) fn is_unsafe_to_show(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061C}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}'
            | '\u{2060}'..='\u{2069}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_direction_overrides_are_shown_as_text() {
        let shown = Untrusted::new("a\u{1b}[2J\u{202e}\u{9b}\nb").to_string();
        assert_eq!(shown, "a\\u{1b}[2J\\u{202e}\\u{9b}\\u{a}b");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(Untrusted::with_limit("abcdef", 3).to_string(), "abc…");
        assert_eq!(Untrusted::with_limit("abc", 3).to_string(), "abc");
    }
}
