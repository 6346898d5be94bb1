//! The reference page of the config, printed from the [table of keys](super::keys).

use super::keys::{Need, SECTIONS};

/// The rules of a resume, for the documentation.
const RULES: [(&str, &str); 6] = [
    ("free", "takes effect with the next step."),
    (
        "free until ...",
        "takes effect with the next step (values of the rounds: from round 1 on); refused once the run has come that far.",
    ),
    (
        "then only `false`",
        "a control that is switched off is left out, or given up when it is in progress.",
    ),
    (
        "next round",
        "takes effect at the next phase that is a round; the phase in progress keeps its value, however often it is resumed, and so do the controls that follow it.",
    ),
    (
        "same tokens",
        "other files may be named, when their tokens are the same: fingerprints are compared.",
    ),
    (
        "refused",
        "belongs to what the checkpoints hold: start a new run for another value.",
    ),
];

/// The reference page of the config, as Markdown.
pub fn keys_markdown() -> String {
    let mut out = String::new();
    for section in SECTIONS {
        let (name, doc) = (section.name, section.doc);
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
