//! Aligned text for people: labelled values, and rows of columns.

use std::fmt::Write as _;

use console::{Alignment, measure_text_width, pad_str};

/// Lines that are printed at once. Every cell is already safe to show.
#[derive(Debug, Default)]
pub(crate) struct Table {
    text: String,
}

/// Width of the label column.
const LABEL_WIDTH: usize = 14;

impl Table {
    /// `label         value`; further values come below the first.
    pub(crate) fn field(&mut self, label: &str, values: impl IntoIterator<Item = String>) {
        let mut label = label;
        for value in values {
            let label = pad_str(std::mem::take(&mut label), LABEL_WIDTH, Alignment::Left, None);
            let _ = writeln!(self.text, "{}", format!("{label}  {value}").trim_end());
        }
    }

    /// Columns as wide as their widest cell; all but the last two spaces apart, the
    /// columns named in `right` flush right.
    pub(crate) fn rows<const N: usize>(&mut self, right: [bool; N], rows: &[[String; N]]) {
        let mut widths = [0usize; N];
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = measure_text_width(cell).max(*width);
            }
        }
        for row in rows {
            let cells = row.iter().zip(widths).zip(right).map(|((cell, width), right)| {
                let side = if right { Alignment::Right } else { Alignment::Left };
                pad_str(cell, width, side, None)
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            let _ = writeln!(self.text, "{}", line.trim_end());
        }
    }

    pub(crate) fn line(&mut self, text: &str) {
        let _ = writeln!(self.text, "{text}");
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_also_for_wide_characters() {
        let mut table = Table::default();
        table.field("name", ["x".to_owned()]);
        table.field("trackers", ["a".to_owned(), "b".to_owned()]);
        let cells = |a: &str, b: &str| [a.to_owned(), b.to_owned()];
        table.rows([true, false], &[cells("1", "名"), cells("10", "b")]);
        assert_eq!(
            table.text(),
            "name            x\ntrackers        a\n                b\n 1  名\n10  b\n"
        );
    }
}
