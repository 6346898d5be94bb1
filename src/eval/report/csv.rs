//! A report as a table for spreadsheets and data frames: a row for each model, task and metric.

use super::Report;

const HEADINGS: &str = "model,task,version,metric,value,stderr,n,chance,skipped,truncated,difference,difference_stderr";

/// Returns the results with all digits; what is not defined is left empty. Differences are those to the first model.
pub fn csv(report: &Report) -> String {
    let mut out = format!("{HEADINGS}\n");
    for model in &report.models {
        let name = field(&model.name);
        for (task, results) in report.tasks.iter().zip(&model.tasks) {
            for (metric, value) in &results.values {
                let chance = task.chance.filter(|_| metric.is_accuracy());
                let difference = results.difference.filter(|d| d.metric == *metric);
                let cells = [
                    name.clone(),
                    task.name.into(),
                    task.version.into(),
                    metric.name().into(),
                    number(value.value),
                    number(value.stderr),
                    value.n.to_string(),
                    chance.map_or(String::new(), number),
                    task.skipped.to_string(),
                    results.truncated.to_string(),
                    difference.map_or(String::new(), |d| number(d.value)),
                    difference.map_or(String::new(), |d| number(d.stderr)),
                ];
                out.push_str(&cells.join(","));
                out.push('\n');
            }
        }
    }
    out
}

fn number(x: f64) -> String {
    match x.is_finite() {
        true => x.to_string(),
        false => String::new(),
    }
}

/// A field, in quotes where it needs them (RFC 4180).
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.into(),
    }
}
