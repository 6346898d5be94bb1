//! Draws small series below one another, each a few rows high, with a name and figures.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;

use crate::dashboard::glyphs::Glyphs;
use crate::dashboard::theme::Theme;
use crate::text;

/// A small series.
#[derive(Debug, Clone, PartialEq)]
pub struct Spark {
    pub label: String,
    /// One value per column; NaN leaves it blank.
    pub values: Vec<f64>,
    /// The last value, and another figure.
    pub last: String,
    pub note: String,
}

/// Columns of the label, with a space after it.
pub const LABEL: u16 = 8;

/// Draws the series that fit, with `selected` marked and enlarged, scrolled so that the selected one is always visible.
pub fn draw(
    buffer: &mut Buffer,
    area: Rect,
    sparks: &[Spark],
    selected: Option<usize>,
    theme: &Theme,
    glyphs: Glyphs,
) {
    let rows = usize::from(area.height);
    if sparks.is_empty() || rows == 0 || area.width <= LABEL {
        return;
    }
    let fit = sparks.len().min(rows);
    let first = selected.map_or(0, |s| (s + 1).saturating_sub(fit));
    let shown = &sparks[first..first + fit];
    // Remaining rows go to the selected series, or evenly to all.
    let each = (rows / fit).clamp(1, 3);
    let mut y = area.y;
    for (i, spark) in shown.iter().enumerate() {
        let chosen = selected == Some(first + i);
        let height = match selected {
            Some(_) if chosen => (rows - (fit - 1)).min(6),
            Some(_) => 1,
            None => each,
        };
        let row = Rect {
            y,
            height: height as u16,
            ..area
        };
        one(buffer, row, spark, chosen, theme, glyphs);
        y += row.height;
    }
}

fn one(
    buffer: &mut Buffer,
    area: Rect,
    spark: &Spark,
    chosen: bool,
    theme: &Theme,
    glyphs: Glyphs,
) {
    let style = if chosen { theme.selected } else { theme.dim };
    let label = glyphs.fit(&spark.label, usize::from(LABEL - 1));
    buffer.set_stringn(area.x, area.y, label, usize::from(LABEL - 1), style);
    let wide = spark.values.len() as u16;
    let levels = bars(&spark.values, usize::from(area.height), glyphs);
    for (r, line) in levels.iter().enumerate() {
        let room = usize::from(area.width - LABEL);
        buffer.set_stringn(area.x + LABEL, area.y + r as u16, line, room, theme.train);
    }
    let x = area.x + LABEL + wide;
    if x < area.right() {
        let room = usize::from(area.right() - x);
        let y = area.y;
        if area.height > 1 {
            // Two rows have room for both figures.
            let last = format!(" {}", spark.last);
            buffer.set_stringn(x, y, last, room, theme.plain);
            buffer.set_stringn(x, y + 1, format!(" {}", spark.note), room, theme.dim);
        } else {
            let both = format!(" {}  {}", spark.last, spark.note);
            let figures = match text::width(&both) <= room {
                true => both,
                false => format!(" {}", spark.last),
            };
            buffer.set_stringn(x, y, figures, room, theme.plain);
        }
    }
}

/// Returns the range of all values except spikes and the first descent, which would flatten the rest.
fn bounds(values: &[f64]) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let at = |tenths: usize| sorted[(sorted.len() - 1) * tenths / 10];
    if sorted.is_empty() {
        return (0.0, 0.0);
    }
    let most = at(9) - at(1);
    (at(0).max(at(1) - most), at(10).min(at(9) + most))
}

/// Returns bars of `rows` rows for values between their least and their greatest, top row first. Values far outside the others are
/// cut.
pub fn bars(values: &[f64], rows: usize, glyphs: Glyphs) -> Vec<String> {
    let levels = glyphs.levels();
    let (low, high) = bounds(values);
    let steps = rows * levels.len();
    let height = |v: f64| {
        let share = match high > low {
            true => ((v - low) / (high - low)).clamp(0.0, 1.0),
            // Constant values are drawn at half height.
            false => 0.5,
        };
        1 + (share * (steps - 1) as f64).round() as usize
    };
    (0..rows)
        .map(|row| {
            let below = (rows - 1 - row) * levels.len();
            values
                .iter()
                .map(|&v| match v.is_finite() {
                    true => match height(v).saturating_sub(below).min(levels.len()) {
                        0 => ' ',
                        level => levels[level - 1],
                    },
                    false => ' ',
                })
                .collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_reach_from_the_least_to_the_greatest() {
        let values = [0.0, 0.5, 1.0, f64::NAN];
        assert_eq!(bars(&values, 1, Glyphs::Braille), ["▁▅█ "]);
        assert_eq!(bars(&values, 2, Glyphs::Braille), [" ▁█ ", "▁██ "]);
        assert_eq!(bars(&values, 1, Glyphs::Ascii), ["_+@ "]);
        assert_eq!(bars(&[2.0, 2.0], 1, Glyphs::Braille), ["▅▅"]);
        let mut spiky = [0.0, 1.0, 2.0, 3.0].repeat(5);
        spiky[7] = 100.0;
        let low = bars(&spiky, 1, Glyphs::Braille)[0].matches('▁').count();
        assert_eq!(low, 5, "a spike flattens nothing");
        assert_eq!(bars(&[], 1, Glyphs::Braille), [""]);
    }
}
