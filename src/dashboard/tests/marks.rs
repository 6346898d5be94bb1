//! Tests the characters of the loss chart: each has a single meaning, and the legend shows those that are drawn.

use std::collections::BTreeSet;

use ratatui::style::{Color, Style};

use super::*;

/// Returns a theme in which every role of a chart has its own colour.
fn tagged() -> Theme {
    let tag = |n| Style::new().fg(Color::Indexed(n));
    Theme {
        dim: tag(1),
        train: tag(2),
        val: tag(3),
        reference: tag(4),
        warning: tag(5),
        ..Theme::mono()
    }
}

/// Columns of the frame and of the y labels, left of the plot.
const LEFT: u16 = 7;

/// The loss chart of a screen.
struct Chart {
    buffer: Buffer,
    /// The rows of the plot, and the columns up to the frame.
    rows: std::ops::Range<u16>,
    right: u16,
    legend: String,
}

impl Chart {
    fn of(run: &RunState, glyphs: Glyphs) -> Self {
        let mut screen = Screen::new();
        (screen.theme, screen.glyphs) = (tagged(), glyphs);
        let buffer = screen.buffer(run, 200, 60);
        let border = glyphs.border();
        let is = |x, y, symbol: &str| buffer[(x, y)].symbol() == symbol;
        let top = (0..60).find(|&y| is(0, y, border.top_left)).unwrap();
        let bottom = (top + 1..60).find(|&y| is(0, y, border.bottom_left));
        let inside = (top + 1, top + 1);
        let right = (1..200).find(|&x| is(x, inside.1, border.vertical_right));
        let right = right.unwrap();
        let legend = (1..right).map(|x| buffer[(x, top)].symbol()).collect();
        Self {
            // The marks and the axis stand below the plot.
            rows: inside.0..bottom.unwrap() - 2,
            right,
            legend,
            buffer,
        }
    }

    /// Returns the characters in a role's style in some rows.
    fn chars(&self, style: Style, rows: std::ops::Range<u16>) -> BTreeSet<char> {
        let cells = rows.flat_map(|y| (LEFT..self.right).map(move |x| (x, y)));
        let cells = cells.map(|place| &self.buffer[place]);
        let of_role = cells.filter(|cell| Some(cell.fg) == style.fg);
        let chars = of_role.flat_map(|cell| cell.symbol().chars());
        chars.filter(|c| *c != ' ').collect()
    }

    fn plot(&self, style: Style) -> BTreeSet<char> {
        self.chars(style, self.rows.clone())
    }

    fn feet(&self, style: Style) -> BTreeSet<char> {
        self.chars(style, self.rows.end..self.rows.end + 1)
    }

    fn explains(&self, item: &str) {
        assert!(self.legend.contains(item), "{item:?}: {}", self.legend);
    }
}

/// Returns a run after a rollback and a checkpoint.
fn gone_back() -> RunState {
    let mut story = Story::gone_back();
    story.checkpoint();
    story.state
}

fn set(chars: impl IntoIterator<Item = char>) -> BTreeSet<char> {
    chars.into_iter().collect()
}

#[test]
fn an_ascii_chart_has_a_character_for_each_thing_and_the_legend_shows_it() {
    let (theme, ascii) = (tagged(), Glyphs::Ascii);
    let deciding = Story::deciding().state;
    let chart = Chart::of(&deciding, ascii);
    // The reference's evaluations are drawn as dots of an earlier phase.
    assert_eq!(chart.plot(theme.train), set(['*']));
    assert_eq!(chart.plot(theme.val), set(['o', '~']));
    assert!(chart.plot(theme.reference).contains(&'-'));
    assert!(chart.plot(theme.dim).is_subset(&set(['.', 'R'])));
    assert!(chart.plot(theme.dim).contains(&'R'));
    for item in [
        " *. train ",
        " o~ val ",
        " -- ref 8L ",
        " R reference (8L) ",
    ] {
        chart.explains(item);
    }
    // After a rollback: the abandoned branch, its end, and a later checkpoint.
    let chart = Chart::of(&gone_back(), ascii);
    assert_eq!(chart.plot(theme.train), set(['*']));
    assert_eq!(chart.plot(theme.dim), set(['.', ':']));
    assert!(chart.plot(theme.warning).contains(&'<'));
    assert_eq!(chart.feet(theme.dim), set(['c']));
    for item in [" *. train ", " o~ val ", " :: abandoned ", " c checkpoint "] {
        chart.explains(item);
    }
    // The marks differ from the shades of the ranks.
    let marks = "*.o~-R:<c^vx|".chars();
    let levels = set(ascii.levels().iter().copied());
    assert!(levels.is_disjoint(&set(marks)), "{levels:?}");
}

#[test]
fn the_legend_of_dots_shows_the_dots_of_the_set() {
    for (glyphs, train, abandoned) in [
        (Glyphs::Braille, " ⠒⠒ train ", " ⠒ ⠒ abandoned "),
        (Glyphs::Block, " ▀▀ train ", " ▀ ▀ abandoned "),
    ] {
        let chart = Chart::of(&gone_back(), glyphs);
        chart.explains(train);
        chart.explains(abandoned);
        chart.explains(" ● val ");
        let points = chart.plot(tagged().val);
        assert!(points.contains(&'●'), "{points:?}");
        assert_eq!(chart.feet(tagged().dim), set(['◆']));
    }
}

/// `±` takes two columns in ASCII, without moving the following columns.
#[test]
fn ascii_tables_stay_in_their_columns() {
    let run = super::realistic::run_at(super::realistic::journal::Moment::Deciding);
    let mut screen = Screen::new();
    screen.glyphs = Glyphs::Ascii;
    let text = screen.text(&run, 200, 60);
    assert!(text.contains("+-0.00") && !text.contains("~0.00"), "{text}");
    let deciding = screen.text(&Story::deciding().state, 200, 60);
    let column = |row: &str, part: &str| {
        let line = deciding.lines().find(|l| l.contains(row)).unwrap();
        line.find(part).unwrap_or_else(|| panic!("{part}: {line}"))
    };
    let gap = column("|now ", "+0.0412");
    for (row, there) in [
        ("|at end ", "-0.0100"),
        ("|train on ", "-0.0300"),
        ("|grow 2 ", "+0.0500"),
    ] {
        assert_eq!(column(row, there), gap, "{row}: {deciding}");
    }
    // Right-aligned gaps of the rounds: both rows end in the same column.
    let end = |row: &str| {
        let line = text.lines().find(|l| l.contains(row)).unwrap();
        line.rfind('/').unwrap()
    };
    assert_eq!(end("|reference "), end("|round 1 "), "{text}");
}
