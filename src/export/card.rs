//! The model card: what the model is, how it was trained, and how it is loaded.

use std::fmt::Write;
use std::path::Path;

use super::plain::Plain;
use super::subject::{FromRun, Subject};
use crate::PROGRAM;
use crate::config::{HUB, TrainTexts};
use crate::run::event::{Phase, PhaseResult, Start};
use crate::run::state::{Core, RunState, Status, documents, metric_words};
use crate::run::table::{ascii, count, phase_name};
use crate::tensors::DType;

/// Returns the text of `README.md`. It has only the names of files and runs: their places are private.
pub fn text(subject: &Subject, plain: &Plain, target: &Path, dtype: DType) -> String {
    let mut out = String::from(
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- heirloom\n",
    );
    if subject.run.is_some() {
        out.push_str("- inheritune\n");
    }
    let name = target.file_name().map(|n| n.to_string_lossy());
    let name = words(&name.unwrap_or_default());
    // Writing to a String cannot fail.
    let _ = writeln!(out, "---\n\n# {name}\n");
    let _ = summary(&mut out, subject, plain, dtype);
    match &subject.run {
        Some(run) => {
            let _ = making(&mut out, run);
            let _ = results(&mut out, &run.state.core);
            let _ = tasks(&mut out, &run.state);
            let _ = layers(&mut out, run);
            let _ = data(&mut out, run);
        }
        None => out.push_str(
            "It was converted from another format. For its training data, license and limitations, see the \
             documentation of the original model.\n",
        ),
    }
    if !plain.changes.is_empty() {
        out.push_str("\n## What the export changed\n\n");
        for change in &plain.changes {
            let _ = writeln!(out, "- {change}");
        }
    }
    let _ = usage(&mut out, &name, subject.tokens.json.is_some());
    out
}

fn summary(out: &mut String, subject: &Subject, plain: &Plain, dtype: DType) -> std::fmt::Result {
    let c = &plain.config;
    writeln!(
        out,
        "A decoder-only language model of the {} family: {} layers, {} heads of {} channels ({} for keys and values), \
         width {}, MLP width {}, context {}, vocabulary {}; {} parameters in {}.\n",
        c.family.name(),
        c.n_layer,
        c.n_head,
        c.head_size,
        c.n_kv_head,
        c.n_embd,
        c.n_inner,
        c.context_length,
        c.vocab,
        count(c.parameters()),
        dtype.torch_name(),
    )?;
    writeln!(
        out,
        "Exported by {PROGRAM} from {}.\n",
        words(&subject.name)
    )
}

fn making(out: &mut String, run: &FromRun) -> std::fmt::Result {
    let at = &run.at;
    out.push_str("## How it was made\n\n");
    let reference = run.state.core.reference.as_ref();
    let of = reference.map_or(String::new(), |r| format!(" of {} layers", r.layers));
    let origin = match run
        .config
        .as_ref()
        .and_then(|c| c.reference.path.as_deref())
    {
        Some(path) => format!("the model {}", file_name(path)),
        None => "trained in the same run".into(),
    };
    match &at.phase {
        Phase::Reference => writeln!(out, "This is the reference of the run ({origin}).")?,
        Phase::Round(_) => writeln!(
            out,
            "It inherits layers of a reference{of} ({origin}) and was trained on from there, by the recipe of \
             *Inheritune* (arXiv 2404.08634): train, compare with the reference, grow while worse."
        )?,
        other => writeln!(
            out,
            "It was trained by the run for comparison ({}).",
            phase_name(other)
        )?,
    }
    let start = match at.start {
        Start::Random => "random weights",
        Start::Loaded => "the loaded weights",
        Start::Inherit | Start::Restart => "the reference's layers",
        Start::Keep => {
            "the layers trained in the previous round, and further layers of the reference"
        }
        Start::Reference => "the reference",
        Start::Stack => "a model of half as many layers, stacked twice",
        Start::Hybrid => "the reference's first layers, stacked twice",
        Start::HalfWidth => "the first half of the reference's width",
        Start::Layers => "parts of the reference's layers",
    };
    write!(
        out,
        "\nThis checkpoint, `{}`: {}, step {} of {}, started from {start}",
        words(&run.checkpoint),
        phase_name(&at.phase),
        at.phase_step,
        at.steps,
    )?;
    if !at.source_layers.is_empty() {
        write!(
            out,
            "; its layers are the reference's {}",
            list(&at.source_layers)
        )?;
    }
    write!(out, "; {} tokens in this phase.", count(at.phase_tokens))?;
    if let Some(eval) = at.eval_now() {
        write!(
            out,
            " Validation loss {}",
            with_error(eval.val_loss(), eval.stderr())
        )?;
        if let (Some(gap), Some(stderr)) = (eval.gap, eval.gap_stderr) {
            write!(out, ", {} to the reference", signed(gap, stderr))?;
        }
        out.push('.');
    }
    out.push('\n');
    if let Some(info) = &run.state.info {
        write!(out, "\nTrained with {}", words(&info.program))?;
        if let Some(dtype) = info.dtype_words() {
            write!(out, "; matrix products in {}", words(&dtype))?;
        }
        out.push_str(".\n");
    }
    Ok(())
}

