//! Commands as words: what `heirloom ctl RUN ...` and the dashboard's `:` line understand.

use super::command::{
    Command, GrowMode, LONGEST_NOTE, LONGEST_PROMPT, LONGEST_TASK, MOST_STEPS, MOST_TASKS,
};
use super::setting::{MOST_WEIGHT, Setting};
use crate::text::clean;

/// The highest learning rate that is accepted.
pub const MOST_LR: f64 = 1000.0;
const MOST_LAYERS: usize = 1024;

/// One command's words and its description, for both helps.
pub struct Usage {
    pub words: &'static str,
    pub help: &'static str,
}

const fn usage(words: &'static str, help: &'static str) -> Usage {
    Usage { words, help }
}

/// Every command of a trainer.
pub const USAGES: &[Usage] = &[
    usage("pause", "stop stepping at the next step boundary"),
    usage("resume", "resume after a pause"),
    usage(
        "checkpoint",
        "write a checkpoint; answered when it is on disk",
    ),
    usage("eval", "evaluate on the validation windows"),
    usage(
        "eval TASK[,TASK] [limit N]",
        "evaluate on downstream tasks, on N documents of each; training waits",
    ),
    usage(
        "sample TEXT",
        "continue TEXT with the present model, greedily and with a fixed seed",
    ),
    usage("probe", "probe the attention ranks"),
    usage("decide", "gather evidence and open a decision"),
    usage(
        "grow N [restart|keep]",
        "end the round and grow by N layers",
    ),
    usage(
        "train-on N",
        "train on; the next decision is due in N steps",
    ),
    usage("extend N", "extend this phase by N steps"),
    usage(
        "set lr X",
        "learning rate of the next update; the schedule is scaled with it",
    ),
    usage(
        "set weight_decay X",
        "weight decay of AdamW, from the next update on",
    ),
    usage(
        "set clip X",
        "gradient norm to clip to, from the next update on; 0: no clipping",
    ),
    usage("set beta2 X", "beta2 of AdamW, from the next update on"),
    usage(
        "set mixture N X",
        "weight X of source N of the training text (numbered as by --dry-run), from the next batch on",
    ),
    usage(
        "cooldown N",
        "let the learning rate fall linearly to min_lr over N steps; then the decision is due",
    ),
    usage(
        "freeze A..B",
        "freeze layers A to B-1: no updates, no weight decay",
    ),
    usage("unfreeze A..B", "train the frozen layers A to B-1 again"),
    usage("rollback NAME", "go back to a checkpoint, on a new branch"),
    usage("stop", "stop growing: the present model is the result"),
    usage(
        "quit",
        "checkpoint and end the process; the run can be resumed",
    ),
    usage(
        "note TEXT",
        "add a note at this step: journal, log, chart and `show`",
    ),
];

/// Whether a command ends, replaces or undoes what is being trained, so that a screen asks before it sends it.
pub fn is_drastic(command: &Command) -> bool {
    match command {
        Command::Grow { .. } | Command::Rollback { .. } | Command::Stop { .. } | Command::Quit => {
            true
        }
        Command::Pause
        | Command::Resume
        | Command::Checkpoint
        | Command::Eval
        | Command::EvalTasks { .. }
        | Command::Sample { .. }
        | Command::Probe
        | Command::Decide
        | Command::TrainOn { .. }
        | Command::Extend { .. }
        | Command::SetLr { .. }
        | Command::Set { .. }
        | Command::SetMixture { .. }
        | Command::Cooldown { .. }
        | Command::Freeze { .. }
        | Command::Unfreeze { .. }
        | Command::Note { .. } => false,
    }
}

/// Whether a command begins with this word.
pub fn is_command(word: &str) -> bool {
    let mut names = USAGES.iter().filter_map(|u| u.words.split(' ').next());
    word == "status" || names.any(|name| name == word)
}

