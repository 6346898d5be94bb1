//! Draws the marks of events, and the x axis, below a chart.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::axes::Window;
use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::theme::{Theme, put};
use crate::text;

/// An event at an x.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    pub x: f64,
    /// Its name; `None` for a checkpoint, which is a diamond without text.
    pub label: Option<String>,
    /// Of several marks in a column, the one with the greatest weight is shown. It also keeps its text if not all texts fit.
    pub weight: u8,
}

/// Draws a row of marks: diamonds, and `^label` for marks with a name.
pub fn marks(
    buffer: &mut Buffer,
    row: Rect,
    theme: &Theme,
    glyphs: Glyphs,
    marks: &[Mark],
    window: &Window,
) {
    let width = usize::from(row.width);
    let diamond = glyphs.marks().checkpoint;
    let mut named = Vec::new();
    for mark in marks {
        match (window.column(mark.x, width), &mark.label) {
            (Some(column), None) => {
                let cell = &mut buffer[(row.x + column as u16, row.y)];
                put(cell, diamond, theme.dim);
            }
            (Some(column), Some(label)) => named.push((column, mark.weight, label.as_str())),
            (None, _) => {}
        }
    }
    for (column, words) in placed(named, width) {
        let text = format!("^{words}");
        // The style is reset, because a checkpoint's mark below would keep its colour.
        let style = Style::reset().patch(theme.title);
        buffer.set_string(row.x + column as u16, row.y, text, style);
    }
}

/// Chooses one label per column, and empties those that would overlap another one. Sorts by column.
fn placed(mut named: Vec<(usize, u8, &str)>, width: usize) -> Vec<(usize, &str)> {
    // The heaviest mark of a column comes first; of equal ones, the last.
    named.reverse();
    named.sort_by_key(|&(column, weight, _)| (column, std::cmp::Reverse(weight)));
    named.dedup_by_key(|(column, ..)| *column);
    let columns: Vec<usize> = named.iter().map(|n| n.0).collect();
    let mut order: Vec<usize> = (0..named.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(named[i].1));
    let mut kept = vec![true; named.len()];
    let mut words = vec![""; named.len()];
    for i in order {
        if !kept[i] {
            continue;
        }
        let (column, weight, label) = named[i];
        let end = column + 1 + text::width(label);
        // A label may cover the carets of lighter marks, but not those of heavier ones.
        let covered = columns[i + 1..].partition_point(|&c| c <= end);
        let next = &named[i + 1..i + 1 + covered];
        if end <= width && next.iter().all(|n| n.1 < weight) {
            words[i] = label;
            kept[i + 1..i + 1 + covered].fill(false);
        }
    }
    let all = named.iter().zip(words).zip(kept);
    all.filter(|(_, kept)| *kept)
        .map(|((n, words), _)| (n.0, words))
        .collect()
}

/// Draws the x axis, with labels at its ends and at evenly spaced places between, as many as fit.
pub fn axis(buffer: &mut Buffer, row: Rect, style: Style, window: &Window) {
    let width = usize::from(row.width);
    let mut free = 0;
    let ticks = window.ticks(width);
    for (i, share) in ticks.iter().enumerate() {
        let label = window
            .axis
            .label(window.from + share * (window.to - window.from));
        let (text, at) = match i {
            0 => (format!("{}{label}", window.axis.unit()), 0),
            _ if i + 1 == ticks.len() => {
                let at = width.saturating_sub(label.len());
                (label, at)
            }
            _ => {
                let at = ((width as f64 * share) as usize).saturating_sub(label.len() / 2);
                (label, at)
            }
        };
        if i > 0 && at <= free {
            continue;
        }
        free = at + text.len();
        buffer.set_stringn(row.x + at as u16, row.y, text, width - at.min(width), style);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_labels_that_share_a_column_the_weightiest_wins() {
        for order in [[0, 1], [1, 0]] {
            let both = [(0, 1, "inherit"), (0, 2, "resumed")];
            let named = order.map(|i| both[i]).to_vec();
            assert_eq!(placed(named, 60), [(0, "resumed")]);
        }
        // Of equal weights in a column, the last mark is chosen.
        let named = vec![(5, 1, "round-1"), (0, 1, "inherit"), (5, 1, "round-2")];
        assert_eq!(placed(named, 60), [(0, ""), (5, "round-2")]);
    }

    #[test]
    fn a_label_without_room_is_cut_to_its_caret() {
        let named = vec![(0, 1, "inherit"), (3, 3, "resumed"), (58, 3, "resumed")];
        let expected = [(0, ""), (3, "resumed"), (58, "")];
        assert_eq!(placed(named, 60), expected);
        // A heavier label may cover a lighter mark's caret.
        let named = vec![(0, 3, "resumed"), (4, 1, "inherit"), (20, 1, "x")];
        assert_eq!(placed(named, 60), [(0, "resumed"), (20, "x")]);
    }

    #[test]
    fn a_hundred_thousand_labels_take_no_time() {
        let named: Vec<(usize, u8, &str)> =
            (0..100_000).map(|i| (i % 200, 1, "grow 4→6")).collect();
        let began = std::time::Instant::now();
        assert_eq!(placed(named, 200).len(), 200);
        assert!(began.elapsed().as_secs() < 1);
    }
}