/// Writes the run's table: the reference, every round, the controls.
pub(crate) fn results(out: &mut String, core: &Core) -> std::fmt::Result {
    let reference = core.reference.iter().map(|r| ("reference".into(), r));
    let rounds = core.rounds.iter();
    let rounds = rounds.map(|r| (format!("round {}", r.round), &r.result));
    let controls = core.controls.iter();
    let controls = controls.map(|c| (format!("control: {}", words(&c.name)), &c.result));
    let baselines = core.baselines.iter();
    let baselines = baselines.map(|b| (format!("baseline: {}", words(&b.short())), &b.result));
    let rows: Vec<(String, &PhaseResult)> = reference
        .chain(rounds)
        .chain(controls)
        .chain(baselines)
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    out.push_str(
        "\n## Losses\n\nMean cross-entropy in nats over the same validation windows, with its standard error; the gap is \
         the mean paired difference to the reference (positive: worse).\n\n\
         | phase | layers | parameters | steps | tokens | validation loss | gap | lazy layers |\n\
         |---|---:|---:|---:|---:|---:|---:|---|\n",
    );
    for (phase, r) in rows {
        let gap = match (r.gap, r.gap_stderr) {
            (Some(gap), Some(stderr)) => signed(gap, stderr),
            (Some(gap), None) => format!("{gap:+.4}"),
            (None, _) => "-".into(),
        };
        let lazy = match (r.max_rank.is_empty(), r.lazy_layers.is_empty()) {
            (true, true) => "not measured".into(),
            (_, true) => "none".into(),
            _ => list(&r.lazy_layers),
        };
        writeln!(
            out,
            "| {phase} | {} | {} | {} | {} | {} | {gap} | {lazy} |",
            r.layers,
            count(r.parameters),
            r.steps,
            count(r.tokens),
            with_error(r.val_loss, r.stderr),
        )?;
    }
    if core.controls.is_empty() && core.status == Status::Done {
        out.push_str("\nNo controls were run.\n");
    }
    Ok(())
}

/// Writes the latest results on downstream tasks, a column for each model; nothing where none was measured.
fn tasks(out: &mut String, state: &RunState) -> std::fmt::Result {
    let found = state.task_table();
    if found.models.is_empty() {
        return Ok(());
    }
    out.push_str(
        "\n## Downstream tasks\n\nScored as EleutherAI's lm-evaluation-harness does, with standard errors over documents; the \
         latest result of each model.\n\n| task | metric | chance |",
    );
    for model in &found.models {
        write!(out, " {} |", words(&phase_name(model)))?;
    }
    out.push_str("\n|---|---|---:|");
    out.push_str(&"---:|".repeat(found.models.len()));
    out.push('\n');
    for of_task in found.tasks() {
        for row in of_task {
            let chance = row.chance.map_or("-".into(), |c| format!("{c:.2}"));
            let (task, metric) = (words(row.task), words(row.metric));
            write!(out, "| {task} | {metric} | {chance} |")?;
            for cell in &row.cells {
                let cell = cell.map_or("-".into(), |m| metric_words(m).replace('±', "± "));
                write!(out, " {cell} |")?;
            }
            out.push('\n');
        }
        // Values on different numbers of documents cannot be compared.
        if let Some(all) = documents(&of_task[0]) {
            write!(out, "| {} | documents | - |", words(of_task[0].task))?;
            for n in all {
                write!(out, " {} |", n.map_or("-".into(), |n| n.to_string()))?;
            }
            out.push('\n');
        }
    }
    Ok(())
}

