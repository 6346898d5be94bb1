//! Chooses the columns of the list of runs that fit, and their widths.

use crate::dashboard::library::{Listed, Row};
use crate::dashboard::{eta, when};
use crate::run::table;
use crate::text;

/// From this width on, columns are separated by two spaces.
const ROOMY: usize = 100;
/// Least columns for names: when columns are left out, and when there is room for long names.
const NAME: (usize, usize) = (12, 48);
/// Least width of the column of paths.
const PATH: usize = 20;

/// A column to the right of the names.
pub struct Column {
    heading: &'static str,
    /// Columns with the highest ranks are left out first.
    rank: u8,
    /// Numbers are aligned to the right.
    right: bool,
    /// Most characters of a cell; longer text is cut.
    most: usize,
    cell: fn(&Row, i64) -> String,
}

const fn words(heading: &'static str, rank: u8, cell: fn(&Row, i64) -> String) -> Column {
    Column {
        heading,
        rank,
        right: false,
        most: 12,
        cell,
    }
}

const fn number(heading: &'static str, rank: u8, cell: fn(&Row, i64) -> String) -> Column {
    Column {
        right: true,
        most: 15,
        ..words(heading, rank, cell)
    }
}

/// From this rank on, a column is shown only if it leaves room for complete names.
const EXTRA: u8 = 7;

/// The columns from left to right; the directory follows where there is room left.
const COLUMNS: [Column; 13] = [
    words("state", 0, |r, _| r.state.clone()),
    words("phase", 4, |r, _| r.phase.clone()),
    number("step", 3, |r, _| r.step.clone()),
    number("layers", 6, |r, _| r.layers.clone()),
    number("val", 1, |r, _| r.val.clone()),
    number("gap", 2, |r, _| r.gap.clone()),
    number("best", 8, |r, _| r.best.clone()),
    number("age", 5, |r, now| match r.error {
        None if r.t > 0 => when::age((now - r.t) as f64 / 1000.0),
        _ => "-".into(),
    }),
    number("ETA", 7, |r, now| match r.done_at {
        Some(at) => eta::words(((at - now) as f64 / 1000.0).max(0.0)),
        None => "-".into(),
    }),
    number("params", 9, |r, _| r.parameters.clone()),
    words("policy", 10, |r, _| r.policy.clone()),
    Column {
        most: 24,
        ..words("device", 11, |r, _| r.device.clone())
    },
    number("size", 12, |r, _| {
        r.bytes.map_or_else(|| "-".into(), table::bytes)
    }),
];

impl Column {
    fn cell(&self, run: &Listed, now: i64) -> String {
        let row = run.row.as_ref();
        row.map_or_else(String::new, |row| (self.cell)(row, now))
    }
}

/// The columns of a list, with their widths.
pub struct Layout {
    name: usize,
    columns: Vec<(&'static Column, usize)>,
    directory: usize,
    gap: &'static str,
}

impl Layout {
    /// Chooses columns for `width` columns of a terminal. `now` is Unix time in milliseconds.
    pub fn of(runs: &[Listed], now: i64, width: usize) -> Self {
        const ALL: &[Column] = &COLUMNS;
        let gap = if width >= ROOMY { "  " } else { " " };
        let widest = |least: usize, cell: &dyn Fn(&Listed) -> usize| {
            runs.iter().map(cell).max().unwrap_or(0).max(least)
        };
        let names = widest(4, &|run| text::width(&name(run)));
        let mut by_rank: Vec<&Column> = ALL.iter().collect();
        by_rank.sort_by_key(|column| column.rank);
        let mut left = width;
        let mut columns = Vec::new();
        for column in by_rank {
            let cells = widest(column.heading.len(), &|run| column.cell(run, now).len());
            let wide = cells.min(column.most);
            let kept = match column.rank < EXTRA {
                true => names.min(NAME.0),
                false => names.min(NAME.1),
            };
            if kept + gap.len() + wide > left {
                break;
            }
            left -= gap.len() + wide;
            columns.push((column, wide));
        }
        let all = columns.len() == ALL.len();
        columns.sort_by_key(|(column, _)| ALL.iter().position(|c| c.rank == column.rank));
        let name = names.min(left);
        let rest = left.saturating_sub(name + gap.len());
        let directory = match all && rest >= PATH {
            true => widest(9, &|run| text::width(&text::path(run.dir.path()))).min(rest),
            false => 0,
        };
        Self {
            name,
            columns,
            directory,
            gap,
        }
    }

    /// Returns the line of the columns' headings.
    pub fn headings(&self) -> String {
        let cells = self.columns.iter().map(|(column, _)| column.heading.into());
        self.line("run", cells.collect(), "directory").concat()
    }