/// Reads a command.
///
/// # Errors
/// Describes the problem, and how the command is written.
pub fn parse(words: &[&str]) -> Result<Command, String> {
    match words {
        ["pause"] => Ok(Command::Pause),
        ["resume"] => Ok(Command::Resume),
        ["checkpoint"] => Ok(Command::Checkpoint),
        ["eval"] => Ok(Command::Eval),
        ["eval", tasks @ ..] => eval_tasks(tasks),
        ["sample", text @ ..] if !text.is_empty() => sample(text),
        ["probe"] => Ok(Command::Probe),
        ["decide"] => Ok(Command::Decide),
        ["grow", layers, mode @ ..] => Ok(Command::Grow {
            layers: number("grow", "layers", layers, MOST_LAYERS)?,
            mode: match mode {
                [] => None,
                ["restart"] => Some(GrowMode::Restart),
                ["keep"] => Some(GrowMode::Keep),
                _ => return Err(wrong("grow")),
            },
            decision: None,
        }),
        ["train-on", steps] => Ok(Command::TrainOn {
            steps: number("train-on", "steps", steps, MOST_STEPS)?,
            decision: None,
        }),
        ["extend", steps] => Ok(Command::Extend {
            steps: number("extend", "steps", steps, MOST_STEPS)?,
        }),
        ["set", "lr", lr] | ["lr", lr] => match lr.parse::<f64>() {
            Ok(lr) if lr > 0.0 && lr <= MOST_LR => Ok(Command::SetLr { lr }),
            _ => Err(format!(
                "set lr: the learning rate must be in (0, {MOST_LR}], got {lr:?}"
            )),
        },
        ["set", "mixture", source, weight] => Ok(Command::SetMixture {
            source: source.parse().map_err(|_| {
                format!("set mixture: the source must be a number from 0, got {source:?}")
            })?,
            weight: match weight.parse::<f64>() {
                Ok(weight) if (0.0..=MOST_WEIGHT).contains(&weight) => weight,
                _ => {
                    return Err(format!(
                        "set mixture: the weight must be in [0, {MOST_WEIGHT}], got {weight:?}"
                    ));
                }
            },
        }),
        ["set", name, value] if setting(name).is_some() => {
            let setting = setting(name).ok_or_else(|| wrong("set"))?;
            let number = value.parse::<f64>();
            let value = number
                .map_err(|_| format!("set {setting}: the value must be a number, got {value:?}"))?;
            setting.check(value)?;
            Ok(Command::Set { setting, value })
        }
        ["set", ..] => {
            let known: Vec<&str> = Setting::ALL.iter().map(|s| s.name()).collect();
            Err(format!(
                "set: lr, {} and mixture can be set in a running training: set lr X, set mixture N X",
                known.join(", ")
            ))
        }
        ["cooldown", steps] => Ok(Command::Cooldown {
            steps: number("cooldown", "steps", steps, MOST_STEPS)?,
        }),
        ["freeze", layers] => {
            let (from, to) = layer_range("freeze", layers)?;
            Ok(Command::Freeze { from, to })
        }
        ["unfreeze", layers] => {
            let (from, to) = layer_range("unfreeze", layers)?;
            Ok(Command::Unfreeze { from, to })
        }
        ["rollback", checkpoint] => Ok(Command::Rollback {
            checkpoint: (*checkpoint).into(),
        }),
        ["stop"] => Ok(Command::Stop { decision: None }),
        ["quit"] => Ok(Command::Quit),
        ["note", text @ ..] if !text.is_empty() => {
            let text = clean(&text.join(" ")).trim().to_string();
            match text.chars().count() {
                0 => Err(wrong("note")),
                n if n > LONGEST_NOTE => {
                    Err(format!("note: at most {LONGEST_NOTE} characters, got {n}"))
                }
                _ => Ok(Command::Note { text }),
            }
        }
        [] => Err("no command".into()),
        [first, ..] => Err(wrong(first)),
    }
}

/// Reads `TASK[,TASK] [limit N]`. The trainer checks the names of the tasks.
fn eval_tasks(words: &[&str]) -> Result<Command, String> {
    let (names, limit) = match words {
        [names @ .., "limit", n] => (names, Some(number("eval", "limit", n, MOST_STEPS)?)),
        names => (names, None),
    };
    let all = names.join(",");
    let names = all
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let mut tasks: Vec<String> = Vec::new();
    for name in names {
        if name.chars().count() > LONGEST_TASK || clean(name) != name {
            return Err(format!(
                "eval: {:?} cannot be the name of a task",
                clean(name)
            ));
        }
        if !tasks.iter().any(|t| t == name) {
            tasks.push(name.into());
        }
    }
    match tasks.len() {
        0 => Err("eval: name the tasks before the limit: `eval TASK[,TASK] [limit N]`".into()),
        n if n > MOST_TASKS => Err(format!("eval: at most {MOST_TASKS} tasks, got {n}")),
        _ => Ok(Command::EvalTasks { tasks, limit }),
    }
}

/// Reads a text to be continued, in quotes or without.
fn sample(words: &[&str]) -> Result<Command, String> {
    let text = clean(&words.join(" ")).to_string();
    let quoted = text.strip_prefix('"').and_then(|t| t.strip_suffix('"'));
    let text = quoted.unwrap_or(&text).to_string();
    match text.chars().count() {
        0 => Err(wrong("sample")),
        n if n > LONGEST_PROMPT => Err(format!(
            "sample: at most {LONGEST_PROMPT} characters, got {n}"
        )),
        _ => Ok(Command::Sample { text }),
    }
}

fn setting(name: &str) -> Option<Setting> {
    Setting::ALL.into_iter().find(|s| s.name() == name)
}

