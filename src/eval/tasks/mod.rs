//! Downstream tasks: each has a file, and a row of [`TASKS`].
//!
//! Prompts and answers are those of EleutherAI's lm-evaluation-harness (`lm_eval` 0.4.13), to the last character. `load`
//! reads rows into documents, `strings` has Python's string functions.

mod arc_easy;
mod boolq;
mod document;
mod glue;
mod hellaswag;
mod lambada_openai;
mod load;
mod logiqa;
mod mmlu;
mod openbookqa;
mod piqa;
mod sciq;
mod strings;
mod task;
#[cfg(test)]
mod tests;
mod truthfulqa;
mod wikitext;
mod winogrande;
mod wsc273;

use anyhow::{Result, bail};

pub use document::{Answer, Document, Request};
pub use task::{Set, Task};

/// All tasks, in the order in which they are listed.
pub const TASKS: &[&Task] = &[
    &arc_easy::TASK,
    &piqa::TASK,
    &sciq::TASK,
    &hellaswag::TASK,
    &winogrande::TASK,
    &boolq::TASK,
    &lambada_openai::TASK,
    &wikitext::TASK,
    &openbookqa::TASK,
    &wsc273::TASK,
    &logiqa::TASK,
    &mmlu::TASK,
    &truthfulqa::MC1,
    &truthfulqa::MC2,
    &glue::WNLI,
    &glue::QNLI,
    &glue::MNLI,
];

/// Most bytes of a name that may be misspelled.
const LONGEST_NAME: usize = 100;

/// Returns the task of a name.
///
/// # Errors
/// When no task has this name; names the one most like it.
pub fn find(name: &str) -> Result<&'static Task> {
    if let Some(task) = TASKS.iter().find(|task| task.name == name) {
        return Ok(task);
    }
    let likeness = |task: &&&Task| strsim::normalized_damerau_levenshtein(name, task.name);
    let nearest = TASKS
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let shown = crate::text::clean(crate::text::cut(name, LONGEST_NAME).as_ref()).into_owned();
    match nearest.filter(|task| name.len() <= LONGEST_NAME && likeness(task) > 0.5) {
        Some(task) => bail!("unknown task {shown:?}; did you mean {:?}?", task.name),
        None => {
            let names: Vec<&str> = TASKS.iter().map(|task| task.name).collect();
            bail!("unknown task {shown:?}; the tasks are {}", names.join(", "))
        }
    }
}

/// Reads task names that are separated by commas. A name that is repeated counts once.
///
/// # Errors
/// When no task is named, or one is unknown.
pub fn parse(names: &str) -> Result<Vec<&'static Task>> {
    let mut tasks: Vec<&'static Task> = Vec::new();
    for name in names.split(',').map(str::trim).filter(|n| !n.is_empty()) {
        let task = find(name)?;
        if !tasks.iter().any(|known| known.name == task.name) {
            tasks.push(task);
        }
    }
    if tasks.is_empty() {
        bail!("no task is named; give names separated by commas, such as arc_easy,piqa");
    }
    Ok(tasks)
}
