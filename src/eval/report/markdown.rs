//! A report as Markdown.

use super::grid::{Grid, differences, listing, side_by_side};
use super::{ModelResults, Report};

/// Returns the table of one model as the harness prints it, or of several models side by side with their differences.
pub fn markdown(report: &Report) -> String {
    match &report.models[..] {
        [only] => one(report, only),
        several => {
            let mut out = String::new();
            for model in several {
                let (label, name) = (cell(&model.label), cell(&model.name));
                if label != name {
                    out.push_str(&format!("- {label}: {name}\n"));
                }
            }
            if !out.is_empty() {
                out.push('\n');
            }
            out.push_str(&table(&side_by_side(report)));
            if let Some(grid) = differences(report) {
                let first = several.first().map_or(String::new(), |m| cell(&m.label));
                out.push_str(&format!(
                    "\nPaired differences to {first}:\n\n{}",
                    table(&grid)
                ));
            }
            out
        }
    }
}

fn one(report: &Report, model: &ModelResults) -> String {
    let headings = [
        "Tasks", "Version", "Metric", "Value", "Stderr", "n", "Chance",
    ];
    let mut rows = vec![headings.map(String::from).to_vec()];
    rows.extend(listing(report, model).into_iter().map(|row| row.to_vec()));
    format!("{}\n\n{}", cell(&model.name), lines(&rows, |i| i < 3))
}

fn table(grid: &Grid) -> String {
    lines(&grid.rows, |i| i < 2)
}

/// Lines of a table; columns of words are aligned to the left, those of numbers to the right.
fn lines(rows: &[Vec<String>], is_words: impl Fn(usize) -> bool) -> String {
    let mut out = String::new();
    for (r, row) in rows.iter().enumerate() {
        let cells: Vec<String> = row.iter().map(|text| cell(text)).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
        if r == 0 {
            let rule = (0..row.len()).map(|i| if is_words(i) { "---" } else { "--:" });
            out.push_str(&format!("|{}|\n", rule.collect::<Vec<_>>().join("|")));
        }
    }
    out
}

/// Text that keeps to its cell.
fn cell(text: &str) -> String {
    crate::text::clean(text).replace('|', "\\|")
}
