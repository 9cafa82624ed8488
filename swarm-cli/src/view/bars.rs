//! The live view on a terminal: indicatif draws the lines that `text` makes.
//!
//! Each line is one bar whose template is the line itself; what it says is decided in pure
//! code, indicatif knows how to redraw, to resize and to step aside for other output.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle, TermLike};

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
        let tty =
            Box::new(Tty { term: Term::buffered_stderr(), line_ended: AtomicBool::new(false) });
        let target = ProgressDrawTarget::term_like_with_hz(tty, REDRAWS_PER_SECOND);
        Self {
            multi: MultiProgress::with_draw_target(target),
            lines: Vec::new(),
            term: Term::stderr(),
            color: super::has_color(),
            unicode: is_utf8_locale(),
        }
    }

    pub(super) fn tick(&mut self, rows: &[Snapshot]) {
        let (height, width) = self.term.size();
        let screen = Screen {
            width: usize::from(width).saturating_sub(ECHO_WIDTH),
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
        // The next tick draws them again. A terminal that is gone needs no clearing.
        drop(self.multi.clear());
        write()
    }

    pub(super) fn clear(&mut self) {
        for line in self.lines.drain(..) {
            self.multi.remove(&line);
        }
        drop(self.multi.clear());
    }
}

/// Columns kept free: terminals echo `^C` where the cursor stands, and a line as wide as
/// the terminal wraps on some.
const ECHO_WIDTH: usize = 3;

/// The terminal as indicatif sees it, but for one thing: indicatif fills every line with
/// spaces, so that the echo of Ctrl-C would begin a line that nobody clears. Here a line
/// ends where its text does, and the next one begins with a line feed.
#[derive(Debug)]
struct Tty {
    term: Term,
    line_ended: AtomicBool,
}

impl TermLike for Tty {
    fn width(&self) -> u16 {
        self.term.size().1
    }

    fn height(&self) -> u16 {
        self.term.size().0
    }

    fn move_cursor_up(&self, lines: usize) -> io::Result<()> {
        self.term.move_cursor_up(lines)
    }

    fn move_cursor_down(&self, lines: usize) -> io::Result<()> {
        self.term.move_cursor_down(lines)
    }

    fn move_cursor_right(&self, columns: usize) -> io::Result<()> {
        self.term.move_cursor_right(columns)
    }

    fn move_cursor_left(&self, columns: usize) -> io::Result<()> {
        self.term.move_cursor_left(columns)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.term.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        if text.chars().all(|c| c == ' ') {
            self.line_ended.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if self.line_ended.swap(false, Ordering::Relaxed) {
            self.term.write_line("")?;
        }
        self.term.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.term.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.line_ended.store(false, Ordering::Relaxed);
        self.term.flush()
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
