//! The live view on a terminal: indicatif draws the lines that `text` makes.
//!
//! Each line is one bar whose template is the line itself; what it says is decided in pure
//! code, indicatif knows how to redraw, to resize and to step aside for other output.

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Snapshot;
use super::text::{Screen, screen_lines};

/// Redraws a second at most; a tick comes five times a second.
const REDRAWS_PER_SECOND: u8 = 15;

/// The lines on the screen.
#[derive(Debug)]
pub(crate) struct Bars {
    multi: MultiProgress,
    lines: Vec<ProgressBar>,
    term: Term,
    color: bool,
    unicode: bool,
}

impl Bars {
    pub(super) fn new() -> Self {
        let target = ProgressDrawTarget::stderr_with_hz(REDRAWS_PER_SECOND);
        Self {
            multi: MultiProgress::with_draw_target(target),
            lines: Vec::new(),
            term: Term::stderr(),
            color: console::colors_enabled_stderr(),
            unicode: is_utf8_locale(),
        }
    }

    pub(super) fn tick(&mut self, rows: &[Snapshot]) {
        let (height, width) = self.term.size();
        let screen = Screen {
            // A line as wide as the terminal would wrap on some.
            width: usize::from(width).saturating_sub(1),
            height: usize::from(height),
            color: self.color,
            unicode: self.unicode,
        };
        let texts = screen_lines(rows, screen);
        while let Some(surplus) = self.lines.get(texts.len()..).and_then(<[_]>::last) {
            surplus.finish_and_clear();
            self.multi.remove(surplus);
            self.lines.pop();
        }
        while self.lines.len() < texts.len() {
            let line = ProgressBar::new_spinner();
            let style = ProgressStyle::with_template("{msg}");
            let line = self.multi.add(line);
            if let Ok(style) = style {
                line.set_style(style);
            }
            self.lines.push(line);
        }
        for (line, text) in self.lines.iter().zip(texts) {
            line.set_message(text);
        }
    }

    pub(super) fn above<T>(&self, write: impl FnOnce() -> T) -> T {
        self.multi.suspend(write)
    }

    pub(super) fn clear(&mut self) {
        for line in self.lines.drain(..) {
            line.finish_and_clear();
            self.multi.remove(&line);
        }
    }
}

/// What the terminal says of itself, as other tools read it.
fn is_utf8_locale() -> bool {
    let set =
        ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(|name| std::env::var(name).ok());
    let first = set.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
    let locale = first.to_ascii_lowercase();
    locale.ends_with("utf-8") || locale.ends_with("utf8")
}
