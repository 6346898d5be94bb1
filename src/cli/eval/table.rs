//! Formats results as tables of 80 columns.

use crate::eval::report::{Grid, ModelResults, Report, differences, listing, side_by_side};
use crate::run::table::aligned;
use crate::text;

/// Columns of a screen.
const WIDTH: usize = 80;
/// Columns of a model's label.
const LABEL: usize = 24;
/// The column of standard errors in the table of one model.
const STDERR: usize = 4;

/// Returns the results of one model as the harness prints them, of several models side by side, and remarks.
pub fn table(report: &Report) -> String {
    let mut out = match &report.models[..] {
        [only] => one(report, only),
        several => {
            let mut out = blocks(&side_by_side(report));
            if let (Some(grid), Some(first)) = (differences(report), several.first()) {
                let first = text::cut(&first.label, LABEL);
                out.push_str(&format!(
                    "\npaired differences to {first}\n\n{}",
                    blocks(&grid)
                ));
            }
            out
        }
    };
    out.push_str(&remarks(report));
    out
}

fn one(report: &Report, model: &ModelResults) -> String {
    let headings = [
        "task", "version", "metric", "value", "stderr", "n", "chance",
    ];
    let mut rows = vec![headings.map(String::from)];
    rows.extend(listing(report, model));
    for row in rows.iter_mut().skip(1).filter(|row| row[STDERR] != "-") {
        row[STDERR].insert(0, '±');
    }
    aligned(&rows, &[0, 2])
}

/// Divides a grid into blocks of as many models as fit next to the names of tasks. Only the first block has numbers of documents
/// and chance levels.
fn blocks(grid: &Grid) -> String {
    let columns = grid.rows.first().map_or(0, Vec::len);
    let mut out = String::new();
    let mut next = grid.leading;
    while next < columns {
        let leading = if next == grid.leading {
            grid.leading
        } else {
            2
        };
        let mut used: Vec<usize> = (0..leading).collect();
        let mut width: usize = used.iter().map(|&i| column_width(grid, i) + 2).sum();
        loop {
            width += column_width(grid, next) + 2;
            used.push(next);
            next += 1;
            if next >= columns || width + column_width(grid, next) > WIDTH {
                break;
            }
        }
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&lines(grid, &used));
    }
    out
}

/// Returns a cell's text, with long headings of models shortened.
fn shown(grid: &Grid, row: usize, column: usize) -> String {
    let cell = &grid.rows[row][column];
    match (row, column >= grid.leading) {
        (0, true) => text::cut(cell, LABEL).into_owned(),
        _ => cell.clone(),
    }
}

fn column_width(grid: &Grid, column: usize) -> usize {
    let rows = 0..grid.rows.len();
    let widths = rows.map(|row| text::width(&shown(grid, row, column)));
    widths.max().unwrap_or(0)
}

/// Formats the chosen columns, two spaces apart. Tasks and metrics are aligned to the left, numbers to the right.
fn lines(grid: &Grid, columns: &[usize]) -> String {
    let mut out = String::new();
    for row in 0..grid.rows.len() {
        let cells = columns.iter().map(|&column| {
            let cell = shown(grid, row, column);
            let pad = " ".repeat(column_width(grid, column) - text::width(&cell));
            if column < 2 { cell + &pad } else { pad + &cell }
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Reports documents that were left out or truncated.
fn remarks(report: &Report) -> String {
    let mut out = String::new();
    for (i, task) in report.tasks.iter().enumerate() {
        if task.skipped > 0 {
            let n = text::plural(task.skipped, "document");
            out.push_str(&format!("{}: {n} skipped, as in the harness\n", task.name));
        }
        for model in &report.models {
            let truncated = model.tasks[i].truncated;
            if truncated > 0 {
                let label = match report.models.len() {
                    1 => String::new(),
                    _ => format!(", {}", text::cut(&model.label, LABEL)),
                };
                let n = text::plural(truncated, "document");
                let name = task.name;
                out.push_str(&format!("{name}{label}: {n} cut to the context\n"));
            }
        }
    }
    match out.is_empty() {
        true => out,
        false => format!("\n{out}"),
    }
}

#[cfg(test)]
mod tests;
