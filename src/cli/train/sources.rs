//! Lists the sources of a mixture with the numbers that `set mixture N X` uses, in the plan of `train --dry-run`.

use serde::Serialize;

use crate::corpus::Dataset;
use crate::run::table;

/// A source of the training text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Source {
    number: usize,
    path: String,
    weight: f64,
    /// Its share of all weights.
    share: f64,
    tokens: u64,
}

/// Returns the sources of a training text; empty if there is only one.
pub fn of(dataset: &Dataset) -> Vec<Source> {
    let weights = dataset.weights();
    if weights.len() < 2 {
        return Vec::new();
    }
    let sum: f64 = weights.iter().sum();
    let source = |(number, path): (usize, &String)| Source {
        number,
        path: path.clone(),
        weight: weights[number],
        share: weights[number] / sum,
        tokens: dataset.mixture.range(number).len() as u64,
    };
    dataset.sources().iter().enumerate().map(source).collect()
}

/// Returns one line per source, to be printed below the line of the text.
pub fn lines(sources: &[Source]) -> String {
    let row = |s: &Source| {
        [
            format!("         source {}", s.number),
            format!("weight {}", s.weight),
            format!("{:.1} %", 100.0 * s.share),
            format!("{} tokens", table::count(s.tokens)),
            table::ascii(&s.path),
        ]
    };
    let rows: Vec<_> = sources.iter().map(row).collect();
    table::aligned(&rows, &[0, 4])
}
