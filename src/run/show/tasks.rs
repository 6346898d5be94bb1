//! Results on downstream tasks and continued texts, as JSON and as text.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::run::state::{RunState, TaskPoint, documents, metric_words, result_words};
use crate::run::table;
use crate::text;

/// Models side by side in one block of text, which fits 80 columns.
const ABREAST: usize = 3;
/// Columns of the first line of a text that is continued.
const TEXT: usize = 62;

/// Returns the latest result of each task in the present phase, in the order in which they were measured.
pub fn of_phase(state: &RunState) -> Vec<&TaskPoint> {
    let Some(now) = &state.core.phase else {
        return Vec::new();
    };
    let mut latest: Vec<&TaskPoint> = Vec::new();
    let points = state.live().tasks.iter();
    for point in points.filter(|p| p.phase == now.phase && p.refused.is_none()) {
        match latest.iter_mut().find(|p| p.task == point.task) {
            Some(old) => *old = point,
            None => latest.push(point),
        }
    }
    latest
}

/// Adds the latest results of each model as `tasks`, with `refused` if the latest evaluation failed, and any continued texts as
/// `samples`.
pub fn extend(all: &mut Value, state: &RunState) {
    let Value::Object(all) = all else {
        return;
    };
    let mut models: Map<String, Value> = Map::new();
    for point in &state.live().tasks {
        let metric = |m: &crate::run::event::TaskMetric| {
            let value = json!({ "value": m.value, "stderr": m.stderr, "n": m.n });
            (m.name.clone(), value)
        };
        let metrics: Map<String, Value> = point.metrics.iter().map(metric).collect();
        let model = models.entry(point.phase.to_string()).or_insert(json!({}));
        if let Some(why) = &point.refused {
            model[&point.task]["refused"] = json!(why);
            continue;
        }
        model[&point.task] = json!({
            "metrics": metrics,
            "chance": point.chance,
            "version": point.version,
            "limit": point.limit,
            "skipped": point.skipped,
            "truncated": point.truncated,
            "layers": point.layers,
            "step": point.step,
            "phase_step": point.phase_step,
            "seconds": point.seconds,
        });
    }
    if !models.is_empty() {
        all.insert("tasks".into(), models.into());
    }
    if !state.live().samples.is_empty() {
        all.insert("samples".into(), json!(state.live().samples));
    }
}

/// The tables of `show`, each line ended by a newline; empty where nothing was measured. ASCII only.
pub fn text(state: &RunState) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = results(&mut out, state);
    let _ = samples(&mut out, state);
    out
}

fn results(out: &mut String, state: &RunState) -> std::fmt::Result {
    let found = state.task_table();
    for first in (0..found.models.len()).step_by(ABREAST) {
        let models = &found.models[first..(first + ABREAST).min(found.models.len())];
        let mut rows: Vec<[String; 2 + ABREAST]> = Vec::new();
        let mut head: [String; 2 + ABREAST] = std::array::from_fn(|_| String::new());
        (head[0], head[1]) = ("task".into(), "chance".into());
        for (cell, model) in head[2..].iter_mut().zip(models) {
            *cell = table::phase_name(model);
        }
        rows.push(head);
        for of_task in found.tasks() {
            for row in of_task {
                let mut line: [String; 2 + ABREAST] = std::array::from_fn(|_| String::new());
                line[0] = table::ascii(&format!("{} {}", row.task, row.metric));
                line[1] = row.chance.map_or("-".into(), |c| format!("{c:.2}"));
                for (i, cell) in line[2..].iter_mut().take(models.len()).enumerate() {
                    let metric = row.cells[first + i];
                    *cell = metric.map_or("-".into(), |m| table::ascii(&metric_words(m)));
                }
                rows.push(line);
            }
            if let Some(all) = documents(&of_task[0]) {
                let mut line: [String; 2 + ABREAST] = std::array::from_fn(|_| String::new());
                line[0] = "  documents".into();
                for (cell, n) in line[2..].iter_mut().zip(&all[first..]) {
                    *cell = n.map_or("-".into(), |n| n.to_string());
                }
                rows.push(line);
            }
        }
        writeln!(out, "\n{}", table::aligned(&rows, &[0]).trim_end())?;
    }
    if !found.models.is_empty() {
        writeln!(
            out,
            "tasks: value +/- standard error over documents, each model's latest"
        )?;
    }
    for refused in state.refused_tasks() {
        let model = table::phase_name(&refused.phase);
        let words = table::ascii(&result_words(&refused.result));
        writeln!(out, "{words} ({model})")?;
    }
    Ok(())
}

fn samples(out: &mut String, state: &RunState) -> std::fmt::Result {
    for (i, prompt) in state.prompts().into_iter().enumerate() {
        if i == 0 {
            writeln!(out, "\nsamples (greedy)")?;
        }
        writeln!(out, "  {}", fit(prompt))?;
        for sample in state.continuations(prompt).into_iter().flatten() {
            let model = table::phase_name(&sample.phase);
            writeln!(out, "    {model:<10} {}", fit(&sample.greedy))?;
        }
    }
    Ok(())
}

/// The beginning of a text on one line of ASCII.
fn fit(line: &str) -> String {
    let line = table::ascii(line.trim());
    match line.len() > TEXT {
        true => format!("{}...", text::cut(&line[..TEXT - 3], TEXT)),
        false => line,
    }
}
