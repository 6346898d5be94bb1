//! The reference page of the config, printed from the [table of keys](super::keys).

use super::keys::{Need, SECTIONS};
use super::sections::BASELINE;

/// The rules of a resume, for the documentation.
const RULES: [(&str, &str); 6] = [
    ("free", "takes effect with the next step."),
    (
        "free until ...",
        "takes effect with the next step (values of the rounds: from round 1 on); refused from that point of the run on.",
    ),
    (
        "then only `false`",
        "switches a control off: it is skipped, or stopped if it is in progress.",
    ),
    (
        "next round",
        "takes effect with the next round; the phase in progress and the controls after it keep their values, also \
         through further resumes.",
    ),
    (
        "same tokens",
        "the files may change if their tokens stay the same (fingerprints are compared).",
    ),
    (
        "refused",
        "belongs to what the checkpoints hold: start a new run for another value.",
    ),
];

/// The keys of an entry of `[[baseline]]`.
const BASELINES: &str = "\
Any number of sections, each a model that is trained after the rounds and the controls and compared with them:

- `name`: of a-z, 0-9, `-` and `_`; its phase is `baseline-NAME`.
- `start`: `\"random\"` (the final model's shape), `\"full\"` (random, the reference's shape), `\"inherit\"` (the final model's layers of the
  reference), `\"stack\"` (two phases: a random model of half the final model's layers, then that model twice, one block on the
  other), `\"hybrid\"` (the reference's first layers, half as many, twice), `\"half-width\"` (every layer of the reference, the first half of its
  width, heads and MLP units), `{half = true, n_head = 12}` (the same with this number of heads, where half of the heads is not a whole number), or
  `{layers = [0, 2], what = [\"attention\", \"norms\"]}` (parts of layers of the reference, each of the two keys optional; the rest is random).
- `steps`: `\"same\"` (as the rounds that made the final model; the default), `\"2x\"`, or a number.
- `objective`: `\"ce\"` (cross-entropy; the default) or `{distill = {teacher = \"reference\", alpha = 0.4, temperature = 1.0}}`: minimise
  (1 - alpha) CE + alpha T^2 KL(teacher || student). `teacher` may be another model of the same vocabulary, as `reference.path` names one.";

/// Returns the reference page of the config, as Markdown.
pub fn keys_markdown() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let (name, doc) = match section.name {
            "" => (format!("[{BASELINE}]"), BASELINES),
            name => (name.to_string(), section.doc),
        };
        out.push_str(&format!(
            "## `[{name}]`\n\n{doc}\n\n| key | type | default | on resume | |\n|---|---|---|---|---|\n"
        ));
        for key in section.keys {
            let default = match key.need {
                Need::Required(_) => "required".into(),
                Need::Default(value) => format!("`{}`", value()),
                Need::Unless(words) => words.into(),
            };
            let (_, name) = key.parts();
            out.push_str(&format!(
                "| `{name}` | {} | {default} | {} | {} |\n",
                key.kind, key.on_resume, key.doc
            ));
        }
        out.push('\n');
    }
    out.push_str(
        "## Resuming with other values\n\n\
         `heirloom train --resume RUN --set section.key=value` (or an edit of `runs/RUN/config.toml` while nothing trains) \
         changes a run that has begun, as far as the column \"on resume\" allows. What is accepted is printed, journaled and \
         written into `config.toml`; what is refused ends the command with code 2 and changes nothing. A run without a \
         checkpoint starts over, with any values. The controls repeat the rounds with the values in force when they begin.\n\n\
         | on resume | |\n|---|---|\n",
    );
    for (rule, doc) in RULES {
        out.push_str(&format!("| {rule} | {doc} |\n"));
    }
    out
}