    /// Returns a run's line in three parts: the text before its state, the state, and the text after it.
    pub fn cells(&self, run: &Listed, now: i64) -> [String; 3] {
        let mut cells: Vec<String> = Vec::new();
        for (column, _) in &self.columns {
            cells.push(column.cell(run, now));
        }
        if run.row.is_none()
            && let Some(first) = cells.first_mut()
        {
            *first = "...".into();
        }
        self.line(&name(run), cells, &text::path(run.dir.path()))
    }

    fn line(&self, name: &str, cells: Vec<String>, directory: &str) -> [String; 3] {
        let mut out = [
            shortened(name, self.name) + self.gap,
            String::new(),
            String::new(),
        ];
        for (i, ((column, wide), cell)) in self.columns.iter().zip(cells).enumerate() {
            let cell = text::fit(&cell, *wide);
            if i == 0 {
                out[1] = cell;
                continue;
            }
            let blanks = wide - cell.trim_end().len().min(*wide);
            out[2].push_str(self.gap);
            match column.right && cell.is_ascii() {
                true => out[2] += &format!("{}{}", " ".repeat(blanks), cell.trim_end()),
                false => out[2] += &cell,
            }
        }
        if self.directory > 0 {
            out[2] += self.gap;
            out[2] += &text::fit(directory, self.directory);
        }
        out
    }
}

/// Fits a name into exactly `columns` columns. A name that is cut keeps both ends, since dated names differ in their ends.
fn shortened(name: &str, columns: usize) -> String {
    if text::width(name) <= columns || columns < 3 {
        return text::fit(name, columns);
    }
    let tail = columns / 2;
    let mut from = name.len();
    for (at, _) in name.char_indices().rev() {
        if text::width(&name[at..]) > tail {
            break;
        }
        from = at;
    }
    let tail = &name[from..];
    let head = text::fit(name, columns - text::width(tail));
    // Between wide characters, one column may be left over: a second ellipsis fills it.
    format!("{}{tail}", head.replace("… ", "……"))
}

/// Returns the run's name with control characters removed.
pub fn name(run: &Listed) -> String {
    text::sanitize(&run.dir.name()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::run::dir::RunDir;

    fn run(name: &str) -> Listed {
        Listed {
            dir: RunDir::at(&Path::new("runs").join(name)),
            changed: None,
            fresh: true,
            row: Some(Row {
                state: "running".into(),
                phase: "round 1".into(),
                step: "20/300".into(),
                layers: "4".into(),
                val: "2.4312".into(),
                best: "2.4312".into(),
                gap: "+0.0412".into(),
                t: 1000,
                ..Row::default()
            }),
        }
    }

    fn line(runs: &[Listed], width: usize) -> (String, String) {
        let layout = Layout::of(runs, 61_000, width);
        (layout.headings(), layout.cells(&runs[0], 61_000).concat())
    }

    #[test]
    fn columns_come_in_the_order_of_their_worth() {
        let runs = [run("mine"), run("a-run-with-a-rather-long-name-of-its-own")];
        let headings = |width| {
            line(&runs, width)
                .0
                .split_whitespace()
                .map(String::from)
                .collect::<Vec<_>>()
        };
        assert_eq!(headings(30), ["run", "state", "val"]);
        assert_eq!(headings(40), ["run", "state", "val", "gap"]);
        assert_eq!(
            headings(76),
            [
                "run", "state", "phase", "step", "layers", "val", "gap", "age"
            ]
        );
        assert_eq!(headings(200).len(), 15);
        assert!(headings(110).contains(&"ETA".into()));
    }

    #[test]
    fn every_line_fits_and_is_as_wide_as_the_headings() {
        let runs = [
            run("數字數字數字數字數字數字數字數字"),
            run(&"n".repeat(255)),
        ];
        for width in 0..220 {
            let (headings, cells) = line(&runs, width);
            let wide = text::width(&cells);
            assert_eq!(text::width(&headings), wide, "{width}");
            // Even without any column, a blank follows the name.
            assert!(wide <= width.max(2) + 1, "{width}: {cells:?}");
        }
    }

    #[test]
    fn a_name_is_cut_only_where_there_is_no_room_for_it() {
        let long = "books-2026-11-28-14-05-33";
        let runs = [run(long)];
        let name = |width| line(&runs, width).1.split(' ').next().unwrap().to_string();
        assert_eq!(name(100), long);
        assert_eq!(name(65), "books-2…4-05-33");
        for columns in 0..30 {
            for name in [
                long,
                "數字數字數字數字數字數",
                "e\u{301}e\u{301}e\u{301}e\u{301}",
            ] {
                assert_eq!(text::width(&shortened(name, columns)), columns);
            }
        }
    }
}