/// Ranks of this model's attention and of the reference's.
fn layers(out: &mut String, run: &FromRun) -> std::fmt::Result {
    let own = run.at.probe.as_ref().map(|p| &p.max_rank);
    let reference = run.state.core.reference.as_ref().map(|r| &r.max_rank);
    let rows = [("this model", own), ("reference", reference)];
    let mut rows = rows
        .iter()
        .filter_map(|(name, ranks)| Some((name, (*ranks)?)))
        .filter(|(_, ranks)| !ranks.is_empty())
        .peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    out.push_str(
        "\n## Ranks\n\nThe largest approximate rank of each layer's attention matrices (a lazy layer's is 1), from layer 0:\n\n",
    );
    for (name, ranks) in rows {
        let ranks: Vec<String> = ranks.iter().map(|rank| format!("{rank:.1}")).collect();
        writeln!(out, "- {name}: {}", ranks.join(", "))?;
    }
    Ok(())
}

fn data(out: &mut String, run: &FromRun) -> std::fmt::Result {
    out.push_str("\n## Data\n\n");
    if let Some(config) = &run.config {
        write!(out, "Trained on {}", sources(&config.data.train))?;
        match &config.data.val {
            Some(val) => write!(out, ", validated on {}", file_names(val.paths()))?,
            None => write!(
                out,
                ", of whose end a share of {} was held out for validation",
                config.data.val_fraction
            )?,
        }
        out.push_str(". ");
    }
    if let Some(info) = &run.state.info {
        write!(
            out,
            "{} training tokens, {} for validation; tokenizer: {}.",
            count(info.train_tokens),
            count(info.val_tokens),
            words(&info.tokenizer)
        )?;
    }
    out.push_str(" The licenses of the reference and of the data apply to what is made of them.\n");
    Ok(())
}

fn usage(out: &mut String, name: &str, tokenizer: bool) -> std::fmt::Result {
    out.push_str("\n## Loading it\n\n```python\n");
    match tokenizer {
        true => write!(
            out,
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n\
             model = AutoModelForCausalLM.from_pretrained(\"{name}\")\n\
             tokenizer = AutoTokenizer.from_pretrained(\"{name}\")\n\
             ids = tokenizer(\"Once upon a time\", return_tensors=\"pt\").input_ids\n\
             print(tokenizer.decode(model.generate(ids, max_new_tokens=40)[0]))\n"
        )?,
        false => write!(
            out,
            "from transformers import AutoModelForCausalLM\n\n\
             model = AutoModelForCausalLM.from_pretrained(\"{name}\")\n"
        )?,
    }
    out.push_str("```\n");
    Ok(())
}

fn with_error(loss: f64, stderr: f64) -> String {
    match stderr.is_finite() {
        true => format!("{loss:.4} ± {stderr:.4}"),
        false => format!("{loss:.4}"),
    }
}

fn signed(gap: f64, stderr: f64) -> String {
    format!("{gap:+.4} ± {stderr:.4}")
}

fn list(numbers: &[usize]) -> String {
    let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
    numbers.join(", ")
}

/// The texts trained on, with their shares where there are several sources.
fn sources(train: &TrainTexts) -> String {
    let sources = train.sources();
    let total: f64 = sources.iter().map(|s| s.weight).sum();
    let told = sources.iter().map(|source| {
        let names = file_names(&source.inputs);
        match sources.len() {
            1 => names,
            _ => format!("{names} ({:.1}%)", 100.0 * source.weight / total),
        }
    });
    told.collect::<Vec<_>>().join(", ")
}

fn file_names(paths: &[String]) -> String {
    let names: Vec<String> = paths.iter().map(|path| file_name(path)).collect();
    names.join(", ")
}

/// The last part of a path; the full name of a builtin text or of a model of the hub.
fn file_name(path: &str) -> String {
    if path.starts_with(HUB) {
        return words(path);
    }
    let name = path.rsplit('/').find(|part| !part.is_empty());
    words(name.unwrap_or(path))
}

/// Cleans a foreign text so that it stays within its line, its table and its quotes.
fn words(text: &str) -> String {
    let markup = |c: char| matches!(c, '|' | '`' | '<' | '>' | '"' | '\\' | '[' | ']');
    ascii(text)
        .chars()
        .map(|c| if markup(c) { '_' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_no_places_and_write_no_markup() {
        assert_eq!(file_name("/home/me/data/books.bin"), "books.bin");
        assert_eq!(file_name("/home/me/model/"), "model");
        assert_eq!(file_name("hf:owner/name@pr/1"), "hf:owner/name@pr/1");
        assert_eq!(
            file_name("builtin:tinyshakespeare"),
            "builtin:tinyshakespeare"
        );
        assert_eq!(words("a|b\n<img src=\"x\">"), "a_b _img src=_x__");
    }
}