/// Reads `A..B`, without B, or a single layer.
fn layer_range(command: &str, text: &str) -> Result<(usize, usize), String> {
    let range = match text.split_once("..") {
        Some((from, to)) => from.parse().ok().zip(to.parse().ok()),
        None => text.parse().ok().map(|n: usize| (n, n.saturating_add(1))),
    };
    match range {
        Some((from, to)) if from < to && to <= MOST_LAYERS => Ok((from, to)),
        _ => Err(format!(
            "{command}: give layers as A..B (from 0, without B), got {text:?}"
        )),
    }
}

fn number<T: std::str::FromStr + PartialOrd + From<u8> + std::fmt::Display>(
    command: &str,
    what: &str,
    word: &str,
    most: T,
) -> Result<T, String> {
    match word.parse::<T>() {
        Ok(n) if n >= T::from(1) && n <= most => Ok(n),
        _ => Err(format!(
            "{command}: {what} must be a number from 1 to {most}, got {word:?}"
        )),
    }
}

/// Describes a command that is not understood.
fn wrong(first: &str) -> String {
    let name = |u: &Usage| u.words.split(' ').next().unwrap_or_default().to_string();
    if let Some(known) = USAGES.iter().find(|u| name(u) == first) {
        return format!("{first}: write it as `{}`", known.words);
    }
    let score = |u: &Usage| strsim::normalized_damerau_levenshtein(&name(u), first);
    let nearest = USAGES.iter().max_by(|a, b| score(a).total_cmp(&score(b)));
    match nearest.filter(|u| score(u) >= 0.6) {
        Some(near) => format!("unknown command {first:?}; did you mean {}?", name(near)),
        None => {
            let all: Vec<String> = USAGES.iter().map(name).collect();
            format!(
                "unknown command {first:?}; the commands are {}",
                all.join(", ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_usage_is_understood() {
        for usage in USAGES {
            let said = usage
                .words
                .replace(" [restart|keep]", " keep")
                .replace("TASK[,TASK] [limit N]", "piqa,sciq limit 100")
                .replace("A..B", "0..2")
                .replace('N', "2")
                .replace('X', "3e-4")
                .replace("2AME", "pre-grow-1")
                .replace("TE3e-4T", "warmer");
            let words: Vec<&str> = said.split(' ').collect();
            parse(&words).unwrap_or_else(|e| panic!("{said}: {e}"));
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_the_way_out() {
        let said = |text: &str| {
            let words: Vec<&str> = text.split_whitespace().collect();
            parse(&words).unwrap_err()
        };
        assert_eq!(
            said("puase"),
            "unknown command \"puase\"; did you mean pause?"
        );
        assert_eq!(said("grow"), "grow: write it as `grow N [restart|keep]`");
        assert_eq!(
            said("grow two"),
            "grow: layers must be a number from 1 to 1024, got \"two\""
        );
        assert!(said("grow 0").contains("from 1"));
        assert!(said("extend -5").contains("steps must be a number"));
        assert!(said("set lr nan").contains("must be in (0, 1000]"));
        assert!(said("set lr 1e300").contains("got \"1e300\""));
        assert!(said("train-on 18446744073709551615").contains("to 1000000000"));
        assert!(
            said("set seed 3").contains("lr, weight_decay, clip, beta2 and mixture can be set")
        );
        assert!(said("set beta2 1").contains("in [0, 1), got 1"));
        assert!(said("set clip -1").contains("in [0, 1000000]"));
        assert!(said("set weight_decay nan").contains("in [0, 10], got NaN"));
        assert!(said("set mixture 0 inf").contains("in [0, 1000000], got \"inf\""));
        assert!(said("freeze 3..3").contains("layers as A..B"));
        assert!(said("cooldown 0").contains("from 1"));
        assert!(said("dance").contains("the commands are pause, resume"));
        assert!(said("eval limit 5").contains("name the tasks before the limit"));
        assert!(said("eval piqa limit 0").contains("limit must be a number from 1"));
        assert_eq!(said("sample"), "sample: write it as `sample TEXT`");
    }

    #[test]
    fn tasks_and_texts_are_read() {
        let read = |text: &str| parse(&text.split(' ').collect::<Vec<_>>()).unwrap();
        let eval = |tasks: &[&str], limit| Command::EvalTasks {
            tasks: tasks.iter().map(ToString::to_string).collect(),
            limit,
        };
        assert_eq!(read("eval"), Command::Eval);
        assert_eq!(read("eval piqa"), eval(&["piqa"], None));
        let two = eval(&["piqa", "sciq"], Some(200));
        assert_eq!(read("eval piqa,sciq limit 200"), two);
        assert_eq!(read("eval piqa, sciq,piqa limit 200"), two);
        let text = "Once upon".to_string();
        assert_eq!(
            read("sample \"Once upon\""),
            Command::Sample { text: text.clone() }
        );
        assert_eq!(read("sample Once upon"), Command::Sample { text });
    }
}
